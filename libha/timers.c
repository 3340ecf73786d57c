/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The durations the cluster lives by: defaults that follow from the ring, and the inequalities that
 * make the bound X + W + M safe (PROTOCOL.md, TIMERS). Numbers are written by hand: no stdio here.
 */
#include "config.h"

#include <errno.h>
#include <string.h>

enum {
    SYNC_MS = 500,         /* S: corosync's own synchronisation after a ring change */
    SLACK_MS = 2000,       /* j: scheduling and queueing, ours and corosync's */
    RECONFIGURATIONS = 2,  /* k: ring changes in a row that must not cost a lease */
    LOST_BEATS = 3,        /* beats that may be on their way or lost */
    MARGIN_MIN_MS = 3000,  /* M at least */
    MARGIN_BASE_MS = 2000, /* M: I/O in flight plus one second */
    DRIFT_SHARE = 500,     /* M: 1/500 of X + W: both clocks off by a generous 1000 ppm */
    DESTROY_MIN_MS = 2000, /* W: destroying the guests of a host takes at least this */
    DUEL_ACTION_MS = HA_DUEL_ACTION,
    DAY_MS = 24 * 3600 * 1000,
};

static ha_ms whole_seconds(ha_ms ms)
{
    return (ms + 999) / 1000 * 1000;
}

static ha_ms min_lease(ha_ms beat, ha_ms token, ha_ms consensus)
{
    return RECONFIGURATIONS * (token + consensus + SYNC_MS) + LOST_BEATS * beat + SLACK_MS;
}

/* From the last beat of a host to the order to its fence device, at worst. */
static ha_ms detection(const struct ha_timers *t, ha_ms token, ha_ms consensus)
{
    return token + consensus + SYNC_MS + t->exchange + 2 * t->beat;
}

static ha_ms min_margin(ha_ms lease, ha_ms watchdog)
{
    ha_ms drift = MARGIN_BASE_MS + (lease + watchdog) / DRIFT_SHARE;

    return drift > MARGIN_MIN_MS ? drift : MARGIN_MIN_MS;
}

void ha_timers_default(unsigned nhosts, ha_ms token_ms, ha_ms consensus_ms,
                       struct ha_timers *ret_timers)
{
    struct ha_timers t = {
        .beat = 500,
        .pet = 500,
        .exchange = 1000,
        .chair = 3000,
        .settle = consensus_ms + 2000,
        .startup_grace = 120 * 1000,
        .watchdog = 10 * 1000,
        .daemon = 30 * 1000,
        .fence_retry = 10 * 1000,
    };

    /* corosync's effective token and consensus have grown with the number of hosts already. */
    (void)nhosts;
    t.duel = whole_seconds(detection(&t, token_ms, consensus_ms) + SLACK_MS + DUEL_ACTION_MS);
    t.lease = whole_seconds(min_lease(t.beat, token_ms, consensus_ms));
    t.margin = whole_seconds(min_margin(t.lease, t.watchdog));
    *ret_timers = t;
}

/* ------------------------------------------------------------------------------- the error */

struct text {
    char *s;
    size_t n, size;
};

static void put(struct text *t, const char *s)
{
    size_t len = strlen(s), room = t->size - 1 - t->n;

    if (len > room)
        len = room;
    memcpy(t->s + t->n, s, len);
    t->n += len;
    t->s[t->n] = '\0';
}

static void put_ms(struct text *t, ha_ms ms)
{
    char digits[24];
    size_t i = sizeof(digits);
    uint64_t u = ms < 0 ? -(uint64_t)ms : (uint64_t)ms;

    digits[--i] = '\0';
    do {
        digits[--i] = (char)('0' + u % 10);
        u /= 10;
    } while (u > 0);
    if (ms < 0)
        digits[--i] = '-';
    put(t, digits + i);
    put(t, " ms");
}

/* "NAME is VALUE, expected at least LIMIT (WHY)" */
static int complain(struct ha_error *ret_error, const char *name, ha_ms value, const char *bound,
                    ha_ms limit, const char *why)
{
    struct ha_error error = {.code = -EINVAL};
    struct text t = {.s = error.text, .size = sizeof(error.text)};

    put(&t, name);
    put(&t, " is ");
    put_ms(&t, value);
    put(&t, ", expected ");
    put(&t, bound);
    put(&t, " ");
    put_ms(&t, limit);
    put(&t, why);
    *ret_error = error;
    return -EINVAL;
}

static int at_least(struct ha_error *ret_error, const char *name, ha_ms value, ha_ms limit,
                    const char *why)
{
    if (value >= limit)
        return 0;
    return complain(ret_error, name, value, "at least", limit, why);
}

/* ------------------------------------------------------------------------------ the checks */

static int check_ranges(const struct ha_timers *t, ha_ms token_ms, ha_ms consensus_ms,
                        struct ha_error *ret_error)
{
    const struct {
        const char *name;
        ha_ms value, min;
    } ranges[] = {
        {"corosync's token", token_ms, 1},
        {"corosync's consensus", consensus_ms, 1},
        {"beat", t->beat, 100},
        {"pet", t->pet, 100},
        {"exchange", t->exchange, 100},
        {"chair", t->chair, 1000},
        {"settle", t->settle, 0},
        {"startup_grace", t->startup_grace, 1000},
        {"lease", t->lease, 1},
        {"watchdog timeout", t->watchdog, 1},
        {"margin", t->margin, 1},
        {"daemon", t->daemon, 1000},
        {"duel", t->duel, DUEL_ACTION_MS + 1000},
        {"fence_retry", t->fence_retry, 1000},
    };

