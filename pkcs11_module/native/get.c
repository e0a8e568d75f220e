/* Outputs from an answer. Every length is checked against the frame and the caller's room. */
#include "link.h"
#include "marshal.h"

#include <string.h>

#define FORM_UNAVAILABLE 0
#define FORM_LENGTH 1
#define FORM_DATA 2
#define FORM_NESTED 3

/* The next `length` bytes of the answer, NULL where it is shorter. */
static const unsigned char *take(struct call *call, size_t length)
{
    const unsigned char *place = call->data + call->at;

    if (call->rv == CKR_DEVICE_ERROR)
        return NULL;
    if (length > call->size - call->at) {
        call->rv = CKR_DEVICE_ERROR;
        return NULL;
    }
    call->at += length;
    return place;
}

static uint64_t get_u64(struct call *call)
{
    const unsigned char *place = take(call, 8);

    return place == NULL ? 0 : load_u64(place);
}

static uint32_t get_u32(struct call *call)
{
    const unsigned char *place = take(call, 4);

    return place == NULL ? 0 : load_u32(place);
}

static unsigned get_u8(struct call *call)
{
    const unsigned char *place = take(call, 1);

    return place == NULL ? 0 : *place;
}

static void get_raw(struct call *call, void *to, size_t length)
{
    const unsigned char *place = take(call, length);

    if (place != NULL && length > 0)
        memcpy(to, place, length);
}

static void get_items(struct call *call, CK_ULONG *items, uint32_t count)
{
    for (uint32_t i = 0; i < count && call->rv != CKR_DEVICE_ERROR; i++)
        items[i] = get_u64(call);
}

void get_ulong_out(struct call *call, CK_ULONG *value)
{
    *value = get_u64(call);
}

void get_session_out(struct call *call, CK_SESSION_HANDLE *session)
{
    uint64_t handle = get_u64(call);

    if (call->rv == CKR_OK && !link_tag(handle, call->generation, session))
        call->rv = CKR_DEVICE_ERROR;
}

void get_sized(struct call *call, void *place, void *whole, size_t size)
{
    CK_ULONG room;

    if (call->rv != CKR_OK)
        return;
    memcpy(&room, place, sizeof room);
    if (room > size)
        room = size;
    memcpy(whole, &room, sizeof room);
    memcpy(place, whole, room);
}

void get_text(struct call *call, CK_UTF8CHAR *text, size_t size)
{
    get_raw(call, text, size);
}

void get_version(struct call *call, CK_VERSION *version)
{
    version->major = (CK_BYTE)get_u8(call);
    version->minor = (CK_BYTE)get_u8(call);
}

/* What a size query or a short buffer is told; false where data follows instead. */
static bool get_needed(struct call *call, CK_ULONG *length)
{
    unsigned form = FORM_LENGTH;

    if (call->rv != CKR_BUFFER_TOO_SMALL)
        form = get_u8(call);
    if (form == FORM_LENGTH)
        *length = get_u64(call);
    else if (form != FORM_DATA)
        call->rv = CKR_DEVICE_ERROR;
    return call->rv != CKR_OK || form == FORM_LENGTH;
}

void get_buffer(struct call *call, CK_BYTE *data, CK_ULONG *length)
{
    CK_ULONG capacity = *length;
    uint32_t size;

    if (get_needed(call, length))
        return;
    size = get_u32(call);
    if (data == NULL || size > capacity) {
        call->rv = CKR_DEVICE_ERROR;
        return;
    }
    get_raw(call, data, size);
    *length = size;
}

void get_last(struct call *call, CK_BYTE *data, CK_ULONG *length)
{
    if (length != NULL)
        get_buffer(call, data, length);
    else if (call->rv != CKR_OK || get_u8(call) != FORM_UNAVAILABLE)
        call->rv = CKR_DEVICE_ERROR;
}

void get_made(struct call *call, CK_ULONG *value, const CK_BYTE *data)
{
    uint64_t made;

    if (call->rv != CKR_OK)
        return;
    made = get_u64(call);
    if (call->rv == CKR_OK && data != NULL)
        *value = made;
}

/* Bytes for the place that a field of the caller's structure points to, where there are any. */
static void get_field(struct call *call, unsigned char *base, const struct field *field)
{
    uint32_t size = get_u32(call);
    void *place = NULL;
    size_t room = 0;

    if (size == NULL_LENGTH || call->rv != CKR_OK)
        return;
    if (base != NULL) {
        place = field_pointer(field, base);
        room = field_length(field, base);
    }
    /* Bits beyond the bound were not sent, so nothing can have been made for them. */
    if (place == NULL || size > room || (field->kind == FIELD_BITS && room > field->size))
        call->rv = CKR_DEVICE_ERROR;
    else
        get_raw(call, place, size);
}

