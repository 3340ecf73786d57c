/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Owns the lease: encodes and reads beats, counts echoes, says when to pet (rules 17-21, 25). */
#include "keeper.h"

#include <assert.h>
#include <string.h>

/* A beat, little endian. Newer versions may append to the head, to each entry and to the end; a
 * reader skips what it does not know by the sizes given.
 *
 *   0 magic u32   4 version u8   5 flags u8   6 head size u16   8 entries u16   10 entry size u16
 *  12 length u32 (of all)   16 boot   32 t   40 tbl u32   44 votes u32   48 X   56 W
 *  then each entry: node u32, boot, t */
enum {
    BEAT_MAGIC = 0x424d5658, /* "XVMB" */
    BEAT_VERSION = 1,
    BEAT_ARMED = 1, /* flag */
    HEAD_SIZE = 64,
    ENTRY_SIZE = 28,
    ARM_RETRY_MS = 1000,
};

static_assert(HEAD_SIZE + HA_HOSTS_MAX * ENTRY_SIZE <= HA_BEAT_MAX, "a full beat fits");

struct beat {
    struct ha_uuid boot;
    ha_ms t, lease_ms, watchdog_ms;
    uint32_t tbl;
    bool armed;
    const unsigned char *entries;
    size_t nentries, entry_size;
};

/* --------------------------------------------------------------------------------- wire format */

static void put(unsigned char *at, uint64_t value, size_t bytes)
{
    for (size_t i = 0; i < bytes; i++)
        at[i] = (unsigned char)(value >> (8 * i));
}

static uint64_t get(const unsigned char *at, size_t bytes)
{
    uint64_t value = 0;

    for (size_t i = 0; i < bytes; i++)
        value |= (uint64_t)at[i] << (8 * i);
    return value;
}

static bool same_uuid(const struct ha_uuid *a, const struct ha_uuid *b)
{
    return memcmp(a->b, b->b, sizeof(a->b)) == 0;
}

static bool is_cut(const struct ha_keeper *k, ha_node node, const struct ha_uuid *boot)
{
    for (size_t i = 0; i < k->orders.ncut; i++) {
        if (k->orders.cut[i].node == node && same_uuid(&k->orders.cut[i].boot, boot))
            return true;
    }
    return false;
}

/* Frozen, it promises nothing, whatever the device does. */
static bool is_armed(const struct ha_keeper *k)
{
    return k->device && !k->disarmed && !k->orders.frozen;
}

static size_t encode_echoes(const struct ha_keeper *k, unsigned char *at)
{
    size_t n = 0;

    for (size_t i = 0; i < HA_HOSTS_MAX; i++) {
        const struct ha_keeper_peer *peer = &k->peers[i];

        if (peer->node == 0 || peer->received == 0)
            continue;
        /* Without this a host declared lost regains its lease from us, and runs on while its guests
         * start elsewhere. */
        if (HA_GUARD(k, CUT) && is_cut(k, peer->node, &peer->boot))
            continue;
        put(at, peer->node, 4);
        memcpy(at + 4, peer->boot.b, 16);
        put(at + 20, (uint64_t)peer->sent, 8);
        at += ENTRY_SIZE;
        n++;
    }
    return n;
}

static size_t encode_beat(const struct ha_keeper *k, ha_ms now, unsigned char *buffer)
{
    size_t n = encode_echoes(k, buffer + HEAD_SIZE);
    size_t len = HEAD_SIZE + n * ENTRY_SIZE;

    put(buffer, BEAT_MAGIC, 4);
    put(buffer + 4, BEAT_VERSION, 1);
    put(buffer + 5, is_armed(k) ? BEAT_ARMED : 0, 1);
    put(buffer + 6, HEAD_SIZE, 2);
    put(buffer + 8, n, 2);
    put(buffer + 10, ENTRY_SIZE, 2);
    put(buffer + 12, len, 4);
    memcpy(buffer + 16, k->boot.b, 16);
    put(buffer + 32, (uint64_t)now, 8);
    put(buffer + 40, k->orders.tbl, 4);
    put(buffer + 44, k->orders.votes, 4);
    put(buffer + 48, (uint64_t)k->orders.lease_ms, 8);
    put(buffer + 56, (uint64_t)k->orders.watchdog_ms, 8);
    return len;
}

