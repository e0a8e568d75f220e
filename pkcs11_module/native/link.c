#define _GNU_SOURCE
#include "link.h"

#include "channel.h"
#include "home.h"
#include "launch.h"
#include "promise.h"

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define FAREWELL_SECONDS 2
#define CROWDED_SECONDS 2
#define FINALIZE_NUMBER 1
#define GREETING_TRIES 3
/* After another daemon won, its socket may be a moment away. */
#define CONNECT_TRIES 50
#define CONNECT_PAUSE_NS (20L * 1000 * 1000)
/* A session's handle carries above these bits how many times the application was lost before it
 * was opened, so that a handle of a lost one never names a session of the next. */
#define SESSION_BITS 40

enum state { DOWN, STARTING, UP, ENDING };

struct connection {
    struct connection *next;
    uint64_t generation;
    int fd;
    bool busy;
    bool anchor;
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t changed = PTHREAD_COND_INITIALIZER;
static _Atomic enum state state = DOWN;
static _Atomic pid_t owner;
/* Grows with every connected application; `first` is that of the last C_Initialize. */
static _Atomic uint64_t generation, first;
static struct connection *connections;
static unsigned char application[APPLICATION_ID];
/* The application lives in the daemon; a thread is connecting it; threads that use a socket. */
static bool anchored, anchoring;
static unsigned users;
/* The daemon had no connection to give: until then threads take turns without asking again. */
static time_t crowded_until;

bool link_is_up(void)
{
    return atomic_load(&state) == UP && atomic_load(&owner) == getpid();
}

bool link_session(CK_SESSION_HANDLE session, uint64_t *handle, uint64_t *born)
{
    *born = atomic_load(&first) + (session >> SESSION_BITS);
    *handle = session & (((uint64_t)1 << SESSION_BITS) - 1);
    return *born == atomic_load(&generation);
}

bool link_tag(uint64_t handle, uint64_t born, CK_SESSION_HANDLE *session)
{
    *session = (born - atomic_load(&first)) << SESSION_BITS | handle;
    return handle >> SESSION_BITS == 0;
}

/* A connection with a socket, busy and not connected; here and below the lock is held. It is
 * listed before anything can happen to it, so that a fork at any moment finds the socket to close. */
static struct connection *list_connection(bool anchor)
{
    struct connection *fresh = calloc(1, sizeof *fresh);

