#define _GNU_SOURCE
#include "ear.h"

#include <errno.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <sys/socket.h>
#include <time.h>

/* Nanoseconds: an answer that comes within SOON is worth staying awake for, and no longer. */
#define SOON 250000U
/* A processor that a yield gives back after this long has other work to do ... */
#define STOLEN 200000U
/* ... and is left to it for this long. */
#define BACK_OFF 200000000U
#define FUNCTIONS 256

/* By a function's number: its last answer came soon. */
static atomic_bool quick[FUNCTIONS];
/* One thread of the process is awake with nothing to do: more would hinder the others. */
static atomic_flag lingering = ATOMIC_FLAG_INIT;
static _Atomic uint64_t tired_until;

static uint64_t now(void)
{
    struct timespec time;

    clock_gettime(CLOCK_MONOTONIC, &time);
    return (uint64_t)time.tv_sec * 1000000000U + (uint64_t)time.tv_nsec;
}

/* -1 with EAGAIN where nothing came soon. */
static ssize_t linger(int fd, void *place, size_t room, uint64_t begun)
{
    uint64_t before, after = begun;
    ssize_t count;

    do {
        count = recv(fd, place, room, MSG_DONTWAIT);
        if (count >= 0 || (errno != EAGAIN && errno != EWOULDBLOCK))
            return count;
        sched_yield();
        before = after;
        after = now();
        if (after - before > STOLEN)
            atomic_store(&tired_until, after + BACK_OFF);
    } while (after - begun < SOON && after - before <= STOLEN);
    errno = EAGAIN;
    return -1;
}

ssize_t ear_receive(int fd, uint32_t function, void *place, size_t room)
{
    atomic_bool *soon = &quick[function % FUNCTIONS];
    uint64_t begun = now();
    ssize_t count = -1;

    errno = EAGAIN;
    if (atomic_load(soon) && begun > atomic_load(&tired_until) &&
        !atomic_flag_test_and_set(&lingering)) {
        count = linger(fd, place, room, begun);
        atomic_flag_clear(&lingering);
    }
    if (count < 0 && errno == EAGAIN) {
        count = recv(fd, place, room, 0);
        atomic_store(soon, now() - begun < SOON);
    }
    return count;
}
