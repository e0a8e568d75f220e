/* A program at a reader that measures: `reader NAME`, commands as in client.c:
 *
 *     open                  wait for a card in the reader and connect to it
 *     apdu SECONDS          SELECT of the master file, for so long
 *     watch                 answer at once, and again when a card has come or gone: with the time of
 *                           that, in nanoseconds of CLOCK_MONOTONIC
 *
 * Declared here, so that the headers of PC/SC need not be installed; all of it is public API. */
#define _GNU_SOURCE
#include "peer.h"

#include <string.h>

typedef unsigned long DWORD;
typedef long LONG;

typedef struct {
    const char *name;
    void *data;
    DWORD current, event, atr_size;
    unsigned char atr[33];
} READER_STATE;

typedef struct {
    DWORD protocol, size;
} IO_REQUEST;

extern LONG SCardEstablishContext(DWORD scope, const void *, const void *, LONG *context);
extern LONG SCardConnect(LONG context, const char *reader, DWORD share, DWORD protocols, LONG *card,
                         DWORD *protocol);
extern LONG SCardTransmit(LONG card, const IO_REQUEST *send, const unsigned char *data, DWORD size,
                          IO_REQUEST *receive, unsigned char *answer, DWORD *length);
extern LONG SCardGetStatusChange(LONG context, DWORD timeout, READER_STATE *states, DWORD count);

#define SCOPE_SYSTEM 2
#define SHARE_SHARED 2
#define ANY_PROTOCOL 3
#define STATE_PRESENT 0x20
#define PATIENCE_MS 20000
#define READERS_MS 100
#define TRIES 200

static const char *name;
static LONG context, card;
static IO_REQUEST request;

static DWORD state(DWORD known)
{
    READER_STATE one = {.name = name, .current = known};
    LONG code = SCardGetStatusChange(context, PATIENCE_MS, &one, 1);

    if (code != 0)
        FAIL("SCardGetStatusChange: 0x%lx", (unsigned long)code & 0xFFFFFFFF);
    return one.event;
}

static void open_card(void)
{
    LONG code = -1;

    if ((code = SCardEstablishContext(SCOPE_SYSTEM, NULL, NULL, &context)) != 0)
        FAIL("SCardEstablishContext: 0x%lx", (unsigned long)code & 0xFFFFFFFF);
    for (int i = 0; i < TRIES; i++) {
        code = SCardConnect(context, name, SHARE_SHARED, ANY_PROTOCOL, &card, &request.protocol);
        if (code == 0)
            break;
        nanosleep(&(struct timespec){.tv_nsec = READERS_MS * 1000000L}, NULL);
    }
    if (code != 0)
        FAIL("SCardConnect: 0x%lx", (unsigned long)code & 0xFFFFFFFF);
    request.size = sizeof request;
    answer(1, 1);
}

static void apdu(double seconds)
{
    static const unsigned char command[] = {0x00, 0xA4, 0x00, 0x0C, 0x02, 0x3F, 0x00};
    uint64_t begun = now_ns(), limit = begun + (uint64_t)(seconds * 1e9), count = 0;

    do {
        unsigned char response[258];
        DWORD length = sizeof response;
        LONG code = SCardTransmit(card, &request, command, sizeof command, NULL, response, &length);

        if (code != 0 || length < 2)
            FAIL("SCardTransmit: 0x%lx", (unsigned long)code & 0xFFFFFFFF);
        count++;
    } while (now_ns() < limit);
    answer(count, now_ns() - begun);
}

/* Whether the card is there decides, not what else the reader says of it. */
static void watch(void)
{
    DWORD known = state(0), begun = known & STATE_PRESENT;

    answer(1, 1);
    while ((known & STATE_PRESENT) == begun)
        known = state(known);
    printf("done 1 %llu\n", (unsigned long long)now_ns());
    fflush(stdout);
}

int main(int count, char **arguments)
{
    char word[16];
    double seconds;

    if (count != 2)
        FAIL("usage: reader NAME");
    name = arguments[1];
    while (scanf("%15s", word) == 1) {
        if (strcmp(word, "open") == 0)
            open_card();
        else if (strcmp(word, "apdu") == 0 && scanf("%lf", &seconds) == 1)
            apdu(seconds);
        else if (strcmp(word, "watch") == 0)
            watch();
        else
            FAIL("no command %s", word);
    }
    return 0;
}
