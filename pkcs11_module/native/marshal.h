/* One call to the daemon: its arguments put into a frame, its outputs got from the answer.
 *
 * call_begin, put_* for every argument, call_run, get_* for every output where that gave true,
 * call_end. The first error sticks: nothing is sent or written after it. The wire's layout is
 * described in pkcs11_module/wire.py.
 */
#ifndef KLYUCH_MARSHAL_H
#define KLYUCH_MARSHAL_H

#include "generated/cryptoki.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define FRAME_MAX ((size_t)16 * 1024 * 1024)
#define FRAME_HEAD 4
#define NULL_LENGTH UINT32_MAX
/* A frame that is sent in front of another one, and its answer. */
#define FRONT_MAX 128
#define FRONT_ANSWER (FRAME_HEAD + 8)
/* Bounds of a template: attributes at one level, and templates within templates. */
#define ATTRIBUTES_MAX 65536
#define NESTING_MAX 4

/* The function may be sent again to a daemon that took a dead one's place. */
#define CALL_RETRY 1U
/* The function may wait for long, so it must not hold the application's first connection. */
#define CALL_BLOCKING 2U
/* An error changes an operation: the daemon is told of a call that was refused here. */
#define CALL_ENDS 4U
/* It may change more than operations of its session. This and what follows is for promise.h. */
#define CALL_CHANGES 8U
/* It begins an operation of that kind, and may be promised; its success ends one. */
#define CALL_BEGINS(kind) (16U | (unsigned)(kind) << 8)
#define CALL_PROMISES 32U
#define CALL_FINISHES(kind) (64U | (unsigned)(kind) << 8)

struct call {
    CK_RV rv;
    uint32_t function;
    unsigned flags;
    bool has_session;
    bool answered;
    /* Which connected application the session belongs to; see link.c. */
    uint64_t generation;
    /* Bytes of the answer to what was sent in front of the frame. */
    size_t lead;
    /* Frame being written, then the answer with `at` the place of the next output. */
    unsigned char *data;
    size_t size, at, capacity, dirty;
    unsigned char room[2048];
};

void call_begin(struct call *call, uint32_t function, unsigned flags);
/* Send and wait; true where the answer carries outputs to read. */
bool call_run(struct call *call);
/* Wipe what the call held and give its return value. */
CK_RV call_end(struct call *call);
/* Make room for `more` bytes behind `size`; false and CKR_HOST_MEMORY where that cannot be. */
bool call_reserve(struct call *call, size_t more);
/* The daemon's handle of the call's session, as long as the frame begins with it; 0 without one. */
uint64_t call_session(const struct call *call);
/* Record an error unless there is one. */
void call_fail(struct call *call, CK_RV rv);

void put_session(struct call *call, CK_SESSION_HANDLE session);
void put_ulong(struct call *call, CK_ULONG value);
void put_bool(struct call *call, CK_BBOOL value);
void put_bytes(struct call *call, const void *data, CK_ULONG length);
/* The same; NULL says that there is nothing, whatever the length. */
void put_optional(struct call *call, const void *data, CK_ULONG length);
void put_label(struct call *call, const CK_BYTE *label);
void put_mechanism(struct call *call, const CK_MECHANISM *mechanism);
/* The same; NULL is sent, which ends an operation. */
void put_init(struct call *call, const CK_MECHANISM *mechanism);
/* The parameter of a message whose tag is an output, an input; and mechanisms with such ones. */
void put_message(struct call *call, const void *parameter, CK_ULONG length);
void put_message_in(struct call *call, const void *parameter, CK_ULONG length);
void put_message_init(struct call *call, const CK_MECHANISM *mechanism);
void put_wrapping(struct call *call, const CK_MECHANISM *mechanism);
void put_unwrapping(struct call *call, const CK_MECHANISM *mechanism);
void put_template(struct call *call, const CK_ATTRIBUTE *attributes, CK_ULONG count);
void put_attributes(struct call *call, const CK_ATTRIBUTE *attributes, CK_ULONG count);
void put_buffer(struct call *call, const CK_BYTE *data, const CK_ULONG *length);
void put_last(struct call *call, const CK_BYTE *data, const CK_ULONG *length);
void put_list(struct call *call, const CK_ULONG *items, const CK_ULONG *count);
void put_find(struct call *call, const CK_ULONG *items, CK_ULONG most, const CK_ULONG *count);
void put_filled(struct call *call, const CK_BYTE *data, CK_ULONG length);
/* An output's place or a reserved pointer: checked, not sent. */
void put_place(struct call *call, const void *place);
/* The same for a structure that begins with its size, which has to be `least` or more. */
void put_sized(struct call *call, const void *place, size_t least);
void put_null(struct call *call, const void *reserved);
/* The place of what is made together with the bytes at `data`: needed unless only asked for. */
void put_made(struct call *call, const CK_ULONG *value, const CK_BYTE *data);

