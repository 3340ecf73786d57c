/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The coordinator's decisions about hosts: admitted, lost, fenced, confirmed dead (rules 3, 21-26). */
#include "core.h"

#include <string.h>

enum { FENCE_ROUNDS_MOST = 4, ANNOUNCED_FRESH = 2000 };

static bool is_pill(const struct ha_host_config *config, size_t level)
{
    return config && level < config->nlevels && config->levels[level].kind == HA_FENCE_DISK;
}

/* ----------------------------------------------------------------------------------- admitted */

/* A host's bit among those who tell of fences. */
static uint64_t teller(const struct ha *ha, ha_node node)
{
    const struct ha_host_fact *h = ha_facts_host(&ha->log.head, node);
    return h ? UINT64_C(1) << (h - ha->log.head.hosts) : 0;
}

void ha_fence_told(const struct ha *ha, struct ha_host_desk *desk, ha_node from,
                   const struct ha_tell *tell)
{
    desk->live &= ~teller(ha, from);
    if (!tell || tell->how || from == ha->self) /* our own: fence_id */
        return;
    desk->live |= teller(ha, from);
    desk->live_boot = tell->boot;
    desk->live_level = tell->level;
}

/* Rule 22: while a fence is live, a later life of its host is not admitted: it would be hit. */
static bool fence_live(struct ha *ha, const struct ha_member *m, const struct ha_host_fact *h)
{
    const struct ha_host_desk *desk = &ha->host_desks[h - ha->prop.hosts];
    const struct ha_host_config *config = ha_host_config(ha, h->node);
    if (!HA_GUARD(ha, FENCE_LIVE))
        return false;
    if (desk->fence_id && !ha_uuid_eq(&desk->launched_boot, &m->boot) &&
        !is_pill(config, desk->launched_level))
        return true; /* a pill names the life that it is for */
    if (desk->live && !ha_uuid_eq(&desk->live_boot, &m->boot) && !is_pill(config, desk->live_level))
        return true;
    /* another host may be at it still, and has had the time to say so */
    ha_ms patience = ha->phase_since + ha->config->timers.exchange;
    bool open = (h->state == HA_HOST_DEAD || h->state == HA_HOST_LOST) &&
                !ha_uuid_eq(&h->boot, &m->boot) && ha->now < patience;
    if (open)
        ha_wake(ha, patience);
    return open;
}

/* Rule 24: after the daemon acknowledged this epoch; rule 22: not while a fence against it is live. */
static void decide_in(struct ha *ha, struct ha_member *m)
{
    const struct ha_host_fact *h = ha_facts_host(&ha->prop, m->node);
    if (!h || !m->present || m->left || !m->reported || !m->acked ||
        h->state == HA_HOST_FENCING || !ha_in_ring(ha, m->node))
        return;
    if (h->state == HA_HOST_LOST && h->ordered && ha_uuid_eq(&h->boot, &m->boot))
        return; /* an operator wants it off: the fence is on its way */
    bool same = ha_uuid_eq(&h->boot, &m->boot) && ha_uuid_eq(&h->journal, &m->report.journal);
    /* what it said before the confirmation proves nothing: a life that is confirmed dead must be heard
     * in a later exchange */
    if (h->state == HA_HOST_DEAD && same && h->conf_index > ha->base.i)
        return;
    /* Frozen, it had no watchdog: its word counts again when it was said with the thaw known. */
    bool sure = !ha->prop.frozen &&
                (m->report.look >= ha->prop.thaw_at || !HA_GUARD(ha, THAW_ARMED));
    bool armed = m->report.armed && !ha->prop.frozen;
    bool terms = h->armed == armed && h->lease_ms == m->report.lease_ms &&
                 h->watchdog_ms == m->report.watchdog_ms && !(h->unarmed && sure);
    if (h->state == HA_HOST_IN && same && terms)
        return;
    if (h->state == HA_HOST_OUT && same && m->leaving)
        return; /* it said goodbye and is still on its way down */
    /* rule 3: a journal that does not count is admitted by a fact that is stable without it */
    if (!m->counted && ha->stable_i != ha->prop_i && HA_GUARD(ha, EMPTY_JOURNAL))
        return;
    if (ha_uuid_zero(&m->report.journal))
        return;
    if (fence_live(ha, m, h))
        return;
    struct ha_fact fact = {.kind = HA_FACT_IN,
                           .host = m->node,
                           .boot = m->boot,
                           .machine = m->report.machine,
                           .journal = m->report.journal,
                           .armed = armed,
                           .want_run = sure,
                           .lease_ms = m->report.lease_ms,
                           .watchdog_ms = m->report.watchdog_ms};
    struct ha_host_desk *desk = &ha->host_desks[h - ha->prop.hosts];
    if (!ha_propose(ha, &fact) && !ha_uuid_eq(&h->machine, &m->report.machine) &&
        !ha_uuid_eq(&desk->foreign_said, &m->report.machine)) {
        desk->foreign_said = m->report.machine;
        ha_report(ha, HA_REPORT_FOREIGN, HA_SEV_ALERT, m->node, NULL,
                  "%s is another machine under a known node id: refused until `xvmhactl host "
                  "replace %s`",
                  ha_host_name(ha, m->node), ha_host_name(ha, m->node));
    }
}

