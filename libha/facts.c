/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The replicated facts: the two state machines as tables, and what each fact changes. */
#include "facts.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* Hosts: state x fact -> state. Everything not listed does not fit. */
static const struct {
    enum ha_host_state from;
    enum ha_fact_kind fact;
    enum ha_host_state to;
} host_table[] = {
    {HA_HOST_NEW, HA_FACT_IN, HA_HOST_IN},
    {HA_HOST_IN, HA_FACT_IN, HA_HOST_IN},       /* another life, or another journal */
    {HA_HOST_IN, HA_FACT_LOST, HA_HOST_LOST},
    {HA_HOST_IN, HA_FACT_OUT, HA_HOST_OUT},
    {HA_HOST_IN, HA_FACT_ORDER, HA_HOST_LOST},
    {HA_HOST_LOST, HA_FACT_ORDER, HA_HOST_LOST}, /* the same loss, and now an order */
    {HA_HOST_LOST, HA_FACT_IN, HA_HOST_IN},     /* came back before it was confirmed */
    {HA_HOST_LOST, HA_FACT_FENCING, HA_HOST_FENCING},
    {HA_HOST_LOST, HA_FACT_CONF, HA_HOST_DEAD}, /* bound, operator */
    {HA_HOST_FENCING, HA_FACT_FENCE_END, HA_HOST_LOST},
    {HA_HOST_FENCING, HA_FACT_CONF, HA_HOST_DEAD},
    {HA_HOST_DEAD, HA_FACT_IN, HA_HOST_IN},
    {HA_HOST_OUT, HA_FACT_IN, HA_HOST_IN},
    {HA_HOST_NEW, HA_FACT_REPLACE, HA_HOST_NEW},
    {HA_HOST_LOST, HA_FACT_REPLACE, HA_HOST_DEAD},
    {HA_HOST_FENCING, HA_FACT_REPLACE, HA_HOST_DEAD},
    {HA_HOST_DEAD, HA_FACT_REPLACE, HA_HOST_DEAD},
    {HA_HOST_OUT, HA_FACT_REPLACE, HA_HOST_OUT},
};

/* Guests: state x fact -> state. The death of an owner (CONF, IN of another life) is not a guest's
 * fact; free_guests() below has its row: every state -> FREE, but MIGRATING stays. */
static const struct {
    enum ha_guest_state from;
    enum ha_fact_kind fact;
    enum ha_guest_state to;
} guest_table[] = {
    {HA_GUEST_FREE, HA_FACT_ASSIGN, HA_GUEST_STARTING},
    {HA_GUEST_FREE, HA_FACT_ADOPT, HA_GUEST_STARTING},
    {HA_GUEST_STARTING, HA_FACT_RUN, HA_GUEST_RUNNING},
    {HA_GUEST_STARTING, HA_FACT_RELEASED, HA_GUEST_FREE},
    {HA_GUEST_RUNNING, HA_FACT_RELEASED, HA_GUEST_FREE},
    {HA_GUEST_RUNNING, HA_FACT_MIG, HA_GUEST_MIGRATING},
    {HA_GUEST_MIGRATING, HA_FACT_COMMIT, HA_GUEST_ARRIVED},
    {HA_GUEST_MIGRATING, HA_FACT_ABORT, HA_GUEST_RUNNING}, /* FREE if its owner died meanwhile */
    {HA_GUEST_ARRIVED, HA_FACT_RUN, HA_GUEST_RUNNING},
    {HA_GUEST_ARRIVED, HA_FACT_RELEASED, HA_GUEST_FREE},
    {HA_GUEST_RUNNING, HA_FACT_RECALL, HA_GUEST_RUNNING},
    {HA_GUEST_RUNNING, HA_FACT_PREEMPT, HA_GUEST_RUNNING},
    {HA_GUEST_RUNNING, HA_FACT_RESTART, HA_GUEST_RUNNING},
};

bool ha_is_failure(uint8_t how)
{
    return how == HA_RELEASE_CRASH || how == HA_RELEASE_START_FAILED ||
           how == HA_RELEASE_POWEROFF || how == HA_RELEASE_PROBE;
}

