/* Waiting for an answer: awake where it comes soon, asleep where it takes long.
 *
 * To wake a thread that sleeps in recv() takes longer than most calls do. */
#ifndef KLYUCH_EAR_H
#define KLYUCH_EAR_H

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

/* As recv(), for the answer to that function. */
ssize_t ear_receive(int fd, uint32_t function, void *place, size_t room);

#endif
