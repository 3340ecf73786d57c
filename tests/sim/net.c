/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Corosync as clients see it: totally ordered rings, agreed (not safe) delivery, step by step
 * merges, messages held during sync and delivered in the next ring, verdicts on a channel of their
 * own. */
#include "world.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

bool sim_net_live(const struct sim_host *h)
{
    return h->on && h->booted && h->cs && !h->cs_frozen && !h->hung;
}

static uint32_t bit(const struct sim_host *h)
{
    return 1u << h->i;
}

static uint32_t live_set(const struct sim_world *w, const struct sim_host *h)
{
    uint32_t set = 0;
    for (unsigned i = 0; i < w->nhosts; i++)
        if (sim_net_live(&w->hosts[i]) && w->comp[i] == w->comp[h->i])
            set |= 1u << i;
    return set;
}

static bool ring_intact(const struct sim_world *w, const struct sim_ring *r)
{
    int comp = -1;
    for (unsigned i = 0; i < w->nhosts; i++) {
        if (!(r->members & 1u << i))
            continue;
        const struct sim_host *h = &w->hosts[i];
        if (!sim_net_live(h) || h->ring != r || (comp >= 0 && comp != w->comp[i]))
            return false;
        comp = w->comp[i];
    }
    return true;
}

/* ------------------------------------------------------------------------------ a ring breaks */

/* What was under way when the ring broke reaches only some: each member has received a prefix of
 * it; the rest is lost to it if its sender is on the other side. */
static void lose_in_flight(struct sim_world *w, struct sim_ring *r)
{
    for (unsigned i = 0; i < w->nhosts; i++) {
        struct sim_host *h = &w->hosts[i];
        if (!(r->members & bit(h)) || h->ring != r || h->ptr >= r->n)
            continue;
        size_t left = r->n - h->ptr;
        size_t keep = w->setup->calm ? 0 : sim_rng_below(&w->net_rng, (uint32_t)left + 1);
        for (size_t j = h->ptr + keep; j < r->n; j++)
            if (w->comp[r->v[j].sender] != w->comp[i] || !sim_net_live(&w->hosts[r->v[j].sender]))
                r->v[j].reach &= ~bit(h);
    }
}

static void ring_breaks(struct sim_world *w, struct sim_ring *r)
{
    r->intact = false;
    r->holder = SIM_NO_HOST;
    lose_in_flight(w, r);
    /* The token may still be with a live member, which then orders a little more: delivered by its
     * side only. */
    if (w->setup->calm || sim_rng_chance(&w->net_rng, 300))
        return;
    unsigned k = sim_rng_below(&w->net_rng, w->nhosts);
    if (r->members & 1u << k && sim_net_live(&w->hosts[k]) && w->hosts[k].ring == r) {
        r->holder = (uint8_t)k;
        bool long_hold = sim_rng_chance(&w->net_rng, 250);
        r->holder_until = w->now + sim_rng_range(&w->net_rng, 0, SIM_MS(long_hold ? 400 : 20));
    }
}

static bool needs_form(const struct sim_world *w, const struct sim_host *h)
{
    return sim_net_live(h) && h->ring && (!h->ring->intact || h->ring->members != live_set(w, h));
}

static void schedule_form(struct sim_world *w, struct sim_host *h)
{
    const struct sim_setup *s = w->setup;
    for (unsigned i = 0; i < w->nhosts; i++)
        if (w->comp[i] == w->comp[h->i] && w->hosts[i].form_event && sim_net_live(&w->hosts[i]))
            return;
    sim_us lo, hi;
    if (!h->ring->intact) {
        lo = SIM_MS(s->token_ms + s->consensus_ms);
        hi = lo + lo / 5;
        lo -= s->calm ? 0 : lo / 8;
    } else {
        lo = SIM_MS(s->calm ? 500 : 100);
        hi = SIM_MS(1200);
    }
    h->form_event = true;
    sim_schedule(w, w->now + sim_delay(w, lo, hi), SIM_EV_FORM, h->i, 0, 0);
}