void get_ulong_out(struct call *call, CK_ULONG *value);
void get_session_out(struct call *call, CK_SESSION_HANDLE *session);
void get_text(struct call *call, CK_UTF8CHAR *text, size_t size);
void get_version(struct call *call, CK_VERSION *version);
/* As much of a structure that begins with its size as there is room for; tells how much that is. */
void get_sized(struct call *call, void *place, void *whole, size_t size);
void get_made(struct call *call, CK_ULONG *value, const CK_BYTE *data);
void get_buffer(struct call *call, CK_BYTE *data, CK_ULONG *length);
void get_last(struct call *call, CK_BYTE *data, CK_ULONG *length);
void get_message(struct call *call, void *parameter, CK_ULONG length);
void get_wrapping(struct call *call, const CK_MECHANISM *given);
void get_list(struct call *call, CK_ULONG *items, CK_ULONG *count);
void get_find(struct call *call, CK_ULONG *items, CK_ULONG most, CK_ULONG *count);
void get_filled(struct call *call, CK_BYTE *data, CK_ULONG length);
void get_attributes(struct call *call, CK_ATTRIBUTE *attributes, CK_ULONG count);

/* A mechanism parameter that is a structure: where its fields are. */
enum field_kind { FIELD_ULONG, FIELD_BOOL, FIELD_BYTES, FIELD_ARRAY, FIELD_BITS };

struct field {
    enum field_kind kind;
    size_t offset;
    size_t length_offset;
    /* Bytes of an array; bytes that bits may fill at most. */
    size_t size;
    /* The answer brings bytes for the place that the field points to. */
    bool written;
};

/* Where a pointer field of the caller's structure points to, and how many bytes are there. */
void *field_pointer(const struct field *field, const unsigned char *base);
size_t field_length(const struct field *field, const unsigned char *base);

struct parameter {
    CK_ULONG mechanism;
    size_t size;
    const struct field *fields;
    size_t count;
    /* The bytes of another length are sent as they are: the fields may be in them. */
    bool flat;
};

const struct parameter *parameter_of(CK_ULONG mechanism);
extern const struct parameter MESSAGE;

/* Values of these are arrays of CK_ATTRIBUTE. */
bool is_nested(CK_ULONG type);

/* Bytes that an attribute has room for; none where an earlier answer found no length to tell. */
static inline CK_ULONG room_of(const CK_ATTRIBUTE *attribute)
{
    return attribute->ulValueLen == CK_UNAVAILABLE_INFORMATION ? 0 : attribute->ulValueLen;
}

/* Little-endian integers, wherever they lie. */
static inline void store_u32(unsigned char *to, uint32_t value)
{
    for (int i = 0; i < 4; i++)
        to[i] = (unsigned char)(value >> (8 * i));
}

static inline void store_u64(unsigned char *to, uint64_t value)
{
    for (int i = 0; i < 8; i++)
        to[i] = (unsigned char)(value >> (8 * i));
}

static inline uint32_t load_u32(const unsigned char *from)
{
    uint32_t value = 0;

    for (int i = 3; i >= 0; i--)
        value = value << 8 | from[i];
    return value;
}

static inline uint64_t load_u64(const unsigned char *from)
{
    return (uint64_t)load_u32(from + 4) << 32 | load_u32(from);
}

#endif
