/* Arguments into a frame. Every pointer is checked before it is read. */
#include "link.h"
#include "marshal.h"

#include <string.h>

#define NULL_CAPACITY UINT64_MAX
#define FORM_NOTHING 0
#define FORM_BYTES 1
#define FORM_FIELDS 2
#define FORM_NO_MECHANISM 3

static void put_u8(struct call *call, unsigned char value)
{
    if (call_reserve(call, 1))
        call->data[call->size++] = value;
}

static void put_u32(struct call *call, uint32_t value)
{
    if (call_reserve(call, 4)) {
        store_u32(call->data + call->size, value);
        call->size += 4;
    }
}

static void put_u64(struct call *call, uint64_t value)
{
    if (call_reserve(call, 8)) {
        store_u64(call->data + call->size, value);
        call->size += 8;
    }
}

static void put_raw(struct call *call, const void *data, size_t length)
{
    if (length > 0 && call_reserve(call, length)) {
        memcpy(call->data + call->size, data, length);
        call->size += length;
    }
}

void put_session(struct call *call, CK_SESSION_HANDLE session)
{
    uint64_t handle = 0;

    if (!link_session(session, &handle, &call->generation))
        call_fail(call, CKR_SESSION_HANDLE_INVALID);
    call->has_session = true;
    put_u64(call, handle);
}

void put_ulong(struct call *call, CK_ULONG value)
{
    put_u64(call, value);
}

void put_bool(struct call *call, CK_BBOOL value)
{
    put_u8(call, value);
}

void put_bytes(struct call *call, const void *data, CK_ULONG length)
{
    if (data == NULL && length > 0) {
        call_fail(call, CKR_ARGUMENTS_BAD);
        return;
    }
    if (length > FRAME_MAX) {
        call_fail(call, CKR_HOST_MEMORY);
        return;
    }
    put_u32(call, data == NULL ? NULL_LENGTH : (uint32_t)length);
    put_raw(call, data, length);
}

void put_optional(struct call *call, const void *data, CK_ULONG length)
{
    put_bytes(call, data, data == NULL ? 0 : length);
}

void put_label(struct call *call, const CK_BYTE *label)
{
    put_place(call, label);
    if (label != NULL)
        put_raw(call, label, 32);
}

size_t field_length(const struct field *field, const unsigned char *base)
{
    CK_ULONG length;

    memcpy(&length, base + field->length_offset, sizeof length);
    return field->kind == FIELD_BITS ? length / 8 + (length % 8 > 0) : length;
}

/* Bits beyond the bound are not read: what they are is for the daemon to refuse. */
static void put_bits(struct call *call, const struct field *field, const void *data, size_t length,
                     bool room)
{
    static const unsigned char zeros[64];

    if (length > field->size || length > sizeof zeros)
        data = NULL;
    put_optional(call, data == NULL || !room ? data : zeros, length);
}

/* The caller's structure may lie unaligned. */
void *field_pointer(const struct field *field, const unsigned char *base)
{
    void *pointer;

    memcpy(&pointer, base + field->offset, sizeof pointer);
    return pointer;
}

static void put_field(struct call *call, const unsigned char *base, const struct field *field,
                      bool room)
{
    CK_ULONG number;

    switch (field->kind) {
    case FIELD_ULONG:
        memcpy(&number, base + field->offset, sizeof number);
        put_ulong(call, number);
        break;
    case FIELD_BOOL:
        put_bool(call, base[field->offset]);
        break;
    case FIELD_BYTES:
        put_bytes(call, field_pointer(field, base), field_length(field, base));
        break;
    case FIELD_ARRAY:
        put_raw(call, base + field->offset, field->size);
        break;
    case FIELD_BITS:
        put_bits(call, field, field_pointer(field, base), field_length(field, base), room);
        break;
    }
}

/* `room` where the structure's outputs are not to be read. */
static void put_structure(struct call *call, const struct parameter *structure, const void *base,
                          bool room)
{
    put_u8(call, FORM_FIELDS);
    for (size_t i = 0; i < structure->count; i++)
        put_field(call, base, &structure->fields[i], room);
}

