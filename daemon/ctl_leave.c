/* SPDX-License-Identifier: GPL-2.0-or-later */
/* `xvmhactl leave`: what a host does before it goes down. Returns when nothing of any guest is left
 * here, the others know that, and the watchdog is disarmed; or when its time is over. */
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "ctl.h"

enum { POLL_MS = 250, LEAVE_TIMEOUT_S = 600 };

struct left {
    bool frozen, out, empty, armed;
    long long guests; /* that the cluster has on this host */
};

static int look(const struct ctl *ctl, struct left *ret_left)
{
    json_t *status = NULL;
    const json_t *host;
    size_t i;
    int r = ctl_call(ctl, "org.xvmha.Status", NULL, &status);

    if (r != CTL_OK)
        return r;
    *ret_left =
        (struct left){.frozen = ctl_bool(status, "frozen"),
                      .empty = ctl_bool(status, "empty"),
                      .armed = ctl_bool(status, "armed")};
    json_array_foreach(json_object_get(status, "hosts"), i, host)
    {
        if (strcmp(ctl_string(host, "name"), ctl_string(status, "self")) != 0)
            continue;
        ret_left->out = strcmp(ctl_string(host, "state"), "out") == 0;
        ret_left->guests = ctl_int(host, "guests");
    }
    /* A cluster that was never founded, or never had this host, misses nothing. */
    ret_left->out |= !ctl_bool(status, "founded");
    json_decref(status);
    return CTL_OK;
}

static int too_late(const struct ctl *ctl, const struct left *left, int limit_s)
{
    char text[400];

    snprintf(text, sizeof(text),
             "this host has not left after %d s: %s%s. Going down now, it counts as lost: the others "
             "fence it, or wait for its watchdog, before they start what it ran",
             limit_s,
             !left->empty ? "guests are still here"
             : !left->out ? "the cluster has not taken its goodbye (has it quorum?)"
                          : "nothing is left here",
             left->armed ? ", its watchdog is armed" : "");
    ctl_put_error(ctl, text);
    return CTL_TIMEOUT;
}

int ctl_leave(struct ctl *ctl, const struct ctl_command *command, char **args, int nargs)
{
    int limit_s = (ctl->given & OPT_TIMEOUT) != 0 ? ctl->timeout_s : LEAVE_TIMEOUT_S;
    long long told = -1, waited_ms = 0;
    struct left left = {0};
    json_t *answer = NULL;
    int r = look(ctl, &left);

    (void)command;
    (void)args;
    (void)nargs;
    if (r == CTL_OK && left.frozen && !left.armed) { /* nobody may touch its guests */
        ctl_put_wrapped(ctl, STYLE_PLAIN,
                        "the cluster is frozen: this host goes down as it is; what becomes of its "
                        "guests is seen to after `xvmhactl thaw`",
                        0, 0);
        return CTL_OK;
    }
    if (r == CTL_OK)
        r = ctl_call(ctl, "org.xvmha.Leave", NULL, &answer);
    json_decref(answer);
    for (; r == CTL_OK; waited_ms += POLL_MS) {
        r = look(ctl, &left);
        if (r != CTL_OK)
            return r;
        if (left.out && left.empty && !left.armed) {
            ctl_put_wrapped(ctl, STYLE_PLAIN, "this host has left: it may go down", 0, 0);
            return CTL_OK;
        }
        if (waited_ms >= (long long)limit_s * 1000)
            return too_late(ctl, &left, limit_s);
        if (left.guests != told)
            fprintf(stderr, "leaving: %lld guests are here\n", left.guests);
        told = left.guests;
        usleep(POLL_MS * 1000);
    }
    return r;
}