    if (fresh == NULL)
        return NULL;
    fresh->fd = channel_socket();
    if (fresh->fd < 0) {
        free(fresh);
        return NULL;
    }
    fresh->generation = atomic_load(&generation);
    fresh->busy = true;
    fresh->anchor = anchor;
    fresh->next = connections;
    connections = fresh;
    users++;
    return fresh;
}

static void close_connection(struct connection *gone)
{
    struct connection **place = &connections;

    while (*place != gone)
        place = &(*place)->next;
    *place = gone->next;
    close(gone->fd);
    free(gone);
}

/* A socket in use is only shut down: its user wakes and closes it. */
static void drop_connections(void)
{
    struct connection *one = connections;

    while (one != NULL) {
        struct connection *next = one->next;

        shutdown(one->fd, SHUT_RDWR);
        if (!one->busy)
            close_connection(one);
        one = next;
    }
    anchored = false;
}

static void release(struct connection *used, bool intact)
{
    used->busy = false;
    users--;
    if (!intact && anchored && atomic_load(&state) == UP &&
        used->generation == atomic_load(&generation))
        drop_connections();
    else if (!intact || used->generation != atomic_load(&generation) || !anchored)
        close_connection(used);
    pthread_cond_broadcast(&changed);
}

/* The daemon answers at this socket; it is started where nobody listens. The lock is not held. */
static bool reach(int fd)
{
    const struct timespec pause = {.tv_nsec = CONNECT_PAUSE_NS};
    int error = channel_connect(fd);

    if (error == ENOENT || error == ECONNREFUSED) {
        if (!launch_daemon())
            return false;
        error = channel_connect(fd);
        for (int i = 0; error != 0 && i < CONNECT_TRIES; i++) {
            nanosleep(&pause, NULL);
            error = channel_connect(fd);
        }
    }
    if (error != 0)
        home_complain("cannot connect to the daemon", error);
    return error == 0;
}

/* Connect a new application. The lock is left meanwhile, with `anchoring` set. */
static CK_RV connect_anchor(void)
{
    CK_RV rv = CKR_GENERAL_ERROR;

    anchoring = true;
    for (int i = 0; i < GREETING_TRIES && !anchored; i++) {
        unsigned char id[APPLICATION_ID] = {0};
        enum greeting greeting = SILENT;
        struct connection *anchor;

        atomic_fetch_add(&generation, 1);
        anchor = list_connection(true);
        if (anchor == NULL) {
            rv = CKR_HOST_MEMORY;
            break;
        }
        pthread_mutex_unlock(&lock);
        if (reach(anchor->fd)) {
            greeting = channel_greet(anchor->fd, id, &rv);
            if (greeting == SILENT)
                home_complain("the daemon does not answer; end it: klyuch stop --force", 0);
        }
        pthread_mutex_lock(&lock);
        anchor->busy = false;
        users--;
        if (greeting == GREETED && rv == CKR_OK) {
            memcpy(application, id, sizeof application);
            promise_map();
            anchored = true;
            break;
        }
        close_connection(anchor);
        /* A daemon that was about to leave hangs up instead of greeting: try the next one. */
        if (greeting != HUNG_UP)
            break;
    }
    anchoring = false;
    pthread_cond_broadcast(&changed);
    return anchored ? CKR_OK : rv;
}

/* Whether the application's own connection is there to tell that the daemon lives. */
static bool anchor_lives(void)
{
    for (struct connection *one = connections; one != NULL; one = one->next)
        if (one->anchor)
            return channel_lives(one->fd);
    return false;
}

/* One more connection of the application. CKR_HOST_MEMORY where this process or the daemon has
 * none to give: the application lives on with those it has. */
static CK_RV attach(struct connection **taken)
{
    struct connection *fresh = list_connection(false);
    enum greeting greeting = HUNG_UP;
    unsigned char id[APPLICATION_ID];
    CK_RV rv = CKR_GENERAL_ERROR;
    bool current, reached;

    if (fresh == NULL)
        return CKR_HOST_MEMORY;
    memcpy(id, application, sizeof id);
    pthread_mutex_unlock(&lock);
    reached = channel_connect(fresh->fd) == 0;
    if (reached)
        greeting = channel_greet(fresh->fd, id, &rv);
    pthread_mutex_lock(&lock);
    current = anchored && atomic_load(&state) == UP &&
              fresh->generation == atomic_load(&generation);
    if (current && greeting == GREETED && rv == CKR_OK) {
        *taken = fresh;
        return CKR_OK;
    }
    if (current && reached && greeting != GREETED && anchor_lives()) {
        users--;
        close_connection(fresh);
        pthread_cond_broadcast(&changed);
        return CKR_HOST_MEMORY;
    }
    release(fresh, false);
    return CKR_DEVICE_REMOVED;
}

/* The application that the call belongs to is there, connected anew where it may be. */
static CK_RV stand(const struct call *call)
{
    while (atomic_load(&state) == UP && !anchored && !call->has_session) {
        if (anchoring)
            pthread_cond_wait(&changed, &lock);
        else if (connect_anchor() != CKR_OK)
            return CKR_DEVICE_ERROR;
    }
    if (atomic_load(&state) != UP)
        return CKR_CRYPTOKI_NOT_INITIALIZED;
    if (call->has_session && (!anchored || call->generation != atomic_load(&generation)))
        return CKR_SESSION_HANDLE_INVALID;
    return CKR_OK;
}

/* A connection that nobody uses; what may wait for long never holds the anchor. */
static struct connection *find_free(const struct call *call)
{
    for (struct connection *one = connections; one != NULL; one = one->next)
        if (!one->busy && !(one->anchor && (call->flags & CALL_BLOCKING)))
            return one;
    return NULL;
}

static time_t now_seconds(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return now.tv_sec;
}

/* A connection for the call, marked busy. */
static CK_RV take(const struct call *call, struct connection **taken)
{
    CK_RV rv;

    while ((rv = stand(call)) == CKR_OK) {
        struct connection *found = find_free(call);

        if (found != NULL) {
            found->busy = true;
            users++;
            *taken = found;
            return CKR_OK;
        }
        if ((call->flags & CALL_BLOCKING) || now_seconds() >= crowded_until) {
            rv = attach(taken);
            if (rv != CKR_HOST_MEMORY || (call->flags & CALL_BLOCKING))
                return rv;
            crowded_until = now_seconds() + CROWDED_SECONDS;
        }
        /* All are busy, the anchor with something short. */
        if (find_free(call) == NULL)
            pthread_cond_wait(&changed, &lock);
    }
    return rv;
}

static CK_RV exchange_once(struct call *call)
{
    struct connection *used = NULL;
    bool intact;
    CK_RV rv;

    pthread_mutex_lock(&lock);
    rv = take(call, &used);
    if (rv == CKR_OK) {
        call->generation = used->generation;
        pthread_mutex_unlock(&lock);
        intact = channel_send(used->fd, call->data, call->size) && channel_receive(used->fd, call);
        pthread_mutex_lock(&lock);
        release(used, intact);
        if (!intact)
            rv = call->rv != CKR_OK ? call->rv : CKR_DEVICE_REMOVED;
    }
    if (rv != CKR_OK && atomic_load(&state) != UP)
        rv = CKR_CRYPTOKI_NOT_INITIALIZED;
    pthread_mutex_unlock(&lock);
    return rv;
}

CK_RV link_exchange(struct call *call)
{
    size_t size = call->size;
    int cancel;
    CK_RV rv;

    /* A thread cancelled while it waits would keep the connection for ever. */
    pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, &cancel);
    rv = exchange_once(call);
    if (rv == CKR_DEVICE_REMOVED && (call->flags & CALL_RETRY) && !call->answered) {
        call->size = size;
        rv = exchange_once(call);
    }
    pthread_setcancelstate(cancel, NULL);
    /* C_WaitForSlotEvent waits with no device in particular that could be removed. */
    if (rv == CKR_DEVICE_REMOVED && (call->flags & CALL_BLOCKING) && !call->has_session)
        rv = CKR_FUNCTION_FAILED;
    return rv;
}

