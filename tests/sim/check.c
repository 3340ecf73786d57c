/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What cores say: the ledger of logs and stable facts, and the invariants about it (4, 5, 6, 8). */
#include "check.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

void *check_grow(void *list, size_t *size, size_t each)
{
    *size = *size ? *size * 2 : 16;
    list = realloc(list, *size * each);
    assert(list);
    return list;
}

bool check_same(const struct ha_uuid *a, const struct ha_uuid *b)
{
    return memcmp(a->b, b->b, sizeof(a->b)) == 0;
}

void check_new(struct sim_world *w)
{
    w->ledger = calloc(1, sizeof(*w->ledger));
    assert(w->ledger);
    w->ledger->size = 1024;
    w->ledger->hashes = calloc(w->ledger->size, sizeof(*w->ledger->hashes));
    assert(w->ledger->hashes);
}

void check_free(struct sim_world *w)
{
    struct sim_ledger *l = w->ledger;
    free(l->hashes);
    free(l->stable);
    for (unsigned g = 0; g < SIM_GUESTS_MAX; g++)
        free(l->owners[g]);
    free(l->lives);
    free(l->oks);
    free(l->chairs);
    free(l->migs);
    free(l->created);
    free(l);
}

bool check_host_empty(const struct sim_host *h)
{
    for (unsigned k = 0; k < SIM_COPIES_MAX; k++)
        if (h->copies[k].id && (h->copies[k].inc || h->copies[k].mig))
            return false;
    return true;
}

/* --------------------------------------------------------------- 4: equal keys, equal hashes */

static struct check_hash *slot(struct check_hash *v, size_t size, struct ha_epoch e, uint64_t i)
{
    uint64_t x = (e.number * 31 + e.node) * 0x9e3779b97f4a7c15ull + i * 0xbf58476d1ce4e5b9ull;
    size_t at = (x ^ x >> 31) & (size - 1);
    while (v[at].used && (v[at].e.number != e.number || v[at].e.node != e.node || v[at].i != i))
        at = (at + 1) & (size - 1);
    return &v[at];
}

static void rehash(struct sim_ledger *l)
{
    size_t size = l->size * 4;
    struct check_hash *v = calloc(size, sizeof(*v));
    assert(v);
    for (size_t k = 0; k < l->size; k++)
        if (l->hashes[k].used)
            *slot(v, size, l->hashes[k].e, l->hashes[k].i) = l->hashes[k];
    free(l->hashes);
    l->hashes = v;
    l->size = size;
}

/* True when the entry was known already, which vouches for all before it. */
static bool record_entry(struct sim_world *w, const struct sim_host *h, struct ha_epoch e,
                         uint64_t i, uint64_t hash)
{
    struct sim_ledger *l = w->ledger;
    struct check_hash *s = slot(l->hashes, l->size, e, i);
    if (s->used) {
        if (s->hash != hash)
            sim_violate(w, SIM_SAFETY, 4, "%s: entry (%llu.%u, %llu) has two contents", h->name,
                        (unsigned long long)e.number, e.node, (unsigned long long)i);
        return true;
    }
    *s = (struct check_hash){.e = e, .i = i, .hash = hash, .used = true};
    if (++l->nhashes * 2 > l->size)
        rehash(l);
    return false;
}

static void check_04_equal_hash(struct sim_world *w, struct sim_host *h, const struct ha_status *st)
{
    if (st->head.i == h->seen_head.i && st->head.e.number == h->seen_head.e.number &&
        st->head.e.node == h->seen_head.e.node)
        return;
    h->seen_head = st->head;
    for (uint64_t i = st->head.i; i > 0 && !w->stop; i--) {
        struct ha_epoch e;
        uint64_t hash;
        if (ha_log_hash(h->ha, i, &e, &hash) < 0 || record_entry(w, h, e, i, hash))
            break;
    }
}

