/* SPDX-License-Identifier: GPL-2.0-or-later */
/* `xvmhactl evacuate` and `maintenance on|off`: with --wait until the host is empty, or nothing
 * moves any more. */
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "ctl.h"

enum { POLL_MS = 500, TIMEOUT_S = 3900, STILL_S = 60 };

static const json_t *find_host(const json_t *status, const char *name)
{
    const json_t *host;
    size_t i;

    json_array_foreach(json_object_get(status, "hosts"), i, host)
    {
        if (strcmp(ctl_string(host, "name"), name) == 0)
            return host;
    }
    return NULL;
}

static long long now_s(void)
{
    struct timespec t;

    clock_gettime(CLOCK_BOOTTIME, &t);
    return (long long)t.tv_sec;
}

struct watch {
    const char *host;
    long long since, changed; /* seconds */
    long long left, going;    /* told last */
};

/* One look. True: it is over, *ret_exit says how. */
static bool look(const struct ctl *ctl, struct watch *w, int *ret_exit)
{
    json_t *status = NULL;
    const json_t *host;
    long long left, going;
    bool over = true;

    *ret_exit = ctl_call(ctl, "org.xvmha.Status", NULL, &status);
    if (*ret_exit != CTL_OK)
        return true;
    host = find_host(status, w->host);
    left = ctl_int(host, "guests_to_leave");
    going = ctl_int(host, "guests_leaving");
    if (left != w->left || going != w->going) {
        w->changed = now_s();
        fprintf(stderr, "%s: %lld guests to go, %lld of them under way\n", w->host, left, going);
    }
    w->left = left;
    w->going = going;
    if (ctl_string(host, "maintenance")[0] == '\0' || left == 0) {
        *ret_exit = CTL_OK;
    } else if (going == 0 && now_s() - w->changed > STILL_S) {
        ctl_put_error(ctl, ctl_string(host, "why"));
        *ret_exit = CTL_FAILED;
    } else {
        over = false;
    }
    json_decref(status);
    return over;
}

static int wait_empty(const struct ctl *ctl, const char *host)
{
    struct watch w = {.host = host, .since = now_s(), .changed = now_s(), .left = -1};
    int limit_s = (ctl->given & OPT_TIMEOUT) != 0 ? ctl->timeout_s : TIMEOUT_S, r = CTL_OK;
    const struct timespec pause = {.tv_nsec = POLL_MS * 1000L * 1000};

    while (!look(ctl, &w, &r)) {
        if (now_s() - w.since >= limit_s) {
            ctl_put_error(ctl, "not empty yet; it goes on, see `xvmhactl status`");
            return CTL_TIMEOUT;
        }
        nanosleep(&pause, NULL);
    }
    return r;
}

int ctl_maintenance(struct ctl *ctl, const struct ctl_command *command, char **args, int nargs)
{
    bool force = (ctl->given & OPT_FORCE) != 0;
    int r = ctl_request_print(ctl, command->method, "", args[0], force ? "force" : "");

    (void)nargs;
    if (r == CTL_OK && (ctl->given & OPT_WAIT) != 0)
        r = wait_empty(ctl, args[0]);
    return r;
}
