/* The library as its caller sees it: its life and the lists of its functions. */
#ifndef KLYUCH_MODULE_H
#define KLYUCH_MODULE_H

#include "generated/cryptoki.h"

#include <stdbool.h>

/* Whether this process is between C_Initialize and C_Finalize. */
bool module_is_up(void);

/* The generated lists of functions. */
extern const CK_FUNCTION_LIST FUNCTION_LIST;
extern const CK_FUNCTION_LIST_3_0 FUNCTION_LIST_3_0;
extern const CK_FUNCTION_LIST_3_2 FUNCTION_LIST_3_2;
extern const CK_FUNCTION_LIST_EXTENDED FUNCTION_LIST_EXTENDED;

/* C_GetInfo of the newer lists: each tells the version of its own interface. */
CK_RV module_info_3_0(CK_INFO *pInfo);
CK_RV module_info_3_2(CK_INFO *pInfo);

#endif