static void put_plain(struct call *call, const void *parameter, CK_ULONG length)
{
    put_u8(call, parameter == NULL ? FORM_NOTHING : FORM_BYTES);
    if (parameter != NULL)
        put_bytes(call, parameter, length);
}

static bool check_parameter(struct call *call, const void *parameter, CK_ULONG length)
{
    if (parameter == NULL && length > 0)
        call_fail(call, CKR_ARGUMENTS_BAD);
    return call->rv == CKR_OK;
}

/* `message` is the structure that a message of this mechanism has, NULL where it is none of one. */
static void put_mechanism_of(struct call *call, const CK_MECHANISM *given,
                             const struct parameter *message, bool room)
{
    const struct parameter *structure;
    CK_MECHANISM mechanism;

    put_place(call, given);
    if (given == NULL)
        return;
    memcpy(&mechanism, given, sizeof mechanism);
    if (!check_parameter(call, mechanism.pParameter, mechanism.ulParameterLen))
        return;
    put_u64(call, mechanism.mechanism);
    structure = parameter_of(mechanism.mechanism);
    if (message != NULL && message->mechanism == mechanism.mechanism)
        structure = message;
    if (structure == NULL || mechanism.pParameter == NULL ||
        (structure->flat && mechanism.ulParameterLen != structure->size))
        put_plain(call, mechanism.pParameter, mechanism.ulParameterLen);
    else if (mechanism.ulParameterLen != structure->size)
        call_fail(call, CKR_MECHANISM_PARAM_INVALID);
    else
        put_structure(call, structure, mechanism.pParameter, room);
}

void put_sized(struct call *call, const void *place, size_t least)
{
    CK_ULONG size;

    put_place(call, place);
    if (place == NULL)
        return;
    memcpy(&size, place, sizeof size);
    if (size < least)
        call_fail(call, CKR_ARGUMENTS_BAD);
}

static void put_no_mechanism(struct call *call)
{
    put_u64(call, 0);
    put_u8(call, FORM_NO_MECHANISM);
}

void put_mechanism(struct call *call, const CK_MECHANISM *mechanism)
{
    put_mechanism_of(call, mechanism, NULL, false);
}

void put_init(struct call *call, const CK_MECHANISM *mechanism)
{
    if (mechanism == NULL)
        put_no_mechanism(call);
    else
        put_mechanism_of(call, mechanism, NULL, false);
}

void put_message_init(struct call *call, const CK_MECHANISM *mechanism)
{
    if (mechanism == NULL)
        put_no_mechanism(call);
    else
        put_mechanism_of(call, mechanism, &MESSAGE, true);
}

void put_wrapping(struct call *call, const CK_MECHANISM *mechanism)
{
    put_mechanism_of(call, mechanism, &MESSAGE, true);
}

void put_unwrapping(struct call *call, const CK_MECHANISM *mechanism)
{
    put_mechanism_of(call, mechanism, &MESSAGE, false);
}

static void put_message_of(struct call *call, const void *parameter, CK_ULONG length, bool room)
{
    if (!check_parameter(call, parameter, length))
        return;
    if (parameter != NULL && length == MESSAGE.size)
        put_structure(call, &MESSAGE, parameter, room);
    else
        put_plain(call, parameter, length);
}

void put_message(struct call *call, const void *parameter, CK_ULONG length)
{
    put_message_of(call, parameter, length, true);
}

void put_message_in(struct call *call, const void *parameter, CK_ULONG length)
{
    put_message_of(call, parameter, length, false);
}

/* Whether there are attributes to read at that place; templates may only be nested so deep. */
static bool check_attributes(struct call *call, const void *attributes, CK_ULONG count, int depth)
{
    if ((attributes == NULL && count > 0) || count > ATTRIBUTES_MAX || depth > NESTING_MAX)
        call_fail(call, CKR_ARGUMENTS_BAD);
    return call->rv == CKR_OK;
}

