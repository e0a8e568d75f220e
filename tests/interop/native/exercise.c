/* A hostile host of the PKCS#11 library. `exercise LIBRARY SCENARIO [DAEMON_PID]` exits with 0, or
 * names the expectation that failed on stderr and exits with 1. $EXERCISE_ROUNDS multiplies the
 * work of the scenarios that race. */
#define _GNU_SOURCE
#include "exercise.h"

#include <dlfcn.h>
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#define THREADS 8
#define ROUNDS 50

static const char *path;
static pid_t daemon_pid;
static void *handle;
CK_FUNCTION_LIST *f;
CK_FUNCTION_LIST_3_2 *f3;
CK_FUNCTION_LIST_EXTENDED *fx;

void load(void)
{
    CK_RV (*list)(CK_FUNCTION_LIST **);
    CK_RV (*get)(CK_UTF8CHAR *, CK_VERSION *, CK_INTERFACE **, CK_ULONG);
    CK_RV (*extended)(CK_FUNCTION_LIST_EXTENDED **);
    CK_INTERFACE *interface;

    handle = dlopen(path, RTLD_NOW | RTLD_LOCAL);
    if (handle == NULL)
        fprintf(stderr, "%s\n", dlerror());
    EXPECT(handle != NULL);
    *(void **)&list = dlsym(handle, "C_GetFunctionList");
    EXPECT(list != NULL);
    RV(list(&f), CKR_OK);
    *(void **)&get = dlsym(handle, "C_GetInterface");
    EXPECT(get != NULL);
    RV(get((CK_UTF8CHAR *)"PKCS 11", &(CK_VERSION){3, 2}, &interface, 0), CKR_OK);
    f3 = interface->pFunctionList;
    *(void **)&extended = dlsym(handle, "C_EX_GetFunctionListExtended");
    EXPECT(extended != NULL);
    RV(extended(&fx), CKR_OK);
}

/* How often a racing scenario repeats its `few` rounds. */
static int rounds(int few)
{
    const char *factor = getenv("EXERCISE_ROUNDS");

    return factor == NULL ? few : few * atoi(factor);
}

CK_SESSION_HANDLE open_session(void)
{
    CK_SESSION_HANDLE session = 0;

    RV(f->C_OpenSession(SLOT, CKF_SERIAL_SESSION, NULL, NULL, &session), CKR_OK);
    return session;
}

CK_RV sign(CK_SESSION_HANDLE session)
{
    CK_BYTE data[32] = {1}, signature[SIGNATURE];
    CK_ULONG size = sizeof signature;
    CK_MECHANISM mechanism = {CKM_RSA_PKCS, NULL, 0};
    CK_RV rv = f->C_SignInit(session, &mechanism, 1);

    if (rv != CKR_OK)
        return rv;
    return f->C_Sign(session, data, sizeof data, signature, &size);
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

/* Whether a call that races with C_Finalize, C_Initialize and the daemon's death may give that. */
static bool is_allowed(CK_RV rv)
{
    static const CK_RV allowed[] = {
        CKR_OK,
        CKR_CRYPTOKI_NOT_INITIALIZED,
        CKR_CRYPTOKI_ALREADY_INITIALIZED,
        CKR_SESSION_HANDLE_INVALID,
        CKR_DEVICE_REMOVED,
        CKR_DEVICE_ERROR,
        CKR_GENERAL_ERROR,
    };

    for (size_t i = 0; i < sizeof allowed / sizeof allowed[0]; i++)
        if (rv == allowed[i])
            return true;
    fprintf(stderr, "a race gave 0x%lx\n", rv);
    return false;
}

/* Everything at once: calls, C_Initialize and C_Finalize without any order. */
static void *churn(void *number)
{
    for (int i = 0; i < rounds(ROUNDS); i++) {
        CK_SESSION_HANDLE session = 0;
        CK_INFO info;

        EXPECT(is_allowed(f->C_Initialize(NULL)));
        EXPECT(is_allowed(f->C_OpenSession(SLOT, CKF_SERIAL_SESSION, NULL, NULL, &session)));
        EXPECT(is_allowed(sign(session)));
        EXPECT(is_allowed(f->C_GetInfo(&info)));
        if (i % 4 == *(int *)number % 4)
            EXPECT(is_allowed(f->C_Finalize(NULL)));
        EXPECT(is_allowed(f->C_CloseSession(session)));
    }
    return NULL;
}

static void churn_in_threads(void (*meanwhile)(void))
{
    pthread_t all[THREADS];
    int numbers[THREADS];

    load();
    for (int i = 0; i < THREADS; i++) {
        numbers[i] = i;
        EXPECT(pthread_create(&all[i], NULL, churn, &numbers[i]) == 0);
    }
    meanwhile();
    for (int i = 0; i < THREADS; i++)
        pthread_join(all[i], NULL);
    EXPECT(is_allowed(f->C_Finalize(NULL)));
    RV(f->C_Initialize(NULL), CKR_OK);
    RV(sign(open_session()), CKR_OK);
    RV(f->C_Finalize(NULL), CKR_OK);
}

static void nothing(void)
{
}

static void life_races(void)
{
    churn_in_threads(nothing);
}

/* Kills whichever daemon serves at the moment, a few times; the library starts the next one. */
static void kill_daemons(void)
{
    char name[4096];

    snprintf(name, sizeof name, "%s/run/pid", getenv("KLYUCH_HOME"));
    for (int i = 0; i < rounds(3); i++) {
        FILE *file = fopen(name, "r");
        int pid = 0;

        EXPECT(file != NULL);
        if (fscanf(file, "%d", &pid) == 1 && pid > 1)
            kill(pid, SIGKILL);
        fclose(file);
        usleep(300 * 1000);
    }
}

static void daemon_restarts(void)
{
    churn_in_threads(kill_daemons);
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

    RV(f->C_WaitForSlotEvent(0, &slot, NULL), CKR_FUNCTION_FAILED);
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
        {"bad_templates", bad_templates},
        {"bad_messages", bad_messages},
        {"bad_extension", bad_extension},
        {"life_races", life_races},
        {"daemon_restarts", daemon_restarts},
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
