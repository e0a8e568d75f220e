/* The socket to the daemon: finding it, checking who listens, frames out and in (apdu/wire/ifd.py).
 * What waits for the daemon ends at once when its `alarm` is readable. */
#ifndef KLYUCH_DOOR_H
#define KLYUCH_DOOR_H

#include "ifdhandler.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define FRAME_HEAD 4
#define FRAME_MAX (FRAME_HEAD + 1 + MAX_BUFFER_SIZE_EXTENDED)

enum { HELLO = 1, POWER_UP, POWER_DOWN, RESET, TRANSMIT, INSERTED = 0x81, REMOVED, ANSWER };
/* What is said of a frame with a length that none has; nothing can be read behind it. */
#define MALFORMED 0

struct address {
    char *folder;
    char *name;
    uint16_t slot;
    /* What is shown of the card. */
    char *shown;
};

/* `device` is "/dev/null:SOCKET:SLOT:SHOWN", perhaps in quotes; false for anything else. */
bool door_parse(const char *device, struct address *address);
void door_forget(struct address *address);

/* A greeted connection as soon as there is somebody who listens and may; -1 once `alarm` is
 * readable. */
int door_connect(const struct address *address, int alarm);

/* False once `alarm` is readable, true after that time. */
bool door_pause(int alarm, int milliseconds);

/* False where the daemon does not take it: the connection is of no use any more. */
bool door_send(int fd, unsigned char what, const unsigned char *data, size_t size);

/* What was received and not yet taken. */
struct inbox {
    unsigned char data[FRAME_MAX];
    size_t size;
};

struct frame {
    unsigned char what;
    const unsigned char *data;
    size_t size;
};

/* The next frame, valid until the next call; false where the connection has ended, or `alarm` is
 * readable. */
bool door_receive(int fd, int alarm, struct inbox *inbox, struct frame *frame);

#endif