/* False: not a beat. */
static bool decode_beat(const void *data, size_t len, struct beat *ret_beat)
{
    const unsigned char *at = data;
    size_t head, n, size;

    if (len < HEAD_SIZE || get(at, 4) != BEAT_MAGIC || get(at + 4, 1) < BEAT_VERSION)
        return false;
    head = get(at + 6, 2);
    n = get(at + 8, 2);
    size = get(at + 10, 2);
    if (head < HEAD_SIZE || size < ENTRY_SIZE || get(at + 12, 4) != len)
        return false;
    if (head > len || n * size > len - head)
        return false;
    memcpy(ret_beat->boot.b, at + 16, 16);
    ret_beat->armed = (get(at + 5, 1) & BEAT_ARMED) != 0;
    ret_beat->t = (ha_ms)get(at + 32, 8);
    ret_beat->tbl = (uint32_t)get(at + 40, 4);
    ret_beat->lease_ms = (ha_ms)get(at + 48, 8);
    ret_beat->watchdog_ms = (ha_ms)get(at + 56, 8);
    ret_beat->entries = at + head;
    ret_beat->nentries = n;
    ret_beat->entry_size = size;
    return true;
}

/* --------------------------------------------------------------------------------------- lease */

static bool voter_before(const struct ha_keeper_orders *orders, size_t i)
{
    for (size_t j = 0; j < i; j++) {
        if (orders->voters[j] == orders->voters[i])
            return true;
    }
    return false;
}

static struct ha_keeper_peer *find_peer(struct ha_keeper *k, ha_node node)
{
    for (size_t i = 0; i < HA_HOSTS_MAX; i++) {
        if (k->peers[i].node == node)
            return &k->peers[i];
    }
    return NULL;
}

/* Latest own beat that this voter vouches for; -1: none. */
static ha_ms vouched(const struct ha_keeper *k, ha_node voter)
{
    if (voter == k->self)
        return k->own_latest;
    for (size_t i = 0; i < HA_HOSTS_MAX; i++) {
        if (k->peers[i].node == voter)
            return k->peers[i].echoed;
    }
    return -1;
}

/* Send time of the latest own beat, sent with the present orders, that more than half of the votes
 * vouch for; -1: none. */
static ha_ms granted(const struct ha_keeper *k)
{
    ha_ms best[HA_HOSTS_MAX] = {0};
    size_t n = 0, maj;

    if (k->orders.tbl == 0 || k->orders.votes == 0)
        return -1;
    if (k->orders.fence_only)
        return k->quorate_t >= k->since ? k->quorate_t : -1;
    /* Without this, two halves of a split ring each keep their lease by talking to themselves. */
    if (!HA_GUARD(k, ECHO))
        return k->own_latest >= k->since ? k->own_latest : -1;
    maj = (size_t)k->orders.votes / 2 + 1;
    for (size_t i = 0; i < k->orders.nvoters; i++) {
        ha_ms t = vouched(k, k->orders.voters[i]);
        size_t at = n;

        if (t < 0 || t < k->since || voter_before(&k->orders, i))
            continue;
        for (; at > 0 && best[at - 1] < t; at--)
            best[at] = best[at - 1];
        best[at] = t;
        n++;
    }
    return n >= maj ? best[maj - 1] : -1;
}

/* End of the lease as far as the shared disk grants it; see ha_disk_bound(). */
static ha_ms disk_lease(const struct ha_keeper *k)
{
    ha_ms end = k->disk_t < 0 ? INT64_MIN : k->disk_t + k->disk_ms;

    if (k->pilled || k->disk == HA_DISK_KEEP)
        return INT64_MIN;
    if (k->disk == HA_DISK_OFF || !HA_GUARD(k, DISK_LEASE))
        return INT64_MAX;
    return end > k->disk_floor ? end : k->disk_floor;
}

ha_ms ha_keeper_lease(const struct ha_keeper *k)
{
    ha_ms t = granted(k), disk = disk_lease(k);
    ha_ms end = t < 0 ? INT64_MIN : t + k->orders.lease_ms;

    if (k->orders.tbl == 0)
        return INT64_MIN;
    end = end > k->floor ? end : k->floor;
    return end < disk ? end : disk;
}

