#define _GNU_SOURCE
#include "home.h"

#include <dlfcn.h>
#include <errno.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static bool fits(int printed, size_t size)
{
    return printed > 0 && (size_t)printed < size;
}

static const char *environment(const char *name)
{
    const char *value = secure_getenv(name);

    return value != NULL && value[0] != '\0' ? value : NULL;
}

bool home_run_folder(char *path, size_t size)
{
    const char *home = environment("KLYUCH_HOME");
    struct passwd entry, *found = NULL;
    char names[4096];

    if (home != NULL)
        return fits(snprintf(path, size, "%s/run", home), size);
    home = environment("HOME");
    if (home == NULL && getpwuid_r(geteuid(), &entry, names, sizeof names, &found) == 0 &&
        found != NULL)
        home = entry.pw_dir;
    return home != NULL && fits(snprintf(path, size, "%s/.local/share/klyuch/run", home), size);
}

static bool runs(const char *path)
{
    return access(path, X_OK) == 0;
}

/* Beside the library: a checkout keeps it in .venv, an installation four folders above. */
static bool beside_library(char *path, size_t size)
{
    static const char *const places[] = {"../.venv/bin/klyuch", "../../../../bin/klyuch"};
    Dl_info self;
    const char *slash;

    if (dladdr((void *)(size_t)&home_run_folder, &self) == 0 || self.dli_fname == NULL)
        return false;
    slash = strrchr(self.dli_fname, '/');
    if (slash == NULL)
        return false;
    for (size_t i = 0; i < sizeof places / sizeof places[0]; i++) {
        int folder = (int)(slash - self.dli_fname);

        if (fits(snprintf(path, size, "%.*s/%s", folder, self.dli_fname, places[i]), size) &&
            runs(path))
            return true;
    }
    return false;
}

static bool in_path(char *path, size_t size)
{
    const char *folders = environment("PATH");

    while (folders != NULL && *folders != '\0') {
        size_t length = strcspn(folders, ":");

        if (length > 0 &&
            fits(snprintf(path, size, "%.*s/klyuch", (int)length, folders), size) && runs(path))
            return true;
        folders += length + (folders[length] == ':');
    }
    return false;
}

bool home_daemon(char *path, size_t size)
{
    const char *named = environment("KLYUCH_DAEMON");

    if (named != NULL)
        return fits(snprintf(path, size, "%s", named), size) && runs(path);
    return beside_library(path, size) || in_path(path, size);
}

void home_complain(const char *what, int error)
{
    if (environment("KLYUCH_DEBUG") == NULL)
        return;
    errno = error;
    if (error != 0)
        dprintf(STDERR_FILENO, "klyuch: %s: %m\n", what);
    else
        dprintf(STDERR_FILENO, "klyuch: %s\n", what);
}
