/* What the scenarios of the hostile host share. */
#ifndef KLYUCH_EXERCISE_H
#define KLYUCH_EXERCISE_H

#include "cryptoki.h"

#include <stdio.h>
#include <stdlib.h>

#define SLOT 7
#define SIGNATURE 64

#define EXPECT(condition)                                                                         \
    do {                                                                                          \
        if (!(condition)) {                                                                       \
            fprintf(stderr, "%s:%d: %s\n", __FILE__, __LINE__, #condition);                       \
            exit(1);                                                                              \
        }                                                                                         \
    } while (0)
#define RV(call, expected)                                                                        \
    do {                                                                                          \
        CK_RV rv_ = (call);                                                                       \
        if (rv_ != (expected)) {                                                                  \
            fprintf(stderr, "%s:%d: %s gave 0x%lx, not %s\n", __FILE__, __LINE__, #call, rv_,     \
                    #expected);                                                                   \
            exit(1);                                                                              \
        }                                                                                         \
    } while (0)

/* The loaded library's functions, by its oldest and its newest list, and the extension. */
extern CK_FUNCTION_LIST *f;
extern CK_FUNCTION_LIST_3_2 *f3;
extern CK_FUNCTION_LIST_EXTENDED *fx;

void load(void);
CK_SESSION_HANDLE open_session(void);
CK_RV sign(CK_SESSION_HANDLE session);

void bad_input(void);
void bad_templates(void);
void bad_messages(void);
void bad_extension(void);

#endif
