/*
 * A PKCS#11 library that hands out the function lists of another one ($TAP_LIBRARY) and notes in
 * $TAP_LOG the version of each list it gave.
 */
#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>

#define EXPORTED __attribute__((visibility("default")))

typedef unsigned long CK_RV;
typedef struct { unsigned char major, minor; } CK_VERSION;
typedef struct { char *name; CK_VERSION *functions; unsigned long flags; } CK_INTERFACE;

static const CK_RV CKR_OK = 0, CKR_GENERAL_ERROR = 5;

static void *entry(const char *name)
{
    void *library = dlopen(getenv("TAP_LIBRARY"), RTLD_NOW | RTLD_LOCAL);

    return library == NULL ? NULL : dlsym(library, name);
}

static CK_RV note(CK_RV rv, const CK_VERSION *given)
{
    FILE *log = fopen(getenv("TAP_LOG"), "a");

    if (log == NULL)
        return CKR_GENERAL_ERROR;
    if (rv == CKR_OK)
        fprintf(log, "%d.%d\n", given->major, given->minor);
    fclose(log);
    return rv;
}

EXPORTED CK_RV C_GetFunctionList(CK_VERSION **list)
{
    CK_RV (*call)(CK_VERSION **) = (CK_RV(*)(CK_VERSION **))entry("C_GetFunctionList");

    return call == NULL ? CKR_GENERAL_ERROR : note(call(list), *list);
}

EXPORTED CK_RV C_GetInterfaceList(CK_INTERFACE *list, unsigned long *count)
{
    CK_RV (*call)(CK_INTERFACE *, unsigned long *) =
        (CK_RV(*)(CK_INTERFACE *, unsigned long *))entry("C_GetInterfaceList");

    return call == NULL ? CKR_GENERAL_ERROR : call(list, count);
}

EXPORTED CK_RV C_GetInterface(unsigned char *name, CK_VERSION *version, CK_INTERFACE **given,
                              unsigned long flags)
{
    CK_RV (*call)(unsigned char *, CK_VERSION *, CK_INTERFACE **, unsigned long) =
        (CK_RV(*)(unsigned char *, CK_VERSION *, CK_INTERFACE **, unsigned long))entry(
            "C_GetInterface");
    CK_RV rv = call == NULL ? CKR_GENERAL_ERROR : call(name, version, given, flags);

    return rv == CKR_OK ? note(rv, (*given)->functions) : rv;
}
