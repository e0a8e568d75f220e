/* Where the daemon's socket and program are. */
#ifndef KLYUCH_HOME_H
#define KLYUCH_HOME_H

#include <stdbool.h>
#include <stddef.h>

/* $KLYUCH_HOME/run or ~/.local/share/klyuch/run; false where there is no home or it is too long. */
bool home_run_folder(char *path, size_t size);

/* The program that starts the daemon; false where none is found. */
bool home_daemon(char *path, size_t size);

/* One line on stderr where $KLYUCH_DEBUG is set: a library has no other place to complain. */
void home_complain(const char *what, int error);

#endif