int ha_host_next(enum ha_host_state state, enum ha_fact_kind kind)
{
    for (size_t i = 0; i < sizeof host_table / sizeof *host_table; i++)
        if (host_table[i].from == state && host_table[i].fact == kind)
            return (int)host_table[i].to;
    return -1;
}

int ha_guest_next(enum ha_guest_state state, enum ha_fact_kind kind)
{
    for (size_t i = 0; i < sizeof guest_table / sizeof *guest_table; i++)
        if (guest_table[i].from == state && guest_table[i].fact == kind)
            return (int)guest_table[i].to;
    return -1;
}

void ha_facts_init(struct ha_facts *facts, enum ha_mutant mutant)
{
    *facts = (struct ha_facts){.mutant = mutant, .next_inc = 1, .next_mig = 1};
}

void ha_facts_done(struct ha_facts *facts)
{
    free(facts->guests);
    ha_facts_init(facts, facts->mutant);
}

int ha_facts_copy(struct ha_facts *dst, const struct ha_facts *src)
{
    struct ha_guest_fact *guests = dst->guests;
    size_t size = dst->guests_size;
    if (size < src->nguests) {
        guests = realloc(guests, src->nguests * sizeof *guests);
        if (!guests)
            return -ENOMEM;
        size = src->nguests;
    }
    if (src->nguests)
        memcpy(guests, src->guests, src->nguests * sizeof *guests);
    *dst = *src;
    dst->guests = guests;
    dst->guests_size = size;
    return 0;
}

struct ha_host_fact *ha_facts_host(const struct ha_facts *facts, ha_node node)
{
    for (size_t i = 0; i < facts->nhosts; i++)
        if (facts->hosts[i].node == node)
            return (struct ha_host_fact *)&facts->hosts[i];
    return NULL;
}

struct ha_guest_fact *ha_facts_guest(const struct ha_facts *facts, const char *name)
{
    for (size_t i = 0; i < facts->nguests; i++)
        if (strcmp(facts->guests[i].name, name) == 0)
            return &facts->guests[i];
    return NULL;
}

size_t ha_facts_voters(const struct ha_facts *facts)
{
    size_t n = 0;
    for (size_t i = 0; i < facts->nhosts; i++)
        n += facts->hosts[i].voter;
    return n;
}

static bool host_fits(const struct ha_host_fact *h, const struct ha_fact *f)
{
    if (!h || ha_host_next(h->state, f->kind) < 0)
        return false;
    bool this_life = ha_uuid_eq(&h->boot, &f->boot);
    /* rule 22, "Confirmed dead": a confirmation names (host, boot id, loss number) */
    bool this_loss = this_life && h->loss == f->loss;
    switch (f->kind) {
    case HA_FACT_IN:
        return ha_uuid_zero(&h->machine) || ha_uuid_eq(&h->machine, &f->machine);
    case HA_FACT_LOST:
        return this_life && f->loss == h->loss + 1;
    case HA_FACT_ORDER:
        if (h->state == HA_HOST_LOST)
            return this_loss && !h->ordered;
        return this_life && f->loss == h->loss + 1;
    case HA_FACT_OUT:
        return this_life;
    case HA_FACT_FENCING:
    case HA_FACT_CONF:
        return this_loss;
    case HA_FACT_FENCE_END:
        return this_loss && h->level == f->level;
    case HA_FACT_REPLACE:
        return this_loss;
    default: /* not a host's fact */
        return false;
    }
}

/* What is remembered of a host beside its state. */
static bool note_fits(const struct ha_host_fact *h, const struct ha_fact *f)
{
    if (!h)
        return false;
    if (f->kind == HA_FACT_CALM)
        return h->flaps > 0;
    if (f->kind == HA_FACT_DOWN)
        return h->state == HA_HOST_IN && ha_uuid_eq(&h->boot, &f->boot) && f->level <= 1 &&
               h->down != (f->level == 1);
    if (f->kind == HA_FACT_MAINT)
        return f->level <= HA_MAINT_ON &&
               (h->maint != f->level || (f->level && !h->maint_force && (f->how & HA_MAINT_FORCE)));
    return f->level >= 1 && f->level <= HA_TURNS && h->turn != f->level;
}