bool ha_keeper_may_pet(const struct ha_keeper *k, ha_ms now)
{
    return k->ordered && !k->pilled &&
           (k->orders.empty || k->orders.frozen || now < ha_keeper_lease(k));
}

bool ha_keeper_settled(const struct ha_keeper *k)
{
    return granted(k) >= 0;
}

/* -------------------------------------------------------------------------------------- events */

static ha_ms pet_every(const struct ha_keeper *k)
{
    ha_ms quarter = k->orders.watchdog_ms / 4;
    ha_ms every = quarter < k->orders.beat_ms ? quarter : k->orders.beat_ms;

    return every > 0 ? every : 1;
}

static bool same_terms(const struct ha_keeper_orders *a, const struct ha_keeper_orders *b)
{
    return a->tbl == b->tbl && a->votes == b->votes && a->nvoters == b->nvoters &&
           memcmp(a->voters, b->voters, a->nvoters * sizeof(a->voters[0])) == 0 &&
           a->fence_only == b->fence_only && a->lease_ms == b->lease_ms &&
           a->watchdog_ms == b->watchdog_ms;
}

/* A lease counts by the N, X, W and tbl of the beat it was granted to (rule 17). Otherwise a longer
 * X would stretch the lease beyond the bound of those who heard only the beats before. */
static void change_terms(struct ha_keeper *k, const struct ha_keeper_orders *orders, ha_ms now)
{
    ha_ms end = ha_keeper_lease(k), cap = now + orders->lease_ms;

    k->floor = end < cap ? end : cap;
    k->since = k->last_beat >= now ? k->last_beat + 1 : now;
}

/* A lease that was given without the disk ends in its time; until then the daemon does not say that
 * this host needs the disk. */
static void order_disk(struct ha_keeper *k, const struct ha_keeper_orders *orders, ha_ms lease)
{
    if (orders->pill_void > k->pill_void)
        k->pill_void = orders->pill_void;
    if (orders->disk == HA_DISK_KEEP || orders->disk_gen < k->disk_gen)
        return;
    if (orders->disk == HA_DISK_ON && (k->disk != HA_DISK_ON || k->disk_gen != orders->disk_gen))
        k->disk_floor = lease;
    k->disk = orders->disk;
    k->disk_gen = orders->disk_gen;
    k->disk_ms = orders->disk_ms;
    k->disk_id = orders->disk_id;
    if (k->disk == HA_DISK_ON && !same_uuid(&k->disk_id, &k->disk_heard))
        k->disk_t = -1; /* cycles of another disk */
}

static void on_orders(struct ha_keeper *k, const struct ha_keeper_orders *orders, ha_ms now)
{
    bool first = k->orders.tbl == 0 && !k->ordered;
    ha_ms lease = ha_keeper_lease(k);

    assert(orders->nvoters <= HA_HOSTS_MAX && orders->ncut <= HA_HOSTS_MAX);
    if (!first && !same_terms(&k->orders, orders)) {
        change_terms(k, orders, now);
        k->beat_due = true;
    }
    k->beat_due = k->beat_due || k->orders.frozen != orders->frozen;
    k->orders = *orders;
    order_disk(k, orders, lease);
    if (orders->tbl != 0 && !k->ordered) {
        k->ordered = true;
        k->beat_due = true;
        k->next_pet = now;
    }
}

/* A slot for the node: its own, a free one, or that of a node without a vote. */
static struct ha_keeper_peer *take_slot(struct ha_keeper *k, ha_node node)
{
    struct ha_keeper_peer *slot = find_peer(k, node);

    if (!slot)
        slot = find_peer(k, 0);
    for (size_t i = 0; !slot && i < HA_HOSTS_MAX; i++) {
        bool votes = false;

        for (size_t j = 0; j < k->orders.nvoters; j++)
            votes = votes || k->orders.voters[j] == k->peers[i].node;
        if (!votes)
            slot = &k->peers[i];
    }
    if (slot && slot->node != node) {
        memset(slot, 0, sizeof(*slot));
        slot->node = node;
        slot->echoed = -1;
    }
    return slot;
}