static void forget_old_rings(struct sim_world *w)
{
    for (struct sim_ring **at = &w->rings; *at;) {
        struct sim_ring *r = *at;
        bool used = false;
        for (unsigned i = 0; i < w->nhosts; i++)
            used |= w->hosts[i].ring == r;
        if (used) {
            at = &r->next;
            continue;
        }
        *at = r->next;
        free(r->v);
        free(r);
    }
}

void sim_net_changed(struct sim_world *w)
{
    forget_old_rings(w);
    for (struct sim_ring *r = w->rings; r; r = r->next) {
        bool intact = ring_intact(w, r);
        if (r->intact && !intact)
            ring_breaks(w, r);
        if (intact && !r->intact)
            r->intact_since = w->now;
        r->intact = intact;
    }
    for (unsigned i = 0; i < w->nhosts; i++) {
        struct sim_host *h = &w->hosts[i];
        if (!sim_net_live(h))
            continue;
        if (h->conf && h->conf_missed) {
            h->conf_missed = false;
            sim_schedule(w, w->now + sim_delay(w, 100, SIM_MS(5)), SIM_EV_CONF, i, h->cs_life,
                         h->conf->ring.seq);
        }
        sim_net_kick(w, h);
        if (needs_form(w, h))
            schedule_form(w, h);
    }
}

/* ------------------------------------------------------------------------------ send, receive */

static sim_us link_delay(struct sim_world *w, const struct sim_host *h)
{
    sim_us d = w->setup->calm ? 300 : sim_rng_range(&w->net_rng, 100, 1500);
    if (h->slow_net)
        d += sim_rng_range(&w->net_rng, 0, SIM_MS(h->slow_net));
    return d;
}

static bool can_order(const struct sim_world *w, const struct sim_host *h)
{
    const struct sim_ring *r = h->ring;
    return sim_net_live(h) && r && h->nout && !h->hold_tx && !h->conf &&
           (r->intact || (r->holder == h->i && w->now < r->holder_until));
}

void sim_net_kick(struct sim_world *w, struct sim_host *h)
{
    if (can_order(w, h) && !h->order_event) {
        h->order_event = true;
        sim_schedule(w, w->now + link_delay(w, h) / 2, SIM_EV_ORDER, h->i, 0, 0);
    }
    struct sim_ring *r = h->ring;
    if (!sim_net_live(h) || h->conf || h->hold_rx || !r || h->ptr >= r->n || h->pump_at > w->now)
        return;
    const struct sim_entry *e = &r->v[h->ptr];
    if (!(e->reach & bit(h)) && !r->intact)
        return;
    sim_us at = e->ordered + link_delay(w, h);
    h->pump_at = at > w->now ? at : w->now;
    sim_schedule(w, h->pump_at, SIM_EV_PUMP, h->i, 0, 0);
}

static void ring_append(struct sim_ring *r, const struct sim_entry *e)
{
    if (r->n == r->size) {
        r->size = r->size ? r->size * 2 : 64;
        r->v = realloc(r->v, r->size * sizeof(*r->v));
        assert(r->v);
    }
    r->v[r->n++] = *e;
}

void sim_net_order(struct sim_world *w, struct sim_host *h)
{
    if (!can_order(w, h))
        return;
    struct sim_ring *r = h->ring;
    size_t n = h->nout;
    if (!r->intact) /* the last words before the token is lost */
        n = 1 + sim_rng_below(&w->net_rng, (uint32_t)n);
    for (size_t i = 0; i < n; i++) {
        struct sim_entry e = h->outq[i];
        e.ordered = w->now;
        e.reach = r->intact ? r->members : r->members & live_set(w, h);
        ring_append(r, &e);
    }
    memmove(h->outq, h->outq + n, (h->nout - n) * sizeof(*h->outq));
    h->nout -= n;
    for (unsigned i = 0; i < w->nhosts; i++)
        if (r->members & 1u << i && w->hosts[i].ring == r)
            sim_net_kick(w, &w->hosts[i]);
}