/* The shared disk: each decision has a number, so that what a host said under an earlier one is
 * void. */
static bool disk_fits(const struct ha_facts *facts, const struct ha_fact *f)
{
    bool frozen = facts->frozen && HA_GUARD(facts, FREEZE_DISK);
    if (f->kind == HA_FACT_DISK)
        return !frozen && facts->disk_gen < UINT32_MAX && facts->disk_on != (f->level == 1) &&
               (f->level == 0 || (f->level == 1 && f->lease_ms > 0));
    const struct ha_host_fact *h = ha_facts_host(facts, f->host);
    return h && h->state == HA_HOST_IN && ha_uuid_eq(&h->boot, &f->boot) && facts->disk_on &&
           (f->loss == facts->disk_gen || !HA_GUARD(facts, DISK_GEN)) &&
           f->lease_ms == facts->disk_ms && h->disk_ms == 0;
}

static bool guest_fits(const struct ha_facts *facts, const struct ha_fact *f)
{
    if (f->guest >= facts->nguests)
        return false;
    const struct ha_guest_fact *g = &facts->guests[f->guest];
    if (f->kind == HA_FACT_WANT || f->kind == HA_FACT_CLEAR)
        return true;
    if (f->kind == HA_FACT_DEFINE)
        return !ha_uuid_zero(&f->boot);
    if (f->kind == HA_FACT_VACATED)
        return g->left_host == f->host && f->host && ha_uuid_eq(&g->left_boot, &f->boot);
    /* nobody may write before the previous writer's backends are closed: one set of remains at most */
    bool new_holder = f->kind == HA_FACT_ASSIGN || f->kind == HA_FACT_ADOPT ||
                      f->kind == HA_FACT_MIG;
    if (new_holder && g->left_host)
        return false;
    if (ha_guest_next(g->state, f->kind) < 0)
        return false;
    switch (f->kind) {
    case HA_FACT_ASSIGN:
    case HA_FACT_ADOPT:
        return f->inc >= facts->next_inc && f->inc < HA_EPOCH_MAX && ha_facts_host(facts, f->host);
    case HA_FACT_RECALL:
        return ha_facts_host(facts, f->host) && f->host != g->owner && !g->preempted;
    case HA_FACT_PREEMPT:
    case HA_FACT_RESTART:
        return !g->preempted && !g->recall; /* once per incarnation */
    case HA_FACT_RUN:
    case HA_FACT_RELEASED:
        return g->inc == f->inc;
    case HA_FACT_MIG:
        return f->inc >= facts->next_inc && f->mig >= facts->next_mig && f->inc < HA_EPOCH_MAX &&
               f->mig < HA_EPOCH_MAX && ha_facts_host(facts, f->host) && !g->preempted;
    case HA_FACT_COMMIT:
    case HA_FACT_ABORT: /* exactly one of them per id: the first in the log (rule 14) */
        return g->mig == f->mig && g->mig != 0;
    default:
        return false;
    }
}

/* The host that would coordinate if all logs were equal; NULL: none. */
static struct ha_host_fact *most_senior(const struct ha_facts *facts)
{
    struct ha_host_fact *first = NULL;
    for (size_t i = 0; i < facts->nhosts; i++) {
        const struct ha_host_fact *h = &facts->hosts[i];
        if (h->state == HA_HOST_IN && (!first || h->in_index < first->in_index))
            first = (struct ha_host_fact *)h;
    }
    return first;
}

