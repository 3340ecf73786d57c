/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The cluster's state as JSON: what the core tells of hosts and guests, each with one word for its
 * condition, and the lists of what is under way and what needs an operator. */
#include "status_json.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "debug.h"
#include "version.h"

struct status {
    const struct ha *core;
    ha_ms now;
    const char *cluster;
    struct ha_status s;
    struct ha_host_status *hosts;
    size_t *guests_on; /* of each host */
    json_t *underway, *attention;
};

json_t *xvm_json_text(const char *text)
{
    json_t *string;
    char *copy;

    if (text == NULL)
        text = "";
    string = json_string(text);
    if (string != NULL)
        return string;
    copy = strdup(text);
    if (copy == NULL)
        return NULL;
    for (char *c = copy; *c != '\0'; c++) {
        if ((unsigned char)*c >= 0x80)
            *c = '?';
    }
    string = json_string(copy);
    free(copy);
    return string;
}

/* ------------------------------------------------------------------------------------ names */

static const struct ha_host_status *find_host(const struct status *st, ha_node node)
{
    for (size_t i = 0; i < st->s.nhosts; i++) {
        if (st->hosts[i].node == node)
            return &st->hosts[i];
    }
    return NULL;
}

static json_t *node_name(const struct status *st, ha_node node)
{
    const struct ha_host_status *host = find_host(st, node);
    char text[32];

    if (node == 0)
        return json_string("");
    if (host != NULL && host->name != NULL)
        return xvm_json_text(host->name);
    snprintf(text, sizeof(text), "node %u", node);
    return json_string(text);
}

/* ------------------------------------------------------------------------------- conditions */

static const char *host_condition(const struct status *st, const struct ha_host_status *h)
{
    switch (h->state) {
    case HA_HOST_NEW:
        return h->member ? "joining" : "never seen";
    case HA_HOST_IN:
        if (!h->member)
            return "missing";
        if (st->s.unheard && h->node != st->s.self)
            return "silent";
        if (!h->daemon)
            return "unmanaged";
        if (h->synced)
            return "online";
        /* Nobody can sync before there is an open coordinator. */
        return st->s.quorate && st->s.phase == HA_PHASE_OPEN ? "syncing" : "waiting";
    case HA_HOST_LOST:
        return "lost";
    case HA_HOST_FENCING:
        return "fencing";
    case HA_HOST_DEAD:
        return "dead";
    case HA_HOST_OUT:
        return "out";
    }
    return "unknown";
}

static const char *free_guest_condition(const struct ha_guest_status *g)
{
    if (g->external)
        return "external";
    if (g->quarantined)
        return "quarantined";
    if (g->failed)
        return "failed";
    if (!g->enabled)
        return "disabled";
    if (!g->want_run)
        return "stopped";
    if (!g->managed)
        return "unmanaged";
    if (g->preempted)
        return "preempted";
    return g->why[0] != '\0' ? "blocked" : "waiting";
}

static const char *guest_condition(const struct status *st, const struct ha_guest_status *g)
{
    const struct ha_host_status *owner = g->owner != 0 ? find_host(st, g->owner) : NULL;

    if (owner != NULL && (owner->state == HA_HOST_LOST || owner->state == HA_HOST_FENCING))
        return "host lost";
    if (owner != NULL && owner->state == HA_HOST_IN && !owner->member)
        return "host missing"; /* what it does there is not known here */
    if (g->ended)
        return "ended";
    if (owner != NULL && st->s.unheard && g->owner != st->s.self)
        return "unknown";
    switch (g->state) {
    case HA_GUEST_FREE:
        return free_guest_condition(g);
    case HA_GUEST_STARTING:
        return "starting";
    case HA_GUEST_RUNNING:
        if (g->external)
            return "running";
        return g->want_run && g->enabled && !g->recalled && !g->preempted ? "running"
                                                                          : "stopping";
    case HA_GUEST_MIGRATING:
        return "migrating";
    case HA_GUEST_ARRIVED:
        return "arriving";
    }
    return "unknown";
}

