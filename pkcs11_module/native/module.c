#include "module.h"

#include "link.h"

#include <string.h>

#define NAME "PKCS 11"
#define COUNT (sizeof INTERFACES / sizeof INTERFACES[0])

/* The first one is the default. Nobody may change what the standard's types do not make const. None
 * is CKF_INTERFACE_FORK_SAFE, which promises a child its parent's sessions and login. */
static const CK_INTERFACE INTERFACES[] = {
    {(CK_UTF8CHAR *)NAME, (void *)&FUNCTION_LIST_3_2, 0},
    {(CK_UTF8CHAR *)NAME, (void *)&FUNCTION_LIST_3_0, 0},
    {(CK_UTF8CHAR *)NAME, (void *)&FUNCTION_LIST, 0},
};

bool module_is_up(void)
{
    return link_is_up();
}

/* Own locks and no threads serve every wish a caller may state here, callbacks included. */
static bool arguments_are_good(const CK_C_INITIALIZE_ARGS *args)
{
    int callbacks = (args->CreateMutex != NULL) + (args->DestroyMutex != NULL) +
                    (args->LockMutex != NULL) + (args->UnlockMutex != NULL);

    return args->pReserved == NULL && (callbacks == 0 || callbacks == 4);
}

CK_RV C_Initialize(void *pInitArgs)
{
    if (pInitArgs != NULL && !arguments_are_good(pInitArgs))
        return CKR_ARGUMENTS_BAD;
    return link_up();
}

CK_RV C_Finalize(void *pReserved)
{
    if (pReserved != NULL)
        return CKR_ARGUMENTS_BAD;
    return link_down();
}

CK_RV C_GetFunctionList(CK_FUNCTION_LIST **ppFunctionList)
{
    if (ppFunctionList == NULL)
        return CKR_ARGUMENTS_BAD;
    *ppFunctionList = (CK_FUNCTION_LIST *)&FUNCTION_LIST;
    return CKR_OK;
}

CK_RV C_EX_GetFunctionListExtended(CK_FUNCTION_LIST_EXTENDED **ppFunctionList)
{
    if (ppFunctionList == NULL)
        return CKR_ARGUMENTS_BAD;
    *ppFunctionList = (CK_FUNCTION_LIST_EXTENDED *)&FUNCTION_LIST_EXTENDED;
    return CKR_OK;
}

CK_RV C_GetInterfaceList(CK_INTERFACE *pInterfacesList, CK_ULONG *pulCount)
{
    CK_ULONG room;

    if (pulCount == NULL)
        return CKR_ARGUMENTS_BAD;
    room = *pulCount;
    *pulCount = COUNT;
    if (pInterfacesList == NULL)
        return CKR_OK;
    if (room < COUNT)
        return CKR_BUFFER_TOO_SMALL;
    memcpy(pInterfacesList, INTERFACES, sizeof INTERFACES);
    return CKR_OK;
}

static bool is_version(const CK_INTERFACE *one, const CK_VERSION *wanted)
{
    const CK_VERSION *version = one->pFunctionList;

    return version->major == wanted->major && version->minor == wanted->minor;
}

CK_RV C_GetInterface(CK_UTF8CHAR *pInterfaceName, CK_VERSION *pVersion, CK_INTERFACE **ppInterface,
                     CK_ULONG flags)
{
    if (ppInterface == NULL)
        return CKR_ARGUMENTS_BAD;
    for (size_t i = 0; i < COUNT; i++) {
        const CK_INTERFACE *one = &INTERFACES[i];

        if (pInterfaceName != NULL && strcmp((char *)pInterfaceName, NAME) != 0)
            continue;
        if ((pVersion == NULL || is_version(one, pVersion)) && (flags & ~one->flags) == 0) {
            *ppInterface = (CK_INTERFACE *)one;
            return CKR_OK;
        }
    }
    return CKR_ARGUMENTS_BAD;
}

static CK_RV info_of(CK_INFO *info, CK_VERSION version)
{
    CK_RV rv = C_GetInfo(info);

    if (rv == CKR_OK)
        info->cryptokiVersion = version;
    return rv;
}

CK_RV module_info_3_0(CK_INFO *pInfo)
{
    return info_of(pInfo, FUNCTION_LIST_3_0.version);
}

CK_RV module_info_3_2(CK_INFO *pInfo)
{
    return info_of(pInfo, FUNCTION_LIST_3_2.version);
}