/* --------------------------------------------------------------------------------------- lost */

/* Its keeper has been silent so long that no lease can be left. */
static bool keeper_silent(const struct ha *ha, const struct ha_host_fact *h)
{
    const struct ha_timers *t = &ha->config->timers;
    ha_ms last = ha->view_since;
    for (size_t i = 0; i < ha->npeers; i++)
        if (ha->peers[i].node == h->node && ha_uuid_eq(&ha->peers[i].boot, &h->boot) &&
            ha->peers[i].last_ms > last)
            last = ha->peers[i].last_ms;
    return ha->keeper && ha->now > last + t->lease + t->watchdog + t->margin;
}

/* Rule 21; rule 20: a daemon that is gone while its keeper lives is never a reason to fence. */
static bool is_gone(struct ha *ha, const struct ha_host_fact *h)
{
    if (!ha_in_ring(ha, h->node))
        return true;
    const struct ha_member *m = ha_member(ha, h->node, false);
    if (m && m->present && !m->left && m->reported && ha_uuid_eq(&m->boot, &h->boot))
        return false;
    bool silent = keeper_silent(ha, h);
    if (!silent)
        ha_wake(ha, ha->now + 1000);
    return silent;
}

/* Restraint: rings merge stepwise, and slow hosts are not dead hosts. */
static ha_ms hold_until(const struct ha *ha, size_t i)
{
    const struct ha_timers *t = &ha->config->timers;
    if (!HA_GUARD(ha, HOLD_OFF))
        return ha->now;
    ha_ms grace = ha->host_desks[i].seen ? t->settle : t->startup_grace;
    return ha->quorum_gained + grace;
}

/* Just after quorum was gained nothing is fenced, whatever the facts of others say. */
static bool held(struct ha *ha)
{
    ha_ms until = ha->quorum_gained + ha->config->timers.settle;
    if (!HA_GUARD(ha, HOLD_OFF) || ha->now >= until)
        return false;
    ha_wake(ha, until);
    return true;
}

/* An operator's word is enough to count a host as lost, even ourselves. */
static bool decide_order(struct ha *ha, size_t i)
{
    const struct ha_host_fact *h = &ha->prop.hosts[i];
    struct ha_host_desk *desk = &ha->host_desks[i];
    if (!desk->order)
        return false;
    desk->order = false;
    desk->retry_at = ha->now;
    struct ha_fact fact = {
        .kind = HA_FACT_ORDER, .host = h->node, .boot = h->boot, .loss = h->loss};
    bool fresh = h->state == HA_HOST_IN;
    fact.loss += fresh;
    ha_name_copy(fact.name, desk->who);
    if (!ha_propose(ha, &fact))
        return false;
    if (fresh)
        desk->lost_at = ha->now;
    desk->retry_at = 0;
    return true;
}

