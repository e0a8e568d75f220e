/* A pcscd of a few lines: `ifd_host DEVICENAME ROUNDS`. One thread watches the reader, another
 * powers the card and sends commands, a third stops the watch and asks; each round ends with the
 * reader closed and opened again. Exits with 0 where at least one command was answered, else 1. */
#define _GNU_SOURCE
#include "ifdhandler.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define LUN (5 << 16)
#define COMMANDS 200

typedef RESPONSECODE (*watch_function)(DWORD, int);
typedef RESPONSECODE (*stop_function)(DWORD);

static _Atomic bool ending;
static _Atomic int answered;

static void *capability(DWORD tag)
{
    void *function = NULL;
    DWORD size = sizeof function;

    if (IFDHGetCapabilities(LUN, tag, &size, (PUCHAR)&function) != IFD_SUCCESS)
        abort();
    return function;
}

static void *watch(void *unused)
{
    watch_function wait = (watch_function)capability(TAG_IFD_POLLING_THREAD_WITH_TIMEOUT);

    while (!ending) {
        IFDHICCPresence(LUN);
        wait(LUN, 20);
    }
    return unused;
}

static void *meddle(void *unused)
{
    stop_function stop = (stop_function)capability(TAG_IFD_STOP_POLLING_THREAD);
    UCHAR atr[MAX_ATR_SIZE];

    while (!ending) {
        DWORD size = sizeof atr;

        stop(LUN);
        IFDHGetCapabilities(LUN, TAG_IFD_ATR, &size, atr);
        IFDHICCPresence(LUN);
        usleep(500);
    }
    return unused;
}

static void *use(void *unused)
{
    static const DWORD actions[] = {IFD_POWER_UP, IFD_RESET, IFD_POWER_DOWN};
    SCARD_IO_HEADER send = {1, 0}, receive;
    UCHAR command[MAX_BUFFER_SIZE_EXTENDED] = {0}, response[MAX_BUFFER_SIZE_EXTENDED];
    UCHAR atr[MAX_ATR_SIZE];

    for (size_t i = 0; i < COMMANDS; i++) {
        DWORD size = sizeof atr, room = i % 7 == 0 ? 2 : sizeof response;

        if (i % 5 == 0)
            IFDHPowerICC(LUN, actions[i % 3], atr, &size);
        if (IFDHTransmitToICC(LUN, send, command, i * i % sizeof command, response, &room,
                              &receive) == IFD_SUCCESS)
            answered++;
        else
            usleep(1000);
    }
    return unused;
}

static void run_round(char *device)
{
    pthread_t threads[3];
    void *(*const roles[])(void *) = {watch, meddle, use};

    if (IFDHCreateChannelByName(LUN, device) != IFD_SUCCESS)
        abort();
    ending = false;
    for (size_t i = 0; i < 3; i++)
        pthread_create(&threads[i], NULL, roles[i], NULL);
    pthread_join(threads[2], NULL);
    ending = true;
    pthread_join(threads[0], NULL);
    pthread_join(threads[1], NULL);
    if (IFDHCloseChannel(LUN) != IFD_SUCCESS)
        abort();
}

int main(int argc, char **argv)
{
    if (argc != 3)
        return 2;
    for (int left = atoi(argv[2]); left > 0; left--)
        run_round(argv[1]);
    printf("%d answers\n", answered);
    return answered > 0 ? 0 : 1;
}
