/* A hostile host of the PKCS#11 library. `exercise LIBRARY SCENARIO [DAEMON_PID]` exits with 0, or
 * names the expectation that failed on stderr and exits with 1. */
#define _GNU_SOURCE
#include "cryptoki.h"

#include <dlfcn.h>
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#define SLOT 7
#define SIGNATURE 64
#define THREADS 8
#define ROUNDS 50

#define EXPECT(condition)                                                                         \
    do {                                                                                          \
        if (!(condition)) {                                                                       \
            fprintf(stderr, "%s:%d: %s\n", __FILE__, __LINE__, #condition);                       \
            exit(1);                                                                              \
        }                                                                                         \
    } while (0)
#define RV(call, expected)                                                                        \
    do {                                                                                          \
        CK_RV rv_ = (call);                                                                       \
        if (rv_ != (expected)) {                                                                  \
            fprintf(stderr, "%s:%d: %s gave 0x%lx, not %s\n", __FILE__, __LINE__, #call, rv_,     \
                    #expected);                                                                   \
            exit(1);                                                                              \
        }                                                                                         \
    } while (0)

static const char *path;
static pid_t daemon_pid;
static void *handle;
static CK_FUNCTION_LIST *f;

static void load(void)
{
    CK_RV (*list)(CK_FUNCTION_LIST **);

    handle = dlopen(path, RTLD_NOW | RTLD_LOCAL);
    if (handle == NULL)
        fprintf(stderr, "%s\n", dlerror());
    EXPECT(handle != NULL);
    *(void **)&list = dlsym(handle, "C_GetFunctionList");
    EXPECT(list != NULL);
    RV(list(&f), CKR_OK);
}

static CK_SESSION_HANDLE open_session(void)
{
    CK_SESSION_HANDLE session = 0;

    RV(f->C_OpenSession(SLOT, CKF_SERIAL_SESSION, NULL, NULL, &session), CKR_OK);
    return session;
}

static CK_RV sign(CK_SESSION_HANDLE session)
{
    CK_BYTE data[32] = {1}, signature[SIGNATURE];
    CK_ULONG size = sizeof signature;

    return f->C_Sign(session, data, sizeof data, signature, &size);
}

/* Pointers that are NULL, lengths that are zero or absurd, handles nobody gave. */
static void bad_input(void)
{
    CK_BYTE *tiny = malloc(1);
    CK_ATTRIBUTE attribute = {CKA_LABEL, NULL, 5}, wild = {CKA_LABEL, tiny, (CK_ULONG)-1};
    CK_MECHANISM mechanism = {CKM_RSA_PKCS_PSS, tiny, 1}, hollow = {CKM_RSA_PKCS, NULL, 9};
    CK_ULONG size, one;
    CK_SESSION_HANDLE session;

    load();
    RV(f->C_GetInfo(NULL), CKR_CRYPTOKI_NOT_INITIALIZED);
    RV(f->C_Initialize(NULL), CKR_OK);
    session = open_session();
    RV(f->C_GetInfo(NULL), CKR_ARGUMENTS_BAD);
    RV(f->C_GetSlotList(1, NULL, NULL), CKR_ARGUMENTS_BAD);
    RV(f->C_Login(session, CKU_USER, NULL, 4), CKR_ARGUMENTS_BAD);
    RV(f->C_Login(session, CKU_USER, tiny, (CK_ULONG)-1), CKR_HOST_MEMORY);
    RV(f->C_InitToken(SLOT, tiny, 1, NULL), CKR_ARGUMENTS_BAD);
    RV(f->C_SignInit(session, NULL, 1), CKR_ARGUMENTS_BAD);
    RV(f->C_SignInit(session, &mechanism, 1), CKR_MECHANISM_PARAM_INVALID);
    RV(f->C_SignInit(session, &hollow, 1), CKR_ARGUMENTS_BAD);
    RV(f->C_FindObjectsInit(session, NULL, 1), CKR_ARGUMENTS_BAD);
    RV(f->C_FindObjectsInit(session, &attribute, 1), CKR_ARGUMENTS_BAD);
    RV(f->C_FindObjectsInit(session, &wild, 1), CKR_HOST_MEMORY);
    RV(f->C_FindObjectsInit(session, &wild, (CK_ULONG)-1), CKR_ARGUMENTS_BAD);
    RV(f->C_GetAttributeValue(session, 1, NULL, 1), CKR_ARGUMENTS_BAD);
    RV(f->C_GenerateRandom(session, tiny, (CK_ULONG)-1), CKR_HOST_MEMORY);
    RV(f->C_GenerateRandom(session, NULL, 0), CKR_OK);
    RV(f->C_GenerateRandom(session, tiny, 1), CKR_OK);
    size = 1;
    RV(f->C_GetSlotList(1, &one, &size), CKR_OK);
    size = 0;
    RV(f->C_GetSlotList(1, &one, &size), CKR_BUFFER_TOO_SMALL);
    EXPECT(size == 1);
    size = 1;
    RV(f->C_Sign(session, tiny, 1, tiny, &size), CKR_BUFFER_TOO_SMALL);
    EXPECT(size == SIGNATURE);
    RV(f->C_Sign(session, NULL, 0, NULL, &size), CKR_OK);
    RV(sign(0), CKR_SESSION_HANDLE_INVALID);
    RV(sign((CK_ULONG)-1), CKR_SESSION_HANDLE_INVALID);
    RV(sign(session), CKR_OK);
    RV(f->C_Finalize(tiny), CKR_ARGUMENTS_BAD);
    RV(f->C_Finalize(NULL), CKR_OK);
    RV(f->C_Finalize(NULL), CKR_CRYPTOKI_NOT_INITIALIZED);
    free(tiny);
}

static void *worker(void *unused)
{
    CK_RV rv = f->C_Initialize(NULL);

    EXPECT(rv == CKR_OK || rv == CKR_CRYPTOKI_ALREADY_INITIALIZED);
    for (int i = 0; i < ROUNDS; i++) {
        CK_SESSION_HANDLE session = open_session();

        RV(sign(session), CKR_OK);
        RV(f->C_CloseSession(session), CKR_OK);
    }
    return unused;
}

static void threads(void)
{
    pthread_t all[THREADS];

    load();
    for (int i = 0; i < THREADS; i++)
        EXPECT(pthread_create(&all[i], NULL, worker, NULL) == 0);
    for (int i = 0; i < THREADS; i++)
        pthread_join(all[i], NULL);
    RV(f->C_Finalize(NULL), CKR_OK);
}

static void *until_finalized(void *unused)
{
    CK_RV rv;

    do
        rv = f->C_GetSlotList(0, NULL, &(CK_ULONG){0});
    while (rv == CKR_OK);
    EXPECT(rv == CKR_CRYPTOKI_NOT_INITIALIZED);
    return unused;
}

/* C_Finalize under the feet of calling threads, again and again. */
static void finalize_in_use(void)
{
    pthread_t all[THREADS];

    load();
    for (int round = 0; round < 10; round++) {
        RV(f->C_Initialize(NULL), CKR_OK);
        for (int i = 0; i < THREADS; i++)
            EXPECT(pthread_create(&all[i], NULL, until_finalized, NULL) == 0);
        usleep(5000);
        RV(f->C_Finalize(NULL), CKR_OK);
        for (int i = 0; i < THREADS; i++)
            pthread_join(all[i], NULL);
    }
}

static void wait_for(pid_t child)
{
    int status = 0;

    EXPECT(waitpid(child, &status, 0) == child);
    EXPECT(WIFEXITED(status) && WEXITSTATUS(status) == 0);
}

/* The child is not initialised, can be, and leaves its parent's sessions alone. */
static void forks(void)
{
    CK_SESSION_HANDLE session;
    pid_t child;

    load();
    RV(f->C_Initialize(NULL), CKR_OK);
    session = open_session();
    for (int i = 0; i < 3; i++) {
        child = fork();
        if (child == 0) {
            RV(sign(session), CKR_CRYPTOKI_NOT_INITIALIZED);
            RV(f->C_Finalize(NULL), CKR_CRYPTOKI_NOT_INITIALIZED);
            if (i == 1)
                exit(0);
            RV(f->C_Initialize(NULL), CKR_OK);
            RV(sign(open_session()), CKR_OK);
            if (i == 2)
                RV(f->C_Finalize(NULL), CKR_OK);
            exit(0);
        }
        wait_for(child);
        RV(sign(session), CKR_OK);
    }
    RV(f->C_Finalize(NULL), CKR_OK);
}

static void *busy(void *stop)
{
    CK_SESSION_HANDLE session = open_session();

    while (!__atomic_load_n((int *)stop, __ATOMIC_RELAXED))
        RV(sign(session), CKR_OK);
    return NULL;
}

/* Forks while other threads are inside calls. */
static void forks_among_threads(void)
{
    pthread_t all[4];
    int stop = 0;

    load();
    RV(f->C_Initialize(NULL), CKR_OK);
    for (int i = 0; i < 4; i++)
        EXPECT(pthread_create(&all[i], NULL, busy, &stop) == 0);
    for (int i = 0; i < 10; i++) {
        pid_t child = fork();

        if (child == 0) {
            RV(f->C_Initialize(NULL), CKR_OK);
            RV(sign(open_session()), CKR_OK);
            RV(f->C_Finalize(NULL), CKR_OK);
            _exit(0);
        }
        wait_for(child);
    }
    __atomic_store_n(&stop, 1, __ATOMIC_RELAXED);
    for (int i = 0; i < 4; i++)
        pthread_join(all[i], NULL);
    RV(f->C_Finalize(NULL), CKR_OK);
}

static int open_descriptors(void)
{
    int count = 0;

    for (int fd = 0; fd < 256; fd++)
        count += lseek(fd, 0, SEEK_CUR) >= 0 || errno != EBADF;
    return count;
}

/* Unloaded before, between and after use, and while still initialised. */
static void reload(void)
{
    int before = open_descriptors();

    for (int i = 0; i < 30; i++) {
        load();
        if (i % 3 > 0) {
            RV(f->C_Initialize(NULL), CKR_OK);
            RV(sign(open_session()), CKR_OK);
        }
        if (i % 3 > 1)
            RV(f->C_Finalize(NULL), CKR_OK);
        EXPECT(dlclose(handle) == 0);
        EXPECT(dlopen(path, RTLD_NOW | RTLD_NOLOAD) == NULL);
        /* Fork handlers of an unloaded library would be called here. */
        if (i % 10 == 0) {
            pid_t child = fork();

            if (child == 0)
                _exit(0);
            wait_for(child);
        }
    }
    EXPECT(open_descriptors() == before);
}

static void *login(void *session)
{
    CK_BYTE pin[] = "481516";

    RV(f->C_Login(*(CK_SESSION_HANDLE *)session, CKU_USER, pin, 6), CKR_DEVICE_REMOVED);
    return NULL;
}

static void *wait_for_slot(void *unused)
{
    CK_ULONG slot;

    RV(f->C_WaitForSlotEvent(0, &slot, NULL), CKR_DEVICE_REMOVED);
    return unused;
}

/* The daemon is killed while calls are on their way; SIGPIPE keeps its deadly default. */
static void daemon_dies(void)
{
    CK_SESSION_HANDLE session;
    pthread_t first, second;

    load();
    RV(f->C_Initialize(NULL), CKR_OK);
    session = open_session();
    EXPECT(pthread_create(&first, NULL, login, &session) == 0);
    EXPECT(pthread_create(&second, NULL, wait_for_slot, NULL) == 0);
    usleep(300 * 1000);
    kill(daemon_pid, SIGKILL);
    pthread_join(first, NULL);
    pthread_join(second, NULL);
    RV(sign(session), CKR_SESSION_HANDLE_INVALID);
    RV(f->C_Initialize(NULL), CKR_CRYPTOKI_ALREADY_INITIALIZED);
    RV(f->C_OpenSession(SLOT, CKF_SERIAL_SESSION, NULL, NULL, &session), CKR_DEVICE_ERROR);
    RV(f->C_Finalize(NULL), CKR_OK);
    RV(f->C_Initialize(NULL), CKR_GENERAL_ERROR);
    RV(f->C_Finalize(NULL), CKR_CRYPTOKI_NOT_INITIALIZED);
    EXPECT(dlclose(handle) == 0);
}

static void *sign_until_cancelled(void *session)
{
    for (;;) {
        RV(sign(*(CK_SESSION_HANDLE *)session), CKR_OK);
        pthread_testcancel();
    }
    return NULL;
}

/* A cancelled thread leaves nothing locked and no connection in use. */
static void cancelled_threads(void)
{
    CK_SESSION_HANDLE session;

    load();
    RV(f->C_Initialize(NULL), CKR_OK);
    session = open_session();
    for (int i = 0; i < 10; i++) {
        pthread_t thread;

        EXPECT(pthread_create(&thread, NULL, sign_until_cancelled, &session) == 0);
        usleep(2000);
        pthread_cancel(thread);
        pthread_join(thread, NULL);
    }
    RV(sign(session), CKR_OK);
    RV(f->C_Finalize(NULL), CKR_OK);
}

int main(int count, char **arguments)
{
    static const struct {
        const char *name;
        void (*run)(void);
    } scenarios[] = {
        {"bad_input", bad_input},
        {"threads", threads},
        {"finalize_in_use", finalize_in_use},
        {"forks", forks},
        {"forks_among_threads", forks_among_threads},
        {"reload", reload},
        {"daemon_dies", daemon_dies},
        {"cancelled_threads", cancelled_threads},
    };

    EXPECT(count >= 3);
    path = arguments[1];
    daemon_pid = count > 3 ? atoi(arguments[3]) : 0;
    for (size_t i = 0; i < sizeof scenarios / sizeof scenarios[0]; i++) {
        if (strcmp(scenarios[i].name, arguments[2]) == 0) {
            scenarios[i].run();
            return 0;
        }
    }
    fprintf(stderr, "no scenario %s\n", arguments[2]);
    return 2;
}