static void decide_lost(struct ha *ha, size_t i)
{
    const struct ha_host_fact *h = &ha->prop.hosts[i];
    if (ha->prop.frozen || decide_order(ha, i))
        return;
    if (h->state != HA_HOST_IN || h->node == ha->self || !is_gone(ha, h))
        return;
    ha_ms hold = ha->half && ha_forced(ha) ? ha->now : hold_until(ha, i);
    if (ha->now < hold) {
        ha_wake(ha, hold);
        return;
    }
    struct ha_fact fact = {
        .kind = HA_FACT_LOST, .host = h->node, .boot = h->boot, .loss = h->loss + 1};
    bool never_seen = !ha->host_desks[i].seen;
    if (!ha_propose(ha, &fact))
        return;
    ha->host_desks[i].lost_at = ha->now;
    ha->host_desks[i].retry_at = 0;
    if (never_seen && !HA_GUARD(ha, STARTUP_FENCE)) {
        /* mutant: an owner that was not seen at start-up is taken for dead */
        fact.kind = HA_FACT_CONF;
        fact.how = HA_CONF_OPERATOR;
        ha_propose(ha, &fact);
    }
}

/* ------------------------------------------------------------------------------------ fencing */

/* A level that something can be launched for; a pill only where it proves something. */
static bool can_launch(const struct ha *ha, const struct ha_host_fact *h,
                       const struct ha_host_config *config, size_t level)
{
    const char *why;
    return config->levels[level].kind == HA_FENCE_DEVICE ||
           (is_pill(config, level) && ha_pill_wait(ha, h, &why) >= 0);
}

/* The first such level at or after `level`, or nlevels. */
static size_t next_level(const struct ha *ha, const struct ha_host_fact *h,
                         const struct ha_host_config *config, size_t level)
{
    size_t n = config ? config->nlevels : 0;
    while (level < n && !can_launch(ha, h, config, level))
        level++;
    return level < n ? level : n;
}

/* Too many losses: an operator has to look. Said once. */
static bool held_back(struct ha *ha, size_t i)
{
    const struct ha_host_fact *h = &ha->prop.hosts[i];
    struct ha_host_desk *desk = &ha->host_desks[i];
    const char *why = ha_fence_held(ha, &ha->prop, h);
    if (why && !desk->held_said)
        ha_report(ha, HA_REPORT_FENCE_HELD, HA_SEV_ALERT, h->node, NULL,
                  "%s is not fenced: %s; `xvmhactl fence %s` does it, `fence confirm` vouches",
                  ha_host_name(ha, h->node), why, ha_host_name(ha, h->node));
    desk->held_said = why != NULL;
    return why != NULL;
}

static void decide_fencing(struct ha *ha, size_t i)
{
    const struct ha_host_fact *h = &ha->prop.hosts[i];
    struct ha_host_desk *desk = &ha->host_desks[i];
    const struct ha_host_config *config = ha_host_config(ha, h->node);
    bool member = ha_in_ring(ha, h->node) && HA_GUARD(ha, FENCE_MEMBER);
    if (h->state != HA_HOST_LOST || !config || (member && !h->ordered) || ha->prop.frozen)
        return; /* back in the ring: it is admitted, not shot */
    if (held(ha) || held_back(ha, i))
        return;
    size_t level = next_level(ha, h, config, h->tried ? h->level + 1 : 0);
    if (level == config->nlevels) { /* all failed: again, after a while */
        if (h->tried && desk->retry_at == 0) {
            unsigned rounds = h->rounds < FENCE_ROUNDS_MOST ? h->rounds : FENCE_ROUNDS_MOST;
            desk->retry_at = ha->now + (ha->config->timers.fence_retry << rounds);
        }
        level = next_level(ha, h, config, 0);
        if (level == config->nlevels || !h->tried)
            return;
        if (ha->now < desk->retry_at) {
            ha_wake(ha, desk->retry_at);
            return;
        }
        desk->retry_at = 0;
    }
    if (desk->lost_at == 0)
        desk->lost_at = ha->now;
    ha_ms due = ha_turn_at(ha, i);
    if (ha->now < due) { /* two hosts: one after the other */
        ha_wake(ha, due);
        return;
    }
    if (!ha_turn_looked(ha, i))
        return; /* the keeper's next word wakes us */
    struct ha_fact fact = {.kind = HA_FACT_FENCING,
                           .host = h->node,
                           .boot = h->boot,
                           .loss = h->loss,
                           .level = (uint32_t)level};
    desk->ours = ha_propose(ha, &fact) || desk->ours;
}

