#define _GNU_SOURCE
#include "door.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/inotify.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#define DEVICE "/dev/null:"
#define MAGIC "KLYI"
#define VERSION 1
#define HELLO_HEAD 8
#define MAX_NAME 16
#define SEND_PATIENCE_MS 5000
/* Where the folder can be watched this is only for what no watch tells. */
#define RETRY_MS 500
#define RETRY_WATCHED_MS 5000

static bool parse_slot(const char *digits, uint16_t *slot)
{
    char *end;
    unsigned long value;

    if (*digits < '0' || *digits > '9')
        return false;
    errno = 0;
    value = strtoul(digits, &end, 10);
    *slot = (uint16_t)value;
    return *end == '\0' && errno == 0 && value <= UINT16_MAX;
}

static bool is_name(const char *name)
{
    size_t length = strspn(name, "abcdefghijklmnopqrstuvwxyz0123456789");

    return length >= 1 && length <= MAX_NAME && name[length] == '\0';
}

/* Cuts `text` before its last colon; what is behind it, or NULL. */
static char *cut(char *text)
{
    char *colon = strrchr(text, ':');

    if (colon == NULL)
        return NULL;
    *colon = '\0';
    return colon + 1;
}

static bool split(char *socket_name, struct address *address)
{
    char *shown = cut(socket_name), *slot = shown == NULL ? NULL : cut(socket_name), *slash;

    if (slot == NULL || !is_name(shown) || !parse_slot(slot, &address->slot))
        return false;
    slash = strrchr(socket_name, '/');
    if (slash == NULL || slash[1] == '\0')
        return false;
    *slash = '\0';
    address->folder = strdup(slash == socket_name ? "/" : socket_name);
    address->name = strdup(slash + 1);
    address->shown = strdup(shown);
    return address->folder != NULL && address->name != NULL && address->shown != NULL;
}

bool door_parse(const char *device, struct address *address)
{
    size_t length = strlen(device);
    char *copy;
    bool good;

    *address = (struct address){0};
    /* pcscd leaves the quotes on. */
    if (length >= 2 && device[0] == '"' && device[length - 1] == '"') {
        device++;
        length -= 2;
    }
    if (length <= strlen(DEVICE) || strncmp(device, DEVICE, strlen(DEVICE)) != 0)
        return false;
    copy = strndup(device + strlen(DEVICE), length - strlen(DEVICE));
    good = copy != NULL && copy[0] == '/' && split(copy, address);
    free(copy);
    if (!good)
        door_forget(address);
    return good;
}

void door_forget(struct address *address)
{
    free(address->folder);
    free(address->name);
    free(address->shown);
    *address = (struct address){0};
}

/* pcscd is root as a rule, the daemon is not: only the owner of a folder that nobody else may write
 * to can have put the socket there, and it is he who has to listen. */
static bool is_owner(int fd, int folder)
{
    struct stat status;
    struct ucred peer;
    socklen_t size = sizeof peer;

    return fstat(folder, &status) == 0 && (status.st_mode & (S_IWGRP | S_IWOTH)) == 0 &&
           getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &size) == 0 &&
           peer.uid == status.st_uid;
}

static bool greet(int fd, const struct address *address)
{
    unsigned char hello[HELLO_HEAD + MAX_NAME] = MAGIC;
    size_t length = strlen(address->shown);

    hello[4] = VERSION;
    hello[6] = (unsigned char)address->slot;
    hello[7] = (unsigned char)(address->slot >> 8);
    memcpy(hello + HELLO_HEAD, address->shown, length);
    return door_send(fd, HELLO, hello, HELLO_HEAD + length);
}

static int try_to_connect(const struct address *address)
{
    struct sockaddr_un name = {.sun_family = AF_UNIX};
    int folder = open(address->folder, O_PATH | O_DIRECTORY | O_CLOEXEC);
    int fd, length;
    bool good;

    if (folder < 0)
        return -1;
    /* Through its opened folder, so that a long path fits and is the one that is checked. */
    length = snprintf(name.sun_path, sizeof name.sun_path, "/proc/self/fd/%d/%s", folder,
                      address->name);
    fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    good = fd >= 0 && length > 0 && (size_t)length < sizeof name.sun_path &&
           connect(fd, (struct sockaddr *)&name, sizeof name) == 0 && is_owner(fd, folder) &&
           greet(fd, address);
    close(folder);
    if (good)
        return fd;
    if (fd >= 0)
        close(fd);
    return -1;
}

