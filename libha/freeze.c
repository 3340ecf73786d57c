/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Frozen: an operator works on what all of this stands on (the network, corosync, the storage), and
 * nobody reacts to anything: no host is lost, fenced or confirmed dead, no guest is started, stopped or
 * moved, no lease and no watchdog ends anybody.
 *
 * What makes it safe: freezing is a fact, and a host acts on it when it is stable, so every coordinator
 * from then on knows of it. Thawing makes a host careful, so a host acts on it as soon as it hears it.
 * In between, and for a host that has not heard of the thaw, no time that passes proves a death: the
 * fact takes `armed` from every host, and only the host's own word, said when it knew the thaw to be
 * stable, gives it back (apply_in, ha_bound_at). What was done by hand meanwhile nobody knows: after a
 * thaw a guest without owner is started only when every host has looked round since. */
#include "core.h"

#include <errno.h>
#include <string.h>

/* Called before anything that depends on it. An earlier daemon's keeper knows that the freeze was
 * stable: this daemon may not have heard it again yet. */
void ha_freeze_update(struct ha *ha)
{
    bool stable = (ha->stable_known && ha->stable.frozen) || !HA_GUARD(ha, FREEZE_STABLE);
    ha->keeper_frozen &= ha->log.head.frozen;
    bool frozen = ha->log.head.frozen && (stable || ha->frozen || ha->keeper_frozen) &&
                  !ha->pilled; /* which counts as the end of it */
    if (frozen == ha->frozen)
        return;
    ha->frozen = frozen;
    ha->acts_due = ha->decide_due = true;
    if (frozen) {
        ha_report(ha, HA_REPORT_FREEZE, HA_SEV_NOTICE, ha->self, NULL,
                  "frozen: this host reacts to nothing, and its watchdog is disarmed");
        return;
    }
    /* Time to get a lease again, and for those that are away to come back. */
    ha_ms grace = ha->now + ha->config->timers.lease;
    ha->lapse_at = grace > ha->lapse_at ? grace : ha->lapse_at;
    ha->lapse_noticed = 0;
    ha->quorum_gained = ha->now;
    ha_report(ha, HA_REPORT_FREEZE, HA_SEV_NOTICE, ha->self, NULL,
              "thawed: this host takes up its lease and its watchdog again");
}

/* Armed, and sure to obey its lease: what others may rely on. */
bool ha_armed(const struct ha *ha)
{
    return ha->armed && !ha->frozen && ha->keeper_applied >= ha->thaw_seq;
}

static const struct ha_member *answering(const struct ha *ha, const struct ha_host_fact *h)
{
    for (size_t i = 0; i < ha->nmembers; i++) {
        const struct ha_member *m = &ha->members[i];
        if (m->node == h->node && m->present && !m->left && m->acked && m->reported &&
            ha_uuid_eq(&m->boot, &h->boot))
            return m;
    }
    return NULL;
}

/* NULL, or why the cluster cannot be frozen now: a host or guest in the middle of something would be
 * left there. */
static const char *busy(const struct ha *ha, const char **ret_who)
{
    for (size_t i = 0; i < ha->prop.nhosts; i++) {
        const struct ha_host_fact *h = &ha->prop.hosts[i];
        *ret_who = ha_host_name(ha, h->node);
        if (h->state == HA_HOST_LOST || h->state == HA_HOST_FENCING)
            return "is lost and not confirmed dead yet: first see to that";
        if (h->state == HA_HOST_IN && !answering(ha, h))
            return "does not answer, so it would not be frozen: is it up, and xvm-had running there?";
    }
    for (size_t i = 0; i < ha->prop.nguests; i++) {
        const struct ha_guest_fact *g = &ha->prop.guests[i];
        *ret_who = g->name;
        if (g->mig || g->left_host || g->state == HA_GUEST_ARRIVED)
            return "is being moved: wait for that, or cancel it";
    }
    return NULL;
}

static int ask_freeze(struct ha *ha, const struct ha_ask *ask, char *ret_text, size_t size)
{
    struct ha_fact fact = {.kind = HA_FACT_FREEZE};
    const char *who = "", *why = busy(ha, &who);
    if (ha->prop.frozen || why) {
        ha_say(ret_text, size, ha->prop.frozen ? "the cluster is frozen already" : "%s %s", who,
               why);
        if (!ha->prop.frozen)
            return -EBUSY;
        return ask->again ? 0 : -EALREADY; /* said to the coordinator before this one, too */
    }
    ha_name_copy(fact.name, ask->who);
    if (!ha_propose(ha, &fact)) {
        ha_say(ret_text, size, "not every host knows how to freeze: upgrade them all");
        return -EOPNOTSUPP;
    }
    ha_say(ret_text, size, "the cluster is frozen: nobody reacts to anything before `xvmhactl thaw`");
    return 0;
}

