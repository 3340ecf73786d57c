/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What a service does that finds mistakes in its configuration. */
#include "config_wait.h"

#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <systemd/sd-daemon.h>
#include <time.h>

enum { CONFIG_WAIT_NAPS = 120 }; /* of half a second */

static bool same_file(const struct stat *a, const struct stat *b)
{
    return a->st_ino == b->st_ino && a->st_size == b->st_size &&
           a->st_mtim.tv_sec == b->st_mtim.tv_sec && a->st_mtim.tv_nsec == b->st_mtim.tv_nsec;
}

void xvm_watchdog_limit(unsigned seconds)
{
    const char *own = getenv("WATCHDOG_USEC");

    if (own && seconds)
        sd_notifyf(0, "WATCHDOG_USEC=%u000000", seconds);
    else if (own)
        sd_notifyf(0, "WATCHDOG_USEC=%s", own);
}

bool xvm_config_wait(const char *path)
{
    const struct timespec nap = {.tv_nsec = 500 * 1000000};
    struct stat before = {0}, now = {0};
    sigset_t set;

    if (!getenv("NOTIFY_SOCKET"))
        return false;
    sigemptyset(&set);
    sigaddset(&set, SIGTERM);
    sigaddset(&set, SIGINT);
    sigaddset(&set, SIGHUP);
    (void)stat(path, &before);
    sd_notifyf(0, "STATUS=%s has mistakes (see the log): waiting until it changes",
               path);
    for (int i = 0; i < CONFIG_WAIT_NAPS; i++) {
        /* blocked: the loop reads them from a descriptor */
        int sig = sigtimedwait(&set, NULL, &nap);

        if (sig > 0)
            return sig == SIGHUP;
        sd_notify(0, "WATCHDOG=1"); /* it counts from the start on, not from READY=1 */
        memset(&now, 0, sizeof(now));
        (void)stat(path, &now);
        if (!same_file(&before, &now))
            return true;
    }
    return true;
}
