#include "module.h"

#include "link.h"

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
    /* The standard's type is not const, yet nobody may change the list. */
    *ppFunctionList = (CK_FUNCTION_LIST *)module_functions();
    return CKR_OK;
}
