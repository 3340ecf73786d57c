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
    STOP_TIMEOUT_S = 660,      /* the default stop_timeout and some */
    SETTLE_MS = 3000,          /* for an accepted command to show in the status */
    MOVE_TIMEOUT_S = 3900,     /* the default time limit of a transfer and some */
    PROGRESS_MS = 1000,        /* between two lines about a transfer, where lines stay... */
    PROGRESS_LATER_MS = 10000, /* ...and once ten were printed */
};

enum verdict { NOT_YET, REACHED, HOPELESS };

struct watch {
    const char *guest, *from;
    enum ctl_goal goal;
    long long mig;
    unsigned failures;        /* looks in a row that saw a failed move */
    bool terminal, line_open; /* a line that is to be overwritten stands on it */
    long long told;           /* `since` of the last line about a transfer */
    unsigned lines;           /* of them */
    bool changed;             /* the guest was seen in another state than before the command */
    long long since;          /* ms since the command */
    char last[160];           /* what was told last */
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

/* A move that failed after the command. The fallback to stop and start shows at the second look. */
static bool move_failed(struct watch *w, const json_t *guest)
{
    const json_t *transfer = json_object_get(guest, "transfer");
    bool failed = ctl_bool(transfer, "failed") && ctl_int(transfer, "migration") > w->mig &&
                  !ctl_bool(guest, "recalled") &&
                  strcmp(ctl_string(guest, "condition"), "running") == 0;

    w->failures = failed ? w->failures + 1 : 0;
    return w->failures > 1;
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
    if (move_failed(w, guest) || (runs && w->changed && w->failures == 0))
        return HOPELESS; /* it stays, or came back to where it was */
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

/* Ends a line that was to be overwritten. */
static void close_line(struct watch *w)
{
    if (w->line_open)
        fputc('\n', stderr);
    w->line_open = false;
}

/* What status says of the transfer, in short: sent, rate, time, round. */
static void tell_transfer(struct watch *w, const json_t *transfer)
{
    double mib = (double)ctl_int(transfer, "bytes") / (1 << 20);
    double rate = (double)ctl_int(transfer, "rate") / (1 << 20);
    long long round = ctl_int(transfer, "round");
    char text[160], extra[80] = "";

    if (!w->terminal && w->told > 0 &&
        w->since - w->told < (w->lines < 10 ? PROGRESS_MS : PROGRESS_LATER_MS))
        return;
    w->lines++;
    w->told = w->since > 0 ? w->since : 1;
    if (round > 0)
        snprintf(extra, sizeof(extra), ", round %lld (%.1f MiB left)", round,
                 (double)ctl_int(transfer, "left_kib") / 1024);
    snprintf(text, sizeof(text), "%.60s: %.1f MiB sent, %.1f MiB/s, %lld s%s", w->guest, mib, rate,
             ctl_int(transfer, "elapsed_ms") / 1000, extra);
    if (w->terminal)
        fprintf(stderr, "\r\033[K%s", text);
    else
        fprintf(stderr, "%s\n", text);
    w->line_open = w->terminal;
}

/* Progress goes to stderr: stdout is for results. */
static void tell(struct watch *w, const json_t *guest)
{
    const char *host = ctl_string(guest, "host"), *target = ctl_string(guest, "target");
    const json_t *transfer = json_object_get(guest, "transfer");
    char now[160];

    snprintf(now, sizeof(now), "%.40s%s%.40s%s%.40s", ctl_string(guest, "condition"),
             host[0] != '\0' ? " on " : "", host, target[0] != '\0' ? " to " : "", target);
    if (strcmp(now, w->last) == 0) {
        if (w->goal == GOAL_MOVED && json_is_object(transfer) && !ctl_bool(transfer, "failed"))
            tell_transfer(w, transfer);
        return;
    }
    strcpy(w->last, now);
    close_line(w);
    fprintf(stderr, "%s: %s\n", w->guest, now);
}

static long long now_ms(void)
{
    struct timespec t;

    clock_gettime(CLOCK_BOOTTIME, &t);
    return (long long)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

static int give_up(const struct ctl *ctl, struct watch *w, const json_t *guest)
{
    const char *why = ctl_string(guest, "why");
    const json_t *transfer = json_object_get(guest, "transfer");
    char text[1024];

    close_line(w);
    if (w->goal == GOAL_MOVED && ctl_bool(transfer, "failed") &&
        ctl_int(transfer, "migration") > w->mig) {
        snprintf(text, sizeof(text), "%s stays on %s, the move failed: the %s says: %s", w->guest,
                 ctl_string(guest, "host"), ctl_string(transfer, "at"),
                 ctl_string(transfer, "text"));
        ctl_put_error(ctl, text);
        return CTL_FAILED;
    }
    if (w->goal == GOAL_MOVED && strcmp(ctl_string(guest, "condition"), "running") == 0) {
        snprintf(text, sizeof(text),
                 "%s stays on %s: the move was called off, see `xvmhactl events`", w->guest,
                 ctl_string(guest, "host"));
        ctl_put_error(ctl, text);
        return CTL_FAILED;
    }

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

int ctl_wait(const struct ctl *ctl, const char *guest, enum ctl_goal goal, const char *from,
             long long mig)
{
    struct watch w = {.guest = guest, .from = from, .goal = goal, .mig = mig};
    int limit_s = goal == GOAL_RUNNING   ? RUN_TIMEOUT_S
                  : goal == GOAL_STOPPED ? STOP_TIMEOUT_S
                                         : MOVE_TIMEOUT_S;
    int r = CTL_OK;
    long long start = now_ms();
    char text[400];

    w.terminal = isatty(STDERR_FILENO) == 1;
    if ((ctl->given & OPT_TIMEOUT) != 0)
        limit_s = ctl->timeout_s;
    for (;;) {
        w.since = now_ms() - start;
        if (look(ctl, &w, &r) != NOT_YET) {
            close_line(&w);
            return r;
        }
        if (w.since >= (long long)limit_s * 1000)
            break;
        usleep(POLL_MS * 1000);
    }
    close_line(&w);
    snprintf(text, sizeof(text),
             "%.128s is still %.160s after %d s; the command stands, see `xvmhactl status`", guest,
             w.last, limit_s);
    ctl_put_error(ctl, text);
    return CTL_TIMEOUT;
}