/* What is about the cluster as a whole. */
static bool cluster_fits(const struct ha_facts *facts, const struct ha_fact *f)
{
    const struct ha_host_fact *h;
    switch (f->kind) {
    case HA_FACT_FREEZE:
        return !facts->frozen && facts->nhosts > 0;
    case HA_FACT_THAW:
        return facts->frozen && f->inc == facts->froze_at;
    case HA_FACT_LOOKED:
        return facts->looking && f->inc == facts->thaw_at;
    case HA_FACT_CHAIR:
        h = ha_facts_host(facts, f->host);
        return h && h->state == HA_HOST_IN && ha_uuid_eq(&h->boot, &f->boot) &&
               h != most_senior(facts);
    case HA_FACT_CONFIG:
        return !ha_uuid_zero(&f->boot) && facts->nhosts > 0;
    default:
        return false;
    }
}

bool ha_facts_fits(const struct ha_facts *facts, const struct ha_fact *f)
{
    switch (f->kind) {
    case HA_FACT_FOUND:
        return ha_uuid_zero(&facts->cluster) && facts->nhosts == 0 && f->nvoters > 0;
    case HA_FACT_BEGIN:
        return true;
    case HA_FACT_VOTERS:
        return f->tbl > facts->tbl;
    case HA_FACT_IN:
    case HA_FACT_LOST:
    case HA_FACT_FENCING:
    case HA_FACT_FENCE_END:
    case HA_FACT_CONF:
    case HA_FACT_OUT:
    case HA_FACT_REPLACE:
    case HA_FACT_ORDER:
        return host_fits(ha_facts_host(facts, f->host), f);
    case HA_FACT_CALM:
    case HA_FACT_TURN:
    case HA_FACT_MAINT:
    case HA_FACT_DOWN:
        return note_fits(ha_facts_host(facts, f->host), f);
    case HA_FACT_DISK:
    case HA_FACT_BOUND:
        return disk_fits(facts, f);
    case HA_FACT_FREEZE:
    case HA_FACT_THAW:
    case HA_FACT_LOOKED:
    case HA_FACT_CHAIR:
    case HA_FACT_CONFIG:
        return cluster_fits(facts, f);
    case HA_FACT_REGISTER:
        return facts->nguests < HA_GUESTS_MAX && !ha_facts_guest(facts, f->name);
    case HA_FACT_WANT:
    case HA_FACT_CLEAR:
    case HA_FACT_ASSIGN:
    case HA_FACT_ADOPT:
    case HA_FACT_RUN:
    case HA_FACT_RELEASED:
    case HA_FACT_MIG:
    case HA_FACT_COMMIT:
    case HA_FACT_ABORT:
    case HA_FACT_VACATED:
    case HA_FACT_RECALL:
    case HA_FACT_DEFINE:
    case HA_FACT_PREEMPT:
    case HA_FACT_RESTART:
        return guest_fits(facts, f);
    case HA_FACT_COUNT:
        break;
    }
    return false;
}

static void apply_found(struct ha_facts *facts, const struct ha_fact *f)
{
    facts->cluster = f->cluster;
    facts->tbl = f->tbl;
    facts->nhosts = f->nvoters;
    for (size_t i = 0; i < f->nvoters; i++)
        facts->hosts[i] = (struct ha_host_fact){.node = f->voters[i].node,
                                                .voter = true,
                                                .machine = f->voters[i].machine,
                                                .journal = f->voters[i].journal};
}

static void apply_voters(struct ha_facts *facts, const struct ha_fact *f)
{
    facts->tbl = f->tbl;
    for (size_t i = 0; i < facts->nhosts; i++) {
        facts->hosts[i].voter = false;
        for (size_t j = 0; j < f->nvoters; j++)
            if (f->voters[j].node == facts->hosts[i].node)
                facts->hosts[i].voter = true;
    }
}

/* Rule 12: what (host, boot) owned has no owner any more. `other_life`: everything of the host that is
 * not of `boot` is meant (proof of death by a newer life). */
static void free_guests(struct ha_facts *facts, ha_node node, const struct ha_uuid *boot,
                        bool other_life)
{
    for (size_t i = 0; i < facts->nguests; i++) {
        struct ha_guest_fact *g = &facts->guests[i];
        if (g->left_host == node && ha_uuid_eq(&g->left_boot, boot) != other_life)
            g->left_host = 0;
        if (g->owner != node || ha_uuid_eq(&g->boot, boot) == other_life)
            continue;
        if (g->state == HA_GUEST_STARTING && !g->by_adopt && ++g->start_losses >= 2)
            g->quarantined = true; /* not tried on a third host */
        g->owner = 0;
        if (g->state != HA_GUEST_MIGRATING) /* a live migration is decided by commit or abort */
            g->state = HA_GUEST_FREE;
    }
}

