/* What the measuring programs share: a command a line on stdin, an answer a line on stdout. */
#ifndef KLYUCH_BENCH_PEER_H
#define KLYUCH_BENCH_PEER_H

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

/* A program that waits for nobody sets it to the time of its own processor. */
static clockid_t measured_clock = CLOCK_MONOTONIC;

static inline uint64_t now_ns(void)
{
    struct timespec now;

    clock_gettime(measured_clock, &now);
    return (uint64_t)now.tv_sec * 1000000000 + (uint64_t)now.tv_nsec;
}

/* The conductor reads the last line and shows it. */
#define FAIL(...)                                                                                  \
    do {                                                                                           \
        printf("failed " __VA_ARGS__);                                                             \
        putchar('\n');                                                                             \
        fflush(stdout);                                                                            \
        exit(1);                                                                                   \
    } while (0)

static inline void answer(uint64_t count, uint64_t nanoseconds)
{
    printf("done %llu %llu\n", (unsigned long long)count, (unsigned long long)nanoseconds);
    fflush(stdout);
}

/* Does the action until the time is over, and says how often. */
static inline void repeat_for(void (*action)(void), double seconds)
{
    uint64_t begun = now_ns(), limit = begun + (uint64_t)(seconds * 1e9), count = 0;

    do {
        action();
        count++;
    } while (now_ns() < limit);
    answer(count, now_ns() - begun);
}

#endif
