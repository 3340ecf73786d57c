/* SPDX-License-Identifier: GPL-2.0-or-later */
/* In which order guests start and stop, and how many at once. All of it is courtesy, none of it is
 * safety: whatever is waited for has an end.
 *
 * A guest is started once what it comes after runs (is healthy, has run for a while). What
 * will not run, because nobody wants it to, or because it has failed, is not waited for; and
 * after start_wait it is started all the same. Stopping goes the other way round, waiting no
 * longer than its own stop takes. */
#include "core.h"

#include <stdlib.h>
#include <string.h>

enum state { READY, NOT_YET, NEVER };

/* ------------------------------------------------------------------------------------ starting */

/* Since when guests run, as this coordinator saw it. What ran before it looked has run for long. */
void ha_order_note(struct ha *ha, uint32_t i)
{
    const struct ha_guest_fact *g = &ha->prop.guests[i];
    struct ha_desk *desk = &ha->desks[i];
    if (g->state != HA_GUEST_FREE)
        desk->held_since = 0;
    if (g->state == HA_GUEST_STARTING)
        desk->starting_inc = g->inc;
    if (g->state == HA_GUEST_RUNNING && desk->up_inc != g->inc) {
        desk->up_since = desk->starting_inc == g->inc ? ha->now : 0;
        desk->up_inc = g->inc;
    }
}

static bool owner_well(const struct ha_facts *facts, const struct ha_guest_fact *g)
{
    const struct ha_host_fact *h = ha_facts_host(facts, g->owner);
    return h && h->state == HA_HOST_IN && ha_uuid_eq(&h->boot, &g->boot);
}

static bool is_healthy(const struct ha *ha, uint32_t i, const struct ha_guest_fact *g)
{
    const struct ha_guest_config *c = ha_guest_config(ha, i);
    if (!c || !c->nprobes)
        return true; /* nobody can say more than that it runs */
    return i < ha->ndesks && ha->desks[i].health.inc == g->inc &&
           ha->desks[i].health.how == HA_HEALTH_GOOD;
}

/* Finding a name may fill a table that is only there to be quick. */
static uint32_t find(const struct ha *ha, const char *name)
{
    return ha_guest_index((struct ha *)ha, name);
}

static enum state state_of(const struct ha *ha, const struct ha_facts *facts,
                           const struct ha_after *a, ha_ms *ret_until)
{
    uint32_t i = find(ha, a->name);
    if (i >= facts->nguests)
        return NOT_YET; /* about to be registered */
    const struct ha_guest_fact *g = &facts->guests[i];
    const struct ha_guest_config *c = ha_guest_config(ha, i);
    if (!c || !ha_wanted(g) || g->failed || g->quarantined ||
        (c->config_path && ha_uuid_zero(&g->def)))
        return NEVER;
    if (g->state == HA_GUEST_FREE || g->state == HA_GUEST_STARTING || !owner_well(facts, g) ||
        (a->healthy && !is_healthy(ha, i, g)))
        return NOT_YET;
    ha_ms since = i < ha->ndesks && ha->desks[i].up_inc == g->inc ? ha->desks[i].up_since : 0;
    if (since && ha->now < since + a->delay_ms) {
        *ret_until = since + a->delay_ms;
        return NOT_YET;
    }
    return READY;
}

/* The first that is waited for; NULL: nobody. *ret_until: when it is worth another look. */
static const struct ha_after *waited_for(const struct ha *ha, const struct ha_facts *facts,
                                         const struct ha_guest_config *c, ha_ms *ret_until)
{
    for (size_t k = 0; k < c->nafter; k++)
        if (state_of(ha, facts, &c->after[k], ret_until) == NOT_YET)
            return &c->after[k];
    return NULL;
}

bool ha_order_holds(struct ha *ha, uint32_t i)
{
    const struct ha_guest_config *c = ha_guest_config(ha, i);
    struct ha_desk *desk = &ha->desks[i];
    ha_ms until = INT64_MAX;
    const struct ha_after *a = c->nafter ? waited_for(ha, &ha->prop, c, &until) : NULL;
    if (!a)
        return false;
    if (!desk->held_since)
        desk->held_since = ha->now;
    ha_ms end = desk->held_since + c->start_wait_ms;
    if (ha->now >= end) {
        ha_report(ha, HA_REPORT_GUEST_BLOCKED, HA_SEV_WARNING, 0, c->name,
                  "%s has waited long enough for %s and is started without it", c->name, a->name);
        return false;
    }
    ha_wake(ha, until < end ? until : end);
    return true;
}

/* ------------------------------------------------------------------------- how many at once */

static bool is_booting(const struct ha *ha, uint32_t i, const struct ha_guest_fact *g)
{
    if (g->state == HA_GUEST_STARTING)
        return true;
    const struct ha_guest_config *c = ha_guest_config(ha, i);
    const struct ha_desk *desk = i < ha->ndesks ? &ha->desks[i] : NULL;
    if (!desk || g->state != HA_GUEST_RUNNING || desk->up_inc != g->inc || !desk->up_since ||
        ha->now >= desk->up_since + ha->config->starts.boot_ms)
        return false;
    return !(c && c->nprobes && is_healthy(ha, i, g));
}

/* Guests that are starting, on each host and in all; index = that of the facts. What is on a
 * lost host starts nowhere. Returns when there will be one less, at the latest. */