static void apply_in(struct ha_facts *facts, struct ha_host_fact *h, const struct ha_fact *f,
                     uint64_t index)
{
    bool same = ha_uuid_eq(&h->boot, &f->boot);
    if (!same || h->disk_gen != facts->disk_gen)
        h->disk_ms =
            0; /* what it said of the disk was another life's, or before the last decision */
    h->lost_here &= same;
    h->down &= same;
    h->down_return &= same;
    if (h->state == HA_HOST_DEAD && same && h->how == HA_CONF_DEVICE)
        h->distrusted = true; /* rule 24: a device said off and the same life returns */
    if (h->state != HA_HOST_IN || !same)
        h->in_index = index;
    free_guests(facts, h->node, &f->boot, true);
    /* another life has never been frozen; this one has to say that its watchdog is armed again */
    h->unarmed = facts->frozen || (h->unarmed && same && !f->want_run);
    h->state = HA_HOST_IN;
    h->ordered = false;
    h->boot = f->boot;
    h->machine = f->machine;
    h->journal = f->journal;
    h->armed = f->armed;
    h->lease_ms = f->lease_ms;
    h->watchdog_ms = f->watchdog_ms;
    h->voter = true; /* rule 26: in(h) puts it back. The table's number stays: until all old voters
                        have acknowledged this, they may go on without it */
}

static void apply_host(struct ha_facts *facts, const struct ha_fact *f, uint64_t index)
{
    struct ha_host_fact *h = ha_facts_host(facts, f->host);
    enum ha_host_state next = (enum ha_host_state)ha_host_next(h->state, f->kind);
    if (f->kind == HA_FACT_IN) {
        apply_in(facts, h, f, index);
        return;
    }
    h->state = next;
    if (f->kind == HA_FACT_LOST || f->kind == HA_FACT_ORDER) {
        h->loss = f->loss;
        h->lost_here = true;
        h->ordered = f->kind == HA_FACT_ORDER;
        if (f->kind == HA_FACT_LOST && h->flaps < UINT8_MAX)
            h->flaps++;
        h->tried = false;
        h->rounds = 0;
    } else if (f->kind == HA_FACT_FENCING) {
        if (h->tried && f->level <= h->level)
            h->rounds++;
        h->level = f->level;
        h->tried = true;
    } else if (f->kind == HA_FACT_FENCE_END) {
        if (f->how == 2)
            h->tried = false;
        if (f->how == 3)
            h->ordered = false;
    } else if (f->kind == HA_FACT_CONF) {
        h->how = f->how;
        h->ordered = false;
        h->conf_index = index;
        h->distrusted &= f->how != HA_CONF_OPERATOR; /* who vouches has looked */
        free_guests(facts, h->node, &h->boot, false);
    } else if (f->kind == HA_FACT_REPLACE) {
        h->ordered = false;
        h->machine = (struct ha_uuid){{0}};
        h->journal = (struct ha_uuid){{0}};
        h->how = HA_CONF_OPERATOR;
        h->distrusted = false;
        free_guests(facts, h->node, &h->boot, false);
    }
}

/* Those that left for its maintenance come back only if that is said when it ends. */
static void apply_maint(struct ha_facts *facts, struct ha_host_fact *h, const struct ha_fact *f)
{
    h->maint = (uint8_t)f->level;
    h->maint_force = f->level && (f->how & HA_MAINT_FORCE);
    if (f->level == HA_MAINT_ON || (f->level == HA_MAINT_NONE && (f->how & HA_MAINT_RETURN)))
        return;
    for (size_t i = 0; i < facts->nguests; i++)
        if (facts->guests[i].home == h->node)
            facts->guests[i].home = 0;
}

