#define _GNU_SOURCE
#include "promise.h"

#include "home.h"

#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#define PAGE_NAME "epoch"
#define PAGE_SIZE 4096
#define PLACES 64
#define BEGINS CALL_BEGINS(0)
#define FINISHES CALL_FINISHES(0)

struct promise {
    uint64_t generation, session, epoch, used;
    uint32_t kind;
    /* The session has no such operation; it has one that the daemon does not know of yet. */
    bool idle, due;
    /* 0: the place is free. */
    size_t size;
    unsigned char frame[FRONT_MAX];
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct promise promises[PLACES];
static uint64_t uses;
static const _Atomic uint64_t *page;

static uint32_t kind_of(const struct call *call)
{
    return call->flags >> 8;
}

/* Here and below the lock is held. */
static struct promise *find(uint64_t generation, uint64_t session)
{
    for (size_t i = 0; i < PLACES; i++) {
        struct promise *one = &promises[i];

        if (one->size > 0 && one->session == session && one->generation == generation) {
            one->used = ++uses;
            return one;
        }
    }
    return NULL;
}

/* A free place, else that of the longest unused promise which is not due; NULL without any. */
static struct promise *place(void)
{
    struct promise *oldest = NULL;

    for (size_t i = 0; i < PLACES; i++) {
        struct promise *one = &promises[i];

        if (one->size == 0)
            return one;
        if (!one->due && (oldest == NULL || one->used < oldest->used))
            oldest = one;
    }
    return oldest;
}

static const void *open_page(void)
{
    char path[PATH_MAX];
    struct stat found;
    size_t length;
    void *mapped = MAP_FAILED;
    int fd;

    if (!home_run_folder(path, sizeof path))
        return NULL;
    length = strlen(path);
    if ((size_t)snprintf(path + length, sizeof path - length, "/" PAGE_NAME) >=
        sizeof path - length)
        return NULL;
    fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
    if (fd < 0)
        return NULL;
    if (fstat(fd, &found) == 0 && found.st_uid == geteuid() && S_ISREG(found.st_mode) &&
        found.st_size >= PAGE_SIZE)
        mapped = mmap(NULL, PAGE_SIZE, PROT_READ, MAP_SHARED, fd, 0);
    close(fd);
    return mapped == MAP_FAILED ? NULL : mapped;
}

static void drop_page(void)
{
    if (page != NULL)
        munmap((void *)(uintptr_t)page, PAGE_SIZE);
    page = NULL;
}

void promise_map(void)
{
    const void *fresh = open_page();

    pthread_mutex_lock(&lock);
    drop_page();
    memset(promises, 0, sizeof promises);
    page = fresh;
    pthread_mutex_unlock(&lock);
}

void promise_forget(void)
{
    lock = (pthread_mutex_t)PTHREAD_MUTEX_INITIALIZER;
    drop_page();
    memset(promises, 0, sizeof promises);
}

/* Remember what is about to be asked for, in the place of what the session was granted before. */
static void note(struct promise *known, const struct call *call, uint64_t session)
{
    struct promise *one = known != NULL ? known : place();

    if (one == NULL)
        return;
    *one = (struct promise){
        .generation = call->generation,
        .session = session,
        .epoch = atomic_load(page),
        .used = ++uses,
        .kind = kind_of(call),
        .size = call->size,
    };
    memcpy(one->frame, call->data, call->size);
}

bool promise_made(struct call *call)
{
    struct promise *known;
    bool made = false;

    if (!(call->flags & CALL_PROMISES))
        return false;
    pthread_mutex_lock(&lock);
    known = find(call->generation, call_session(call));
    if (known != NULL && page != NULL && known->idle && known->epoch == atomic_load(page) &&
        known->size == call->size && memcmp(known->frame, call->data, call->size) == 0) {
        known->idle = false;
        known->due = made = true;
    }
    pthread_mutex_unlock(&lock);
    return made;
}

/* Take the frame that is due; gives its size. */
static size_t take(struct promise *known, unsigned char *frame)
{
    known->due = false;
    memcpy(frame, known->frame, known->size);
    return known->size;
}

void promise_due(struct call *call)
{
    unsigned char frame[FRONT_MAX];
    uint64_t session = call_session(call);
    struct promise *known;
    size_t size = 0;

    if (!call->has_session)
        return;
    pthread_mutex_lock(&lock);
    known = find(call->generation, session);
    if (known != NULL && known->due && call_reserve(call, known->size))
        size = take(known, frame);
    if ((call->flags & CALL_PROMISES) && page != NULL && call->size <= FRONT_MAX)
        note(known, call, session);
    else if ((call->flags & BEGINS) && known != NULL)
        known->size = 0;
    pthread_mutex_unlock(&lock);
    if (size == 0)
        return;
    memmove(call->data + size, call->data, call->size);
    memcpy(call->data, frame, size);
    call->size += size;
    call->lead = FRONT_ANSWER;
}

bool promise_take(struct call *call)
{
    size_t size = 0;

    pthread_mutex_lock(&lock);
    for (size_t i = 0; i < PLACES && size == 0; i++) {
        struct promise *one = &promises[i];

        if (one->size == 0 || !one->due)
            continue;
        call_begin(call, load_u32(one->frame + FRAME_HEAD), 0);
        call->has_session = true;
        call->generation = one->generation;
        size = call->size = take(one, call->data);
    }
    pthread_mutex_unlock(&lock);
    return size > 0;
}

void promise_learn(const struct call *call, uint64_t session)
{
    struct promise *known;

    if (!(call->flags & (BEGINS | FINISHES)))
        return;
    pthread_mutex_lock(&lock);
    known = find(call->generation, session);
    if (known != NULL && (call->flags & BEGINS) && call->rv != CKR_OK)
        known->size = 0;
    else if (known != NULL && (call->flags & FINISHES) && call->rv == CKR_OK && !known->due &&
             known->kind == kind_of(call))
        known->idle = true;
    pthread_mutex_unlock(&lock);
}
