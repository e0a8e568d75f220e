/* One socket to the daemon: connecting, greeting, frames out and in. Never raises SIGPIPE. */
#ifndef KLYUCH_CHANNEL_H
#define KLYUCH_CHANNEL_H

#include "marshal.h"

#define APPLICATION_ID 16

/* An unconnected socket, -1 where there is none to have. */
int channel_socket(void);

/* 0, or the errno value that tells why nobody could be reached. */
int channel_connect(int fd);

enum greeting { GREETED, HUNG_UP, SILENT };

/* Greet: a new application where `id` is zeros, which then is set; else attach to that one.
 * `rv` is the daemon's answer where it GREETED. */
enum greeting channel_greet(int fd, unsigned char id[APPLICATION_ID], CK_RV *rv);

/* Whether the other end stays open for the next moment. */
bool channel_lives(int fd);

/* Seconds after which a send or a receive gives up; 0 = never. */
void channel_limit(int fd, int seconds);

bool channel_send(int fd, const unsigned char *data, size_t size);

/* A whole frame into the call's buffer, `at` behind its length; false where it breaks off. */
bool channel_receive(int fd, struct call *call);

#endif
