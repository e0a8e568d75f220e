/* What a fuzzed call is made of: choices off the front of the input, and memory that is exactly as
 * long as the choices say, so that the sanitizers see every byte beyond. A missing choice is zero,
 * and zero is always the well-formed one. */
#ifndef KLYUCH_FUZZ_H
#define KLYUCH_FUZZ_H

#include "marshal.h"

struct span {
    CK_BYTE *data;
    CK_ULONG size;
};

struct room {
    CK_BYTE *data;
    CK_ULONG *size;
};

struct attributes {
    CK_ATTRIBUTE *items;
    CK_ULONG count;
};

CK_ULONG any_ulong(void);
/* A pointer to so many bytes, rarely NULL. */
void *any_place(size_t size);
struct span any_span(void);
CK_BYTE *any_label(void);
CK_MECHANISM *any_mechanism(void);
CK_MECHANISM *any_message_mechanism(void);
struct span any_message(void);
struct attributes any_template(void);
struct attributes any_request(void);
struct room any_buffer(size_t item);
/* Room for so many CK_ULONG. */
struct span any_items(void);
/* NULL where that is demanded, most of the time. */
void *any_reserved(void);

/* The calls made from the table; how many there are. */
extern void (*const CALLS[])(void);
extern const size_t CALL_COUNT;

#endif
