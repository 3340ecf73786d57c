/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Owns the blobs, their group, and the starts that wait for them. */
#include "supply.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../libha/wire.h"
#include "blobs.h"
#include "log.h"
#include "spread.h"
#include "util.h"

enum { PATIENCE_MS = 10000, KEEP_MS = 24 * 60 * 60 * 1000, LOOKS = 24 };

struct held {
    struct held *next;
    struct ha_action action;
    ha_ms until;
};

struct xvm_supply {
    const struct xvm_supply_sink *sink;
    void *user;
    struct xvm_blobs *blobs;
    struct xvm_spread *spread;
    sd_event_source *timer, *deferred, *sweeper;
    ha_ms keep_ms;
    struct held *held;
    struct ha_definition *made; /* not told to the sink yet */
    size_t nmade;
};

/* ------------------------------------------------------------------------------ starts that wait */

static void set_timer(struct xvm_supply *s)
{
    ha_ms next = INT64_MAX;

    for (const struct held *h = s->held; h; h = h->next)
        next = h->until < next ? h->until : next;
    if (next == INT64_MAX) {
        sd_event_source_set_enabled(s->timer, SD_EVENT_OFF);
        return;
    }
    sd_event_source_set_time(s->timer, (uint64_t)next * 1000);
    sd_event_source_set_enabled(s->timer, SD_EVENT_ONESHOT);
}

/* Those whose definition is here, or whose patience is at its end. */
static void release(struct xvm_supply *s)
{
    ha_ms now = xvm_now_ms();
    struct held **at = &s->held;

    while (*at) {
        struct held *h = *at;
        bool here = xvm_blobs_have(s->blobs, &h->action.u.guest.def);

        if (!here && now < h->until) {
            at = &h->next;
            continue;
        }
        *at = h->next;
        s->sink->release(s->user, &h->action,
                         here ? NULL : "its definition has not come from another host in 10 s: is "
                                       "xvm-had running on one that has it?");
        free(h);
        at = &s->held; /* the sink may have added some */
    }
    set_timer(s);
}

static void on_arrived(void *user, const struct ha_uuid *hash)
{
    struct xvm_supply *s = user;

    release(s);
    s->sink->arrived(s->user, hash);
}

static int on_timer(sd_event_source *source, uint64_t at, void *user)
{
    (void)source;
    (void)at;
    release(user);
    return 0;
}

bool xvm_supply_hold(struct xvm_supply *s, const struct ha_action *action)
{
    const struct ha_uuid *hash = &action->u.guest.def;
    struct held *h;

    if (action->u.guest.what != HA_OP_CREATE || ha_uuid_zero(hash) ||
        xvm_blobs_have(s->blobs, hash))
        return false;
    h = malloc(sizeof(*h));
    if (!h || xvm_spread_want(s->spread, hash) < 0) {
        free(h);
        return false; /* the driver finds that it is not there */
    }
    *h = (struct held){.next = s->held, .action = *action, .until = xvm_now_ms() + PATIENCE_MS};
    s->held = h;
    set_timer(s);
    return true;
}

void xvm_supply_want(struct xvm_supply *s, const struct ha_uuid *hash)
{
    if (xvm_spread_want(s->spread, hash) < 0)
        xvm_log(HA_SEV_ERROR, "out of memory: a definition is not fetched");
}

/* ------------------------------------------------------------------------------------- made here */

static int on_deferred(sd_event_source *source, void *user)
{
    struct xvm_supply *s = user;

    (void)source;
    while (s->nmade > 0) {
        struct ha_definition def = s->made[--s->nmade];

        s->sink->defined(s->user, &def);
    }
    return 0;
}

static int keep(struct xvm_supply *s, const struct ha_definition *def)
{
    struct ha_definition *v = realloc(s->made, (s->nmade + 1) * sizeof(*v));

    if (!v)
        return -ENOMEM;
    s->made = v;
    v[s->nmade++] = *def;
    sd_event_source_set_enabled(s->deferred, SD_EVENT_ONESHOT);
    return 0;
}

void xvm_supply_made(struct xvm_supply *s, const char *guest, const void *bytes, size_t len,
                     uint64_t need_kib, uint8_t flags)
{
    struct ha_definition def = {.need_kib = need_kib, .flags = flags};
    struct ha_uuid last = xvm_blobs_made(s->blobs, guest);
    int r = xvm_blobs_put(s->blobs, bytes, len, &def.hash);

    ha_name_copy(def.guest, guest);
    def.fresh = !ha_uuid_zero(&last) && !ha_uuid_eq(&last, &def.hash);
    if (r == 0)
        r = keep(s, &def);
    if (r == 0 && !ha_uuid_eq(&last, &def.hash))
        r = xvm_blobs_set_made(s->blobs, guest, &def.hash);
    if (r < 0)
        xvm_log(HA_SEV_ERROR, "cannot keep the definition of %s: %s", guest, strerror(-r));
}