static void propose_conf(struct ha *ha, const struct ha_host_fact *h, enum ha_conf_how how,
                         const char *who)
{
    struct ha_fact fact = {.kind = HA_FACT_CONF,
                           .host = h->node,
                           .boot = h->boot,
                           .loss = h->loss,
                           .level = h->level,
                           .how = (uint8_t)how};
    ha_name_copy(fact.name, who);
    ha_propose(ha, &fact);
}

/* An order that every level failed to carry out is over: a host that is still a member goes on. */
static bool gives_up(const struct ha *ha, const struct ha_host_fact *h)
{
    const struct ha_host_config *config = ha_host_config(ha, h->node);
    return h->ordered && config && ha_in_ring(ha, h->node) &&
           next_level(ha, h, config, h->level + 1) == config->nlevels;
}

/* Rule 22: a result counts only for the (host, boot, loss) it was launched for. */
static void decide_result(struct ha *ha, size_t i)
{
    const struct ha_host_fact *h = &ha->prop.hosts[i];
    struct ha_host_desk *desk = &ha->host_desks[i];
    if (!desk->tell_valid)
        return;
    const struct ha_tell *t = &desk->tell;
    if (t->how == 0) { /* under way, unless that level is over */
        desk->tell_valid = h->state == HA_HOST_FENCING && t->level == h->level;
        return;
    }
    bool mine = ha_uuid_eq(&t->boot, &h->boot) && t->loss == h->loss;
    if (!HA_GUARD(ha, LOSS_NUMBER))
        mine = true;
    if (!mine) {
        desk->tell_valid = false;
        return;
    }
    bool ok = t->how == HA_RESULT_OK || !HA_GUARD(ha, FENCE_FAILED);
    bool pill = is_pill(ha_host_config(ha, h->node), t->level);
    if (h->distrusted && !pill)
        ok = false; /* rule 24: its devices lied once; the bound or an operator's word remain */
    if (h->node == ha->self)
        ok = false; /* whoever says that we are off is wrong */
    if (ok && (h->state == HA_HOST_FENCING || h->state == HA_HOST_LOST)) {
        desk->tell_valid = false;
        propose_conf(ha, h, pill ? HA_CONF_PILL : HA_CONF_DEVICE, "");
    } else if (h->state != HA_HOST_FENCING || t->level != h->level) {
        desk->tell_valid = false; /* of a level that is over */
    } else {
        desk->tell_valid = false;
        struct ha_fact fact = {.kind = HA_FACT_FENCE_END,
                               .host = h->node,
                               .boot = h->boot,
                               .loss = h->loss,
                               .level = h->level,
                               .how = gives_up(ha, h) ? 3 : 1};
        ha_propose(ha, &fact);
    }
}

/* Back in the ring before the fence was launched: the fence is cancelled. */
static void decide_cancel(struct ha *ha, size_t i)
{
    const struct ha_host_fact *h = &ha->prop.hosts[i];
    struct ha_host_desk *desk = &ha->host_desks[i];
    if (h->state != HA_HOST_FENCING || !ha_in_ring(ha, h->node) || desk->fence_id ||
        desk->have_result || desk->tell_valid || h->ordered)
        return;
    /* whoever launched it has had the time to say that it is under way (rule 22) */
    ha_ms patience = ha->phase_since + ha->config->timers.exchange;
    if (ha->now < patience) {
        ha_wake(ha, patience);
        return;
    }
    struct ha_fact fact = {.kind = HA_FACT_FENCE_END,
                           .host = h->node,
                           .boot = h->boot,
                           .loss = h->loss,
                           .level = h->level,
                           .how = 2};
    ha_propose(ha, &fact);
}