static ha_ms count(const struct ha *ha, const struct ha_facts *facts, struct ha_starting *ret)
{
    ha_ms next = INT64_MAX;
    *ret = (struct ha_starting){0};
    for (uint32_t i = 0; i < facts->nguests; i++) {
        const struct ha_guest_fact *g = &facts->guests[i];
        if (!g->owner || !is_booting(ha, i, g) || !owner_well(facts, g))
            continue;
        ret->all++;
        for (size_t k = 0; k < facts->nhosts; k++)
            ret->on[k] += facts->hosts[k].node == g->owner;
        ha_ms end = g->state == HA_GUEST_RUNNING
                        ? ha->desks[i].up_since + ha->config->starts.boot_ms
                        : INT64_MAX;
        next = end < next ? end : next;
    }
    return next;
}

void ha_order_count(struct ha *ha)
{
    const struct ha_starts *s = &ha->config->starts;
    if (s->per_host || s->cluster)
        ha_wake(ha, count(ha, &ha->prop, &ha->starting));
}

void ha_order_add(struct ha *ha, ha_node node)
{
    ha->starting.all++;
    for (size_t k = 0; k < ha->prop.nhosts; k++)
        ha->starting.on[k] += ha->prop.hosts[k].node == node;
}

bool ha_order_full(const struct ha *ha, ha_node node)
{
    const struct ha_starts *s = &ha->config->starts;
    if (s->cluster && ha->starting.all >= s->cluster)
        return true;
    for (size_t k = 0; k < ha->prop.nhosts && s->per_host; k++)
        if (ha->prop.hosts[k].node == node && ha->starting.on[k] >= s->per_host)
            return true;
    return false;
}

/* ------------------------------------------------------------------------------------- priority */

/* What an important guest is to start after is as important as that guest, whether that runs yet
 * or not: else it would lose its place the moment the other one has started. */
static bool pass_on(const struct ha *ha, const struct ha_facts *facts, uint32_t i, int *priority)
{
    const struct ha_guest_config *c = ha_guest_config(ha, i);
    const struct ha_guest_fact *g = &facts->guests[i];
    bool changed = false;
    if (!c || !c->nafter || !ha_wanted(g) || g->failed || g->quarantined)
        return false;
    for (size_t k = 0; k < c->nafter; k++) {
        uint32_t first = find(ha, c->after[k].name);
        if (first >= facts->nguests || priority[first] >= priority[i])
            continue;
        priority[first] = priority[i];
        changed = true;
    }
    return changed;
}

void ha_order_priorities(const struct ha *ha, const struct ha_facts *facts, int *ret_priority)
{
    bool changed = true;
    for (uint32_t i = 0; i < facts->nguests; i++) {
        const struct ha_guest_config *c = ha_guest_config(ha, i);
        ret_priority[i] = c ? c->priority : 0;
    }
    for (size_t round = 0; changed && round <= facts->nguests; round++) {
        changed = false;
        for (uint32_t i = 0; i < facts->nguests; i++)
            changed |= pass_on(ha, facts, i, ret_priority);
    }
}

/* ------------------------------------------------------------------------------------- stopping */

static bool comes_after(const struct ha_guest_config *later, const char *name)
{
    for (size_t k = 0; k < later->nafter; k++)
        if (strcmp(later->after[k].name, name) == 0)
            return true;
    return false;
}

/* It is being stopped, too: here, or on another host that goes down. */
static bool stops(const struct ha *ha, uint32_t i)
{
    if (i >= ha->stable.nguests)
        return false;
    const struct ha_guest_fact *g = &ha->stable.guests[i];
    if (!g->owner || g->state == HA_GUEST_STARTING || !owner_well(&ha->stable, g))
        return false;
    bool going = false;
    for (size_t k = 0; k < ha->nmembers; k++)
        if (ha->members[k].node == g->owner)
            going = ha->members[k].leaving || (g->owner == ha->self && ha->leaving);
    return going || !ha_wanted(g) || g->preempted;
}

const char *ha_order_stops_first(const struct ha *ha, const char *name)
{
    for (uint32_t i = 0; i < ha->nlocals && i < ha->ndesks; i++) {
        const struct ha_guest_config *c = ha_guest_config(ha, i);
        if (c && c->nafter && comes_after(c, name) && stops(ha, i))
            return c->name;
    }
    return NULL;
}

/* ---------------------------------------------------------------------------------- looking in */

bool ha_order_why(const struct ha *ha, const struct ha_facts *facts, uint32_t i, ha_ms now,
                  char *ret_why, size_t size)
{
    const struct ha_guest_config *c = ha_guest_config(ha, i);
    const struct ha_starts *s = &ha->config->starts;
    ha_ms until = 0;
    const struct ha_after *a = c && c->nafter ? waited_for(ha, facts, c, &until) : NULL;
    ha_ms since = i < ha->ndesks ? ha->desks[i].held_since : 0;
    if (a && (!since || now < since + c->start_wait_ms)) {
        char left[40] = "";
        ha_ms end = since ? since + c->start_wait_ms : now + c->start_wait_ms;
        ha_say(left, sizeof left, "%lu s", (unsigned long)((end - now + 999) / 1000));
        ha_say(ret_why, size, "waits for %s to %s, at most %s%s", a->name,
               a->healthy ? "be healthy" : "run", left, since ? " more" : "");
        return true;
    }
    struct ha_starting n;
    if (!s->cluster && !s->per_host)
        return false;
    (void)count(ha, facts, &n);
    bool full = s->cluster && n.all >= s->cluster;
    for (size_t k = 0; k < facts->nhosts && !full && s->per_host; k++)
        full = n.on[k] >= s->per_host;
    if (full)
        ha_say(ret_why, size, "waits for its turn: as many guests as `starts` allows are starting");
    return full;
}