/* A stable fact is never replaced: one chain of them for ever (rule 7). */
static void check_04_stable_chain(struct sim_world *w, const struct sim_host *h, uint64_t i)
{
    struct sim_ledger *l = w->ledger;
    for (; i > 0 && !w->stop; i--) {
        struct ha_epoch e;
        uint64_t hash;
        if (ha_log_hash(h->ha, i, &e, &hash) < 0)
            return;
        hash |= 1;
        while (i >= l->nstable) {
            size_t n = l->nstable ? l->nstable * 2 : 256;
            l->stable = realloc(l->stable, n * sizeof(*l->stable));
            assert(l->stable);
            memset(l->stable + l->nstable, 0, (n - l->nstable) * sizeof(*l->stable));
            l->nstable = n;
        }
        if (l->stable[i] == hash)
            return;
        if (l->stable[i])
            sim_violate(w, SIM_SAFETY, 4, "%s: stable fact %llu was replaced", h->name,
                        (unsigned long long)i);
        l->stable[i] = hash;
    }
}

/* ---------------------------------------------------------- 5: one open coordinator an epoch */

static void check_05_one_chair(struct sim_world *w, const struct sim_host *h,
                               const struct ha_status *st)
{
    struct sim_ledger *l = w->ledger;
    if (st->phase != HA_PHASE_OPEN || st->coordinator != h->node)
        return;
    for (size_t k = l->nchairs; k-- > 0;) {
        const struct check_chair *c = &l->chairs[k];
        if (c->e.number != st->epoch.number || c->e.node != st->epoch.node)
            continue;
        if (c->host != h->i || c->life != h->life || c->daemon != h->daemon_life)
            sim_violate(w, SIM_SAFETY, 5, "epoch %llu.%u has two open coordinators, %s and %s",
                        (unsigned long long)st->epoch.number, st->epoch.node,
                        w->hosts[c->host].name, h->name);
        return;
    }
    *CHECK_PUSH(l->chairs, l->nchairs, l->sizechairs) = (struct check_chair){
        .e = st->epoch, .host = h->i, .life = h->life, .daemon = h->daemon_life};
}

/* ------------------------------------------------------------------ 6: incarnations monotone */

/* A host that was lost too often gets no new life of a guest (but what runs there is adopted). */
static void check_13_quarantine(struct sim_world *w, const struct sim_host *h, int g,
                                const struct check_owner *o)
{
    unsigned limit = w->config->fencing.host_limit, flaps = 0;
    enum ha_host_state state;
    struct ha_uuid boot;
    uint32_t loss;
    bool ordered;
    int at = sim_host_index(w, o->owner);
    if (!limit || h->jumped || at < 0 ||
        ha_stable_restraint(h->ha, o->owner, &ordered, &flaps) < 0 ||
        ha_stable_host(h->ha, o->owner, &state, &boot, &loss) < 0 || state != HA_HOST_IN)
        return;
    for (unsigned k = 0; k < SIM_COPIES_MAX; k++)
        if (w->hosts[at].copies[k].id && w->hosts[at].copies[k].guest == g)
            return;
    if (flaps >= limit)
        sim_violate(w, SIM_SAFETY, 13, "%s: %s was given to %s, which was lost %u times (limit %u)",
                    h->name, w->guests[g].name, w->hosts[at].name, flaps, limit);
}

static void check_06_monotone(struct sim_world *w, const struct sim_host *h, int g, uint64_t index,
                              const struct check_owner *o)
{
    struct sim_ledger *l = w->ledger;
    bool known = false;
    for (size_t k = l->nowners[g]; k-- > 0 && !w->stop;) {
        struct check_owner *p = &l->owners[g][k];
        if ((p->first <= index && p->inc > o->inc) || (p->first >= index && p->inc < o->inc))
            sim_violate(w, SIM_SAFETY, 6, "%s: %s has incarnation %llu at %llu and %llu at %llu",
                        h->name, w->guests[g].name, (unsigned long long)p->inc,
                        (unsigned long long)p->first, (unsigned long long)o->inc,
                        (unsigned long long)index);
        if (p->inc != o->inc)
            continue;
        if (o->owner && (p->owner != o->owner || !check_same(&p->boot, &o->boot)))
            sim_violate(w, SIM_SAFETY, 6, "%s: incarnation %llu of %s has two owners", h->name,
                        (unsigned long long)o->inc, w->guests[g].name);
        if (index < p->first)
            p->first = index;
        known = true;
    }
    if (!known && o->owner)
        check_13_quarantine(w, h, g, o);
    if (!known && o->owner)
        *CHECK_PUSH(l->owners[g], l->nowners[g], l->sizeowners[g]) = *o;
}