/* Arrays inside values may lie unaligned. */
static CK_ATTRIBUTE attribute_at(const void *attributes, CK_ULONG number)
{
    CK_ATTRIBUTE attribute;

    memcpy(&attribute, (const unsigned char *)attributes + number * sizeof attribute,
           sizeof attribute);
    return attribute;
}

static void put_template_at(struct call *call, const void *attributes, CK_ULONG count, int depth)
{
    if (!check_attributes(call, attributes, count, depth))
        return;
    put_u32(call, (uint32_t)count);
    for (CK_ULONG i = 0; i < count && call->rv == CKR_OK; i++) {
        CK_ATTRIBUTE one = attribute_at(attributes, i);

        put_u64(call, one.type);
        if (one.pValue == NULL || !is_nested(one.type))
            put_bytes(call, one.pValue, one.ulValueLen);
        else if (one.ulValueLen % sizeof one != 0)
            call_fail(call, CKR_ARGUMENTS_BAD);
        else
            put_template_at(call, one.pValue, one.ulValueLen / sizeof one, depth + 1);
    }
}

void put_template(struct call *call, const CK_ATTRIBUTE *attributes, CK_ULONG count)
{
    put_template_at(call, attributes, count, 0);
}

static uint64_t capacity_of(const void *place, CK_ULONG capacity)
{
    if (place == NULL)
        return NULL_CAPACITY;
    return capacity > FRAME_MAX ? FRAME_MAX : capacity;
}

static void put_attributes_at(struct call *call, const void *attributes, CK_ULONG count, int depth)
{
    if (!check_attributes(call, attributes, count, depth))
        return;
    put_u32(call, (uint32_t)count);
    for (CK_ULONG i = 0; i < count && call->rv == CKR_OK; i++) {
        CK_ATTRIBUTE one = attribute_at(attributes, i);

        put_u64(call, one.type);
        if (!is_nested(one.type))
            put_u64(call, capacity_of(one.pValue, room_of(&one)));
        else if (one.pValue == NULL)
            put_u32(call, NULL_LENGTH);
        else
            put_attributes_at(call, one.pValue, room_of(&one) / sizeof one, depth + 1);
    }
}

void put_attributes(struct call *call, const CK_ATTRIBUTE *attributes, CK_ULONG count)
{
    put_attributes_at(call, attributes, count, 0);
}

void put_buffer(struct call *call, const CK_BYTE *data, const CK_ULONG *length)
{
    put_place(call, length);
    if (length != NULL)
        put_u64(call, capacity_of(data, *length));
}

void put_last(struct call *call, const CK_BYTE *data, const CK_ULONG *length)
{
    put_u8(call, length != NULL);
    if (length != NULL)
        put_buffer(call, data, length);
}

void put_list(struct call *call, const CK_ULONG *items, const CK_ULONG *count)
{
    put_place(call, count);
    if (count != NULL)
        put_u64(call, capacity_of(items, *count));
}

void put_find(struct call *call, const CK_ULONG *items, CK_ULONG most, const CK_ULONG *count)
{
    const CK_ULONG bound = FRAME_MAX / sizeof *items / 2;

    put_place(call, count);
    if (items == NULL && most > 0)
        call_fail(call, CKR_ARGUMENTS_BAD);
    put_u64(call, most > bound ? bound : most);
}

void put_filled(struct call *call, const CK_BYTE *data, CK_ULONG length)
{
    if (data == NULL && length > 0)
        call_fail(call, CKR_ARGUMENTS_BAD);
    else if (length > FRAME_MAX / 2)
        call_fail(call, CKR_HOST_MEMORY);
    put_u64(call, length);
}

void put_place(struct call *call, const void *place)
{
    if (place == NULL)
        call_fail(call, CKR_ARGUMENTS_BAD);
}

void put_null(struct call *call, const void *reserved)
{
    if (reserved != NULL)
        call_fail(call, CKR_ARGUMENTS_BAD);
}

void put_made(struct call *call, const CK_ULONG *value, const CK_BYTE *data)
{
    if (value == NULL && data != NULL)
        call_fail(call, CKR_ARGUMENTS_BAD);
}
