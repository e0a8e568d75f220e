#define _GNU_SOURCE
#include "channel.h"

#include "ear.h"
#include "home.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>
#include <unistd.h>

#define SOCKET_NAME "pkcs11.sock"
#define PROTOCOL_VERSION 3
#ifndef GREETING_SECONDS
#define GREETING_SECONDS 15
#endif
/* A daemon that dies closes its sockets one after the other. */
#define MOMENT_MS 50
#define HELLO_SIZE (4 + 4 + APPLICATION_ID)
#define HELLO_ANSWER (4 + APPLICATION_ID)

int channel_socket(void)
{
    return socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
}

void channel_limit(int fd, int seconds)
{
    struct timeval limit = {.tv_sec = seconds};

    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
    setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof limit);
}

/* The socket lies in a 0700 folder, yet $KLYUCH_HOME may name a folder of somebody else. */
static bool is_ours(int fd)
{
    struct ucred peer;
    socklen_t size = sizeof peer;

    return getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &size) == 0 && peer.uid == geteuid();
}

static int connect_to(int fd, const struct sockaddr_un *address)
{
    int result;

    do
        result = connect(fd, (const struct sockaddr *)address, sizeof *address);
    while (result < 0 && errno == EINTR);
    if (result < 0)
        return errno;
    return is_ours(fd) ? 0 : EPERM;
}

int channel_connect(int fd)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    char folder[PATH_MAX];
    int handle, error;
    size_t length;

    if (!home_run_folder(folder, sizeof folder))
        return ENAMETOOLONG;
    channel_limit(fd, GREETING_SECONDS);
    length = strlen(folder);
    if (length + sizeof "/" SOCKET_NAME <= sizeof address.sun_path) {
        memcpy(address.sun_path, folder, length);
        memcpy(address.sun_path + length, "/" SOCKET_NAME, sizeof "/" SOCKET_NAME);
        return connect_to(fd, &address);
    }
    /* A name longer than an address holds is reached through its opened folder. */
    handle = open(folder, O_PATH | O_DIRECTORY | O_CLOEXEC);
    if (handle < 0)
        return errno;
    snprintf(address.sun_path, sizeof address.sun_path, "/proc/self/fd/%d/%s", handle, SOCKET_NAME);
    error = connect_to(fd, &address);
    close(handle);
    return error;
}

/* What a failed send or receive means. */
static enum greeting failure(void)
{
    return errno == EAGAIN || errno == EWOULDBLOCK ? SILENT : HUNG_UP;
}

enum greeting channel_greet(int fd, unsigned char id[APPLICATION_ID], CK_RV *rv)
{
    unsigned char hello[FRAME_HEAD + HELLO_SIZE] = {0};
    unsigned char answer[FRAME_HEAD + HELLO_ANSWER];
    size_t got = 0;

    store_u32(hello, HELLO_SIZE);
    memcpy(hello + FRAME_HEAD, "KLY1", 4);
    store_u32(hello + FRAME_HEAD + 4, PROTOCOL_VERSION);
    memcpy(hello + FRAME_HEAD + 8, id, APPLICATION_ID);
    if (!channel_send(fd, hello, sizeof hello))
        return failure();
    while (got < sizeof answer) {
        ssize_t count = recv(fd, answer + got, sizeof answer - got, 0);

        if (count < 0 && errno == EINTR)
            continue;
        if (count <= 0)
            return count == 0 ? HUNG_UP : failure();
        got += (size_t)count;
    }
    if (load_u32(answer) != HELLO_ANSWER)
        return HUNG_UP;
    *rv = load_u32(answer + FRAME_HEAD);
    if (*rv == CKR_OK)
        memcpy(id, answer + FRAME_HEAD + 4, APPLICATION_ID);
    channel_limit(fd, 0);
    return GREETED;
}

bool channel_lives(int fd)
{
    struct pollfd end = {.fd = fd, .events = POLLRDHUP};

    return poll(&end, 1, MOMENT_MS) == 0;
}

bool channel_send(int fd, const unsigned char *data, size_t size)
{
    while (size > 0) {
        ssize_t count = send(fd, data, size, MSG_NOSIGNAL);

        if (count < 0 && errno == EINTR)
            continue;
        if (count <= 0)
            return false;
        data += count;
        size -= (size_t)count;
    }
    return true;
}

bool channel_receive(int fd, struct call *call)
{
    size_t head = call->lead + FRAME_HEAD;
    size_t need = head;

    call->size = 0;
    while (call->size < need) {
        ssize_t count = ear_receive(fd, call->function, call->data + call->size,
                                    call->capacity - call->size);

        if (count < 0 && errno == EINTR)
            continue;
        if (count <= 0)
            return false;
        call->answered = true;
        call->size += (size_t)count;
        if (call->size < head)
            continue;
        need = head + (size_t)load_u32(call->data + call->lead);
        if (need > head + FRAME_MAX || call->size > need)
            return false;
        if (need > call->capacity && !call_reserve(call, need - call->size))
            return false;
    }
    call->at = head;
    return call->lead == 0 || load_u32(call->data) == call->lead - FRAME_HEAD;
}