/* -------------------------------------------------------------------------------------- bound */

static bool has_self_level(const struct ha_host_config *config)
{
    for (size_t i = 0; config && i < config->nlevels; i++)
        if (config->levels[i].kind == HA_FENCE_SELF)
            return true;
    return false;
}

/* Rule 23: when the life of h that was lost cannot have a lease or a guest any more, our clock;
 * INT64_MAX with a reason if that cannot be known. */
ha_ms ha_bound_at(const struct ha *ha, const struct ha_host_fact *h, const char **ret_why)
{
    const struct ha_timers *t = &ha->config->timers;
    *ret_why = "its configuration has no self level";
    if (!has_self_level(ha_host_config(ha, h->node)))
        return INT64_MAX;
    *ret_why = "self-fencing is never trusted in a fence-only cluster";
    if (ha->config->mode == HA_MODE_FENCE_ONLY && HA_GUARD(ha, BOUND_TWO_NODE))
        return INT64_MAX;
    *ret_why = "a virtual machine that can be suspended cannot fence itself";
    if (ha->config->suspendable_hosts)
        return INT64_MAX;
    *ret_why = "it was frozen, and has not said since that its watchdog is armed";
    if (h->unarmed && HA_GUARD(ha, THAW_ARMED))
        return INT64_MAX;
    ha_ms base = INT64_MIN;
    ha_ms x = h->lease_ms > t->lease ? h->lease_ms : t->lease;
    ha_ms w = h->watchdog_ms > t->watchdog ? h->watchdog_ms : t->watchdog;
    size_t votes = 0, seen = 0;
    bool armed = true, tables = true, terms = true;
    for (size_t i = 0; i < ha->nmembers; i++) {
        const struct ha_member *m = &ha->members[i];
        const struct ha_host_fact *mh = ha_facts_host(&ha->log.head, m->node);
        if (!m->acked || m->left || !m->counted || !mh || !mh->voter)
            continue;
        for (size_t j = 0; j < m->ncuts; j++) {
            const struct ha_cut_age *cut = &m->cuts[j];
            if (cut->node != h->node || !ha_uuid_eq(&cut->boot, &h->boot))
                continue;
            votes++;
            seen += cut->seen;
            ha_ms last = m->cuts_at[j] - (cut->seen ? cut->age_ms : 0);
            if (last > base)
                base = last;
            armed &= !cut->seen || cut->armed; /* its last beat is one of these */
            terms &= !cut->seen ||
                     (cut->lease_ms == h->lease_ms && cut->watchdog_ms == h->watchdog_ms);
            tables &= !cut->seen || cut->tbl == ha->log.head.tbl;
            if (cut->seen && cut->lease_ms > x)
                x = cut->lease_ms;
            if (cut->seen && cut->watchdog_ms > w)
                w = cut->watchdog_ms;
        }
    }
    *ret_why = "not enough hosts have cut it off yet";
    if (votes < ha_votes_needed(ha))
        return INT64_MAX;
    /* Nobody here ever heard that life (all of them have booted since): nobody can have echoed it
     * later than now, and the facts tell on what terms it was admitted. */
    if (seen == 0)
        armed = h->armed;
    *ret_why = "its lease had just been changed, and not everybody heard it since";
    if (seen < votes && !terms)
        return INT64_MAX;
    *ret_why = "it had no armed watchdog when it was last heard of";
    if (!armed)
        return INT64_MAX;
    *ret_why = "its votes table was another one";
    if (!tables)
        return INT64_MAX;
    *ret_why = "";
    if (!HA_GUARD(ha, BOUND_SHORT))
        return base + x - 2000;
    return base + x + w + t->margin;
}

