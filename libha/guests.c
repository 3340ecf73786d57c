/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The coordinator's decisions about guests: registered, assigned, adopted, released, migrated
 * (rules 11-15), and restarts with limits and back-off. */
#include "core.h"

#include <string.h>

bool ha_wanted(const struct ha_guest_fact *guest)
{
    return guest->want_run && guest->enabled;
}

/* A member whose part in this epoch is certain. */
static const struct ha_member *acked_member(const struct ha *ha, ha_node node)
{
    for (size_t i = 0; i < ha->nmembers; i++) {
        const struct ha_member *m = &ha->members[i];
        if (m->node == node && m->present && !m->left && m->acked && m->reported)
            return m;
    }
    return NULL;
}

/* A member told or reported about a copy: what is not its owner's is somebody's to adopt or destroy,
 * and nothing is started beside it (rule 11). */
void ha_guest_reported(struct ha *ha, const struct ha_member *m, const struct ha_copy *copy)
{
    uint32_t i = ha_guest_index(ha, copy->guest);
    if (i >= ha->ndesks)
        return;
    struct ha_desk *desk = &ha->desks[i];
    desk->copies |= 1ULL << (m - ha->members);
    desk->copy_on = m->node;
    desk->copy_inc = copy->inc;
    desk->copy_running = copy->state == HA_COPY_RUNNING;
}

static void decide_register(struct ha *ha)
{
    if (!ha->register_due)
        return;
    ha->register_due = false;
    for (size_t i = 0; i < ha->config->nguests; i++) {
        const struct ha_guest_config *c = &ha->config->guests[i];
        struct ha_fact fact = {
            .kind = HA_FACT_REGISTER, .want_run = true, .enabled = c->enabled};
        ha_name_copy(fact.name, c->name);
        if (ha_guest_index(ha, c->name) == UINT32_MAX)
            ha_propose(ha, &fact);
    }
}

/* ----------------------------------------------------------------------------------- released */

static void abort_mig(struct ha *ha, uint32_t i)
{
    struct ha_fact fact = {.kind = HA_FACT_ABORT, .guest = i, .mig = ha->prop.guests[i].mig};
    ha_propose(ha, &fact);
    ha_move_failed(ha, i);
}

static bool is_prepared(const struct ha *ha, const struct ha_guest_fact *g,
                        const struct ha_desk *desk)
{
    return desk->mig_tell.mig == g->mig && desk->mig_from == g->mig_host &&
           acked_member(ha, g->mig_host);
}

/* The target's daemon has been missing for long: nobody will say what became of the image. */
static bool target_silent(struct ha *ha, const struct ha_guest_fact *g, struct ha_desk *desk)
{
    if (acked_member(ha, g->mig_host)) {
        desk->mig_since = 0;
        return false;
    }
    if (desk->mig_since == 0)
        desk->mig_since = ha->now;
    ha_ms due = desk->mig_since + ha->config->timers.daemon;
    if (ha->now < due)
        ha_wake(ha, due);
    return ha->now >= due;
}

/* Rule 12: the owner, in the life that owns it, told this incarnation. */
static void decide_owner_told(struct ha *ha, uint32_t i)
{
    struct ha_guest_fact *g = &ha->prop.guests[i];
    struct ha_desk *desk = &ha->desks[i];
    if (!g->owner || desk->tell_from != g->owner || desk->tell.inc != g->inc)
        return;
    const struct ha_member *m = acked_member(ha, g->owner);
    if (!m || !ha_uuid_eq(&m->boot, &g->boot))
        return;
    if (desk->tell.kind == HA_TELL_RUNNING) {
        struct ha_fact fact = {.kind = HA_FACT_RUN, .guest = i, .inc = g->inc};
        if (g->state == HA_GUEST_STARTING || g->state == HA_GUEST_ARRIVED)
            if (ha_propose(ha, &fact))
                desk->running_since = ha->now;
    } else if (desk->tell.kind == HA_TELL_STOPPED) {
        if (g->mig && is_prepared(ha, g, desk))
            return; /* its complete image is at the target: decide_mig commits */
        if (g->mig)
            abort_mig(ha, i);
        ha_decide_release(ha, i, desk->tell.how);
    }
}

static void decide_vacated(struct ha *ha, uint32_t i)
{
    const struct ha_guest_fact *g = &ha->prop.guests[i];
    if (!g->left_host || ha->desks[i].vacated != g->left_host)
        return;
    const struct ha_member *m = acked_member(ha, g->left_host);
    if (!m || !ha_uuid_eq(&m->boot, &g->left_boot))
        return;
    struct ha_fact fact = {
        .kind = HA_FACT_VACATED, .guest = i, .host = g->left_host, .boot = g->left_boot};
    ha_propose(ha, &fact);
}

/* ---------------------------------------------------------------------------------- migration */

/* One of the two ends could not do it. Where the configuration says so, the guest is then stopped
 * and started at the target: the recall is stable with the abort or not at all, so the source
 * resumes first, and asks the guest to shut down. */
