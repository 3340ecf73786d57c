/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Fencing with restraint: whose turn it is when two hosts cannot see each other, the budget of
 * fences, and the quarantine of a host that is lost again and again. */
#include "core.h"

/* -------------------------------------------------------------------------------- two hosts */

/* Two hosts that cannot see each other both want to fence, and both may (rule 26). Time since they
 * last heard each other is cut into turns, and a host launches only in its own: whoever's turn is
 * first survives. Both count from the other's last beat, not from when they noticed: noticing takes
 * one of them longer (scenario two-hosts-one-notices-late). The end of a turn is kept free for the
 * device to act. Which turn a host has is a fact (HA_FACT_TURN); without one the lower node id is
 * first. */
static unsigned turn_of(const struct ha_host_fact *self, const struct ha_host_fact *other)
{
    if (self->turn)
        return self->turn - 1U;
    return self->node < other->node ? 0 : 1;
}

static ha_ms last_heard(const struct ha *ha, size_t i)
{
    const struct ha_host_fact *h = &ha->prop.hosts[i];
    for (size_t k = 0; k < ha->npeers; k++)
        if (ha->peers[k].node == h->node && ha->peers[k].last_ms &&
            ha_uuid_eq(&ha->peers[k].boot, &h->boot))
            return ha->peers[k].last_ms;
    return ha->host_desks[i].lost_at;
}

/* When host i may be fenced by us: now, or later. */
ha_ms ha_turn_at(const struct ha *ha, size_t i)
{
    const struct ha_host_fact *self = ha_facts_host(&ha->prop, ha->self);
    if (!ha->half || !self || !HA_GUARD(ha, DUEL_TURN))
        return ha->now;
    ha_ms turn = ha->config->timers.duel;
    ha_ms since = ha->now - last_heard(ha, i);
    ha_ms at = (ha_ms)turn_of(self, &ha->prop.hosts[i]) * turn;
    ha_ms in_round = since > 0 ? since % (HA_TURNS * turn) : 0;
    if (in_round < at)
        return ha->now + at - in_round;
    if (in_round < at + turn - HA_DUEL_ACTION)
        return ha->now;
    return ha->now + HA_TURNS * turn + at - in_round;
}

/* The tie-breaker of two hosts that need the shared disk: in its turn a host launches nothing
 * before it has looked at the disk once since the turn began. So it has seen the other one's pill,
 * if there is one, and a host that has lost the disk fences nobody: it could not run a guest
 * either. */
bool ha_turn_looked(const struct ha *ha, size_t i)
{
    const struct ha_host_fact *self = ha_facts_host(&ha->prop, ha->self);
    if (!ha->half || !self || ha->orders.disk != HA_DISK_ON || !HA_GUARD(ha, DISK_DUEL))
        return true;
    ha_ms turn = ha->config->timers.duel;
    ha_ms since = ha->now - last_heard(ha, i);
    ha_ms at = (ha_ms)turn_of(self, &ha->prop.hosts[i]) * turn;
    ha_ms in_round = since > 0 ? since % (HA_TURNS * turn) : 0;
    return !ha->pilled && ha->disk_t >= ha->now - (in_round - at);
}

/* Importance of what a host owns: the sum of its guests' priorities, and one for each. */
static uint64_t weight(const struct ha *ha, const struct ha_facts *f, ha_node node)
{
    uint64_t sum = 0;
    for (uint32_t i = 0; i < f->nguests; i++) {
        const struct ha_guest_config *c =
            f->guests[i].owner == node ? ha_guest_config(ha, i) : NULL;
        if (c && c->priority > 0)
            sum += (uint64_t)c->priority + 1;
    }
    return sum;
}

/* The two voters of a fence-only cluster; false: it is not one of two hosts. */
static bool two_voters(const struct ha *ha, const struct ha_facts *f, size_t ret_i[2])
{
    size_t n = 0;
    if (ha->config->mode != HA_MODE_FENCE_ONLY || f->nhosts != 2)
        return false;
    for (size_t i = 0; i < f->nhosts; i++)
        if (f->hosts[i].voter)
            ret_i[n++] = i;
    return n == 2;
}

static bool propose_turn(struct ha *ha, const struct ha_host_fact *h, unsigned turn)
{
    struct ha_fact fact = {
        .kind = HA_FACT_TURN, .host = h->node, .boot = h->boot, .level = turn + 1};
    return ha_propose(ha, &fact);
}

/* Turns follow the guests. One host's turn changes at a time, to one that the other does not have,
 * and the next step waits until that is stable, which is: in both journals. So whatever part of the
 * change reached a host before a split, the two never have the same turn. */