/* ------------------------------------------------------------------------------------ notes */

static void note(json_t *list, const char *kind, const char *name, const char *condition,
                 const char *text)
{
    json_array_append_new(list, json_pack("{s:s, s:o, s:s, s:o}", "kind", kind, "name",
                                          xvm_json_text(name), "condition", condition, "text",
                                          xvm_json_text(text)));
}

/* Somebody has to end it; and whoever works under it wants to know that every host obeys. */
static void note_freeze(struct status *st)
{
    if (!st->s.frozen)
        return;
    note(st->attention, "cluster", st->cluster, "frozen",
         "no host is fenced and no guest is started, stopped or moved, whatever happens; end it "
         "with `xvmhactl thaw`");
    for (size_t i = 0; i < st->s.nhosts; i++)
        if (st->hosts[i].state == HA_HOST_IN && st->hosts[i].daemon && !st->hosts[i].frozen)
            note(st->underway, "host", st->hosts[i].name != NULL ? st->hosts[i].name : "?",
                 "online", "its watchdog is not disarmed yet");
}

static void note_host(struct status *st, const struct ha_host_status *h, const char *condition)
{
    char name[HA_NAME_MAX], way_out[HA_TEXT_MAX + 2 * HA_NAME_MAX];
    const char *text = h->why;

    snprintf(name, sizeof(name), "node %u", h->node);
    if (h->name != NULL)
        snprintf(name, sizeof(name), "%s", h->name);
    if (h->state == HA_HOST_FENCING || ((h->maintenance || h->down) && h->leaving > 0) ||
        strcmp(condition, "syncing") == 0 ||
        strcmp(condition, "joining") == 0)
        note(st->underway, "host", name, condition, text);
    else if (text[0] != '\0' || strcmp(condition, "lost") == 0)
        note(st->attention, "host", name, condition, text);
    else if (strcmp(condition, "silent") == 0)
        note(st->attention, "host", name, condition, "nothing is heard from it; is corosync stuck?");
    if (h->foreign) {
        snprintf(way_out, sizeof(way_out),
                 "another machine answers under its node id, and is refused: if it replaces %s, "
                 "`xvmhactl host replace %s`", name, name);
        note(st->attention, "host", name, "foreign machine", way_out);
    }
    if (h->drift)
        note(st->attention, "host", name, "config drift",
             "its " XVM_CONFIG_PATH " differs from this host's: `xvmhactl config diff` shows how; "
             "`xvmhactl config push` where it is right makes them equal");
}

static void size_text(uint64_t bytes, char *buf, size_t size)
{
    double mib = (double)bytes / (1 << 20);

    if (mib >= 10240)
        snprintf(buf, size, "%.1f GiB", mib / 1024);
    else
        snprintf(buf, size, mib < 10 ? "%.1f MiB" : "%.0f MiB", mib);
}

/* `moves to host2: 1.5 GiB sent, 110 MiB/s, 14 s, round 2 (20 MiB left); TLS 1.3, ...` */
static void progress_text(const struct ha_guest_status *g, char *buf, size_t size)
{
    const struct ha_transfer *t = g->transfer;
    char sent[32], rate[32], left[32], round[80] = "";

    size_text(t->bytes, sent, sizeof(sent));
    size_text(t->rate, rate, sizeof(rate));
    size_text(t->left_kib * 1024, left, sizeof(left));
    if (t->round > 0)
        snprintf(round, sizeof(round), ", round %u (%s left)", t->round, left);
    snprintf(buf, size, "%s: %s sent, %s/s, %lld s%s; %s", g->why, sent, rate,
             (long long)t->elapsed_ms / 1000, round, t->text);
}