static void decide_bound(struct ha *ha, size_t i)
{
    const struct ha_host_fact *h = &ha->prop.hosts[i];
    if ((h->state != HA_HOST_LOST && h->state != HA_HOST_FENCING) || ha_in_ring(ha, h->node) ||
        ha->prop.frozen)
        return;
    const char *why;
    ha_ms at = ha_bound_at(ha, h, &why);
    if (at == INT64_MAX)
        return;
    if (ha->now < at)
        ha_wake(ha, at);
    else
        propose_conf(ha, h, HA_CONF_BOUND, "");
}

/* --------------------------------------------------------------------------- fence-only, words */

/* Rule 26: with every absent voter confirmed, the voters are the view. */
static void decide_voters(struct ha *ha)
{
    if (ha->config->mode != HA_MODE_FENCE_ONLY || !ha->half)
        return;
    struct ha_fact fact = {.kind = HA_FACT_VOTERS, .tbl = ha->prop.tbl + 1};
    size_t voters = 0;
    for (size_t i = 0; i < ha->prop.nhosts; i++) {
        const struct ha_host_fact *h = &ha->prop.hosts[i];
        if (!h->voter)
            continue;
        voters++;
        const struct ha_member *m = ha_member(ha, h->node, false);
        if (m && m->present && m->acked && m->counted)
            fact.voters[fact.nvoters++].node = h->node;
        else if (h->state != HA_HOST_DEAD)
            return;
    }
    if (fact.nvoters && fact.nvoters < voters)
        ha_propose(ha, &fact);
}

static void decide_words(struct ha *ha, size_t i)
{
    struct ha_host_desk *desk = &ha->host_desks[i];
    const struct ha_host_fact *h = &ha->prop.hosts[i];
    if (ha->half && ha_forced(ha) && !ha_in_ring(ha, h->node)) {
        desk->confirm = true; /* an operator's word for every absent voter */
        desk->confirm_boot = h->boot;
        ha_name_copy(desk->who, ha->forced);
    }
    if (desk->confirm && (h->state == HA_HOST_LOST || h->state == HA_HOST_FENCING) &&
        ha_uuid_eq(&desk->confirm_boot, &h->boot)) {
        desk->confirm = false;
        propose_conf(ha, h, HA_CONF_OPERATOR, desk->who);
    }
    if (desk->replace) {
        desk->replace = false;
        struct ha_fact fact = {
            .kind = HA_FACT_REPLACE, .host = h->node, .boot = h->boot, .loss = h->loss};
        ha_name_copy(fact.name, desk->who);
        ha_propose(ha, &fact);
    }
}

/* A host that said goodbye and owns nothing any more may disarm. */
static void decide_out(struct ha *ha, const struct ha_member *m)
{
    const struct ha_host_fact *h = ha_facts_host(&ha->prop, m->node);
    if (!m->leaving || !m->acked || !h || h->state != HA_HOST_IN)
        return;
    for (size_t i = 0; i < ha->prop.nguests; i++)
        if (ha->prop.guests[i].owner == m->node || ha->prop.guests[i].left_host == m->node ||
            (ha->prop.guests[i].mig && ha->prop.guests[i].mig_host == m->node))
            return;
    struct ha_fact fact = {.kind = HA_FACT_OUT, .host = m->node, .boot = h->boot};
    ha_propose(ha, &fact);
}

void ha_decide_hosts(struct ha *ha)
{
    for (size_t i = 0; i < ha->nmembers && !ha->half; i++)
        decide_in(ha, &ha->members[i]);
    ha_decide_turns(ha);
    if (!ha->half)
        ha_decide_disk(ha);
    for (size_t i = 0; i < ha->prop.nhosts; i++) {
        ha_decide_calm(ha, i);
        decide_lost(ha, i);
        decide_words(ha, i);
        decide_result(ha, i);
        decide_bound(ha, i);
        decide_cancel(ha, i);
        decide_fencing(ha, i);
    }
    decide_voters(ha);
    for (size_t i = 0; i < ha->nmembers && !ha->half; i++) {
        ha_decide_leave(ha, &ha->members[i]);
        decide_out(ha, &ha->members[i]);
    }
}