void sim_net_send(struct sim_world *w, struct sim_host *h, enum sim_entry_kind kind,
                  const void *data, size_t len)
{
    if (!h->cs)
        return;
    if (h->nout == h->sizeout) {
        h->sizeout = h->sizeout ? h->sizeout * 2 : 32;
        h->outq = realloc(h->outq, h->sizeout * sizeof(*h->outq));
        assert(h->outq);
    }
    h->outq[h->nout++] = (struct sim_entry){
        .kind = kind,
        .sender = h->i,
        .pid = h->pid,
        .instance = h->instance,
        .sent = w->now,
        .data = len ? sim_dup(w, data, len) : NULL,
        .len = len,
    };
    sim_net_kick(w, h);
}

/* ------------------------------------------------------------------------- group and delivery */

static struct sim_conf *conf_of_group(struct sim_world *w, const struct sim_host *h)
{
    struct sim_conf *c = sim_alloc(w, sizeof(*c));
    *c = (struct sim_conf){.ring = {h->ring->node, h->ring->seq}, .members = h->ring->members};
    for (unsigned i = 0; i < w->nhosts; i++)
        if (h->group[i])
            c->group[c->ngroup++] = (struct ha_process){w->hosts[i].node, h->group[i]};
    return c;
}

bool sim_net_quorate(const struct sim_world *w, const struct sim_host *h)
{
    if (w->config->mode == HA_MODE_FENCE_ONLY && w->nhosts == 2)
        return h->ring && h->wfa; /* two_node with wait_for_all */
    if (w->config->mode == HA_MODE_FENCE_ONLY && h->ring &&
        (unsigned)__builtin_popcount(h->ring->members) * 2 == w->nhosts)
        for (unsigned i = 0; i < w->nhosts; i++) /* the quorum device's vote */
            if (w->hosts[i].on)
                return h->ring->members & 1u << i;
    return h->ring && (unsigned)__builtin_popcount(h->ring->members) * 2 > w->nhosts;
}

void sim_net_verdict(struct sim_world *w, struct sim_host *h, bool q, sim_us delay)
{
    if (!h->ha || !h->ring)
        return;
    uint64_t a = (uint64_t)h->ring->node << 48 | h->ring->seq << 1 | q;
    if (delay < 0)
        sim_net_quorum(w, h, a);
    else
        sim_schedule(w, w->now + delay, SIM_EV_QUORUM, h->i, h->daemon_life, a);
}

void sim_net_quorum(struct sim_world *w, struct sim_host *h, uint64_t a)
{
    if (!h->joined)
        return;
    struct sim_conf *c = sim_alloc(w, sizeof(*c));
    *c = (struct sim_conf){.ring = {(ha_node)(a >> 48), (a & 0xffffffffffffull) >> 1}};
    sim_daemon_news(w, h, &(struct sim_news){.type = HA_EV_QUORUM, .conf = c, .flag = a & 1});
}

static void verdict_after(struct sim_world *w, struct sim_host *h)
{
    sim_us delay = -1;
    if (h->verdict_ms)
        delay = SIM_MS(h->verdict_ms);
    else if (sim_chance(w, 300))
        delay = sim_rng_range(&w->net_rng, 0, SIM_MS(10));
    else if (sim_chance(w, w->rates.verdict_late))
        delay = sim_rng_range(&w->net_rng, SIM_MS(50), SIM_MS(3000));
    sim_net_verdict(w, h, sim_net_quorate(w, h), delay);
}

static void deliver_join(struct sim_world *w, struct sim_host *h, const struct sim_entry *e)
{
    h->group[e->sender] = e->pid;
    bool own = e->sender == h->i;
    if (own && (!h->ha || h->pid != e->pid || h->instance != e->instance))
        return; /* died meanwhile: its leave follows */
    if (own) {
        h->joined = true;
        sim_daemon_news(w, h,
                        &(struct sim_news){.type = HA_EV_JOINED, .id = h->instance, .pid = h->pid});
    }
    if (!h->joined)
        return;
    struct sim_conf *c = conf_of_group(w, h);
    c->joined[c->njoined++] = (struct ha_process){w->hosts[e->sender].node, e->pid};
    sim_daemon_news(w, h, &(struct sim_news){.type = HA_EV_GROUP, .conf = c});
    if (own) {
        sim_daemon_news(w, h, &(struct sim_news){.type = HA_EV_RING, .conf = c});
        verdict_after(w, h);
    }
}