static void abort_failed(struct ha *ha, uint32_t i)
{
    const struct ha_guest_fact *g = &ha->prop.guests[i];
    const struct ha_guest_config *c = ha_guest_config(ha, i);
    bool cancelled = ha->desks[i].cancel_mig == g->mig;
    struct ha_fact recall = {
        .kind = HA_FACT_RECALL, .guest = i, .host = g->mig_host, .boot = g->mig_boot};
    abort_mig(ha, i);
    if (c && c->move_fallback == HA_FALLBACK_NORMAL && !cancelled && g->owner && ha_wanted(g))
        ha_propose(ha, &recall);
}

/* Rule 15: commit needs prepared in this epoch, and a source that acknowledged this epoch or is
 * confirmed dead. */
static void decide_mig(struct ha *ha, uint32_t i)
{
    struct ha_guest_fact *g = &ha->prop.guests[i];
    struct ha_desk *desk = &ha->desks[i];
    if (!g->mig)
        return;
    const struct ha_host_fact *target = ha_facts_host(&ha->prop, g->mig_host);
    if (target->state != HA_HOST_IN || !ha_uuid_eq(&target->boot, &g->mig_boot)) {
        abort_mig(ha, i);
        return;
    }
    bool prepared = is_prepared(ha, g, desk);
    bool bad = desk->mig_bad && desk->mig_bad_id == g->mig;
    if (bad && desk->mig_runs) {
        abort_failed(ha, i); /* the source says that the guest runs on there: no image counts */
        return;
    }
    const struct ha_member *source = g->owner ? acked_member(ha, g->owner) : NULL;
    const struct ha_host_fact *sf = g->owner ? ha_facts_host(&ha->prop, g->owner) : NULL;
    bool source_sure = !g->owner || (source && sf->state == HA_HOST_IN &&
                                     ha_uuid_eq(&source->boot, &g->boot));
    if (prepared && (source_sure || !HA_GUARD(ha, FENCE_FIRST))) {
        struct ha_fact fact = {.kind = HA_FACT_COMMIT, .guest = i, .mig = g->mig};
        desk->move_fails = 0;
        ha_propose(ha, &fact);
    } else if (!prepared && bad) {
        abort_failed(ha, i);
    } else if (!prepared && (desk->cancel_mig == g->mig || !ha_wanted(g) ||
                             target_silent(ha, g, desk))) {
        abort_mig(ha, i);
    }
}

/* ----------------------------------------------------------------------------------- assigned */

static void adopt(struct ha *ha, uint32_t i)
{
    struct ha_desk *desk = &ha->desks[i];
    const struct ha_member *m = acked_member(ha, desk->copy_on);
    const struct ha_host_fact *h = ha_facts_host(&ha->prop, desk->copy_on);
    if (!m || !h || h->state != HA_HOST_IN || !ha_uuid_eq(&h->boot, &m->boot) ||
        desk->copies != 1ULL << (m - ha->members) || !desk->copy_running)
        return;
    struct ha_fact fact = {.kind = HA_FACT_ADOPT,
                           .guest = i,
                           .host = h->node,
                           .boot = h->boot,
                           .inc = ha->prop.next_inc,
                           .old_inc = desk->copy_inc};
    ha_propose(ha, &fact);
}

/* A guest that was never ours, or was let go, may run anywhere by hand: first every host in the ring must
 * have looked since it is wanted, and those that are lost must be confirmed dead. */
static bool inventories_known(const struct ha *ha, uint32_t guest)
{
    for (size_t i = 0; i < ha->prop.nhosts; i++) {
        const struct ha_host_fact *h = &ha->prop.hosts[i];
        const struct ha_member *m = acked_member(ha, h->node);
        if (h->state == HA_HOST_LOST || h->state == HA_HOST_FENCING)
            return false;
        /* a watchdog ends what is ours; a host that held only what was started by hand counts as
         * empty, is petted, and lives on (scenario by-hand-beyond-the-bound) */
        if (ha_may_live(h))
            return false;
        if ((ha_in_ring(ha, h->node) || h->state == HA_HOST_IN) &&
            (!m || !m->report.inventory || m->report.nguests <= guest ||
             (!ha_knows(m, guest) && HA_GUARD(ha, KNOWN_GUEST)) ||
             (m->report.look < ha->prop.guests[guest].asked_index && HA_GUARD(ha, FRESH_LOOK))))
            return false;
    }
    return true;
}

/* All hosts that are here get their chance to be admitted before guests are spread over them. */
static bool hosts_settling(const struct ha *ha)
{
    if (ha->now >= ha->phase_since + ha->config->timers.exchange)
        return false;
    for (size_t i = 0; i < ha->nmembers; i++) {
        const struct ha_member *m = &ha->members[i];
        const struct ha_host_fact *h = ha_facts_host(&ha->prop, m->node);
        if (m->present && m->reported && !m->left && h && h->state != HA_HOST_FENCING &&
            (!m->acked || h->state != HA_HOST_IN || !m->report.inventory || !m->report.keeper ||
             ha_knows_awaited(m)))
            return true;
    }
    return false;
}