void ha_decide_turns(struct ha *ha)
{
    size_t at[2];
    if (ha->half || !two_voters(ha, &ha->prop, at))
        return;
    const struct ha_host_fact *h[2] = {&ha->prop.hosts[at[0]], &ha->prop.hosts[at[1]]};
    bool step = HA_GUARD(ha, DUEL_STEP);
    for (int k = 0; k < 2; k++) {
        const struct ha_host_fact *s = ha_facts_host(&ha->stable, h[k]->node);
        if (h[k]->state != HA_HOST_IN || !ha_in_ring(ha, h[k]->node))
            return;
        if (step && (!s || s->turn != h[k]->turn))
            return; /* the last step is not stable yet */
    }
    unsigned turn[2] = {turn_of(h[0], h[1]), turn_of(h[1], h[0])};
    uint64_t w[2] = {weight(ha, &ha->prop, h[0]->node), weight(ha, &ha->prop, h[1]->node)};
    int first = w[0] == w[1] ? (turn[0] < turn[1] ? 0 : 1) : (w[0] > w[1] ? 0 : 1);
    int other = 1 - first;
    if (!step) { /* mutant */
        if (turn[first] != 0) {
            propose_turn(ha, h[first], 0);
            propose_turn(ha, h[other], 1);
        }
    } else if (turn[first] == 0) {
        if (turn[other] != 1)
            propose_turn(ha, h[other], 1);
    } else if (turn[other] == 0) {
        propose_turn(ha, h[other], turn[first] == 1 ? 2 : 1);
    } else {
        propose_turn(ha, h[first], 0);
    }
}

ha_node ha_survivor(const struct ha *ha, char *ret_why, size_t size)
{
    size_t at[2];
    *ret_why = '\0';
    if (!two_voters(ha, &ha->stable, at))
        return 0;
    const struct ha_host_fact *h[2] = {&ha->stable.hosts[at[0]], &ha->stable.hosts[at[1]]};
    int first = turn_of(h[0], h[1]) < turn_of(h[1], h[0]) ? 0 : 1;
    unsigned long w[2] = {(unsigned long)weight(ha, &ha->stable, h[0]->node),
                          (unsigned long)weight(ha, &ha->stable, h[1]->node)};
    const char *name = ha_host_name(ha, h[first]->node);
    if (w[first] > w[1 - first])
        ha_say(ret_why, size,
               "%s would survive: it holds the more important guests (weight %lu against %lu)",
               name, w[first], w[1 - first]);
    else if (w[first] == w[1 - first])
        ha_say(ret_why, size,
               "%s would survive: both hold equally important guests (weight %lu each), and it was "
               "first",
               name, w[first]);
    else
        ha_say(ret_why, size,
               "%s would survive, until the other one's turn has been agreed on (its "
               "guests weigh %lu, the other one's %lu)",
               name, w[first], w[1 - first]);
    return h[first]->node;
}

/* ----------------------------------------------------------------------------------- budget */

bool ha_quarantined(const struct ha *ha, const struct ha_host_fact *h)
{
    unsigned limit = ha->config->fencing.host_limit;
    return limit && h->flaps >= limit;
}

static bool owns(const struct ha_facts *f, ha_node node)
{
    for (size_t i = 0; i < f->nguests; i++)
        if (f->guests[i].owner == node || f->guests[i].left_host == node ||
            (f->guests[i].mig && f->guests[i].mig_host == node))
            return true;
    return false;
}

/* Why a lost host is not fenced without an operator's word; NULL: it is. Two hosts that cannot see
 * each other have nobody to ask, and fence. */
const char *ha_fence_held(const struct ha *ha, const struct ha_facts *f,
                          const struct ha_host_fact *h)
{
    const struct ha_fence_policy *p = &ha->config->fencing;
    unsigned sum = 0;
    if (h->ordered || ha->half || !HA_GUARD(ha, FENCE_BUDGET))
        return NULL;
    for (size_t i = 0; i < f->nhosts; i++)
        sum += f->hosts[i].flaps;
    if (p->cluster_limit && sum > p->cluster_limit)
        return "hosts are lost too often: something else is wrong";
    if (p->host_limit && h->flaps > p->host_limit && !owns(f, h->node))
        return "it is lost again and again, and no guest waits for it";
    return NULL;
}

/* A host that stayed as it is for a window is calm; the clock starts anew with each coordinator. */
void ha_decide_calm(struct ha *ha, size_t i)
{
    const struct ha_host_fact *h = &ha->prop.hosts[i];
    struct ha_host_desk *desk = &ha->host_desks[i];
    bool changed = desk->calm_state != h->state || desk->calm_loss != h->loss ||
                   !ha_uuid_eq(&desk->calm_boot, &h->boot);
    if (h->flaps == 0 || ha->half)
        return;
    if (changed || desk->calm_since == 0) {
        desk->calm_state = h->state;
        desk->calm_loss = h->loss;
        desk->calm_boot = h->boot;
        desk->calm_since = ha->now;
    }
    ha_ms window = ha->config->fencing.window;
    if (desk->calm || (window > 0 && ha->now >= desk->calm_since + window)) {
        struct ha_fact fact = {.kind = HA_FACT_CALM, .host = h->node, .boot = h->boot};
        ha_name_copy(fact.name, desk->calm ? desk->who : "");
        desk->calm = false;
        ha_propose(ha, &fact);
    } else if (window > 0) {
        ha_wake(ha, desk->calm_since + window);
    }
}