static void on_own_beat(struct ha_keeper *k, const struct beat *beat, ha_ms now)
{
    ha_ms t = HA_GUARD(k, SEND_TIME) ? beat->t : now;

    if (!same_uuid(&beat->boot, &k->boot) || beat->t > now || beat->t < 0)
        return;
    if (t > k->own_latest)
        k->own_latest = t;
    /* rule 25: the verdict is about one ring; of another the daemon has not said anything yet */
    if (k->orders.quorate && k->ring.seq != 0 && k->orders.ring.node == k->ring.node &&
        k->orders.ring.seq == k->ring.seq && t > k->quorate_t)
        k->quorate_t = t;
}

static void read_echoes(const struct ha_keeper *k, const struct beat *beat, ha_ms now,
                        struct ha_keeper_peer *peer)
{
    for (size_t i = 0; i < beat->nentries; i++) {
        const unsigned char *at = beat->entries + i * beat->entry_size;
        struct ha_uuid boot;
        ha_ms t = (ha_ms)get(at + 20, 8);

        memcpy(boot.b, at + 4, 16);
        /* a beat that this clock has not sent yet is nonsense, and would be a lease too long */
        if (get(at, 4) != k->self || !same_uuid(&boot, &k->boot) || t < 0 || t > now)
            continue;
        if (!HA_GUARD(k, SEND_TIME))
            t = now;
        if (t > peer->echoed)
            peer->echoed = t;
    }
}

/* True: something the daemon should hear of at once. */
static bool on_peer_beat(struct ha_keeper *k, ha_node from, const struct beat *beat, ha_ms now)
{
    struct ha_keeper_peer *peer = take_slot(k, from);
    bool fresh, changed;

    if (!peer)
        return false;
    fresh = peer->received == 0 || !same_uuid(&peer->boot, &beat->boot);
    if (fresh && peer->received != 0 && is_cut(k, from, &beat->boot))
        return false; /* a late word of a life that is over must not displace the new one */
    changed = fresh || peer->armed != beat->armed || peer->tbl != beat->tbl ||
              peer->lease_ms != beat->lease_ms || peer->watchdog_ms != beat->watchdog_ms;
    if (fresh || now - peer->received > 3 * k->orders.beat_ms)
        k->beat_due = true;
    if (fresh) {
        peer->boot = beat->boot;
        peer->sent = beat->t;
        peer->echoed = -1;
    }
    if (beat->t > peer->sent)
        peer->sent = beat->t;
    peer->received = now;
    peer->armed = beat->armed;
    peer->tbl = beat->tbl;
    peer->lease_ms = beat->lease_ms;
    peer->watchdog_ms = beat->watchdog_ms;
    read_echoes(k, beat, now, peer);
    return changed;
}

/* A cycle with a pill for this life is the end of it, unless the host was admitted again after the
 * loss that the pill is for; a keeper without orders does not know, and only does not count it as
 * good. */
static bool on_disk(struct ha_keeper *k, const struct ha_keeper_event *event)
{
    ha_ms t = event->u.disk.t;

    if (t < 0 || t > event->now ||
        (k->disk == HA_DISK_ON && !same_uuid(&event->u.disk.disk, &k->disk_id)))
        return false; /* on another disk nobody would find a pill for us */
    if (!same_uuid(&event->u.disk.disk, &k->disk_heard))
        k->disk_t = -1;
    k->disk_heard = event->u.disk.disk;
    for (size_t i = 0; i < event->u.disk.nseen; i++) {
        const struct ha_disk_seen *seen = &event->u.disk.seen[i];
        struct ha_keeper_peer *peer =
            seen->node == k->self || seen->node == 0 ? NULL : take_slot(k, seen->node);
        if (peer) {
            peer->disk_ms = seen->changed_ms;
            peer->disk_boot = seen->boot;
        }
    }
    /* frozen, it is bound by nothing, so the pill proves nothing; it is there after the thaw, too */
    bool frozen = k->orders.frozen && k->disk != HA_DISK_ON;
    if (event->u.disk.pill && event->u.disk.loss > k->pill_void && !frozen &&
        HA_GUARD(k, DISK_PILL)) {
        k->pilled = k->pilled || k->ordered;
        return true;
    }
    if (!HA_GUARD(k, DISK_START))
        t = event->now;
    if (t > k->disk_t)
        k->disk_t = t;
    return true;
}