static void record_guests(struct sim_world *w, const struct sim_host *h, uint64_t index)
{
    for (unsigned g = 0; g < w->nguests && !w->stop; g++) {
        struct check_owner o = {.first = index};
        if (ha_stable_owner(h->ha, w->guests[g].name, &o.owner, &o.boot, &o.inc) < 0 || !o.inc)
            continue;
        check_06_monotone(w, h, (int)g, index, &o);
    }
}

bool check_owned(const struct sim_world *w, int guest)
{
    for (unsigned i = 0; i < w->nhosts; i++) {
        ha_node owner;
        struct ha_uuid boot;
        uint64_t inc;
        if (w->hosts[i].ha &&
            ha_stable_owner(w->hosts[i].ha, w->guests[guest].name, &owner, &boot, &inc) == 0 &&
            owner)
            return true;
    }
    return false;
}

/* ------------------------------------------------------------------- 8: confirmed means dead */

static struct check_life *life_of(struct sim_world *w, ha_node node, const struct ha_uuid *boot,
                                  uint32_t loss)
{
    struct sim_ledger *l = w->ledger;
    for (size_t k = l->nlives; k-- > 0;)
        if (l->lives[k].node == node && l->lives[k].loss == loss &&
            check_same(&l->lives[k].boot, boot))
            return &l->lives[k];
    struct check_life *life = CHECK_PUSH(l->lives, l->nlives, l->sizelives);
    *life = (struct check_life){.node = node, .boot = *boot, .loss = loss};
    return life;
}

const struct check_life *check_find_life(const struct sim_world *w, ha_node node,
                                         const struct ha_uuid *boot, uint32_t loss)
{
    const struct sim_ledger *l = w->ledger;
    for (size_t k = l->nlives; k-- > 0;)
        if (l->lives[k].node == node && (loss == 0 || l->lives[k].loss == loss) &&
            check_same(&l->lives[k].boot, boot))
            return &l->lives[k];
    return NULL;
}

static void check_08_confirmed(struct sim_world *w, const struct sim_host *h,
                               const struct sim_host *t, const struct ha_uuid *boot)
{
    if (w->lied || !t->on || !t->booted || !check_same(&t->boot, boot))
        return;
    if (!check_host_empty(t))
        sim_violate(w, SIM_SAFETY, 8, "%s holds %s confirmed dead, which is up and not empty",
                    h->name, t->name);
}

static void note_back(struct sim_world *w, ha_node node, const struct ha_uuid *boot, uint64_t index)
{
    struct sim_ledger *l = w->ledger;
    for (size_t k = 0; k < l->nlives; k++)
        if (l->lives[k].node == node && index > l->lives[k].dead_at &&
            check_same(&l->lives[k].boot, boot)) {
            l->lives[k].back = true;
            w->needs_alarm |= l->lives[k].dead && l->lives[k].by_device;
        }
}

/* The decision to fence came within the budget. Losses of hosts that are gone right now may be
 * younger than it. */