static void apply_note(struct ha_facts *facts, const struct ha_fact *f)
{
    struct ha_host_fact *h = ha_facts_host(facts, f->host);
    if (f->kind == HA_FACT_MAINT) {
        apply_maint(facts, h, f);
    } else if (f->kind == HA_FACT_DOWN) {
        h->down = f->level == 1;
        h->down_return = h->down && (f->how & HA_MAINT_RETURN);
    } else if (f->kind == HA_FACT_CALM) {
        h->flaps = 0;
    } else {
        h->turn = (uint8_t)f->level;
    }
}

/* Who is lost does not hear of it, and keeps to what it said until it is admitted again. */
static void apply_disk(struct ha_facts *facts, const struct ha_fact *f)
{
    if (f->kind == HA_FACT_BOUND) {
        struct ha_host_fact *h = ha_facts_host(facts, f->host);
        h->disk_ms = f->lease_ms;
        h->disk_gen = f->loss;
        return;
    }
    facts->disk_on = f->level == 1;
    facts->disk_ms = facts->disk_on ? f->lease_ms : 0;
    facts->disk_id = facts->disk_on ? f->boot : (struct ha_uuid){{0}};
    facts->disk_gen++;
    for (size_t i = 0; i < facts->nhosts; i++)
        if (facts->hosts[i].state == HA_HOST_IN)
            facts->hosts[i].disk_ms = 0;
}

/* Frozen hosts go without watchdog and lease, so from here on no time that passes proves anything
 * about the lives that are here, until each of them says that it is armed again. Nor does a poison
 * pill: nobody needs the shared disk any more, until that is decided anew, after the thaw, and what
 * they said of it is void by then (schedule thawed-unbound). */
static void apply_freeze(struct ha_facts *facts, uint64_t index)
{
    facts->frozen = true;
    facts->looking = false;
    facts->froze_at = index;
    for (size_t i = 0; i < facts->nhosts; i++) {
        facts->hosts[i].unarmed = true;
        facts->hosts[i].armed = false;
        if (HA_GUARD(facts, FREEZE_BOUND))
            facts->hosts[i].disk_ms = 0;
    }
    if (!facts->disk_on)
        return;
    facts->disk_on = false;
    facts->disk_ms = 0;
    facts->disk_id = (struct ha_uuid){{0}};
    facts->disk_gen += HA_GUARD(facts, FREEZE_BOUND);
}

static void apply_config(struct ha_facts *facts, const struct ha_fact *f, uint64_t index)
{
    struct ha_config_change *v = facts->config_changes;
    memmove(v + 1, v, (HA_CONFIG_CHANGES - 1) * sizeof *v);
    v[0] = (struct ha_config_change){.at = index, .from = f->inc};
    facts->config_file = f->boot;
}

static void apply_cluster(struct ha_facts *facts, const struct ha_fact *f, uint64_t index)
{
    if (f->kind == HA_FACT_CONFIG)
        apply_config(facts, f, index);
    else if (f->kind == HA_FACT_FREEZE) {
        apply_freeze(facts, index);
    } else if (f->kind == HA_FACT_THAW) {
        facts->frozen = false;
        facts->looking = true; /* who knows what was done by hand meanwhile */
        facts->thaw_at = index;
    } else if (f->kind == HA_FACT_LOOKED) {
        facts->looking = false;
    } else {
        struct ha_host_fact *first = most_senior(facts), *h = ha_facts_host(facts, f->host);
        uint64_t index_of_first = first->in_index;
        first->in_index = h->in_index;
        h->in_index = index_of_first;
    }
}

static int apply_register(struct ha_facts *facts, const struct ha_fact *f, uint64_t index)
{
    if (facts->nguests == facts->guests_size) {
        size_t size = facts->guests_size ? facts->guests_size * 2 : 16;
        struct ha_guest_fact *v = realloc(facts->guests, size * sizeof *v);
        if (!v)
            return -ENOMEM;
        facts->guests = v;
        facts->guests_size = size;
    }
    struct ha_guest_fact *g = &facts->guests[facts->nguests++];
    *g = (struct ha_guest_fact){
        .enabled = f->enabled, .want_run = f->want_run, .asked_index = index};
    ha_name_copy(g->name, f->name);
    return 0;
}

