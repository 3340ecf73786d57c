/* SPDX-License-Identifier: GPL-2.0-or-later */
/* `--wait`: asks for the status twice a second until a guest is where it should be. */
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "ctl.h"

enum {
    POLL_MS = 500,
    RUN_TIMEOUT_S = 300,
    STOP_TIMEOUT_S = 660, /* the default stop_timeout and some */
    SETTLE_MS = 3000,     /* for an accepted command to show in the status */
};

enum verdict { NOT_YET, REACHED, HOPELESS };

struct watch {
    const char *guest, *from;
    enum ctl_goal goal;
    bool changed;    /* the guest was seen in another state than before the command */
    long long since; /* ms since the command */
    char last[160];  /* what was told last */
};

const json_t *ctl_find_guest(const json_t *status, const char *guest)
{
    const json_t *g;
    size_t i;

    json_array_foreach(json_object_get(status, "guests"), i, g)
    {
        if (strcmp(ctl_string(g, "name"), guest) == 0)
            return g;
    }
    return NULL;
}

static bool in_trouble(const json_t *guest)
{
    static const char *const words[] = {"failed", "quarantined", "blocked"};
    const char *condition = ctl_string(guest, "condition");

    for (size_t i = 0; i < 3; i++) {
        if (strcmp(condition, words[i]) == 0)
            return true;
    }
    return false;
}

static enum verdict judge_moved(struct watch *w, const json_t *guest)
{
    bool runs = strcmp(ctl_string(guest, "condition"), "running") == 0 &&
                ctl_string(guest, "target")[0] == '\0';
    bool elsewhere = strcmp(ctl_string(guest, "host"), w->from) != 0;

    if (!runs || elsewhere)
        w->changed = true;
    if (runs && elsewhere)
        return REACHED;
    if (runs && w->changed)
        return HOPELESS; /* it came back to where it was */
    return in_trouble(guest) ? HOPELESS : NOT_YET;
}

/* `stop` and `disable` change different wishes; either keeps it from running again. */
static enum verdict judge_stopped(const json_t *guest)
{
    bool wanted = ctl_bool(guest, "want_run") && ctl_bool(guest, "enabled");

    return ctl_string(guest, "host")[0] == '\0' && !wanted ? REACHED : NOT_YET;
}

static enum verdict judge(struct watch *w, const json_t *guest)
{
    const char *condition = ctl_string(guest, "condition");

    switch (w->goal) {
    case GOAL_RUNNING:
        if (strcmp(condition, "running") == 0)
            return REACHED;
        /* Just after the command the old reason may still be there. */
        return in_trouble(guest) && w->since > SETTLE_MS ? HOPELESS : NOT_YET;
    case GOAL_STOPPED:
        return judge_stopped(guest);
    case GOAL_MOVED:
        return judge_moved(w, guest);
    }
    return NOT_YET;
}

/* Progress goes to stderr: stdout is for results. */
static void tell(struct watch *w, const json_t *guest)
{
    const char *host = ctl_string(guest, "host"), *target = ctl_string(guest, "target");
    char now[160];

    snprintf(now, sizeof(now), "%.40s%s%.40s%s%.40s", ctl_string(guest, "condition"),
             host[0] != '\0' ? " on " : "", host, target[0] != '\0' ? " to " : "", target);
    if (strcmp(now, w->last) == 0)
        return;
    strcpy(w->last, now);
    fprintf(stderr, "%s: %s\n", w->guest, now);
}

static long long now_ms(void)
{
    struct timespec t;

    clock_gettime(CLOCK_BOOTTIME, &t);
    return (long long)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

static int give_up(const struct ctl *ctl, const struct watch *w, const json_t *guest)
{
    const char *why = ctl_string(guest, "why");

    char text[1024];

    snprintf(text, sizeof(text), "%s is %s%s%s", w->guest, w->last, why[0] != '\0' ? ": " : "", why);
    ctl_put_error(ctl, text);
    return CTL_FAILED;
}

/* One look. *ret_exit is set unless the verdict is NOT_YET. */
static enum verdict look(const struct ctl *ctl, struct watch *w, int *ret_exit)
{
    json_t *status = NULL;
    const json_t *guest;
    enum verdict verdict = HOPELESS;
    int r = ctl_call(ctl, "org.xvmha.Status", NULL, &status);

    if (r != CTL_OK) {
        *ret_exit = r;
        return HOPELESS;
    }
    guest = ctl_find_guest(status, w->guest);
    if (guest == NULL) {
        /* A guest that is in no list does not run. */
        verdict = w->goal == GOAL_STOPPED ? REACHED : HOPELESS;
        *ret_exit = w->goal == GOAL_STOPPED ? CTL_OK : CTL_UNKNOWN;
    } else {
        tell(w, guest);
        verdict = judge(w, guest);
        *ret_exit = verdict == HOPELESS ? give_up(ctl, w, guest) : CTL_OK;
    }
    json_decref(status);
    return verdict;
}

int ctl_wait(const struct ctl *ctl, const char *guest, enum ctl_goal goal, const char *from)
{
    struct watch w = {.guest = guest, .from = from, .goal = goal};
    int limit_s = goal == GOAL_RUNNING ? RUN_TIMEOUT_S : STOP_TIMEOUT_S, r = CTL_OK;
    long long start = now_ms();
    char text[400];

    if ((ctl->given & OPT_TIMEOUT) != 0)
        limit_s = ctl->timeout_s;
    for (;;) {
        w.since = now_ms() - start;
        if (look(ctl, &w, &r) != NOT_YET)
            return r;
        if (w.since >= (long long)limit_s * 1000)
            break;
        usleep(POLL_MS * 1000);
    }
    snprintf(text, sizeof(text),
             "%.128s is still %.160s after %d s; the command stands, see `xvmhactl status`", guest,
             w.last, limit_s);
    ctl_put_error(ctl, text);
    return CTL_TIMEOUT;
}