static void note_guest(struct status *st, const struct ha_guest_status *g, const char *condition)
{
    char way_out[HA_TEXT_MAX * 3];
    const char *text = g->why;
    bool trouble = g->failed || g->quarantined || strcmp(condition, "blocked") == 0 ||
                   strcmp(condition, "preempted") == 0 ||
                   strcmp(condition, "host lost") == 0 || strcmp(condition, "ended") == 0;

    if (g->state == HA_GUEST_MIGRATING && g->transfer != NULL && !g->transfer->failed) {
        progress_text(g, way_out, sizeof(way_out));
        note(st->underway, "guest", g->name, condition, way_out);
    } else if (g->state == HA_GUEST_STARTING || g->state == HA_GUEST_MIGRATING ||
               g->state == HA_GUEST_ARRIVED || strcmp(condition, "stopping") == 0) {
        note(st->underway, "guest", g->name, condition, text);
    }
    if (g->state == HA_GUEST_RUNNING && g->transfer != NULL && g->transfer->failed) {
        snprintf(way_out, sizeof(way_out), "it goes on where it was: %s: %s",
                 g->transfer->target ? "the target says" : "the source says", g->transfer->text);
        note(st->attention, "guest", g->name, "move failed", way_out);
    }
    if (!trouble && (text[0] == '\0' || g->state != HA_GUEST_RUNNING))
        return;
    if (strcmp(condition, "stopping") == 0 && g->stop != HA_STOP_OVERDUE)
        return; /* under way, and nothing for an operator to do */
    if (text[0] == '\0' && (g->failed || g->quarantined)) {
        snprintf(way_out, sizeof(way_out), "`xvmhactl clear %s` lets it try again", g->name);
        text = way_out;
    }
    if (text[0] != '\0')
        note(st->attention, "guest", g->name, condition, text);
}

/* ------------------------------------------------------------------------------------ lists */

static json_t *host_json(struct status *st, size_t i)
{
    static const char *const maintenance[] = {"", "evacuating", "maintenance"};
    const struct ha_host_status *h = &st->hosts[i];
    const char *condition = host_condition(st, h);

    note_host(st, h, condition);
    return json_pack(
        "{s:o, s:I, s:s, s:s, s:b, s:b, s:b, s:b, s:b, s:b, s:b, s:I, s:I, s:b, s:b, s:I, "
        "s:I, s:s, s:b, s:I, s:I, s:I, s:I, s:o, s:b, s:b, s:I, s:b, s:b}",
        "name", node_name(st, h->node), "id", (json_int_t)h->node, "condition", condition, "state",
        ha_host_state_name(h->state), "member", h->member, "daemon", h->daemon, "synced", h->synced,
        "armed", h->armed, "coordinator", h->coordinator, "drift", h->drift, "frozen", h->frozen,
        "loss", (json_int_t)h->loss, "fence_level", (json_int_t)h->fence_level, "ordered", h->ordered,
        "quarantined", h->quarantined, "losses", (json_int_t)h->flaps, "guests",
        (json_int_t)st->guests_on[i], "maintenance", maintenance[h->maintenance % 3], "goes_down", h->down,
        "guests_to_leave", (json_int_t)h->leaving, "guests_leaving", (json_int_t)h->going,
        "memory_kib", (json_int_t)h->memory_kib, "memory_used_kib",
        (json_int_t)h->memory_used_kib, "why", xvm_json_text(h->why), "disk_ok", h->disk_ok,
        "disk_bound", h->disk_bound, "disk_age_ms", (json_int_t)h->disk_age_ms, "arming", h->arming,
        "foreign", h->foreign);
}

/* How a move goes, or why the last one failed; null: nothing to tell. */
static json_t *transfer_json(const struct ha_transfer *t)
{
    if (t == NULL)
        return json_null();
    if (t->failed)
        return json_pack("{s:b, s:I, s:s, s:o}", "failed", true, "migration", (json_int_t)t->mig,
                         "at", t->target ? "target" : "source", "text", xvm_json_text(t->text));
    return json_pack("{s:b, s:I, s:I, s:I, s:I, s:I, s:I, s:o}", "failed", false, "migration",
                     (json_int_t)t->mig, "bytes", (json_int_t)t->bytes, "rate", (json_int_t)t->rate,
                     "elapsed_ms", (json_int_t)t->elapsed_ms, "round", (json_int_t)t->round,
                     "left_kib", (json_int_t)t->left_kib, "protection", xvm_json_text(t->text));
}