static void apply_assign(struct ha_facts *facts, struct ha_guest_fact *g, const struct ha_fact *f)
{
    g->state = HA_GUEST_STARTING;
    g->loose = false;
    g->recall = g->preempted = false;
    g->prefer = 0;
    g->home = g->home == f->host ? 0 : g->home;
    g->owner = f->host;
    g->boot = f->boot;
    g->inc = f->inc;
    g->old_inc = f->old_inc;
    g->by_mig = false;
    g->by_adopt = f->kind == HA_FACT_ADOPT;
    facts->next_inc = f->inc + 1;
}

static void apply_released(struct ha_facts *facts, struct ha_guest_fact *g,
                           const struct ha_fact *f)
{
    const struct ha_host_fact *from = ha_facts_host(facts, g->owner);
    if (from && from->down_return && f->how == HA_RELEASE_STOPPED && g->want_run && g->enabled &&
        !g->home)
        g->home = g->owner;
    /* one that was to end has not failed, however it ended */
    bool wanted = g->want_run && g->enabled && !g->preempted;
    bool failure = wanted && ha_is_failure(f->how);
    g->state = HA_GUEST_FREE;
    g->avoid = f->how == HA_RELEASE_START_FAILED ? g->owner : 0;
    if (failure || (wanted && f->how == HA_RELEASE_REBOOT)) {
        if (g->ended_on != g->owner)
            g->failures_there = 0;
        g->ended_on = g->owner;
        if (failure && g->failures_there < UINT8_MAX)
            g->failures_there++;
    }
    g->owner = 0;
    g->last_release = f->how;
    g->restarts += failure;
    g->failed = g->failed || (wanted && f->failed);
    g->loose |= g->failed;
}

/* Who leaves a host for its maintenance, or because it goes down, remembers it; an operator's move
 * makes it forget. */
static void apply_leave(struct ha_facts *facts, struct ha_guest_fact *g, const struct ha_fact *f)
{
    const struct ha_host_fact *from = ha_facts_host(facts, g->owner);
    if (from && (from->maint == HA_MAINT_ON || from->down_return))
        g->home = g->home ? g->home : g->owner;
    else if (!f->old_inc)
        g->home = 0;
}

static void apply_mig(struct ha_facts *facts, struct ha_guest_fact *g, const struct ha_fact *f)
{
    apply_leave(facts, g, f);
    g->state = HA_GUEST_MIGRATING;
    g->mig = f->mig;
    g->mig_kind = f->how;
    g->mig_host = f->host;
    g->mig_boot = f->boot;
    g->mig_inc = f->inc;
    facts->next_inc = f->inc + 1;
    facts->next_mig = f->mig + 1;
}

static void apply_commit(struct ha_guest_fact *g)
{
    g->state = HA_GUEST_ARRIVED;
    g->left_host = g->owner; /* 0: confirmed dead before the commit */
    g->left_boot = g->boot;
    g->owner = g->mig_host;
    g->home = g->home == g->owner ? 0 : g->home;
    g->boot = g->mig_boot;
    g->inc = g->mig_inc;
    g->by_mig = true;
    g->by_adopt = false;
    g->mig = 0;
}

