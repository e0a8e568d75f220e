#define _GNU_SOURCE
#include "launch.h"

#include "home.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define PATIENCE_MS 15000
#define READY_FD 3

extern char **environ;

/* The host's loader and interpreter settings and its secrets are its own: the daemon, which lives
 * longer, must not inherit them. */
static bool is_private(const char *variable)
{
    static const char *const names[] = {
        "LD_PRELOAD=",
        "LD_LIBRARY_PATH=",
        "PYTHONHOME=",
        "PYTHONPATH=",
        "KLYUCH_PIN=",
        "KLYUCH_SO_PIN=",
        "KLYUCH_NEW_PIN=",
        "KLYUCH_PUK=",
        "KLYUCH_MANAGEMENT_KEY=",
        "KLYUCH_FIDO_PIN=",
        "KLYUCH_PASSPHRASE=",
        "KLYUCH_ISSUER_PASSPHRASE=",
        "KLYUCH_CONTAINER_PASSPHRASE=",
    };

    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++)
        if (strncmp(variable, names[i], strlen(names[i])) == 0)
            return true;
    return false;
}

static char **environment_for_daemon(void)
{
    char **all = environ;
    size_t count = 0, kept = 0;
    char **copy;

    while (all != NULL && all[count] != NULL)
        count++;
    copy = calloc(count + 1, sizeof *copy);
    if (copy == NULL)
        return NULL;
    for (size_t i = 0; i < count; i++)
        if (!is_private(all[i]))
            copy[kept++] = all[i];
    return copy;
}

static void close_from(unsigned first)
{
#ifdef SYS_close_range
    if (syscall(SYS_close_range, first, ~0U, 0U) == 0)
        return;
#endif
    long most = sysconf(_SC_OPEN_MAX);

    for (long fd = first; fd < (most > 0 && most < 65536 ? most : 65536); fd++)
        close((int)fd);
}

static void quiet(int fd, int flags)
{
    int null = open("/dev/null", flags);

    if (null >= 0 && null != fd) {
        dup2(null, fd);
        close(null);
    }
}

/* In the new process: only what is safe after a fork of a process with threads. */
static void become_daemon(const char *program, char **environment, int ready, bool debug)
{
    static const char *const descriptor = "3";
    char *const arguments[] = {(char *)program,  "serve", "--detached", "--ready-fd",
                               (char *)descriptor, NULL};
    struct sigaction standard = {.sa_handler = SIG_DFL};
    sigset_t none;

    for (int number = 1; number < NSIG; number++)
        sigaction(number, &standard, NULL);
    quiet(STDIN_FILENO, O_RDONLY);
    quiet(STDOUT_FILENO, O_WRONLY);
    if (!debug)
        quiet(STDERR_FILENO, O_WRONLY);
    /* dup2 onto itself would leave FD_CLOEXEC set. */
    if (ready == READY_FD)
        fcntl(ready, F_SETFD, 0);
    else
        dup2(ready, READY_FD);
    close_from(READY_FD + 1);
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
    execve(program, arguments, environment);
    _exit(127);
}

/* Fork twice, so that the daemon is nobody's child here and has a session of its own. */
static bool spawn(const char *program, char **environment, int ready)
{
    bool debug = secure_getenv("KLYUCH_DEBUG") != NULL;
    sigset_t all, before;
    pid_t child;

    /* Until its handlers are reset, the child must not run those of the host. */
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    child = fork();
    if (child == 0) {
        setsid();
        child = fork();
        if (child == 0)
            become_daemon(program, environment, ready, debug);
        _exit(child < 0);
    }
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (child < 0)
        return false;
    /* A host that ignores SIGCHLD or waits for every child has taken it: no matter. */
    while (waitpid(child, NULL, 0) < 0 && errno == EINTR)
        continue;
    return true;
}

static long long now_ms(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (long long)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

/* Whether the daemon wrote its byte, or left because another one serves, before patience ends. */
static bool wait_ready(int ready)
{
    long long deadline = now_ms() + PATIENCE_MS;
    char byte;

    for (;;) {
        struct pollfd event = {.fd = ready, .events = POLLIN};
        long long left = deadline - now_ms();

        if (left <= 0)
            return false;
        if (poll(&event, 1, (int)left) > 0)
            return read(ready, &byte, 1) >= 0;
    }
}

bool launch_daemon(void)
{
    char program[PATH_MAX];
    char **environment;
    int ready[2];
    bool started = false;

    if (!home_daemon(program, sizeof program)) {
        home_complain("no `klyuch` program found; set KLYUCH_DAEMON to its path", 0);
        return false;
    }
    environment = environment_for_daemon();
    if (environment == NULL)
        return false;
    if (pipe2(ready, O_CLOEXEC) == 0) {
        started = spawn(program, environment, ready[1]);
        close(ready[1]);
        started = started && wait_ready(ready[0]);
        close(ready[0]);
    }
    if (!started)
        home_complain("the daemon did not start", 0);
    free(environment);
    return started;
}