void get_message(struct call *call, void *parameter, CK_ULONG length)
{
    unsigned char *base = length == MESSAGE.size ? parameter : NULL;

    for (size_t i = 0; i < MESSAGE.count && call->rv == CKR_OK; i++)
        if (MESSAGE.fields[i].written)
            get_field(call, base, &MESSAGE.fields[i]);
}

void get_wrapping(struct call *call, const CK_MECHANISM *given)
{
    CK_MECHANISM mechanism;

    memcpy(&mechanism, given, sizeof mechanism);
    get_message(call, mechanism.mechanism == MESSAGE.mechanism ? mechanism.pParameter : NULL,
                mechanism.ulParameterLen);
}

void get_list(struct call *call, CK_ULONG *items, CK_ULONG *count)
{
    CK_ULONG capacity = *count;
    uint32_t size;

    if (get_needed(call, count))
        return;
    size = get_u32(call);
    if (items == NULL || size > capacity) {
        call->rv = CKR_DEVICE_ERROR;
        return;
    }
    get_items(call, items, size);
    *count = size;
}

void get_find(struct call *call, CK_ULONG *items, CK_ULONG most, CK_ULONG *count)
{
    uint32_t size = get_u32(call);

    if (size > most) {
        call->rv = CKR_DEVICE_ERROR;
        return;
    }
    get_items(call, items, size);
    *count = size;
}

void get_filled(struct call *call, CK_BYTE *data, CK_ULONG length)
{
    if (get_u32(call) == length)
        get_raw(call, data, length);
    else
        call->rv = CKR_DEVICE_ERROR;
}

static void get_attributes_at(struct call *call, unsigned char *attributes, CK_ULONG count,
                              bool typed, int depth);

/* A template as the value of an attribute: as many attributes as the caller's array may hold. */
static void get_nested(struct call *call, CK_ATTRIBUTE *attribute, int depth)
{
    uint32_t count = get_u32(call);

    if (attribute->pValue == NULL || count > room_of(attribute) / sizeof *attribute ||
        depth == NESTING_MAX) {
        call->rv = CKR_DEVICE_ERROR;
        return;
    }
    get_attributes_at(call, attribute->pValue, count, true, depth + 1);
    attribute->ulValueLen = count * sizeof *attribute;
}

static void get_value(struct call *call, CK_ATTRIBUTE *attribute)
{
    uint32_t size = get_u32(call);

    if (attribute->pValue == NULL || size > room_of(attribute)) {
        call->rv = CKR_DEVICE_ERROR;
        return;
    }
    get_raw(call, attribute->pValue, size);
    attribute->ulValueLen = size;
}

/* `type` is what the daemon says that the attribute is; `attribute` is still as the caller gave it.
 * Its room is an array of attributes only where the caller said so. An array that the caller's
 * template holds twice is filled in twice: what the first time left must not mislead the second. */
static void get_attribute(struct call *call, CK_ATTRIBUTE *attribute, CK_ULONG type, int depth)
{
    unsigned form = get_u8(call);

    if (form == FORM_UNAVAILABLE)
        attribute->ulValueLen = CK_UNAVAILABLE_INFORMATION;
    else if (form == FORM_LENGTH && attribute->pValue == NULL)
        attribute->ulValueLen = get_u64(call) * (is_nested(type) ? sizeof *attribute : 1);
    else if (form == FORM_DATA && !is_nested(attribute->type) && !is_nested(type))
        get_value(call, attribute);
    else if (form == FORM_NESTED && is_nested(attribute->type) && is_nested(type))
        get_nested(call, attribute, depth);
    else
        call->rv = CKR_DEVICE_ERROR;
    attribute->type = type;
}

/* `typed` where every attribute stands behind its type, which the caller's array is told. */
static void get_attributes_at(struct call *call, unsigned char *attributes, CK_ULONG count,
                              bool typed, int depth)
{
    for (CK_ULONG i = 0; i < count && call->rv != CKR_DEVICE_ERROR; i++) {
        unsigned char *place = attributes + i * sizeof(CK_ATTRIBUTE);
        CK_ATTRIBUTE one;

        memcpy(&one, place, sizeof one);
        get_attribute(call, &one, typed ? get_u64(call) : one.type, depth);
        if (call->rv != CKR_DEVICE_ERROR)
            memcpy(place, &one, sizeof one);
    }
}

void get_attributes(struct call *call, CK_ATTRIBUTE *attributes, CK_ULONG count)
{
    if (get_u32(call) != count)
        call->rv = CKR_DEVICE_ERROR;
    get_attributes_at(call, (unsigned char *)attributes, count, false, 0);
}
