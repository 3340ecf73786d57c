/* SPDX-License-Identifier: GPL-2.0-or-later */
/* This host goes down. First it is emptied: it says so, the coordinator makes that a fact, and the
 * planner moves its guests as for a maintenance. When that is done, takes too long or does not get
 * on, the host leaves: what is still here is shut down in its phases, within the time that is left.
 * The fact ends with this life of the host. */
#include "core.h"

enum {
    TAKEN = 5000,      /* by then the coordinator has made it a fact, or it cannot */
    STILL = 20000,     /* nothing on its way for so long: nothing will be */
    NO_QUORUM = 1000,  /* ridden out */
    EVACUATE = 60,     /* percent of the whole time; the guests that stay need the rest */
    MOVES = 25,        /* percent of the rest: then transfers under way are called off */
    SHORT = 1000,
};

static bool is_external(const struct ha *ha, uint32_t i)
{
    const struct ha_guest_config *c = ha_guest_config(ha, i);
    return c && c->external;
}

/* Guests that are here or come here, and those of them that are on their way. */
static void count(const struct ha *ha, unsigned *ret_here, unsigned *ret_going)
{
    *ret_here = *ret_going = 0;
    for (uint32_t i = 0; i < ha->stable.nguests; i++) {
        const struct ha_guest_fact *g = &ha->stable.guests[i];
        bool here = g->owner == ha->self || g->left_host == ha->self ||
                    (g->mig && g->mig_host == ha->self);
        if (!here || is_external(ha, i))
            continue;
        ++*ret_here;
        *ret_going += g->mig || g->recall || g->preempted || g->left_host || !ha_wanted(g) ||
                      g->state != HA_GUEST_RUNNING;
    }
}

static void leave(struct ha *ha, const char *why)
{
    unsigned here, going;
    count(ha, &here, &going);
    ha->leaving = ha->acts_due = true;
    ha->leave_since = ha->now;
    ha->moves_by = ha->now + (ha->leave_by - ha->now) * MOVES / 100;
    ha->leaving_told = false;
    if (ha->stable_known && here == 0)
        ha_report(ha, HA_REPORT_HOST_MAINT, HA_SEV_NOTICE, ha->self, NULL,
                  "this host goes down: no guest is here any more");
    else
        ha_report(ha, HA_REPORT_HOST_MAINT, HA_SEV_NOTICE, ha->self, NULL,
                  "this host goes down: %s; guests that are shut down: %u, within %lu s", why, here,
                  (unsigned long)(ha->leave_by - ha->now) / 1000);
}

void ha_leave_event(struct ha *ha, const struct ha_event *event)
{
    const struct ha_shutdown *c = &ha->config->shutdown;
    ha_ms limit = event->u.shutdown.limit_ms ? event->u.shutdown.limit_ms : c->timeout_ms;
    limit = limit < SHORT ? SHORT : limit;
    ha->leave_by = ha->now + limit;
    ha->evacuate_by = ha->now + limit * EVACUATE / 100;
    ha->acts_due = true;
    if (ha->going)
        return;
    ha->going = true;
    ha->going_since = ha->still_since = ha->now;
    if (!c->evacuate) {
        leave(ha, "its guests are not to move away");
        return;
    }
    ha_report(ha, HA_REPORT_HOST_MAINT, HA_SEV_NOTICE, ha->self, NULL,
              "this host goes down: its guests move away, for %lu s at most",
              (unsigned long)(limit * EVACUATE / 100) / 1000);
}

/* Why it is not waited for that guests move away; NULL: it is. */
static const char *over(struct ha *ha)
{
    const struct ha_host_fact *h = ha_facts_host(&ha->stable, ha->self);
    unsigned here, going;
    count(ha, &here, &going);
    if (ha->stable_known && here == 0)
        return "";
    if (ha->now >= ha->evacuate_by)
        return "the time for moving guests is over";
    if (ha_quorate(ha))
        ha->no_quorum_since = 0;
    else if (!ha->no_quorum_since)
        ha->no_quorum_since = ha->now;
    if (ha->no_quorum_since && ha->now >= ha->no_quorum_since + NO_QUORUM)
        return "without quorum nobody takes its guests";
    bool taken = ha->stable_known && h && h->down && ha_uuid_eq(&h->boot, &ha->boot);
    if (!taken)
        return ha->now >= ha->going_since + TAKEN ? "the cluster does not take its guests" : NULL;
    if (going || here != ha->still_here)
        ha->still_since = ha->now;
    ha->still_here = here;
    return ha->now >= ha->still_since + STILL ? "no other host takes what is still here" : NULL;
}

void ha_leave_tick(struct ha *ha)
{
    if (!ha->going || ha->leaving || ha->frozen)
        return;
    const char *why = over(ha);
    if (why)
        leave(ha, why);
    else
        ha_wake(ha, ha->now + SHORT < ha->evacuate_by ? ha->now + SHORT : ha->evacuate_by);
}

bool ha_leave_moves_over(struct ha *ha)
{
    if (!ha->leaving)
        return false;
    if (ha->now < ha->moves_by)
        ha_wake(ha, ha->moves_by);
    return ha->now >= ha->moves_by;
}

ha_ms ha_leave_limit(const struct ha *ha, ha_ms since, ha_ms all)
{
    if (!ha->leaving)
        return all;
    ha_ms left = ha->leave_by - since;
    return left >= all ? all : left < SHORT ? SHORT : left;
}

/* Stopping one's own guest needs nobody's consent: it is what the guest could do by itself. So it
 * does not wait for a cluster that does not answer, for the lease will not last. A guest that may
 * be moving is left alone, whatever is known of that. */
bool ha_leave_alone(struct ha *ha, uint32_t i, const struct ha_guest_fact *g)
{
    const struct ha_local *l = &ha->locals[i];
    const struct ha_guest_fact *newest =
        i < ha->log.head.nguests ? &ha->log.head.guests[i] : g;
    if (!ha->leaving || (ha->stable_known && ha_settled(ha)))
        return false;
    if (ha_quorate(ha) && ha->now < ha->leave_since + TAKEN) {
        ha_wake(ha, ha->leave_since + TAKEN);
        return false;
    }
    bool mine = g->owner == ha->self && ha_uuid_eq(&g->boot, &ha->boot) && l->copy.inc == g->inc;
    if (!ha->inventory || !l->have || l->unsure || l->copy.worker || !mine || g->mig ||
        newest->mig || l->copy.state != HA_COPY_RUNNING || is_external(ha, i))
        return false;
    ha_stop(ha, i, g);
    return true;
}

/* ------------------------------------------------------------------------------ the coordinator */

void ha_decide_leave(struct ha *ha, const struct ha_member *m)
{
    const struct ha_host_fact *h = ha_facts_host(&ha->prop, m->node);
    bool goes = m->going || m->leaving;
    if (!h || h->state != HA_HOST_IN || !m->present || m->left || !m->acked || !m->reported ||
        h->down == goes || ha->prop.frozen)
        return;
    /* it may have been heard that it goes down, and not yet in this view */
    ha_ms patience = ha->phase_since + 2 * ha->config->timers.exchange;
    if (!goes && ha->now < patience) {
        ha_wake(ha, patience);
        return;
    }
    bool back = ha->config->placement.failback != HA_FAILBACK_NEVER;
    struct ha_fact fact = {.kind = HA_FACT_DOWN,
                           .host = h->node,
                           .boot = m->boot,
                           .level = goes,
                           .how = goes && back ? HA_MAINT_RETURN : 0};
    ha_propose(ha, &fact);
}
