/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Probes of this host's guests: when each is run, and what its answers mean. The shell only runs
 * them. Runs are spread out: each probe has its own place in its interval, by a hash of its
 * name, and only so many run at once. */
#include "core.h"

#include <stdlib.h>
#include <string.h>

enum {
    AT_ONCE = 16,
    QUICK = 5000, /* until the first success: others may wait to start for it */
};

static bool is_here(const struct ha *ha, uint32_t i)
{
    const struct ha_local *l = &ha->locals[i];
    if (i >= ha->stable.nguests || !l->have || l->copy.state != HA_COPY_RUNNING || l->op)
        return false;
    const struct ha_guest_fact *g = &ha->stable.guests[i];
    return g->owner == ha->self && ha_uuid_eq(&g->boot, &ha->boot) && g->inc == l->copy.inc &&
           !g->mig && ha_wanted(g) && !g->recall && !g->preempted && !ha->leaving;
}

static void forget(struct ha_local *l)
{
    free(l->watches);
    l->watches = NULL;
    l->nwatches = 0;
}

void ha_probes_forget(struct ha *ha, size_t from)
{
    for (size_t i = from; i < ha->nlocals; i++)
        forget(&ha->locals[i]);
}

/* ------------------------------------------------------------------------------------- when */

/* The next moment that is this probe's: the same on no two probes, as far as chance allows. */
static ha_ms next_slot(const struct ha *ha, const struct ha_guest_config *c, size_t k)
{
    const struct ha_probe_config *p = &c->probes[k];
    ha_ms every = p->interval_ms;
    uint64_t hash = ha_hash(HA_HASH_START, c->name, strnlen(c->name, HA_NAME_MAX));
    hash = ha_hash(hash, p->name, strnlen(p->name, HA_NAME_MAX));
    ha_ms slot = (ha_ms)(hash % (uint64_t)every), at = ha->now - ha->now % every + slot;
    return at > ha->now ? at : at + every;
}

static void set_due(const struct ha *ha, const struct ha_guest_config *c, struct ha_watch *w,
                    size_t k)
{
    w->due = next_slot(ha, c, k);
    if (!w->good && w->due > ha->now + QUICK)
        w->due = ha->now + 1 + w->due % QUICK;
}

/* Watches for the incarnation that runs now. */
static bool begin(struct ha *ha, struct ha_local *l, const struct ha_guest_config *c)
{
    if (l->watches && l->watched_inc == l->copy.inc)
        return true;
    bool same = l->watched_inc == l->copy.inc; /* only the configuration changed */
    forget(l);
    l->watches = calloc(c->nprobes, sizeof *l->watches);
    if (!l->watches) {
        ha->nomem = true;
        return false;
    }
    l->nwatches = c->nprobes;
    if (!same)
        l->watched_since = ha->now;
    l->watched_inc = l->copy.inc;
    for (size_t k = 0; k < c->nprobes; k++)
        set_due(ha, c, &l->watches[k], k);
    return true;
}

static void launch(struct ha *ha, const struct ha_guest_config *c, struct ha_local *l, uint32_t k)
{
    struct ha_action *a = ha_act(ha, HA_ACT_PROBE);
    if (!a)
        return;
    l->watches[k].id = ++ha->next_probe;
    a->u.probe.id = l->watches[k].id;
    a->u.probe.inc = l->copy.inc;
    a->u.probe.probe = k;
    ha_name_copy(a->u.probe.guest, c->name);
}

/* ------------------------------------------------------------------------------------- health */

static struct ha_tell health_of(const struct ha_local *l, uint32_t i)
{
    struct ha_tell t = {.kind = HA_TELL_HEALTH,
                        .guest = i,
                        .inc = l->watched_inc,
                        .how = l->nwatches ? HA_HEALTH_GOOD : HA_HEALTH_NONE};
    for (uint32_t k = 0; k < l->nwatches; k++) {
        const struct ha_watch *w = &l->watches[k];
        if (w->good && w->ill && (t.how != HA_HEALTH_BAD || w->bad > t.level)) {
            t.how = HA_HEALTH_BAD;
            t.loss = k;
            t.level = w->bad;
        } else if (!w->good && t.how == HA_HEALTH_GOOD) {
            t.how = HA_HEALTH_PENDING;
        }
    }
    return t;
}

static void tell_health(struct ha *ha, uint32_t i)
{
    struct ha_local *l = &ha->locals[i];
    struct ha_tell t = health_of(l, i);
    bool open = ha->opened && !ha->closed && ha->phase >= HA_PHASE_OPENING && !ha->report_due;
    if (!open || (t.how == l->health.how && t.inc == l->health.inc && t.loss == l->health.loss &&
                  t.level == l->health.level))
        return;
    l->health = t;
    ha_tell_send(ha, &t);
}

void ha_probes_reset(struct ha *ha)
{
    for (size_t i = 0; i < ha->nlocals; i++)
        ha->locals[i].health = (struct ha_tell){0};
}

static size_t under_way(const struct ha *ha)
{
    size_t n = 0;
    for (size_t i = 0; i < ha->nlocals; i++)
        for (size_t k = 0; k < ha->locals[i].nwatches; k++)
            n += ha->locals[i].watches[k].id != 0;
    return n;
}

