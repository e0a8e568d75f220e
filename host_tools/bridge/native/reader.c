#define _GNU_SOURCE
#include "reader.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

/* Between two connections of which the first ended before a word of the daemon, or by a lie. Where
 * it only did nothing, the pause begins at the shorter one and doubles up to that. */
#define PAUSE_MS 1000
#define SHORT_PAUSE_MS 20
#define SW_SIZE 2

struct exchange {
    unsigned char *response;
    size_t room, size;
    enum { NONE, OPEN, ANSWERED, BROKEN } state;
};

struct reader {
    struct address address;
    pthread_t thread;
    /* Readable once the thread has to end. */
    int alarm;
    struct inbox inbox;

    pthread_mutex_t lock;
    pthread_cond_t changed;
    int fd;
    bool present;
    unsigned char atr[MAX_ATR_SIZE];
    size_t atr_size;
    struct exchange exchange;

    /* pcscd only looks now and then: a card that was exchanged meanwhile is hidden until its
     * watching thread has seen the reader empty. */
    bool pulled, pull_seen;
    /* What the watching thread saw last, and who it is. */
    bool shown, waking, has_watcher;
    pthread_t watcher;
};

static bool has_card(const struct reader *reader)
{
    return reader->present && !reader->pulled;
}

/* Here and below the lock is held. */
static void pull(struct reader *reader)
{
    if (!reader->present)
        return;
    reader->present = false;
    reader->pulled = true;
    reader->pull_seen = false;
}

static void finish(struct exchange *exchange, const struct frame *frame)
{
    exchange->size = frame->size;
    if (frame->size <= exchange->room)
        memcpy(exchange->response, frame->data, frame->size);
    exchange->state = ANSWERED;
}

/* False for what no daemon sends. */
static bool take(struct reader *reader, const struct frame *frame)
{
    switch (frame->what) {
    case INSERTED:
        if (frame->size < 2 || frame->size > MAX_ATR_SIZE)
            return false;
        pull(reader);
        reader->present = true;
        memcpy(reader->atr, frame->data, frame->size);
        reader->atr_size = frame->size;
        break;
    case REMOVED:
        if (frame->size != 0)
            return false;
        pull(reader);
        break;
    case ANSWER:
        if (reader->exchange.state != OPEN)
            return false;
        finish(&reader->exchange, frame);
        break;
    default:
        return false;
    }
    pthread_cond_broadcast(&reader->changed);
    return true;
}

static void hang_up(struct reader *reader)
{
    pthread_mutex_lock(&reader->lock);
    close(reader->fd);
    reader->fd = -1;
    pull(reader);
    if (reader->exchange.state == OPEN)
        reader->exchange.state = BROKEN;
    pthread_cond_broadcast(&reader->changed);
    pthread_mutex_unlock(&reader->lock);
}

enum course { USELESS, IDLE, USEFUL };

static long long now_ms(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return now.tv_sec * 1000LL + now.tv_nsec / 1000000;
}

/* USELESS where the daemon said nothing, or what it may not say; IDLE where it soon hung up without
 * having answered anything. */
static enum course listen_to(struct reader *reader, int fd)
{
    long long end = now_ms() + PAUSE_MS;
    struct frame frame = {0};
    bool good = true, spoke = false, answered = false;

    reader->inbox.size = 0;
    pthread_mutex_lock(&reader->lock);
    reader->fd = fd;
    pthread_mutex_unlock(&reader->lock);
    while (good && door_receive(fd, reader->alarm, &reader->inbox, &frame)) {
        pthread_mutex_lock(&reader->lock);
        good = take(reader, &frame);
        pthread_mutex_unlock(&reader->lock);
        spoke = true;
        answered |= frame.what == ANSWER;
    }
    hang_up(reader);
    if (!spoke || !good)
        return USELESS;
    return answered || now_ms() >= end ? USEFUL : IDLE;
}

static int next_pause(int before, enum course course)
{
    if (course == USEFUL)
        return 0;
    if (course == USELESS || before > PAUSE_MS / 2)
        return PAUSE_MS;
    return before == 0 ? SHORT_PAUSE_MS : 2 * before;
}

static void *keep_connected(void *argument)
{
    struct reader *reader = argument;
    int fd, pause = 0;

    while ((fd = door_connect(&reader->address, reader->alarm)) >= 0) {
        pause = next_pause(pause, listen_to(reader, fd));
        if (!door_pause(reader->alarm, pause))
            break;
    }
    return NULL;
}

/* Signals are pcscd's. */
static bool start(struct reader *reader)
{
    sigset_t all, before;
    bool started;

    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    started = pthread_create(&reader->thread, NULL, keep_connected, reader) == 0;
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    return started;
}

static void release(struct reader *reader)
{
    door_forget(&reader->address);
    if (reader->alarm >= 0)
        close(reader->alarm);
    pthread_cond_destroy(&reader->changed);
    pthread_mutex_destroy(&reader->lock);
    free(reader);
}

