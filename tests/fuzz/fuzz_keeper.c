/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Fuzzes the keeper's core: three keepers that beat, with beats changed on their way, garbage,
 * beats from nobody, orders that change, keepers that start again from what they remembered.
 * Whatever comes, a lease never reaches further than X from now, and nothing is petted that may not
 * be. */
#include "fuzz.h"

#include <stdlib.h>
#include <string.h>

#include "../../libha/keeper.h"

enum { KEEPERS = 3, LEASE = 21000, ACTS_MOST = 400 };

struct room {
    struct ha_keeper keepers[KEEPERS];
    struct ha_keeper_orders orders[KEEPERS];
    unsigned char beat[HA_BEAT_MAX]; /* the latest one */
    size_t beat_len;
    ha_ms now;
};

static struct ha_uuid boot_of(size_t i)
{
    return (struct ha_uuid){{'b', (uint8_t)i}};
}

static void step(struct room *room, size_t i, struct ha_keeper_event event)
{
    struct ha_keeper *k = &room->keepers[i];
    struct ha_keeper_result r;
    struct ha_event state;
    struct ha_peer_beat peers[HA_HOSTS_MAX];
    ha_ms before = ha_keeper_lease(k);

    event.now = room->now;
    ha_keeper_step(k, &event, &r);
    if (ha_keeper_lease(k) > room->now + LEASE && ha_keeper_lease(k) > before)
        abort(); /* a lease grew beyond what any beat can grant */
    if (r.pet && !ha_keeper_may_pet(k, room->now))
        abort();
    if (r.beat_len > HA_BEAT_MAX || (r.send && r.beat_len == 0))
        abort();
    (void)ha_keeper_deadline(k);
    (void)ha_keeper_settled(k);
    ha_keeper_state(k, &state, peers);
    if (state.u.keeper.npeers > HA_HOSTS_MAX)
        abort();
    if (r.send) {
        memcpy(room->beat, r.beat, r.beat_len);
        room->beat_len = r.beat_len;
    }
}

/* In memory of just that size, so that a sanitizer sees one byte too many. */
static void deliver(struct room *room, size_t to, ha_node from, const void *data, size_t len)
{
    struct ha_keeper_event e = {.type = HA_KEV_BEAT};
    uint8_t *copy = malloc(len ? len : 1);

    if (copy == NULL)
        abort();
    memcpy(copy, data, len);
    e.u.beat.from = from;
    e.u.beat.data = copy;
    e.u.beat.len = len;
    step(room, to, e);
    free(copy);
}

static void act_beats(struct room *room, struct fuzz_input *in, bool change)
{
    for (size_t i = 0; i < KEEPERS; i++) {
        size_t len;

        room->beat_len = 0;
        step(room, i, (struct ha_keeper_event){.type = HA_KEV_TICK});
        if (room->beat_len == 0)
            continue;
        len = change ? fuzz_mutate(in, room->beat, room->beat_len) : room->beat_len;
        for (size_t to = 0; to < KEEPERS; to++)
            deliver(room, to, change ? (ha_node)fuzz_below(in, 70) : (ha_node)i + 1, room->beat,
                    len);
    }
}

static void act_garbage(struct room *room, struct fuzz_input *in)
{
    uint8_t bytes[300];
    size_t n = fuzz_below(in, sizeof(bytes));

    for (size_t i = 0; i < n; i++)
        bytes[i] = fuzz_byte(in);
    deliver(room, fuzz_below(in, KEEPERS), (ha_node)fuzz_number(in, 4), bytes, n);
}