    for (size_t i = 0; i < sizeof(ranges) / sizeof(ranges[0]); i++) {
        if (ranges[i].value > DAY_MS)
            return complain(ret_error, ranges[i].name, ranges[i].value, "at most", DAY_MS,
                            " (a day)");
        if (at_least(ret_error, ranges[i].name, ranges[i].value, ranges[i].min, "") < 0)
            return -EINVAL;
    }
    return 0;
}

/* Without these the bound would confirm a host as dead that still runs guests. */
static int check_bound(const struct ha_timers *t, ha_ms token_ms, ha_ms consensus_ms,
                       struct ha_error *ret_error)
{
    int r;

    r = at_least(ret_error, "lease", t->lease, min_lease(t->beat, token_ms, consensus_ms),
                 " (2 x (token + consensus + 500 ms) + 3 x beat + 2000 ms)");
    if (r == 0)
        r = at_least(ret_error, "watchdog timeout", t->watchdog, t->pet + DESTROY_MIN_MS,
                     " (pet + time to destroy the guests)");
    if (r == 0 && t->watchdog % 1000 != 0)
        r = complain(ret_error, "watchdog timeout", t->watchdog, "whole seconds, for example",
                     whole_seconds(t->watchdog), "");
    if (r == 0)
        r = at_least(ret_error, "margin", t->margin, min_margin(t->lease, t->watchdog),
                     " (clock drift over lease + watchdog, I/O in flight, 1 s)");
    return r;
}

/* Without these the cluster would be safe and never quiet. */
static int check_pace(const struct ha_timers *t, ha_ms token_ms, ha_ms consensus_ms,
                      struct ha_error *ret_error)
{
    int r;

    r = at_least(ret_error, "settle", t->settle, consensus_ms,
                 " (corosync's consensus: rings merge step by step)");
    if (r == 0)
        r = at_least(ret_error, "chair", t->chair, t->exchange, " (exchange)");
    if (r == 0)
        r = at_least(ret_error, "daemon", t->daemon, t->chair, " (chair)");
    if (r == 0)
        r = at_least(ret_error, "duel", t->duel,
                     detection(t, token_ms, consensus_ms) + DUEL_ACTION_MS,
                     " (token + consensus + 500 ms + exchange + 2 x beat + 5000 ms to switch off)");
    return r;
}

int ha_timers_check(const struct ha_timers *timers, ha_ms token_ms, ha_ms consensus_ms,
                    struct ha_error *ret_error)
{
    int r = check_ranges(timers, token_ms, consensus_ms, ret_error);

    if (r == 0)
        r = check_bound(timers, token_ms, consensus_ms, ret_error);
    if (r == 0)
        r = check_pace(timers, token_ms, consensus_ms, ret_error);
    return r;
}

/* --------------------------------------------------------------------------------- shared disk */

ha_ms ha_disk_bound(ha_ms timeout_ms, ha_ms watchdog_ms, ha_ms margin_ms)
{
    ha_ms margin = min_margin(timeout_ms, watchdog_ms);

    return timeout_ms + watchdog_ms + (margin > margin_ms ? margin : margin_ms);
}

/* A host says that its disk is late at D/2; in the other half all of them must have said so, a
 * coordinator must have been found, and the decision must have reached every keeper. */
ha_ms ha_disk_timeout_min(const struct ha_timers *t, ha_ms interval_ms, ha_ms storage_ms)
{
    ha_ms agree = 2 * (2 * interval_ms + t->chair + t->exchange + 2 * t->beat + 500);
    ha_ms storage = storage_ms > 0 ? storage_ms + 2 * interval_ms + 1000 : 0;

    return whole_seconds(agree > storage ? agree : storage);
}

int ha_disk_check(const struct ha_disk_config *disk, const struct ha_timers *timers,
                  ha_ms storage_ms, struct ha_error *ret_error)
{
    ha_ms agree = ha_disk_timeout_min(timers, disk->interval_ms, 0);
    int r;

    if (disk->timeout_ms > DAY_MS)
        return complain(ret_error, "the shared disk's timeout", disk->timeout_ms, "at most", DAY_MS,
                        " (a day)");
    r = at_least(ret_error, "the shared disk's interval", disk->interval_ms, 200, "");
    if (r == 0)
        r = at_least(
            ret_error, "the shared disk's timeout", disk->timeout_ms, agree,
            " (2 x (2 x interval + chair + exchange + 2 x beat + 500 ms), so that hosts which "
            "all lose it can agree before anybody stops)");
    if (r == 0 && storage_ms > 0)
        r = at_least(ret_error, "the shared disk's timeout", disk->timeout_ms,
                     ha_disk_timeout_min(timers, disk->interval_ms, storage_ms),
                     " (what the storage itself takes to give up, + 2 x interval + 1000 ms)");
    return r;
}