static json_t *guest_json(struct status *st, size_t i)
{
    struct ha_guest_status g = {0};
    const struct ha_host_status *owner;
    const char *condition;

    ha_status_guest(st->core, st->now, i, &g);
    condition = guest_condition(st, &g);
    owner = find_host(st, g.owner);
    if (owner != NULL && g.owner != 0)
        st->guests_on[owner - st->hosts]++;
    note_guest(st, &g, condition);
    return json_pack("{s:o, s:s, s:s, s:o, s:o, s:b, s:b, s:b, s:b, s:b, s:b, s:b, s:b, s:I, s:I, s:i, "
                     "s:I, s:I, s:s, s:s, s:I, s:o, s:o, s:b, s:s}",
                     "name", xvm_json_text(g.name), "condition", condition, "state",
                     ha_guest_state_name(g.state), "host", node_name(st, g.owner), "target",
                     node_name(st, g.target), "managed", g.managed, "external", g.external,
                     "enabled", g.enabled, "want_run", g.want_run, "recalled", g.recalled, "failed",
                     g.failed, "quarantined", g.quarantined, "preempted", g.preempted,
                     "incarnation", (json_int_t)g.inc, "migration",
                     (json_int_t)g.mig, "priority", g.priority, "memory_kib",
                     (json_int_t)g.memory_kib, "restarts", (json_int_t)g.restarts, "health",
                     ha_health_name(g.health), "stop_phase", ha_stop_phase_name(g.stop),
                     "stop_left_ms", (json_int_t)g.stop_left_ms, "transfer",
                     transfer_json(g.transfer), "why", xvm_json_text(g.why), "unplaced", g.unplaced,
                     "gave_way", g.gave_way != NULL ? g.gave_way : "");
}

static json_t *head_json(const struct status *st, const struct ha_config *config)
{
    const struct ha_status *s = &st->s;
    ha_ms lease = s->lease_until > st->now ? s->lease_until - st->now : 0;

    return json_pack(
        "{s:s, s:o, s:o, s:o, s:b, s:s, s:o, s:{s:I, s:o}, s:b, s:b, s:b, s:I, s:b, "
        "s:b, s:b, s:b, s:b, s:I, s:b, s:b, s:b, s:b, s:I, s:I, s:o, s:o, s:{s:b, s:b, s:I, s:b}}",
        "version", XVM_VERSION, "cluster",
        xvm_json_text(config != NULL ? config->cluster_name : ""), "self", node_name(st, s->self),
        "coordinator", node_name(st, s->coordinator), "quorate", s->quorate, "phase",
        ha_phase_name(s->phase), "sentence", xvm_json_text(s->sentence), "epoch", "number",
        (json_int_t)s->epoch.number, "host", node_name(st, s->epoch.node), "founded", s->founded,
        "synced", s->synced, "waiting", s->waiting, "lease_ms", (json_int_t)lease, "lapsed",
        s->lapsed, "unheard", s->unheard, "keeper", s->keeper, "armed", s->armed, "going_down",
        s->going, "going_down_left_ms", (json_int_t)s->leave_left_ms, "leaving", s->leaving, "empty", s->empty, "frozen", s->frozen, "looking", s->looking, "head",
        (json_int_t)s->head.i, "stable", (json_int_t)s->stable.i, "survivor",
        node_name(st, s->survivor), "survivor_why", xvm_json_text(s->survivor_why), "disk", "configured", s->disk_configured, "needed",
        s->disk_on, "age_ms", (json_int_t)s->disk_age_ms, "pilled", s->pilled);
}

