/* The library as its caller sees it: C_Initialize, C_Finalize, C_GetFunctionList. */
#ifndef KLYUCH_MODULE_H
#define KLYUCH_MODULE_H

#include "generated/cryptoki.h"

#include <stdbool.h>

/* Whether this process is between C_Initialize and C_Finalize. */
bool module_is_up(void);

/* The generated list of all functions. */
const CK_FUNCTION_LIST *module_functions(void);

#endif