/* In a forked child the sockets are the parent's: closed, never shut down. */
static void forget(void)
{
    while (connections != NULL)
        close_connection(connections);
    anchored = anchoring = false;
    users = 0;
    promise_forget();
    changed = (pthread_cond_t)PTHREAD_COND_INITIALIZER;
    atomic_store(&state, DOWN);
}

static void before_fork(void)
{
    pthread_mutex_lock(&lock);
}

static void after_fork_parent(void)
{
    pthread_mutex_unlock(&lock);
}

static void after_fork_child(void)
{
    forget();
    pthread_mutex_unlock(&lock);
}

CK_RV link_up(void)
{
    static bool registered;
    int cancel;
    CK_RV rv;

    pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, &cancel);
    pthread_mutex_lock(&lock);
    if (!registered)
        registered = pthread_atfork(before_fork, after_fork_parent, after_fork_child) == 0;
    /* A process made without fork handlers, by clone, say. */
    if (atomic_load(&owner) != getpid())
        forget();
    while (atomic_load(&state) == STARTING || atomic_load(&state) == ENDING)
        pthread_cond_wait(&changed, &lock);
    rv = CKR_CRYPTOKI_ALREADY_INITIALIZED;
    if (atomic_load(&state) == DOWN) {
        atomic_store(&owner, getpid());
        atomic_store(&state, STARTING);
        rv = connect_anchor();
        atomic_store(&first, atomic_load(&generation));
        atomic_store(&state, rv == CKR_OK ? UP : DOWN);
        pthread_cond_broadcast(&changed);
    }
    pthread_mutex_unlock(&lock);
    pthread_setcancelstate(cancel, NULL);
    return rv;
}

/* Tell the daemon, so that the sessions have ended when C_Finalize returns. */
static void farewell(int fd)
{
    unsigned char frame[FRAME_HEAD + 4];
    struct call answer = {.data = answer.room, .capacity = sizeof answer.room};

    store_u32(frame, 4);
    store_u32(frame + FRAME_HEAD, FINALIZE_NUMBER);
    channel_limit(fd, FAREWELL_SECONDS);
    if (channel_send(fd, frame, sizeof frame))
        channel_receive(fd, &answer);
}

CK_RV link_down(void)
{
    struct connection *anchor = NULL;
    int cancel;

    if (!link_is_up())
        return CKR_CRYPTOKI_NOT_INITIALIZED;
    pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, &cancel);
    pthread_mutex_lock(&lock);
    if (atomic_load(&state) != UP) {
        pthread_mutex_unlock(&lock);
        pthread_setcancelstate(cancel, NULL);
        return CKR_CRYPTOKI_NOT_INITIALIZED;
    }
    atomic_store(&state, ENDING);
    pthread_cond_broadcast(&changed);
    for (struct connection *one = connections; one != NULL; one = one->next) {
        if (one->busy)
            shutdown(one->fd, SHUT_RDWR);
        else if (one->anchor && anchored)
            anchor = one;
    }
    if (anchor != NULL) {
        anchor->busy = true;
        users++;
        pthread_mutex_unlock(&lock);
        farewell(anchor->fd);
        pthread_mutex_lock(&lock);
        anchor->busy = false;
        users--;
    }
    while (users > 0 || anchoring)
        pthread_cond_wait(&changed, &lock);
    drop_connections();
    atomic_store(&state, DOWN);
    pthread_cond_broadcast(&changed);
    pthread_mutex_unlock(&lock);
    pthread_setcancelstate(cancel, NULL);
    return CKR_OK;
}

/* dlclose, also of a library that is still initialised. A signal handler that exits may have
 * interrupted the lock's holder: then the process ends and its sockets with it. */
__attribute__((destructor)) static void unload(void)
{
    if (atomic_load(&owner) == getpid() && pthread_mutex_trylock(&lock) == 0) {
        drop_connections();
        promise_forget();
        pthread_mutex_unlock(&lock);
    }
}