/* How many host failures are tolerated; null: not known. */
static json_t *tolerates_json(struct status *st)
{
    struct ha_tolerates t;

    ha_tolerates(st->core, &t);
    if (!t.known)
        return json_null();
    if (t.hosts < t.reserve)
        note(st->attention, "cluster", "reserve", "not met", t.why);
    return json_pack("{s:I, s:b, s:I, s:o}", "hosts", (json_int_t)t.hosts, "exact", t.exact,
                     "reserve", (json_int_t)t.reserve, "why", xvm_json_text(t.why));
}

/* Guests count themselves onto their hosts, so they are asked first; what is wrong with a host
 * usually explains what is wrong with its guests, so hosts are noted first. */
static void lists_json(struct status *st, json_t *all)
{
    json_t *guests = json_array(), *hosts = json_array(), *guest_notes = st->attention;

    for (size_t i = 0; i < st->s.nguests; i++)
        json_array_append_new(guests, guest_json(st, i));
    st->attention = json_array();
    note_freeze(st);
    for (size_t i = 0; i < st->s.nhosts; i++)
        json_array_append_new(hosts, host_json(st, i));
    json_array_extend(st->attention, guest_notes);
    json_decref(guest_notes);
    json_object_set_new(all, "hosts", hosts);
    json_object_set_new(all, "guests", guests);
    json_object_set_new(all, "underway", st->underway);
    json_object_set_new(all, "attention", st->attention);
}

json_t *xvm_status_json(const struct ha *core, ha_ms now, const struct ha_config *config)
{
    struct status st = {
        .core = core, .now = now, .cluster = config != NULL ? config->cluster_name : ""};
    json_t *all = NULL;

    ha_status(core, now, &st.s);
    st.hosts = calloc(st.s.nhosts + 1, sizeof(*st.hosts));
    st.guests_on = calloc(st.s.nhosts + 1, sizeof(*st.guests_on));
    st.underway = json_array();
    st.attention = json_array();
    if (st.hosts != NULL && st.guests_on != NULL) {
        for (size_t i = 0; i < st.s.nhosts; i++)
            ha_status_host(core, now, i, &st.hosts[i]);
        all = head_json(&st, config);
    }
    if (all != NULL) {
        lists_json(&st, all);
        json_object_set_new(all, "tolerates", tolerates_json(&st));
    } else {
        json_decref(st.underway);
        json_decref(st.attention);
    }
    free(st.hosts);
    free(st.guests_on);
    return all;
}

enum { CLOCK_TOO_FAR_MS = 1000 };

void xvm_status_clocks(json_t *all, bool (*clock)(void *user, const char *host, ha_ms *ret_ms),
                       void *user)
{
    json_t *hosts = json_object_get(all, "hosts"), *host;
    char text[HA_TEXT_MAX];
    size_t i;

    json_array_foreach(hosts, i, host)
    {
        const char *name = json_string_value(json_object_get(host, "name"));
        ha_ms ms = 0;

        if (name == NULL || !clock(user, name, &ms)) {
            json_object_set_new(host, "clock_ms", json_null());
            continue;
        }
        json_object_set_new(host, "clock_ms", json_integer((json_int_t)ms));
        if (ms <= CLOCK_TOO_FAR_MS && ms >= -CLOCK_TOO_FAR_MS)
            continue;
        snprintf(text, sizeof(text),
                 "its clock is %.1f s %s this host's: is NTP running on both? Logs are hard to "
                 "compare; no decision hangs on it",
                 (double)(ms < 0 ? -ms : ms) / 1000, ms < 0 ? "behind" : "ahead of");
        note(json_object_get(all, "attention"), "host", name, "clock", text);
    }
}

void xvm_status_register(json_t *status, const struct ha_config *config)
{
    json_t *debug = json_array();
    char hash[17];

    snprintf(hash, sizeof(hash), "%016" PRIx64, config != NULL ? config->hash : 0);
    json_object_set_new(status, "config_hash", json_string(hash));
    for (size_t i = 0; xvm_debug_name(i) != NULL; i++)
        json_array_append_new(debug, xvm_json_text(xvm_debug_name(i)));
    json_object_set_new(status, "debug", debug);
}