static bool on_event(struct ha_keeper *k, const struct ha_keeper_event *event)
{
    struct beat beat;
    bool was;

    switch (event->type) {
    case HA_KEV_TICK:
        return false;
    case HA_KEV_RING:
        k->ring = event->u.ring;
        /* fall through */
    case HA_KEV_GROUP:
        k->in_group = true;
        k->beat_due = true;
        return false;
    case HA_KEV_DISCONNECTED:
        k->in_group = false;
        k->ring = (struct ha_ring){0};
        return true;
    case HA_KEV_ORDERS:
        on_orders(k, event->u.orders, event->now);
        return true;
    case HA_KEV_DEVICE:
        was = k->device;
        k->device = event->u.armed;
        k->next_pet = event->now + pet_every(k);
        if (k->device)
            k->disarmed = false;
        if (was != k->device)
            k->beat_due = true;
        return was != k->device;
    case HA_KEV_DISK:
        return on_disk(k, event);
    case HA_KEV_BEAT:
        if (event->u.beat.from == 0 || !decode_beat(event->u.beat.data, event->u.beat.len, &beat))
            return false;
        if (event->u.beat.from != k->self)
            return on_peer_beat(k, event->u.beat.from, &beat, event->now);
        on_own_beat(k, &beat, event->now);
        return false;
    }
    return false;
}

/* ----------------------------------------------------------------------------------- outcomes */

static bool may_send(const struct ha_keeper *k)
{
    return k->ordered && k->orders.tbl != 0 && k->in_group;
}

/* Equal send times would make a beat under old terms and one under new ones look the same. */
static void act_beat(struct ha_keeper *k, ha_ms now, struct ha_keeper_result *result)
{
    if (!may_send(k) || now <= k->last_beat)
        return;
    if (!k->beat_due && now - k->last_beat < k->orders.beat_ms)
        return;
    result->beat_len = encode_beat(k, now, result->beat);
    result->send = true;
    k->last_beat = now;
    k->beat_due = false;
}

static bool wants_disarm(const struct ha_keeper *k)
{
    if (!k->device)
        return false;
    return (k->orders.frozen && !k->pilled) ||
           (k->orders.disarm && (k->orders.empty || !HA_GUARD(k, DISARM_EMPTY)));
}

/* Opening a device pets it: so arming needs what petting needs. */
static bool wants_arm(const struct ha_keeper *k, ha_ms now)
{
    return k->ordered && !k->device && k->orders.tbl != 0 && !k->orders.disarm &&
           !k->orders.frozen && !k->pilled && ha_keeper_may_pet(k, now);
}

static bool act_watchdog(struct ha_keeper *k, ha_ms now, struct ha_keeper_result *result)
{
    if (!k->ordered)
        return false;
    result->die = k->pilled && k->device;
    if (wants_disarm(k) && now >= k->next_disarm) {
        k->next_disarm = now + ARM_RETRY_MS;
        result->disarm = true;
        k->device = false;
        k->disarmed = true;
        k->beat_due = true;
        return true;
    }
    if (wants_arm(k, now) && now >= k->next_arm) {
        result->arm = true;
        k->next_arm = now + ARM_RETRY_MS;
    }
    if (k->device && now >= k->next_pet && ha_keeper_may_pet(k, now)) {
        result->pet = true;
        k->next_pet = now + pet_every(k);
    }
    return false;
}

void ha_keeper_step(struct ha_keeper *k, const struct ha_keeper_event *event,
                    struct ha_keeper_result *ret_result)
{
    ha_ms lease = ha_keeper_lease(k);
    bool changed = on_event(k, event);

    memset(ret_result, 0, sizeof(*ret_result));
    k->now = event->now;
    changed = act_watchdog(k, event->now, ret_result) || changed;
    act_beat(k, event->now, ret_result);
    ret_result->changed = changed || ha_keeper_lease(k) != lease;
}