/* ------------------------------------------------------------------------------------- launch */

/* A fence is announced to the group, and launched when the announcement comes back: by then all that
 * was agreed before has been seen here. A daemon that was stopped for a while wakes with old facts, and
 * would fence a host that others have dealt with. True: launch now. */
static bool announced(struct ha *ha, struct ha_host_desk *desk, const struct ha_host_fact *h)
{
    const struct ha_tell *t = &desk->tell;
    bool back = desk->tell_valid && desk->tell_from == ha->self && t->how == 0 &&
                ha_uuid_eq(&t->boot, &h->boot) && t->loss == h->loss && t->level == h->level;
    if (!HA_GUARD(ha, FENCE_ANNOUNCED))
        return true;
    if (back && desk->announced && ha->now < desk->announced_at + ANNOUNCED_FRESH)
        return true;
    if (desk->announced && ha->now < desk->announced_at + ANNOUNCED_FRESH) {
        ha_wake(ha, desk->announced_at + ANNOUNCED_FRESH);
        return false;
    }
    desk->announced = true;
    desk->announced_at = ha->now;
    ha_tell_fence(ha, h->node, &h->boot, h->loss, h->level, 0);
    ha_wake(ha, ha->now + ANNOUNCED_FRESH);
    return false;
}

/* The coordinator launches; if it is itself to be fenced, the first of the other members. */
static bool launches(const struct ha *ha, const struct ha_host_fact *target)
{
    if (target->node != ha->coord)
        return ha_is_coordinator(ha);
    if (!target->ordered || ha->phase != HA_PHASE_OPEN)
        return false;
    ha_node first = 0;
    bool chair = false; /* gone: the view ends, and the next coordinator launches */
    for (size_t i = 0; i < ha->nmembers; i++) {
        const struct ha_member *m = &ha->members[i];
        const struct ha_host_fact *h = ha_facts_host(&ha->stable, m->node);
        bool here = m->present && !m->left && m->acked;
        chair |= here && m->node == target->node;
        if (m->node != target->node && here && h && h->state == HA_HOST_IN &&
            (!first || m->node < first))
            first = m->node;
    }
    return chair && first == ha->self;
}

static void have_result(struct ha *ha, size_t i, enum ha_result result, const char *text)
{
    struct ha_host_desk *desk = &ha->host_desks[i];
    ha_node node = i < ha->log.head.nhosts ? ha->log.head.hosts[i].node : 0;
    desk->fence_id = 0;
    desk->have_result = true;
    desk->result = result;
    desk->result_boot = desk->launched_boot;
    desk->result_loss = desk->launched_loss;
    desk->result_level = desk->launched_level;
    desk->result_told = false;
    if (!text)
        text = "no answer";
    ha_say(desk->fence_error, sizeof desk->fence_error, "%s", result == HA_RESULT_OK ? "" : text);
    if (result != HA_RESULT_OK)
        ha_report(ha, HA_REPORT_HOST_FENCE_FAIL, desk->called_off ? HA_SEV_NOTICE : HA_SEV_ERROR,
                  node, NULL, "fence level %u of %s did not succeed: %s", desk->launched_level + 1,
                  ha_host_name(ha, node), text);
    ha->acts_due = true;
}

static void launch(struct ha *ha, size_t i, const struct ha_host_fact *h)
{
    struct ha_host_desk *desk = &ha->host_desks[i];
    const char *why = "";
    ha_ms wait = 0;
    desk->have_result = false;
    desk->cancelled = desk->called_off = desk->announced = false;
    desk->under_way_told = HA_GUARD(ha, FENCE_ANNOUNCED);
    ha->acts_due = true;
    desk->launched_boot = h->boot;
    desk->launched_loss = h->loss;
    desk->launched_level = h->level;
    if (is_pill(ha_host_config(ha, h->node), h->level))
        wait = ha_pill_wait(ha, h, &why);
    if (wait < 0) { /* its watchdog was heard to be off since the level was chosen */
        have_result(ha, i, HA_RESULT_FAILED, why);
        return;
    }
    struct ha_action *a = ha_act(ha, HA_ACT_FENCE);
    if (!a)
        return;
    desk->fence_id = ++ha->next_op;
    a->u.fence.id = desk->fence_id;
    a->u.fence.node = h->node;
    a->u.fence.boot = h->boot;
    a->u.fence.loss = h->loss;
    a->u.fence.level = h->level;
    a->u.fence.wait_ms = wait;
    a->u.fence.disk_id = ha->log.head.disk_id;
}

