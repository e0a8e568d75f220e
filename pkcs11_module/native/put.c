/* Arguments into a frame. Every pointer is checked before it is read. */
#include "link.h"
#include "marshal.h"

#include <string.h>

#define NULL_LENGTH UINT32_MAX
#define NULL_CAPACITY UINT64_MAX
#define MECHANISM_NOTHING 0
#define MECHANISM_BYTES 1
#define MECHANISM_FIELDS 2
#define ATTRIBUTES_MAX 65536

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

void put_label(struct call *call, const CK_BYTE *label)
{
    put_place(call, label);
    if (label != NULL)
        put_raw(call, label, 32);
}

static void put_field(struct call *call, const unsigned char *base, const struct field *field)
{
    CK_ULONG number = 0;
    const void *pointer = NULL;

    /* The caller's structure may lie unaligned. */
    switch (field->kind) {
    case FIELD_ULONG:
        memcpy(&number, base + field->offset, sizeof number);
        put_ulong(call, number);
        break;
    case FIELD_BOOL:
        put_bool(call, base[field->offset]);
        break;
    case FIELD_BYTES:
        memcpy(&pointer, base + field->offset, sizeof pointer);
        memcpy(&number, base + field->length_offset, sizeof number);
        put_bytes(call, pointer, number);
        break;
    }
}

void put_mechanism(struct call *call, const CK_MECHANISM *mechanism)
{
    const struct parameter *parameter;

    if (mechanism == NULL || (mechanism->pParameter == NULL && mechanism->ulParameterLen > 0)) {
        call_fail(call, CKR_ARGUMENTS_BAD);
        return;
    }
    put_u64(call, mechanism->mechanism);
    if (mechanism->pParameter == NULL) {
        put_u8(call, MECHANISM_NOTHING);
        return;
    }
    parameter = parameter_of(mechanism->mechanism);
    if (parameter == NULL) {
        put_u8(call, MECHANISM_BYTES);
        put_bytes(call, mechanism->pParameter, mechanism->ulParameterLen);
        return;
    }
    if (mechanism->ulParameterLen != parameter->size) {
        call_fail(call, CKR_MECHANISM_PARAM_INVALID);
        return;
    }
    put_u8(call, MECHANISM_FIELDS);
    for (size_t i = 0; i < parameter->count; i++)
        put_field(call, mechanism->pParameter, &parameter->fields[i]);
}

/* Values of these are arrays of CK_ATTRIBUTE: pointers, which mean nothing to the daemon. */
static bool is_nested(CK_ULONG type)
{
    return type == CKA_WRAP_TEMPLATE || type == CKA_UNWRAP_TEMPLATE || type == CKA_DERIVE_TEMPLATE;
}

static bool check_attributes(struct call *call, const CK_ATTRIBUTE *attributes, CK_ULONG count)
{
    if (attributes == NULL && count > 0)
        call_fail(call, CKR_ARGUMENTS_BAD);
    else if (count > ATTRIBUTES_MAX)
        call_fail(call, CKR_ARGUMENTS_BAD);
    return call->rv == CKR_OK;
}

void put_template(struct call *call, const CK_ATTRIBUTE *attributes, CK_ULONG count)
{
    if (!check_attributes(call, attributes, count))
        return;
    put_u32(call, (uint32_t)count);
    for (CK_ULONG i = 0; i < count && call->rv == CKR_OK; i++) {
        if (is_nested(attributes[i].type))
            call_fail(call, CKR_ATTRIBUTE_TYPE_INVALID);
        put_u64(call, attributes[i].type);
        put_bytes(call, attributes[i].pValue, attributes[i].ulValueLen);
    }
}

static uint64_t capacity_of(const void *place, CK_ULONG capacity)
{
    if (place == NULL)
        return NULL_CAPACITY;
    return capacity > FRAME_MAX ? FRAME_MAX : capacity;
}

void put_attributes(struct call *call, const CK_ATTRIBUTE *attributes, CK_ULONG count)
{
    if (!check_attributes(call, attributes, count))
        return;
    put_u32(call, (uint32_t)count);
    for (CK_ULONG i = 0; i < count && call->rv == CKR_OK; i++) {
        put_u64(call, attributes[i].type);
        put_u64(call, capacity_of(attributes[i].pValue, attributes[i].ulValueLen));
    }
}

void put_buffer(struct call *call, const CK_BYTE *data, const CK_ULONG *length)
{
    put_place(call, length);
    if (length != NULL)
        put_u64(call, capacity_of(data, *length));
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