static void check_13_budget(struct sim_world *w, const struct sim_host *h, unsigned target)
{
    unsigned limit = w->config->fencing.cluster_limit, sum = 0, flaps;
    bool ordered;
    if (!limit || w->config->mode == HA_MODE_FENCE_ONLY)
        return;
    for (unsigned i = 0; i < w->nhosts; i++) {
        enum ha_host_state state;
        struct ha_uuid boot;
        uint32_t loss;
        if (ha_stable_restraint(h->ha, w->hosts[i].node, &ordered, &flaps) < 0 ||
            ha_stable_host(h->ha, w->hosts[i].node, &state, &boot, &loss) < 0)
            continue;
        if (i == target && ordered)
            return;
        bool young = i != target && (state == HA_HOST_LOST || state == HA_HOST_FENCING);
        sum += flaps - (young && flaps ? 1 : 0);
    }
    if (sum > limit)
        sim_violate(w, SIM_SAFETY, 13, "%s: fence of %s after %u losses, and the budget is %u",
                    h->name, w->hosts[target].name, sum, limit);
}

static void record_hosts(struct sim_world *w, const struct sim_host *h, uint64_t index)
{
    for (unsigned i = 0; i < w->nhosts && !w->stop; i++) {
        enum ha_host_state state;
        struct ha_uuid boot;
        uint32_t loss;
        if (ha_stable_host(h->ha, w->hosts[i].node, &state, &boot, &loss) < 0)
            continue;
        if (state == HA_HOST_LOST || state == HA_HOST_FENCING) {
            struct check_life *life = life_of(w, w->hosts[i].node, &boot, loss);
            if (!life->lost || index < life->lost_at)
                life->lost_at = index;
            life->lost = true;
            if (state == HA_HOST_FENCING && !life->fencing && !h->jumped)
                check_13_budget(w, h, i);
            life->fencing |= state == HA_HOST_FENCING;
        } else if (state == HA_HOST_DEAD) {
            struct check_life *life = life_of(w, w->hosts[i].node, &boot, loss);
            if (!life->dead) {
                check_08_confirmed(w, h, &w->hosts[i], &boot);
                check_08_proven(w, h, &w->hosts[i], &boot, loss);
                life->by_device = check_device_said(w, w->hosts[i].node, &boot, loss, true);
            }
            life->dead = true;
            if (!life->dead_at || index < life->dead_at)
                life->dead_at = index;
        } else if (state == HA_HOST_IN || state == HA_HOST_OUT) {
            note_back(w, w->hosts[i].node, &boot, index);
        }
    }
}

/* ----------------------------------------------------------------------------------------- all */

static void note_quorum(struct sim_world *w, struct sim_host *h)
{
    bool q = h->told_quorate && h->told_ring.seq && h->told_ring.seq == h->told_verdict_ring.seq &&
             h->told_ring.node == h->told_verdict_ring.node;
    bool undecided = h->told_ring.seq != h->told_verdict_ring.seq;
    if (q && !h->had_quorum)
        h->quorum_gained = w->now;
    if (q || !undecided || !h->told_ring.seq)
        h->had_quorum = q;
}

void check_after_step(struct sim_world *w, struct sim_host *h, enum ha_event_type event)
{
    struct ha_status st;
    note_quorum(w, h);
    if (event == HA_EV_KEEPER || event == HA_EV_INVENTORY || event == HA_EV_GUEST_DONE)
        return;
    ha_status(h->ha, sim_clock(w, h), &st);
    w->founded |= st.founded && st.stable.i > 0;
    sim_mix(w, st.head_hash);
    check_rules_after_step(w, h, &st, event);
    check_04_equal_hash(w, h, &st);
    check_05_one_chair(w, h, &st);
    if (st.stable.i == h->seen_stable.i && st.stable.e.number == h->seen_stable.e.number &&
        st.stable.e.node == h->seen_stable.e.node)
        return;
    bool other = st.stable.e.number != h->seen_stable.e.number; /* a first look, or a new epoch */
    h->jumped = st.stable.i > h->seen_stable.i + 3;
    h->seen_stable = st.stable;
    if (w->mig_news || other)
        check_note_migrations(w, h, st.stable.i);
    w->mig_news = false;
    check_04_stable_chain(w, h, st.stable.i);
    record_guests(w, h, st.stable.i);
    record_hosts(w, h, st.stable.i);
    if (!w->stop)
        check_16_places(w, h);
}
