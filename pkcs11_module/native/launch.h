/* Starting the daemon where none listens. */
#ifndef KLYUCH_LAUNCH_H
#define KLYUCH_LAUNCH_H

#include <stdbool.h>

/* Start it and wait until it listens or another one has won; false where it cannot be started. */
bool launch_daemon(void);

#endif