ha_ms ha_keeper_deadline(const struct ha_keeper *k)
{
    ha_ms next = INT64_MAX, at;

    if (!k->ordered)
        return INT64_MAX;
    if (may_send(k)) {
        at = k->last_beat + (k->beat_due ? 1 : k->orders.beat_ms);
        next = at < next ? at : next;
    }
    at = k->next_pet > k->now ? k->next_pet : k->now;
    if (k->device && at < next && ha_keeper_may_pet(k, at))
        next = at;
    at = k->next_disarm > k->now ? k->next_disarm : k->now;
    if (at < next && wants_disarm(k))
        next = at;
    at = k->next_arm > k->now ? k->next_arm : k->now;
    if (at < next && wants_arm(k, at))
        next = at;
    return next;
}

/* --------------------------------------------------------------------------- life of the keeper */

void ha_keeper_init(struct ha_keeper *k, ha_node self, const struct ha_uuid *boot,
                    enum ha_mutant mutant)
{
    memset(k, 0, sizeof(*k));
    k->mutant = mutant;
    k->self = self;
    k->boot = *boot;
    k->last_beat = -1;
    k->own_latest = -1;
    k->quorate_t = -1;
    k->since = INT64_MIN;
    k->floor = INT64_MIN;
    k->disk = HA_DISK_KEEP;
    k->disk_t = -1;
    k->disk_floor = INT64_MIN;
}

void ha_keeper_restore(struct ha_keeper *k, const struct ha_keeper_memory *memory, ha_ms now)
{
    if (!memory || !same_uuid(&memory->boot, &k->boot) || memory->orders.tbl == 0 ||
        memory->orders.nvoters > HA_HOSTS_MAX || memory->orders.ncut > HA_HOSTS_MAX) {
        k->since = now;
        return;
    }
    k->since = memory->since;
    k->floor = memory->lease;
    k->orders = memory->orders;
    k->disk = memory->orders.disk;
    k->disk_gen = memory->orders.disk_gen;
    k->disk_ms = memory->orders.disk_ms;
    k->disk_id = memory->orders.disk_id;
    k->disk_floor = memory->lease;
    k->pill_void = memory->orders.pill_void;
    k->pilled = memory->pilled;
}

void ha_keeper_remember(const struct ha_keeper *k, struct ha_keeper_memory *ret_memory)
{
    memset(ret_memory, 0, sizeof(*ret_memory));
    ret_memory->boot = k->boot;
    ret_memory->since = k->since;
    ret_memory->lease = ha_keeper_lease(k);
    ret_memory->orders = k->orders;
    ret_memory->orders.disk = k->disk;
    ret_memory->orders.disk_gen = k->disk_gen;
    ret_memory->orders.disk_ms = k->disk_ms;
    ret_memory->orders.disk_id = k->disk_id;
    ret_memory->orders.pill_void = k->pill_void;
    ret_memory->pilled = k->pilled;
}

void ha_keeper_state(const struct ha_keeper *k, struct ha_event *ret_event,
                     struct ha_peer_beat *ret_peers)
{
    size_t n = 0;

    for (size_t i = 0; i < HA_HOSTS_MAX; i++) {
        const struct ha_keeper_peer *peer = &k->peers[i];

        if (peer->node == 0)
            continue;
        ret_peers[n].node = peer->node;
        ret_peers[n].boot = peer->boot;
        ret_peers[n].last_ms = peer->received;
        ret_peers[n].armed = peer->armed;
        ret_peers[n].tbl = peer->tbl;
        ret_peers[n].lease_ms = peer->lease_ms;
        ret_peers[n].watchdog_ms = peer->watchdog_ms;
        ret_peers[n].disk_ms = peer->disk_ms;
        ret_peers[n].disk_boot = peer->disk_boot;
        n++;
    }
    memset(ret_event, 0, sizeof(*ret_event));
    ret_event->type = HA_EV_KEEPER;
    ret_event->u.keeper.connected = true;
    ret_event->u.keeper.seq_applied = k->orders.seq;
    ret_event->u.keeper.lease_until = ha_keeper_lease(k);
    ret_event->u.keeper.armed = is_armed(k);
    ret_event->u.keeper.disk_t = k->disk_t;
    ret_event->u.keeper.disk_id = k->disk_heard;
    ret_event->u.keeper.disk_gen = k->disk == HA_DISK_ON ? k->disk_gen : 0;
    ret_event->u.keeper.pilled = k->pilled;
    ret_event->u.keeper.frozen = k->orders.frozen;
    ret_event->u.keeper.peers = ret_peers;
    ret_event->u.keeper.npeers = n;
}