/* Any orders, but of the right shape: they come from a daemon on the same host. */
static void act_orders(struct room *room, struct fuzz_input *in)
{
    size_t i = fuzz_below(in, KEEPERS);
    struct ha_keeper_orders *o = &room->orders[i];
    struct ha_keeper_event e = {.type = HA_KEV_ORDERS};

    o->seq++;
    o->tbl = (uint32_t)fuzz_below(in, 3);
    o->nvoters = fuzz_below(in, HA_HOSTS_MAX + 1);
    o->votes = (uint32_t)fuzz_below(in, 70);
    for (size_t k = 0; k < o->nvoters; k++)
        o->voters[k] = (ha_node)fuzz_below(in, 70);
    o->fence_only = fuzz_below(in, 4) == 0;
    o->quorate = fuzz_below(in, 2);
    o->beat_ms = 1 + (ha_ms)fuzz_below(in, 1000);
    o->lease_ms = 1 + (ha_ms)fuzz_below(in, LEASE);
    o->watchdog_ms = 1000 * (ha_ms)(1 + fuzz_below(in, 60));
    o->empty = fuzz_below(in, 2);
    o->disarm = fuzz_below(in, 2);
    o->ncut = fuzz_below(in, HA_HOSTS_MAX + 1);
    for (size_t k = 0; k < o->ncut; k++) {
        o->cut[k].node = (ha_node)fuzz_below(in, 70);
        o->cut[k].boot = boot_of(k % KEEPERS);
    }
    e.u.orders = o;
    step(room, i, e);
}

static void act_restart(struct room *room, struct fuzz_input *in)
{
    size_t i = fuzz_below(in, KEEPERS);
    struct ha_uuid boot = boot_of(i);
    struct ha_keeper_memory memory;

    ha_keeper_remember(&room->keepers[i], &memory);
    if (fuzz_below(in, 4) == 0)
        memory.orders.ncut = (size_t)fuzz_odd_number(in);
    if (fuzz_below(in, 4) == 0)
        memory.orders.nvoters = (size_t)fuzz_odd_number(in);
    ha_keeper_init(&room->keepers[i], (ha_node)i + 1, &boot, HA_MUTANT_NONE);
    ha_keeper_restore(&room->keepers[i], fuzz_below(in, 2) ? &memory : NULL, room->now);
}

static void act_event(struct room *room, struct fuzz_input *in)
{
    static const enum ha_keeper_event_type types[] = {HA_KEV_TICK, HA_KEV_RING, HA_KEV_DEVICE,
                                                      HA_KEV_DISCONNECTED};
    struct ha_keeper_event e = {.type = types[fuzz_below(in, 4)]};

    if (e.type == HA_KEV_DEVICE)
        e.u.armed = fuzz_below(in, 2);
    step(room, fuzz_below(in, KEEPERS), e);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct room room;
    struct fuzz_input in = {data, size};

    memset(&room, 0, sizeof(room));
    room.now = 1000;
    for (size_t i = 0; i < KEEPERS; i++) {
        struct ha_uuid boot = boot_of(i);
        struct ha_keeper_event e = {.type = HA_KEV_ORDERS};

        ha_keeper_init(&room.keepers[i], (ha_node)i + 1, &boot, HA_MUTANT_NONE);
        room.orders[i] = (struct ha_keeper_orders){.tbl = 1,
                                                   .votes = KEEPERS,
                                                   .nvoters = KEEPERS,
                                                   .voters = {1, 2, 3},
                                                   .beat_ms = 500,
                                                   .lease_ms = LEASE,
                                                   .watchdog_ms = 10000};
        e.u.orders = &room.orders[i];
        step(&room, i, (struct ha_keeper_event){.type = HA_KEV_RING});
        step(&room, i, e);
    }
    for (size_t n = 0; n < ACTS_MOST && in.left > 0; n++) {
        size_t what = fuzz_below(&in, 12);

        room.now += (ha_ms)fuzz_below(&in, 250) * (fuzz_below(&in, 8) ? 5 : 200);
        if (what < 7)
            act_beats(&room, &in, what >= 3);
        else if (what < 9)
            act_garbage(&room, &in);
        else if (what == 9)
            act_orders(&room, &in);
        else if (what == 10)
            act_restart(&room, &in);
        else
            act_event(&room, &in);
    }
    return 0;
}

size_t fuzz_make(uint64_t *seed, uint8_t *data, size_t size)
{
    return fuzz_random_bytes(seed, data, size);
}