/* Whether somebody's fence of this host is live. */
static bool under_fire(const struct ha *ha)
{
    const struct ha_host_fact *h = ha_facts_host(&ha->log.head, ha->self);
    return h && ha->host_desks[h - ha->log.head.hosts].live;
}

/* Rule 22: the loss and the level are stable, then the fence is launched; rule 26: half of the voters
 * launch on their own fsync. */
void ha_fence_launch(struct ha *ha)
{
    if (ha->phase != HA_PHASE_OPEN || !ha_quorate(ha))
        return;
    const struct ha_facts *f = &ha->stable;
    if (held(ha) || ha->log.head.frozen)
        return;
    if (ha->half)
        f = &ha->log.head;
    if (ha->half ? ha->log.done < ha->log.seq : !ha_settled(ha))
        return;
    for (size_t i = 0; i < f->nhosts; i++) {
        const struct ha_host_fact *h = &f->hosts[i];
        const struct ha_host_fact *newest = ha_facts_host(&ha->log.head, h->node);
        struct ha_host_desk *desk = &ha->host_desks[i];
        bool member = ha_in_ring(ha, h->node) && HA_GUARD(ha, FENCE_MEMBER);
        if (h->state != HA_HOST_FENCING || (member && !h->ordered) || desk->fence_id ||
            newest->state != HA_HOST_FENCING || newest->level != h->level ||
            newest->loss != h->loss || !ha_uuid_eq(&newest->boot, &h->boot) || !launches(ha, h))
            continue;
        if (h->ordered && under_fire(ha))
            continue; /* the order waits: both would be off in the end */
        if (desk->have_result && ha_uuid_eq(&desk->result_boot, &h->boot) &&
            desk->result_loss == h->loss && desk->result_level == h->level)
            continue; /* ran already: its result is on the way */
        if (desk->tell_valid && desk->tell.how == 0 && desk->tell_from != ha->self &&
            ha_uuid_eq(&desk->tell.boot, &h->boot) && desk->tell.loss == h->loss &&
            desk->tell.level == h->level)
            continue; /* another host is at it */
        ha_ms patience = ha->phase_since + ha->config->timers.exchange;
        if (!desk->ours && ha->now < patience) { /* whoever launched it before tells the result */
            ha_wake(ha, patience);
            continue;
        }
        ha_ms turn = ha_turn_at(ha, i); /* our journal may have taken its time */
        if (ha->now < turn) {
            ha_wake(ha, turn);
            continue;
        }
        if (!ha_turn_looked(ha, i) || !announced(ha, desk, h))
            continue;
        launch(ha, i, h);
    }
}

void ha_fence_event(struct ha *ha, const struct ha_event *event)
{
    for (size_t i = 0; i < HA_HOSTS_MAX; i++) {
        const struct ha_host_desk *desk = &ha->host_desks[i];
        if (desk->fence_id == 0 || desk->fence_id != event->u.fence.id)
            continue;
        have_result(ha, i, event->u.fence.result, event->u.fence.text);
    }
}

/* A host that was in the ring of an open view is lost when it leaves; one that never was is waited for
 * longer. */
void ha_mark_seen(struct ha *ha)
{
    for (size_t i = 0; i < ha->nring; i++)
        for (size_t j = 0; j < ha->log.head.nhosts; j++)
            if (ha->log.head.hosts[j].node == ha->ring_members[i])
                ha->host_desks[j].seen = true;
}