static void deliver_leave(struct sim_world *w, struct sim_host *h, const struct sim_entry *e)
{
    if (h->group[e->sender] != e->pid)
        return;
    h->group[e->sender] = 0;
    if (!h->joined)
        return;
    struct sim_conf *c = conf_of_group(w, h);
    c->left[c->nleft++] = (struct ha_left){{w->hosts[e->sender].node, e->pid}, HA_LEFT_PROCESS};
    sim_daemon_news(w, h, &(struct sim_news){.type = HA_EV_GROUP, .conf = c});
}

static void deliver(struct sim_world *w, struct sim_host *h, const struct sim_entry *e)
{
    switch (e->kind) {
    case SIM_ENTRY_MESSAGE:
        if (h->joined && h->group[e->sender] == e->pid)
            sim_daemon_news(w, h,
                            &(struct sim_news){
                                .type = HA_EV_MESSAGE,
                                .from = {w->hosts[e->sender].node, e->pid},
                                .data = e->data,
                                .len = e->len,
                            });
        break;
    case SIM_ENTRY_BEAT:
        sim_keeper_beat(w, h, e);
        break;
    case SIM_ENTRY_JOIN:
        deliver_join(w, h, e);
        break;
    case SIM_ENTRY_LEAVE:
        deliver_leave(w, h, e);
        break;
    }
}

void sim_net_pump(struct sim_world *w, struct sim_host *h)
{
    h->pump_at = 0;
    if (!sim_net_live(h) || h->conf || h->hold_rx)
        return;
    struct sim_ring *r = h->ring;
    while (r && h->ring == r && h->ptr < r->n) {
        const struct sim_entry *e = &r->v[h->ptr];
        if ((!(e->reach & bit(h)) && !r->intact) || e->ordered + 100 > w->now)
            break;
        struct sim_entry copy = *e; /* delivery may append */
        h->ptr++;
        deliver(w, h, &copy);
        if (h->slow_net || (!w->setup->calm && sim_rng_chance(&w->net_rng, 300)))
            break;
    }
    sim_net_kick(w, h);
}

/* ------------------------------------------------------------------------------ rings are formed
 */

/* What the members that stay together (mask) have between them is delivered to all of them; after a
 * gap only what they sent themselves (Totem's transitional configuration). */
static void flush(struct sim_world *w, struct sim_ring *r, uint32_t mask)
{
    size_t from = r->n;
    for (unsigned i = 0; i < w->nhosts; i++)
        if (mask & 1u << i) {
            if (w->hosts[i].conf)
                sim_net_conf(w, &w->hosts[i]);
            if (w->hosts[i].ptr < from)
                from = w->hosts[i].ptr;
        }
    bool gap = false;
    for (size_t j = from; j < r->n; j++) {
        struct sim_entry e = r->v[j];
        bool own = mask & 1u << e.sender;
        bool had = false; /* somebody of us delivered it before */
        for (unsigned i = 0; i < w->nhosts; i++)
            had |= (mask & 1u << i) && w->hosts[i].ptr > j;
        gap |= !own && !had && !(e.reach & mask);
        for (unsigned i = 0; i < w->nhosts; i++) {
            struct sim_host *h = &w->hosts[i];
            if (!(mask & bit(h)) || h->ptr > j)
                continue;
            h->ptr = j + 1;
            if (!gap || own)
                deliver(w, h, &e);
        }
    }
}

/* h's view of the change: everybody who does not come along from its old ring has left, even one
 * that is back in the same call. */