void xvm_supply_read_files(struct xvm_supply *s, const struct ha_config *config)
{
    char *bytes = malloc(XVM_BLOB_MAX);

    for (size_t i = 0; bytes && i < config->nguests; i++) {
        const struct ha_guest_config *g = &config->guests[i];
        FILE *file = g->config_path ? fopen(g->config_path, "re") : NULL;
        size_t n;

        if (!file)
            continue; /* on another host perhaps */
        n = fread(bytes, 1, XVM_BLOB_MAX, file);
        if (!ferror(file) && n < XVM_BLOB_MAX)
            xvm_supply_made(s, g->name, bytes, n, g->memory_kib, 0);
        else
            xvm_log(HA_SEV_ERROR, "cannot read %s of guest %s, or it is too large",
                    g->config_path, g->name);
        fclose(file);
    }
    free(bytes);
}

int xvm_supply_keep(struct xvm_supply *s, const void *bytes, size_t len, struct ha_uuid *ret_hash)
{
    return xvm_blobs_put(s->blobs, bytes, len, ret_hash);
}

int xvm_supply_get(const struct xvm_supply *s, const struct ha_uuid *hash, void **ret_bytes,
                   size_t *ret_len)
{
    return xvm_blobs_get(s->blobs, hash, ret_bytes, ret_len);
}

char *xvm_supply_path(const struct xvm_supply *s, const struct ha_uuid *hash)
{
    return xvm_blobs_path(s->blobs, hash);
}

/* ------------------------------------------------------------------------ what nobody needs */

static bool is_needed(void *user, const struct ha_uuid *hash)
{
    const struct xvm_supply *s = user;

    for (const struct held *h = s->held; h; h = h->next)
        if (ha_uuid_eq(&h->action.u.guest.def, hash))
            return true;
    for (size_t i = 0; i < s->nmade; i++)
        if (ha_uuid_eq(&s->made[i].hash, hash))
            return true;
    return s->sink->needed(s->user, hash);
}

static int on_sweep(sd_event_source *source, uint64_t at, void *user)
{
    struct xvm_supply *s = user;
    size_t n = xvm_blobs_sweep(s->blobs, is_needed, s, xvm_now_ms(), s->keep_ms);

    (void)at;
    if (n > 0)
        xvm_log(HA_SEV_INFO, "%zu definition%s that nobody has needed for long %s deleted", n,
                n == 1 ? "" : "s", n == 1 ? "is" : "are");
    sd_event_source_set_time_relative(source, (uint64_t)s->keep_ms * 1000 / LOOKS);
    sd_event_source_set_enabled(source, SD_EVENT_ONESHOT);
    return 0;
}

/* ---------------------------------------------------------------------------------- birth, end */

int xvm_supply_new(sd_event *loop, const char *state_dir, ha_ms keep_ms,
                   const struct xvm_supply_sink *sink, void *user, struct xvm_supply **ret_supply)
{
    struct xvm_supply *s = calloc(1, sizeof(*s));
    int r;

    if (!s)
        return -ENOMEM;
    s->sink = sink;
    s->user = user;
    s->keep_ms = keep_ms > 0 ? keep_ms : KEEP_MS;
    r = xvm_blobs_new(state_dir, &s->blobs);
    if (r >= 0)
        r = sd_event_add_time(loop, &s->timer, CLOCK_BOOTTIME, 0, 1000, on_timer, s);
    if (r >= 0)
        r = sd_event_source_set_enabled(s->timer, SD_EVENT_OFF);
    if (r >= 0)
        r = sd_event_add_time_relative(loop, &s->sweeper, CLOCK_BOOTTIME,
                                       (uint64_t)s->keep_ms * 1000 / LOOKS, 0, on_sweep, s);
    if (r >= 0)
        r = sd_event_add_defer(loop, &s->deferred, on_deferred, s);
    if (r >= 0)
        r = sd_event_source_set_enabled(s->deferred, SD_EVENT_OFF);
    if (r >= 0)
        r = xvm_spread_new(loop, s->blobs, on_arrived, s, &s->spread);
    if (r < 0) {
        xvm_supply_free(s);
        return r;
    }
    *ret_supply = s;
    return 0;
}

struct xvm_supply *xvm_supply_free(struct xvm_supply *s)
{
    if (!s)
        return NULL;
    while (s->held) {
        struct held *h = s->held;

        s->held = h->next;
        free(h);
    }
    xvm_spread_free(s->spread);
    sd_event_source_disable_unref(s->timer);
    sd_event_source_disable_unref(s->deferred);
    sd_event_source_disable_unref(s->sweeper);
    xvm_blobs_free(s->blobs);
    free(s->made);
    free(s);
    return NULL;
}
