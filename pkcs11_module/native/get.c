/* Outputs from an answer. Every length is checked against the frame and the caller's room. */
#include "link.h"
#include "marshal.h"

#include <string.h>

#define FORM_UNAVAILABLE 0
#define FORM_LENGTH 1
#define FORM_DATA 2

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

static void get_attribute(struct call *call, CK_ATTRIBUTE *attribute)
{
    uint32_t size;

    switch (get_u8(call)) {
    case FORM_UNAVAILABLE:
        attribute->ulValueLen = CK_UNAVAILABLE_INFORMATION;
        break;
    case FORM_LENGTH:
        attribute->ulValueLen = get_u64(call);
        break;
    case FORM_DATA:
        size = get_u32(call);
        if (attribute->pValue == NULL || size > attribute->ulValueLen) {
            call->rv = CKR_DEVICE_ERROR;
            break;
        }
        get_raw(call, attribute->pValue, size);
        attribute->ulValueLen = size;
        break;
    default:
        call->rv = CKR_DEVICE_ERROR;
    }
}

void get_attributes(struct call *call, CK_ATTRIBUTE *attributes, CK_ULONG count)
{
    if (get_u32(call) != count)
        call->rv = CKR_DEVICE_ERROR;
    for (CK_ULONG i = 0; i < count && call->rv != CKR_DEVICE_ERROR; i++)
        get_attribute(call, &attributes[i]);
}