void ha_probes(struct ha *ha)
{
    size_t running = under_way(ha);
    for (uint32_t i = 0; i < ha->nlocals; i++) {
        struct ha_local *l = &ha->locals[i];
        const struct ha_guest_config *c = ha_guest_config(ha, i);
        if (!c || !c->nprobes || !is_here(ha, i)) {
            forget(l);
            continue;
        }
        if (!begin(ha, l, c))
            return;
        for (uint32_t k = 0; k < l->nwatches; k++) {
            struct ha_watch *w = &l->watches[k];
            if (!w->id && ha->now < w->due)
                ha_wake(ha, w->due);
            else if (!w->id && running < AT_ONCE) { /* else: when one ends */
                launch(ha, c, l, k);
                running++;
            }
        }
        tell_health(ha, i);
    }
}

/* ------------------------------------------------------------------------------------- answers */

static bool too_bad(const struct ha_probe_config *p, const struct ha_watch *w)
{
    return w->failed >= p->failures || (p->unknowns && w->bad >= p->unknowns);
}

bool ha_probes_gave_up(const struct ha *ha, uint32_t i)
{
    const struct ha_local *l = &ha->locals[i];
    const struct ha_guest_config *c = ha_guest_config(ha, i);
    for (size_t k = 0; c && k < l->nwatches && l->watched_inc == l->copy.inc; k++)
        if (too_bad(&c->probes[k], &l->watches[k]))
            return true;
    return false;
}

static void say(struct ha *ha, const struct ha_guest_config *c, const struct ha_probe_config *p,
                const struct ha_watch *w, bool was_ill)
{
    const char *colon = w->text[0] ? ": " : "";
    if (w->mute)
        ha_report(ha, HA_REPORT_GUEST_PROBE, HA_SEV_WARNING, ha->self, c->name,
                  "probe %s of %s cannot tell how it is%s%s", p->name, c->name, colon, w->text);
    else if (too_bad(p, w))
        ha_report(ha, HA_REPORT_GUEST_PROBE, HA_SEV_ERROR, ha->self, c->name,
                  "probe %s of %s has failed %u times in a row, it counts as crashed%s%s", p->name,
                  c->name, w->bad, colon, w->text);
    else if (w->ill && !was_ill)
        ha_report(ha, HA_REPORT_GUEST_PROBE, HA_SEV_WARNING, ha->self, c->name,
                  "probe %s of %s fails%s%s", p->name, c->name, colon, w->text);
    else if (!w->ill && was_ill)
        ha_report(ha, HA_REPORT_GUEST_PROBE, HA_SEV_NOTICE, ha->self, c->name,
                  "probe %s of %s succeeds again", p->name, c->name);
}

static void judge(struct ha *ha, const struct ha_event *event, uint32_t i, size_t k)
{
    struct ha_local *l = &ha->locals[i];
    const struct ha_guest_config *c = ha_guest_config(ha, i);
    struct ha_watch *w = &l->watches[k];
    const struct ha_probe_config *p = &c->probes[k];
    bool was_ill = w->ill, counts = w->good || ha->now >= l->watched_since + p->grace_ms;
    bool first = !w->good, was_mute = w->mute;
    w->id = 0;
    w->mute = event->u.probe.result == HA_PROBE_NOTHING;
    ha_say(w->text, sizeof w->text, "%s", event->u.probe.text ? event->u.probe.text : "");
    switch (event->u.probe.result) {
    case HA_PROBE_HEALTHY:
        w->good = true;
        w->ill = false;
        w->failed = w->bad = 0;
        break;
    case HA_PROBE_UNHEALTHY:
        w->failed += counts;
        w->bad += counts;
        w->ill = counts;
        break;
    case HA_PROBE_HUNG:
        w->bad += counts;
        w->ill = counts;
        break;
    case HA_PROBE_NOTHING: /* says nothing about the guest: nothing changes */
        break;
    }
    set_due(ha, c, w, k);
    if (!(first && w->good) && !(w->mute && was_mute))
        say(ha, c, p, w, was_ill);
}

void ha_probe_event(struct ha *ha, const struct ha_event *event)
{
    ha->acts_due = true;
    for (uint32_t i = 0; i < ha->nlocals; i++)
        for (size_t k = 0; k < ha->locals[i].nwatches; k++)
            if (event->u.probe.id && ha->locals[i].watches[k].id == event->u.probe.id &&
                ha_guest_config(ha, i)) {
                judge(ha, event, i, k);
                return;
            }
}

/* ---------------------------------------------------------------------------------- looking in */

void ha_probe_status(const struct ha *ha, uint32_t i, const struct ha_guest_fact *g,
                     struct ha_guest_status *r)
{
    const struct ha_tell *t = i < ha->ndesks ? &ha->desks[i].health : NULL;
    const struct ha_guest_config *c = ha_guest_config(ha, i);
    if (!t || t->kind != HA_TELL_HEALTH || t->inc != g->inc || g->state == HA_GUEST_FREE ||
        t->how > HA_HEALTH_BAD)
        return;
    r->health = (enum ha_health)t->how;
    if (r->health != HA_HEALTH_BAD)
        return;
    r->probe = c && t->loss < c->nprobes ? c->probes[t->loss].name : NULL;
    r->probe_failures = t->level;
    const struct ha_local *l = i < ha->nlocals ? &ha->locals[i] : NULL;
    const char *text = l && t->loss < l->nwatches ? l->watches[t->loss].text : "";
    if (!r->why[0])
        ha_say(r->why, sizeof r->why, "its probe %s fails (%u in a row)%s%s",
               r->probe ? r->probe : "?", r->probe_failures, text[0] ? ": " : "", text);
}
