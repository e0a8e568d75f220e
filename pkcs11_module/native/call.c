/* The life of one call, and the buffer its frame lies in. */
#define _GNU_SOURCE
#include "link.h"
#include "marshal.h"
#include "promise.h"

#include <stdlib.h>
#include <string.h>

/* In a function's number: the call of it was refused here. Only its session follows. */
#define REFUSED 0x80000000U
#define REFUSAL_SIZE (FRAME_HEAD + 4 + 8)

void call_begin(struct call *call, uint32_t function, unsigned flags)
{
    call->rv = link_is_up() ? CKR_OK : CKR_CRYPTOKI_NOT_INITIALIZED;
    call->function = function;
    call->flags = flags;
    call->has_session = false;
    call->answered = false;
    call->generation = 0;
    call->lead = 0;
    call->data = call->room;
    call->capacity = sizeof call->room;
    call->dirty = 0;
    call->at = 0;
    store_u32(call->data + FRAME_HEAD, function);
    call->size = FRAME_HEAD + 4;
}

uint64_t call_session(const struct call *call)
{
    return call->has_session && call->size >= REFUSAL_SIZE
               ? load_u64(call->data + FRAME_HEAD + 4)
               : 0;
}

void call_fail(struct call *call, CK_RV rv)
{
    if (call->rv == CKR_OK)
        call->rv = rv;
}

/* Wiped up to `dirty`: what was written or received, at most. */
static void wipe(struct call *call)
{
    size_t dirty = call->size > call->dirty ? call->size : call->dirty;

    explicit_bzero(call->data, dirty < call->capacity ? dirty : call->capacity);
    if (call->data != call->room)
        free(call->data);
}

bool call_reserve(struct call *call, size_t more)
{
    size_t need, capacity = call->capacity;
    unsigned char *data;

    if (call->rv != CKR_OK)
        return false;
    need = call->size + more;
    if (need <= capacity)
        return true;
    if (need > FRAME_HEAD + FRAME_MAX + FRONT_MAX) {
        call_fail(call, CKR_HOST_MEMORY);
        return false;
    }
    while (capacity < need)
        capacity *= 2;
    data = malloc(capacity);
    if (data == NULL) {
        call_fail(call, CKR_HOST_MEMORY);
        return false;
    }
    memcpy(data, call->data, call->size);
    wipe(call);
    call->data = data;
    call->capacity = capacity;
    return true;
}

/* Codes that bring outputs with them, where the daemon sent any. */
static bool brings_outputs(CK_RV rv)
{
    return rv == CKR_BUFFER_TOO_SMALL || rv == CKR_ATTRIBUTE_SENSITIVE ||
           rv == CKR_ATTRIBUTE_TYPE_INVALID;
}

/* An operation ends on every error, also on one that was found before anything was sent. The frame
 * begins with the function and, where it got so far, the session; what is answered is all the same. */
static void tell_refusal(struct call *call)
{
    CK_RV rv = call->rv;

    if (!(call->flags & CALL_ENDS) || call->size < REFUSAL_SIZE)
        return;
    call->dirty = call->size;
    call->size = REFUSAL_SIZE;
    call->rv = CKR_OK;
    store_u32(call->data, REFUSAL_SIZE - FRAME_HEAD);
    store_u32(call->data + FRAME_HEAD, load_u32(call->data + FRAME_HEAD) | REFUSED);
    promise_due(call);
    if (call->rv == CKR_OK)
        link_exchange(call);
    call->rv = rv;
}

/* Send the frame and put the return value into the call, `at` behind it. */
static void ask(struct call *call)
{
    call->dirty = call->size;
    call->rv = link_exchange(call);
    if (call->rv != CKR_OK)
        return;
    if (call->size < call->at + 8) {
        call->rv = CKR_DEVICE_ERROR;
        return;
    }
    call->rv = load_u64(call->data + call->at);
    call->at += 8;
}

/* What was promised in any session is asked for before something changes. */
static void keep_promises(void)
{
    struct call due;

    while (promise_take(&due)) {
        due.dirty = due.size;
        link_exchange(&due);
        wipe(&due);
    }
}

bool call_run(struct call *call)
{
    uint64_t session = call_session(call);

    if (call->size > FRAME_HEAD + FRAME_MAX)
        call_fail(call, CKR_HOST_MEMORY);
    if (call->rv != CKR_OK) {
        tell_refusal(call);
        return false;
    }
    store_u32(call->data, (uint32_t)(call->size - FRAME_HEAD));
    if (promise_made(call)) {
        call->at = call->size;
        return true;
    }
    if (call->flags & CALL_CHANGES)
        keep_promises();
    promise_due(call);
    if (call->rv != CKR_OK)
        return false;
    ask(call);
    promise_learn(call, session);
    return call->rv == CKR_OK || (brings_outputs(call->rv) && call->at < call->size);
}

CK_RV call_end(struct call *call)
{
    if (call->rv == CKR_OK && call->at != call->size)
        call->rv = CKR_DEVICE_ERROR;
    wipe(call);
    return call->rv;
}