static struct sim_conf *conf_of_change(struct sim_world *w, const struct sim_host *h,
                                       const struct sim_ring *r, uint32_t together)
{
    struct sim_conf *c = sim_alloc(w, sizeof(*c));
    *c = (struct sim_conf){.ring = {r->node, r->seq}, .members = r->members};
    for (unsigned i = 0; i < w->nhosts; i++) {
        uint32_t pid = r->members & 1u << i ? w->hosts[i].group[i] : 0;
        struct ha_process p = {w->hosts[i].node, pid};
        if (pid)
            c->group[c->ngroup++] = p;
        if (h->group[i] && (!(together & 1u << i) || h->group[i] != pid))
            c->left[c->nleft++] = (struct ha_left){{w->hosts[i].node, h->group[i]}, HA_LEFT_NODE};
        if (pid && (!(together & 1u << i) || h->group[i] != pid))
            c->joined[c->njoined++] = p;
    }
    return c;
}

/* parts[i]: hosts that come from host i's old ring together with it. */
static void form_ring(struct sim_world *w, uint32_t members, const uint32_t *parts)
{
    struct sim_ring *r = calloc(1, sizeof(*r));
    assert(r);
    r->members = members;
    r->intact = true;
    r->intact_since = w->now;
    r->holder = SIM_NO_HOST;
    r->node = w->hosts[__builtin_ctz(members)].node;
    r->next = w->rings;
    w->rings = r;
    for (unsigned i = 0; i < w->nhosts; i++)
        if (members & 1u << i && w->hosts[i].ring_seq > r->seq)
            r->seq = w->hosts[i].ring_seq;
    r->seq += 4;
    for (unsigned i = 0; i < w->nhosts; i++) {
        struct sim_host *h = &w->hosts[i];
        if (!(members & bit(h)))
            continue;
        struct sim_conf *c = conf_of_change(w, h, r, parts[i]);
        h->ring_seq = r->seq;
        h->wfa |= (unsigned)__builtin_popcount(members) == w->nhosts;
        h->conf = c;
        h->conf_missed = false;
        h->ptr = 0;
        h->pump_at = 0;
        sim_us d = sim_delay(w, 100, SIM_MS(5)) + SIM_MS(h->slow_net);
        sim_schedule(w, w->now + d, SIM_EV_CONF, i, h->cs_life, r->seq);
    }
    for (unsigned i = 0; i < w->nhosts; i++)
        if (members & 1u << i)
            w->hosts[i].ring = r;
    SIM_LOG(w, "ring %u.%llu members %#x", r->node, (unsigned long long)r->seq, members);
}

/* Who left and who joined, in one call or in two. */
static void tell_group(struct sim_world *w, struct sim_host *h, struct sim_conf *c)
{
    if (!c->nleft && !c->njoined)
        return;
    struct sim_conf *joins = c;
    if (c->nleft && c->njoined && sim_chance(w, 250)) {
        struct sim_conf *leaves = sim_alloc(w, sizeof(*leaves));
        joins = sim_alloc(w, sizeof(*joins));
        *leaves = *joins = *c;
        leaves->njoined = leaves->ngroup = joins->nleft = 0;
        for (size_t k = 0; k < c->ngroup; k++) {
            bool fresh = false;
            for (size_t j = 0; j < c->njoined; j++)
                fresh |= c->joined[j].node == c->group[k].node;
            if (!fresh)
                leaves->group[leaves->ngroup++] = c->group[k];
        }
        sim_daemon_news(w, h, &(struct sim_news){.type = HA_EV_GROUP, .conf = leaves});
    }
    sim_daemon_news(w, h, &(struct sim_news){.type = HA_EV_GROUP, .conf = joins});
}

void sim_net_conf(struct sim_world *w, struct sim_host *h)
{
    if (!sim_net_live(h)) {
        h->conf_missed = true;
        return;
    }
    struct sim_conf *c = h->conf;
    h->conf = NULL;
    for (unsigned i = 0; i < w->nhosts; i++)
        h->group[i] = 0;
    for (size_t k = 0; k < c->ngroup; k++)
        h->group[sim_host_index(w, c->group[k].node)] = c->group[k].pid;
    h->told_keeper_ring = c->ring;
    sim_keeper_ring(w, h);
    bool q = sim_net_quorate(w, h);
    bool early = sim_chance(w, 300);
    if (early)
        sim_net_verdict(w, h, q, -1);
    if (h->joined) {
        tell_group(w, h, c);
        sim_daemon_news(w, h, &(struct sim_news){.type = HA_EV_RING, .conf = c});
    }
    if (!early)
        verdict_after(w, h);
    sim_net_kick(w, h);
}