static void drain(int news)
{
    char events[4096];

    while (read(news, events, sizeof events) > 0)
        continue;
}

int door_connect(const struct address *address, int alarm)
{
    int news = inotify_init1(IN_CLOEXEC | IN_NONBLOCK), fd = -1;
    struct pollfd watched[] = {{.fd = alarm, .events = POLLIN}, {.fd = news, .events = POLLIN}};

    while (watched[0].revents == 0) {
        /* Watched first: the socket may come between a look and a watch. */
        bool sees = inotify_add_watch(news, address->folder, IN_CREATE | IN_MOVED_TO) >= 0;

        fd = try_to_connect(address);
        if (fd >= 0)
            break;
        poll(watched, sees ? 2 : 1, sees ? RETRY_WATCHED_MS : RETRY_MS);
        drain(news);
    }
    if (news >= 0)
        close(news);
    return fd;
}

bool door_pause(int alarm, int milliseconds)
{
    struct pollfd watched = {.fd = alarm, .events = POLLIN};

    return poll(&watched, 1, milliseconds) == 0;
}

static bool wait_for_room(int fd)
{
    struct pollfd room = {.fd = fd, .events = POLLOUT};

    return poll(&room, 1, SEND_PATIENCE_MS) == 1;
}

bool door_send(int fd, unsigned char what, const unsigned char *data, size_t size)
{
    uint32_t length = (uint32_t)size + 1;
    unsigned char head[FRAME_HEAD + 1] = {(unsigned char)length, (unsigned char)(length >> 8),
                                          (unsigned char)(length >> 16),
                                          (unsigned char)(length >> 24), what};
    struct iovec parts[2] = {{head, sizeof head}, {(void *)(uintptr_t)data, size}};
    struct msghdr message = {.msg_iov = parts, .msg_iovlen = 2};
    size_t left = sizeof head + size;

    for (;;) {
        ssize_t sent = sendmsg(fd, &message, MSG_NOSIGNAL | MSG_DONTWAIT);

        if (sent < 0 && errno != EINTR && !(errno == EAGAIN && wait_for_room(fd)))
            return false;
        if (sent < 0)
            continue;
        left -= (size_t)sent;
        if (left == 0)
            return true;
        for (size_t i = 0; i < 2; i++) {
            size_t gone = (size_t)sent < parts[i].iov_len ? (size_t)sent : parts[i].iov_len;

            parts[i].iov_base = (unsigned char *)parts[i].iov_base + gone;
            parts[i].iov_len -= gone;
            sent -= (ssize_t)gone;
        }
    }
}

static bool more(int fd, int alarm, struct inbox *inbox)
{
    struct pollfd watched[] = {{.fd = fd, .events = POLLIN}, {.fd = alarm, .events = POLLIN}};

    for (;;) {
        ssize_t got;

        if (poll(watched, 2, -1) < 0 && errno != EINTR)
            return false;
        if (watched[1].revents != 0)
            return false;
        got = recv(fd, inbox->data + inbox->size, sizeof inbox->data - inbox->size, 0);
        if (got > 0) {
            inbox->size += (size_t)got;
            return true;
        }
        if (got == 0 || (errno != EAGAIN && errno != EINTR))
            return false;
    }
}

static size_t length_of(const unsigned char *head)
{
    return (size_t)head[0] | (size_t)head[1] << 8 | (size_t)head[2] << 16 | (size_t)head[3] << 24;
}

bool door_receive(int fd, int alarm, struct inbox *inbox, struct frame *frame)
{
    size_t length;

    /* The frame that was taken last. */
    if (frame->data != NULL) {
        size_t taken = (size_t)(frame->data - inbox->data) + frame->size;

        inbox->size -= taken;
        memmove(inbox->data, inbox->data + taken, inbox->size);
        frame->data = NULL;
    }
    for (;;) {
        if (inbox->size >= FRAME_HEAD) {
            length = length_of(inbox->data);
            if (length < 1 || length > FRAME_MAX - FRAME_HEAD) {
                *frame = (struct frame){.what = MALFORMED};
                return true;
            }
            if (inbox->size >= FRAME_HEAD + length)
                break;
        }
        if (!more(fd, alarm, inbox))
            return false;
    }
    frame->what = inbox->data[FRAME_HEAD];
    frame->data = inbox->data + FRAME_HEAD + 1;
    frame->size = length - 1;
    return true;
}