static bool may_start(const struct ha *ha, uint32_t i)
{
    const struct ha_guest_fact *g = &ha->prop.guests[i];
    const struct ha_guest_config *c = ha_guest_config(ha, i);
    if (c && c->external) /* never started, but taken over where it runs */
        return g->state == HA_GUEST_FREE && ha->desks[i].copies;
    return g->state == HA_GUEST_FREE && ha_wanted(g) && !g->failed && !g->quarantined &&
           ha_guest_config(ha, i) && !ha_guest_undefined(ha, i);
}

/* Whether it can be started now; one that is found running is taken over instead. */
static bool ready_to_start(struct ha *ha, uint32_t i)
{
    struct ha_desk *desk = &ha->desks[i];
    struct ha_guest_fact *g = &ha->prop.guests[i];
    if (g->left_host)
        return false; /* the source of its last move has not cleaned up yet */
    if (desk->copies && HA_GUARD(ha, ADOPT)) {
        adopt(ha, i);
        return false;
    }
    if (ha_guest_config(ha, i)->external)
        return false;
    if (ha->now < desk->not_before) {
        ha_wake(ha, desk->not_before);
        return false;
    }
    if ((g->inc == 0 || (g->loose && HA_GUARD(ha, LET_GO))) && !inventories_known(ha, i)) {
        ha_wake(ha, ha->now + 1000);
        return false;
    }
    if (ha_still_looking(ha)) { /* it may have been started by hand while the cluster was frozen */
        ha_wake(ha, ha->now + 1000);
        return false;
    }
    return !ha_order_holds(ha, i);
}

void ha_assign(struct ha *ha, uint32_t i, size_t host)
{
    const struct ha_host_fact *h = &ha->prop.hosts[host];
    struct ha_fact fact = {.kind = HA_FACT_ASSIGN,
                           .guest = i,
                           .host = h->node,
                           .boot = h->boot,
                           .inc = ha->prop.next_inc};
    if (!ha_propose(ha, &fact))
        return;
    ha->used_kib[host] += ha_guest_need_kib(ha, &ha->prop, i);
    ha_order_add(ha, h->node);
}

bool ha_propose_move(struct ha *ha, uint32_t guest, ha_node to, enum ha_move_kind kind,
                     bool planned)
{
    struct ha_fact fact = {.kind = kind == HA_MOVE_NORMAL ? HA_FACT_RECALL : HA_FACT_MIG,
                           .guest = guest,
                           .host = to,
                           .boot = ha_facts_host(&ha->prop, to)->boot,
                           .inc = ha->prop.next_inc,
                           .mig = ha->prop.next_mig,
                           .old_inc = planned,
                           .how = (uint8_t)kind};
    if (!ha_propose(ha, &fact))
        return false;
    ha->desks[guest].mig_bad = false;
    return true;
}

/* Who is to be started, and where; who has to move for it, or may. */
static void decide_places(struct ha *ha)
{
    size_t n = 0, nready = 0;
    for (uint32_t i = 0; i < ha->prop.nguests; i++)
        n += may_start(ha, i);
    if (n && hosts_settling(ha)) {
        ha_wake(ha, ha->phase_since + ha->config->timers.exchange);
        return;
    }
    for (uint32_t i = 0; i < ha->prop.nguests; i++) {
        ha->desks[i].ready = may_start(ha, i) && ready_to_start(ha, i);
        nready += ha->desks[i].ready;
    }
    ha_decide_places(ha, nready);
}

/* A guest that ran quietly for a whole window starts with a clean sheet. */
static void decide_calm(struct ha *ha, uint32_t i)
{
    const struct ha_guest_fact *g = &ha->prop.guests[i];
    const struct ha_guest_config *c = ha_guest_config(ha, i);
    struct ha_desk *desk = &ha->desks[i];
    if (g->state != HA_GUEST_RUNNING || g->restarts == 0 || !c)
        return;
    if (desk->running_since == 0)
        desk->running_since = ha->now;
    ha_ms due = desk->running_since + c->restart_window_ms;
    struct ha_fact fact = {.kind = HA_FACT_CLEAR, .guest = i};
    if (ha->now >= due)
        ha_propose(ha, &fact);
    else
        ha_wake(ha, due);
}

void ha_decide_guests(struct ha *ha)
{
    decide_register(ha);
    if (ha->prop.frozen)
        return;
    ha_decide_looked(ha);
    for (uint32_t i = 0; i < ha->prop.nguests && i < ha->ndesks; i++) {
        decide_owner_told(ha, i);
        decide_mig(ha, i);
        decide_vacated(ha, i);
        decide_calm(ha, i);
        ha_defs_decide(ha, i);
        ha_order_note(ha, i);
    }
    if (ha->ndesks >= ha->prop.nguests)
        decide_places(ha);
}