void sim_net_form(struct sim_world *w, struct sim_host *h)
{
    if (!needs_form(w, h)) {
        sim_net_changed(w);
        return;
    }
    uint32_t live = live_set(w, h), parts[SIM_HOSTS_MAX] = {0}, first = 0;
    unsigned nparts = 0;
    for (unsigned i = 0; i < w->nhosts; i++) {
        if (!(live & 1u << i))
            continue;
        for (unsigned k = 0; k < w->nhosts; k++)
            if (live & 1u << k && w->hosts[k].ring == w->hosts[i].ring)
                parts[i] |= 1u << k;
        nparts += (unsigned)__builtin_ctz(parts[i]) == i;
    }
    /* Merges go step by step: sometimes only some of the rings find each other now. */
    first = live;
    if (nparts > 1 && sim_chance(w, w->rates.merge_stepwise)) {
        first = parts[h->i];
        unsigned more = sim_rng_below(&w->net_rng, nparts - 1) + (h->ring->intact ? 1 : 0);
        for (unsigned i = 0; i < w->nhosts && more; i++)
            if (live & 1u << i && !(first & 1u << i) && more--)
                first |= parts[i];
    }
    for (unsigned i = 0; i < w->nhosts; i++)
        if (first & 1u << i && (unsigned)__builtin_ctz(parts[i]) == i)
            flush(w, w->hosts[i].ring, parts[i]);
    form_ring(w, first, parts);
    sim_net_changed(w);
}

void sim_net_reform(struct sim_world *w, struct sim_host *h)
{
    if (!sim_net_live(h) || !h->ring || !h->ring->intact)
        return;
    uint32_t parts[SIM_HOSTS_MAX], members = h->ring->members;
    for (unsigned i = 0; i < w->nhosts; i++)
        parts[i] = members;
    flush(w, h->ring, members);
    form_ring(w, members, parts);
    sim_net_changed(w);
}

/* ------------------------------------------------------------------------- corosync's own life */

void sim_corosync_start(struct sim_world *w, struct sim_host *h)
{
    if (h->cs || !h->booted)
        return;
    SIM_LOG(w, "%s corosync start", h->name);
    h->cs = true;
    h->cs_frozen = false;
    h->cs_life++;
    h->wfa = false;
    h->nout = 0;
    memset(h->group, 0, sizeof(h->group));
    uint32_t parts[SIM_HOSTS_MAX] = {0};
    parts[h->i] = bit(h);
    form_ring(w, bit(h), parts);
    if (h->ha)
        sim_schedule(w, w->now + sim_delay(w, SIM_MS(100), SIM_MS(1500)), SIM_EV_JOIN, h->i,
                     h->daemon_life, 0);
    sim_net_changed(w);
}

void sim_corosync_stop(struct sim_world *w, struct sim_host *h)
{
    if (!h->cs)
        return;
    SIM_LOG(w, "%s corosync gone", h->name);
    h->cs = false;
    h->cs_life++;
    h->conf = NULL;
    h->ring = NULL;
    h->nout = 0;
    memset(h->group, 0, sizeof(h->group));
    if (h->keeper)
        sim_keeper_event(
            w, h, &(struct ha_keeper_event){.type = HA_KEV_DISCONNECTED, .now = sim_clock(w, h)});
    if (h->ha && h->joined)
        sim_daemon_news(w, h, &(struct sim_news){.type = HA_EV_DISCONNECTED});
    h->joined = false;
    h->instance = 0;
    sim_net_changed(w);
}

void sim_net_done(struct sim_world *w)
{
    while (w->rings) {
        struct sim_ring *r = w->rings;
        w->rings = r->next;
        free(r->v);
        free(r);
    }
}