struct reader *reader_open(const char *device)
{
    struct reader *reader = calloc(1, sizeof *reader);
    pthread_condattr_t clock;

    if (reader == NULL)
        return NULL;
    pthread_mutex_init(&reader->lock, NULL);
    pthread_condattr_init(&clock);
    pthread_condattr_setclock(&clock, CLOCK_MONOTONIC);
    pthread_cond_init(&reader->changed, &clock);
    pthread_condattr_destroy(&clock);
    reader->fd = -1;
    reader->alarm = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (reader->alarm >= 0 && door_parse(device, &reader->address) && start(reader))
        return reader;
    release(reader);
    return NULL;
}

void reader_close(struct reader *reader)
{
    eventfd_write(reader->alarm, 1);
    pthread_join(reader->thread, NULL);
    /* pcscd closes also while a command runs, if that takes too long for it. */
    pthread_mutex_lock(&reader->lock);
    while (reader->exchange.state != NONE)
        pthread_cond_wait(&reader->changed, &reader->lock);
    pthread_mutex_unlock(&reader->lock);
    release(reader);
}

bool reader_has_card(struct reader *reader)
{
    bool present;

    pthread_mutex_lock(&reader->lock);
    present = has_card(reader);
    /* Only the one who goes to wait afterwards; before it did so first, nobody knows who it is. */
    if (!reader->has_watcher || pthread_equal(reader->watcher, pthread_self())) {
        reader->shown = present;
        reader->pull_seen = reader->pulled;
    }
    pthread_mutex_unlock(&reader->lock);
    return present;
}

static struct timespec after(int milliseconds)
{
    struct timespec when;

    clock_gettime(CLOCK_MONOTONIC, &when);
    when.tv_sec += milliseconds / 1000;
    when.tv_nsec += milliseconds % 1000 * 1000000L;
    if (when.tv_nsec >= 1000000000L) {
        when.tv_nsec -= 1000000000L;
        when.tv_sec++;
    }
    return when;
}

void reader_watch(struct reader *reader, int milliseconds)
{
    struct timespec end = after(milliseconds);
    int result = 0;

    pthread_mutex_lock(&reader->lock);
    reader->watcher = pthread_self();
    reader->has_watcher = true;
    if (reader->pull_seen)
        reader->pulled = reader->pull_seen = false;
    while (result == 0 && !reader->waking && !reader->pulled && has_card(reader) == reader->shown)
        result = pthread_cond_timedwait(&reader->changed, &reader->lock, &end);
    reader->waking = false;
    pthread_mutex_unlock(&reader->lock);
}

void reader_wake(struct reader *reader)
{
    pthread_mutex_lock(&reader->lock);
    reader->waking = true;
    pthread_cond_broadcast(&reader->changed);
    pthread_mutex_unlock(&reader->lock);
}

/* The thread that listens then closes it. */
static bool tell(struct reader *reader, unsigned char what, const unsigned char *data, size_t size)
{
    if (door_send(reader->fd, what, data, size))
        return true;
    shutdown(reader->fd, SHUT_RDWR);
    return false;
}

bool reader_power(struct reader *reader, unsigned char what)
{
    bool done;

    pthread_mutex_lock(&reader->lock);
    done = has_card(reader) && tell(reader, what, NULL, 0);
    pthread_mutex_unlock(&reader->lock);
    return done;
}

size_t reader_atr(struct reader *reader, unsigned char atr[MAX_ATR_SIZE])
{
    size_t size = 0;

    pthread_mutex_lock(&reader->lock);
    if (has_card(reader)) {
        size = reader->atr_size;
        memcpy(atr, reader->atr, size);
    }
    pthread_mutex_unlock(&reader->lock);
    return size;
}

static RESPONSECODE outcome(const struct exchange *exchange)
{
    if (exchange->state != ANSWERED)
        return IFD_ICC_NOT_PRESENT;
    /* Without a status word it is no answer: the card was pulled, or is out of order. */
    if (exchange->size < SW_SIZE)
        return IFD_COMMUNICATION_ERROR;
    return exchange->size <= exchange->room ? IFD_SUCCESS : IFD_ERROR_INSUFFICIENT_BUFFER;
}

RESPONSECODE reader_transmit(struct reader *reader, const unsigned char *command, size_t length,
                             unsigned char *response, size_t *size)
{
    struct exchange *exchange = &reader->exchange;
    RESPONSECODE result = IFD_ICC_NOT_PRESENT;

    pthread_mutex_lock(&reader->lock);
    if (has_card(reader) && exchange->state == NONE) {
        *exchange = (struct exchange){.response = response, .room = *size, .state = OPEN};
        if (!tell(reader, TRANSMIT, command, length))
            exchange->state = BROKEN;
        while (exchange->state == OPEN)
            pthread_cond_wait(&reader->changed, &reader->lock);
        result = outcome(exchange);
        *size = result == IFD_SUCCESS ? exchange->size : 0;
        *exchange = (struct exchange){0};
        pthread_cond_broadcast(&reader->changed);
    }
    pthread_mutex_unlock(&reader->lock);
    return result;
}