static void apply_guest(struct ha_facts *facts, const struct ha_fact *f, uint64_t index)
{
    struct ha_guest_fact *g = &facts->guests[f->guest];
    switch (f->kind) {
    case HA_FACT_WANT:
        g->want_run = f->want_run;
        g->enabled = f->enabled;
        g->loose = (g->loose && !g->owner) || !f->want_run || !f->enabled;
        g->asked_index = index;
        break;
    case HA_FACT_CLEAR:
        g->failed = g->quarantined = false;
        g->restarts = g->start_losses = 0;
        g->avoid = g->ended_on = 0;
        g->failures_there = 0;
        g->asked_index = index;
        break;
    case HA_FACT_ASSIGN:
    case HA_FACT_ADOPT:
        apply_assign(facts, g, f);
        break;
    case HA_FACT_RUN:
        g->state = HA_GUEST_RUNNING;
        g->start_losses = 0;
        g->avoid = 0;
        break;
    case HA_FACT_RELEASED:
        apply_released(facts, g, f);
        break;
    case HA_FACT_MIG:
        apply_mig(facts, g, f);
        break;
    case HA_FACT_COMMIT:
        apply_commit(g);
        break;
    case HA_FACT_VACATED:
        g->left_host = 0;
        break;
    case HA_FACT_RECALL:
        apply_leave(facts, g, f);
        g->recall = true;
        g->prefer = f->host;
        break;
    case HA_FACT_RESTART:
        g->recall = true;
        g->prefer = g->owner;
        break;
    case HA_FACT_PREEMPT:
        g->preempted = true;
        g->gave_way = f->old_inc <= HA_GUESTS_MAX ? (uint32_t)f->old_inc : 0;
        break;
    case HA_FACT_ABORT:
        g->state = g->owner ? HA_GUEST_RUNNING : HA_GUEST_FREE;
        g->mig = 0;
        break;
    case HA_FACT_DEFINE: /* counts from the next start on */
        g->def = f->boot;
        g->need_kib = f->inc;
        g->def_flags = f->how;
        break;
    default: /* not a guest's fact */
        break;
    }
}

#ifdef HA_WATCHED
/* For the build whose scenarios must take every row of both tables. */
static void watch(const struct ha_facts *facts, const struct ha_fact *f)
{
    const struct ha_host_fact *h = ha_facts_host(facts, f->host);
    if (h && ha_host_next(h->state, f->kind) >= 0)
        ha_watch_host(h->state, f->kind);
    if (f->guest < facts->nguests && ha_guest_next(facts->guests[f->guest].state, f->kind) >= 0)
        ha_watch_guest(facts->guests[f->guest].state, f->kind);
}
#endif

int ha_facts_apply(struct ha_facts *facts, const struct ha_fact *f, uint64_t index)
{
    if (!ha_facts_fits(facts, f))
        return 0;
#ifdef HA_WATCHED
    watch(facts, f);
#endif
    switch (f->kind) {
    case HA_FACT_FOUND:
        apply_found(facts, f);
        break;
    case HA_FACT_VOTERS:
        apply_voters(facts, f);
        break;
    case HA_FACT_REGISTER:
        return apply_register(facts, f, index);
    case HA_FACT_IN:
    case HA_FACT_LOST:
    case HA_FACT_FENCING:
    case HA_FACT_FENCE_END:
    case HA_FACT_CONF:
    case HA_FACT_OUT:
    case HA_FACT_REPLACE:
    case HA_FACT_ORDER:
        apply_host(facts, f, index);
        break;
    case HA_FACT_CALM:
    case HA_FACT_TURN:
    case HA_FACT_MAINT:
    case HA_FACT_DOWN:
        apply_note(facts, f);
        break;
    case HA_FACT_DISK:
    case HA_FACT_BOUND:
        apply_disk(facts, f);
        break;
    case HA_FACT_FREEZE:
    case HA_FACT_THAW:
    case HA_FACT_LOOKED:
    case HA_FACT_CHAIR:
    case HA_FACT_CONFIG:
        apply_cluster(facts, f, index);
        break;
    case HA_FACT_WANT:
    case HA_FACT_CLEAR:
    case HA_FACT_ASSIGN:
    case HA_FACT_ADOPT:
    case HA_FACT_RUN:
    case HA_FACT_RELEASED:
    case HA_FACT_MIG:
    case HA_FACT_COMMIT:
    case HA_FACT_ABORT:
    case HA_FACT_VACATED:
    case HA_FACT_RECALL:
    case HA_FACT_DEFINE:
    case HA_FACT_PREEMPT:
    case HA_FACT_RESTART:
        apply_guest(facts, f, index);
        break;
    case HA_FACT_BEGIN:
    case HA_FACT_COUNT:
        break;
    }
    return 0;
}
