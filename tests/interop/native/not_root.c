/* Loaded before the C library: a program that asks who it is is told that it is not root.
   Debian's p11-kit passes over the configuration of its user where that is root. */

#include <sys/types.h>
#include <unistd.h>

uid_t getuid(void) { return 65534; }