static int ask_thaw(struct ha *ha, const struct ha_ask *ask, char *ret_text, size_t size)
{
    struct ha_fact fact = {.kind = HA_FACT_THAW, .inc = ha->prop.froze_at};
    const char *away = NULL;
    for (size_t i = 0; i < ha->prop.nhosts; i++)
        if (ha->prop.hosts[i].state == HA_HOST_IN && !ha_in_ring(ha, ha->prop.hosts[i].node))
            away = ha_host_name(ha, ha->prop.hosts[i].node);
    ha_name_copy(fact.name, ask->who);
    if (!ha_propose(ha, &fact)) {
        ha_say(ret_text, size, "the cluster is not frozen");
        return ask->again ? 0 : -EALREADY;
    }
    ha->quorum_gained = ha->now;
    if (away)
        ha_say(ret_text, size, "the cluster is thawed; %s is away: it is fenced unless it comes back "
               "within %lu s", away, (unsigned long)(ha->config->timers.settle + 999) / 1000);
    else
        ha_say(ret_text, size, "the cluster is thawed");
    return 0;
}

/* The chair is the most senior host's: safe, because any host with the newest facts may have it. */
static int ask_chair(struct ha *ha, const struct ha_ask *ask, char *ret_text, size_t size)
{
    const struct ha_host_fact *h = NULL;
    for (size_t i = 0; i < ha->prop.nhosts; i++)
        if (strcmp(ha_host_name(ha, ha->prop.hosts[i].node), ask->host) == 0)
            h = &ha->prop.hosts[i];
    if (!h) {
        ha_say(ret_text, size, "no host is called %s", ask->host);
        return -ENOENT;
    }
    if (h->node == ha->self) {
        ha_say(ret_text, size, "%s coordinates already", ask->host);
        return ask->again ? 0 : -EALREADY;
    }
    if (h->state != HA_HOST_IN || !answering(ha, h)) {
        ha_say(ret_text, size, "%s is not a synced member: it cannot coordinate", ask->host);
        return -EHOSTDOWN;
    }
    struct ha_fact fact = {.kind = HA_FACT_CHAIR, .host = h->node, .boot = h->boot};
    ha_name_copy(fact.name, ask->who);
    /* it may be the most senior one already, and have come too late for the chair */
    (void)ha_propose(ha, &fact);
    ha->handover = true;
    ha_say(ret_text, size, "%s coordinates from here on", ask->host);
    return 0;
}

int ha_ask_cluster(struct ha *ha, const struct ha_ask *ask, char *ret_text, size_t size)
{
    if (ask->command == HA_CMD_FREEZE)
        return ask_freeze(ha, ask, ret_text, size);
    if (ask->command == HA_CMD_THAW)
        return ask_thaw(ha, ask, ret_text, size);
    return ask_chair(ha, ask, ret_text, size);
}

/* Has this host, as far as anybody must know, looked round since the thaw? */
static bool looked(const struct ha *ha, const struct ha_host_fact *h)
{
    const struct ha_member *m = answering(ha, h);
    if (h->state == HA_HOST_LOST || h->state == HA_HOST_FENCING)
        return false;
    if (ha_may_live(h) && h->conf_index > ha->prop.thaw_at)
        return false; /* what was started by hand there is not ended by its watchdog */
    if (h->state != HA_HOST_IN && !ha_in_ring(ha, h->node))
        return true;
    return m && m->report.inventory && m->report.nguests >= ha->prop.nguests &&
           m->report.look >= ha->prop.thaw_at;
}

/* True: by the facts, what was done by hand while the cluster was frozen may still be unknown. */
bool ha_still_looking(const struct ha *ha)
{
    if (!ha->prop.looking || !HA_GUARD(ha, THAW_LOOK))
        return false;
    for (size_t i = 0; i < ha->prop.nhosts; i++)
        if (!looked(ha, &ha->prop.hosts[i]))
            return true;
    return false;
}

void ha_decide_looked(struct ha *ha)
{
    struct ha_fact fact = {.kind = HA_FACT_LOOKED, .inc = ha->prop.thaw_at};
    if (ha->prop.looking && !ha_still_looking(ha))
        ha_propose(ha, &fact);
}
