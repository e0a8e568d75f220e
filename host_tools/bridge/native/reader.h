/* One reader: a thread that keeps the connection to the daemon, and what pcscd asks of it. Every
 * function but reader_close may be called from any thread. */
#ifndef KLYUCH_READER_H
#define KLYUCH_READER_H

#include "door.h"

struct reader;

/* NULL where the device's name is not one of ours, or there is no memory or thread to have. */
struct reader *reader_open(const char *device);
void reader_close(struct reader *reader);

bool reader_has_card(struct reader *reader);

/* Until a card comes or goes, reader_wake, or the time is over. For pcscd's one thread that watches
 * this reader. */
void reader_watch(struct reader *reader, int milliseconds);
void reader_wake(struct reader *reader);

/* `what` is POWER_UP, POWER_DOWN or RESET. False where there is no card. */
bool reader_power(struct reader *reader, unsigned char what);

/* Its length, 0 where there is no card. */
size_t reader_atr(struct reader *reader, unsigned char atr[MAX_ATR_SIZE]);

/* Waits as long as the card works. `size` is the response's room, then its length; returns an
 * IFD_ code. */
RESPONSECODE reader_transmit(struct reader *reader, const unsigned char *command, size_t length,
                             unsigned char *response, size_t *size);

#endif
