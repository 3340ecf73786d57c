/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The keeper's core: three hosts, told as a story; beats travel by hand. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <string.h>

#include "../../libha/keeper.h"

enum { B = 500, X = 21000, W = 10000 };

struct letter {
    ha_node from;
    unsigned char data[HA_BEAT_MAX];
    size_t len;
};

static struct ha_uuid boot_of(unsigned node, unsigned life)
{
    struct ha_uuid u = {{0}};

    u.b[0] = (uint8_t)node;
    u.b[1] = (uint8_t)life;
    return u;
}

static struct ha_keeper_orders orders_for(uint32_t votes)
{
    struct ha_keeper_orders o = {.seq = 1,
                                 .tbl = 1,
                                 .votes = votes,
                                 .nvoters = votes,
                                 .beat_ms = B,
                                 .lease_ms = X,
                                 .watchdog_ms = W};

    for (uint32_t i = 0; i < votes; i++)
        o.voters[i] = i + 1;
    return o;
}

static struct ha_keeper_result step(struct ha_keeper *k, struct ha_keeper_event e)
{
    struct ha_keeper_result r;

    ha_keeper_step(k, &e, &r);
    return r;
}

static struct ha_keeper_result tick(struct ha_keeper *k, ha_ms now)
{
    return step(k, (struct ha_keeper_event){.type = HA_KEV_TICK, .now = now});
}

static struct ha_keeper_result ring(struct ha_keeper *k, ha_ms now)
{
    return step(k, (struct ha_keeper_event){
                       .type = HA_KEV_RING, .now = now, .u.ring = {1, (uint64_t)now}});
}

static struct ha_keeper_result device(struct ha_keeper *k, ha_ms now, bool armed)
{
    return step(k, (struct ha_keeper_event){.type = HA_KEV_DEVICE, .now = now, .u.armed = armed});
}

static struct ha_keeper_result order(struct ha_keeper *k, ha_ms now, struct ha_keeper_orders o)
{
    return step(k, (struct ha_keeper_event){.type = HA_KEV_ORDERS, .now = now, .u.orders = &o});
}

static struct ha_keeper_result deliver(struct ha_keeper *k, ha_ms now, const struct letter *l)
{
    struct ha_keeper_event e = {.type = HA_KEV_BEAT, .now = now};

    e.u.beat.from = l->from;
    e.u.beat.data = l->data;
    e.u.beat.len = l->len;
    return step(k, e);
}

/* Makes the keeper send at `now`. */
static struct letter beat_of(struct ha_keeper *k, ha_ms now)
{
    struct letter l = {.from = k->self};
    struct ha_keeper_result r = ring(k, now);

    assert_true(r.send);
    memcpy(l.data, r.beat, r.beat_len);
    l.len = r.beat_len;
    return l;
}

static void start(struct ha_keeper *k, ha_node node, uint32_t votes)
{
    struct ha_uuid boot = boot_of(node, 1);

    ha_keeper_init(k, node, &boot, HA_MUTANT_NONE);
    order(k, 1, orders_for(votes));
}

static void mute_until_ordered(void **state)
{
    struct ha_keeper k;
    struct ha_uuid boot = boot_of(1, 1);
    struct ha_keeper_orders none = {.seq = 1, .empty = true};
    struct ha_keeper_result r;

    (void)state;
    ha_keeper_init(&k, 1, &boot, HA_MUTANT_NONE);
    assert_int_equal(ha_keeper_deadline(&k), INT64_MAX);
    r = ring(&k, 1000);
    assert_false(r.send || r.pet || r.arm || r.disarm);
    r = order(&k, 1001, none); /* a daemon that does not know the votes yet */
    assert_false(r.send || r.pet || r.arm || r.disarm);
    r = order(&k, 1002, orders_for(3));
    assert_true(r.send);
    assert_false(r.pet || r.arm); /* neither lease nor empty */
}

static void lease_needs_echoes(void **state)
{
    struct ha_keeper a, b, c;
    struct letter la, lb;

    (void)state;
    start(&a, 1, 3);
    start(&b, 2, 3);
    start(&c, 3, 3);
    la = beat_of(&a, 1000);
    deliver(&a, 1003, &la);
    assert_int_equal(ha_keeper_lease(&a), INT64_MIN); /* its own vote is one of three */
    deliver(&b, 90000, &la);                          /* other clock */
    lb = beat_of(&b, 90100);
    deliver(&a, 1200, &lb);
    assert_int_equal(ha_keeper_lease(&a), 1000 + X); /* from the send time, not the receipt */
    deliver(&b, 90101, &lb);
    assert_int_equal(ha_keeper_lease(&b), INT64_MIN);
    /* the same echo again extends nothing */
    lb = beat_of(&b, 95000);
    deliver(&a, 6100, &lb);
    assert_int_equal(ha_keeper_lease(&a), 1000 + X);
    (void)c;
}

static void five_hosts_need_three(void **state)
{
    struct ha_keeper a, p[5];
    struct letter l, e;

    (void)state;
    start(&a, 1, 5);
    for (ha_node i = 2; i <= 4; i++) {
        start(&p[i], i, 5);
        l = beat_of(&a, 1000 * i);
        deliver(&a, 1000 * i + 1, &l);
        deliver(&p[i], 500, &l);
        e = beat_of(&p[i], 600);
        deliver(&a, 1000 * i + 10, &e);
    }
    /* own 4000, echoes 2000, 3000, 4000: the third largest is 3000 */
    assert_int_equal(ha_keeper_lease(&a), 3000 + X);
}

static void nonsense_is_ignored(void **state)
{
    struct ha_keeper a, b;
    struct letter la, lb, cut;

    (void)state;
    start(&a, 1, 3);
    start(&b, 2, 3);
    la = beat_of(&a, 50000);
    deliver(&a, 50001, &la);
    deliver(&b, 500, &la);
    lb = beat_of(&b, 600);
    for (size_t n = 0; n < lb.len; n++) {
        cut = lb;
        cut.len = n;
        deliver(&a, 50010, &cut);
    }
    assert_int_equal(ha_keeper_lease(&a), INT64_MIN);
    deliver(&a, 49999, &lb); /* echo of a beat not sent yet: a lying clock */
    assert_int_equal(ha_keeper_lease(&a), INT64_MIN);
    for (size_t n = 0; n < lb.len; n++) { /* no byte of it may crash or grant more */
        cut = lb;
        cut.data[n] ^= 0xff;
        deliver(&a, 50010, &cut);
        assert_true(ha_keeper_lease(&a) <= 50010 + X);
    }
}

static void newer_versions_may_append(void **state)
{
    struct ha_keeper a, b;
    struct letter la, lb, big;

    (void)state;
    start(&a, 1, 3);
    start(&b, 2, 3);
    la = beat_of(&a, 1000);
    deliver(&a, 1001, &la);
    deliver(&b, 500, &la);
    lb = beat_of(&b, 600);
    /* head 64 -> 72, entries 28 -> 32, 5 bytes at the end, version 2 */
    assert_int_equal(lb.len, 64 + 28);
    big = lb;
    memset(big.data + 64, 0xee, 8);
    memcpy(big.data + 72, lb.data + 64, 28);
    memset(big.data + 100, 0xee, 9);
    big.len = 72 + 32 + 5;
    big.data[4] = 2;
    big.data[6] = 72;
    big.data[10] = 32;
    big.data[12] = (unsigned char)big.len;
    deliver(&a, 1100, &big);
    assert_int_equal(ha_keeper_lease(&a), 1000 + X);
}

static void cut_lives_are_not_echoed(void **state)
{
    struct ha_keeper a, b;
    struct ha_keeper_orders o = orders_for(3);
    struct letter la, lb;
    struct ha_event e;
    struct ha_peer_beat peers[HA_HOSTS_MAX];

    (void)state;
    start(&a, 1, 3);
    start(&b, 2, 3);
    la = beat_of(&a, 1000);
    deliver(&a, 1001, &la);
    deliver(&b, 700, &la);
    o.seq = 2;
    o.ncut = 1;
    o.cut[0].node = 1;
    o.cut[0].boot = boot_of(1, 1);
    order(&b, 800, o);
    lb = beat_of(&b, 900);
    deliver(&a, 1300, &lb);
    assert_int_equal(ha_keeper_lease(&a), INT64_MIN);
    ha_keeper_state(&b, &e, peers); /* but its age is still known */
    assert_int_equal(e.u.keeper.seq_applied, 2);
    assert_int_equal(e.u.keeper.npeers, 1);
    assert_int_equal(peers[0].last_ms, 700);
    /* the cut is for that life only */
    struct ha_uuid boot = boot_of(1, 2);
    ha_keeper_init(&a, 1, &boot, HA_MUTANT_NONE);
    order(&a, 5000, orders_for(3));
    la = beat_of(&a, 5001);
    deliver(&a, 5002, &la);
    assert_true(deliver(&b, 3000, &la).send); /* first beat of a returning host: at once */
    lb = beat_of(&b, 3001);
    deliver(&a, 5100, &lb);
    assert_int_equal(ha_keeper_lease(&a), 5001 + X);
}

static void pets_only_with_lease_or_empty(void **state)
{
    struct ha_keeper a, b;
    struct ha_keeper_orders o = orders_for(3);
    struct letter la, lb;

    (void)state;
    start(&a, 1, 3);
    start(&b, 2, 3);
    la = beat_of(&a, 1000);
    deliver(&a, 1001, &la);
    deliver(&b, 500, &la);
    lb = beat_of(&b, 600);
    assert_true(deliver(&a, 1100, &lb).arm);
    assert_false(tick(&a, 1200).pet); /* nothing is armed yet */
    device(&a, 1200, true);
    assert_true(tick(&a, 1700).pet);
    assert_false(tick(&a, 1701).pet);
    assert_true(tick(&a, 1000 + X - 1).pet);
    assert_false(tick(&a, 1000 + X).pet);
    assert_false(tick(&a, 1000 + X + 5000).pet);
    assert_true(ha_keeper_deadline(&a) > 1000 + X + 5000); /* and does not spin */
    o.empty = true;
    assert_true(order(&a, 1000 + X + 5001, o).pet);
}

static void no_arm_after_the_lapse(void **state)
{
    struct ha_keeper a;
    struct ha_keeper_memory m;
    struct ha_keeper_orders o = orders_for(3);
    struct ha_uuid boot = boot_of(1, 1);

    (void)state;
    start(&a, 1, 3);
    ha_keeper_remember(&a, &m);
    m.lease = 9000;
    ha_keeper_init(&a, 1, &boot, HA_MUTANT_NONE);
    ha_keeper_restore(&a, &m, 8000);
    assert_int_equal(ha_keeper_lease(&a), 9000);
    assert_false(ha_keeper_may_pet(&a, 8000));
    assert_true(order(&a, 8500, o).arm);
    ha_keeper_init(&a, 1, &boot, HA_MUTANT_NONE);
    ha_keeper_restore(&a, &m, 8000);
    assert_false(order(&a, 9000, o).arm); /* opening a device would pet it */
}

static void disarm_only_when_empty(void **state)
{
    struct ha_keeper a;
    struct ha_keeper_orders o = orders_for(3);

    (void)state;
    start(&a, 1, 3);
    o.empty = true;
    assert_true(order(&a, 2000, o).arm);
    device(&a, 2001, true);
    o.empty = false;
    o.disarm = true;
    assert_false(order(&a, 2500, o).disarm);
    o.empty = true;
    assert_true(order(&a, 2600, o).disarm);
    assert_false(tick(&a, 4000).arm || tick(&a, 4001).pet);
    o.disarm = false;
    assert_true(order(&a, 5000, o).arm);
}

static void longer_lease_needs_new_beats(void **state)
{
    struct ha_keeper a, b;
    struct ha_keeper_orders o = orders_for(3);
    struct letter la, lb;

    (void)state;
    start(&a, 1, 3);
    start(&b, 2, 3);
    la = beat_of(&a, 1000);
    deliver(&a, 1001, &la);
    deliver(&b, 500, &la);
    lb = beat_of(&b, 600);
    deliver(&a, 1100, &lb);
    o.lease_ms = 2 * X;
    order(&a, 2000, o);
    assert_int_equal(ha_keeper_lease(&a), 1000 + X); /* others only know of the old X */
    assert_false(ha_keeper_settled(&a));
    deliver(&a, 2100, &lb);
    assert_int_equal(ha_keeper_lease(&a), 1000 + X);
    la = beat_of(&a, 2200);
    deliver(&a, 2201, &la);
    deliver(&b, 1500, &la);
    lb = beat_of(&b, 1600);
    deliver(&a, 2300, &lb);
    assert_int_equal(ha_keeper_lease(&a), 2200 + 2 * X);
    assert_true(ha_keeper_settled(&a));
    o.lease_ms = 1000; /* a shorter one counts at once */
    order(&a, 3000, o);
    assert_int_equal(ha_keeper_lease(&a), 4000);
}

static void restart_rebuilds_from_echoes(void **state)
{
    struct ha_keeper a, b;
    struct letter la, lb;
    struct ha_uuid boot = boot_of(1, 1);

    (void)state;
    start(&a, 1, 3);
    start(&b, 2, 3);
    la = beat_of(&a, 1000);
    deliver(&b, 500, &la);
    ha_keeper_init(&a, 1, &boot, HA_MUTANT_NONE);
    order(&a, 1400, orders_for(3));
    lb = beat_of(&b, 900);
    deliver(&a, 1450, &lb);
    la = beat_of(&a, 1500);
    deliver(&a, 1501, &la);
    assert_int_equal(ha_keeper_lease(&a), 1000 + X);
    /* without a memory of the terms they were sent under, older beats grant nothing */
    ha_keeper_init(&a, 1, &boot, HA_MUTANT_NONE);
    ha_keeper_restore(&a, NULL, 2000);
    order(&a, 2000, orders_for(3));
    deliver(&a, 2001, &lb);
    la = beat_of(&a, 2002);
    deliver(&a, 2003, &la);
    assert_int_equal(ha_keeper_lease(&a), INT64_MIN);
}

static void fence_only_lease(void **state)
{
    struct ha_keeper a;
    struct ha_keeper_orders o = orders_for(2);
    struct ha_keeper_result r;
    struct letter la;

    (void)state;
    start(&a, 1, 2);
    o.fence_only = true;
    order(&a, 900, o);
    la = beat_of(&a, 1000);
    deliver(&a, 1001, &la);
    assert_int_equal(ha_keeper_lease(&a), INT64_MIN);
    o.quorate = true;
    o.ring = (struct ha_ring){1, 1000};
    order(&a, 1100, o);
    la = beat_of(&a, 1200);
    deliver(&a, 1201, &la);
    assert_int_equal(ha_keeper_lease(&a), INT64_MIN); /* a new ring: nobody has said of this one */
    o.ring = (struct ha_ring){1, 1200};
    order(&a, 1202, o);
    deliver(&a, 1203, &la);
    assert_int_equal(ha_keeper_lease(&a), 1200 + X);
    r = step(&a, (struct ha_keeper_event){.type = HA_KEV_GROUP, .now = 1250});
    assert_true(r.send); /* another keeper came or went: the ring is the same */
    memcpy(la.data, r.beat, r.beat_len);
    la.len = r.beat_len;
    deliver(&a, 1251, &la);
    assert_int_equal(ha_keeper_lease(&a), 1250 + X);
    o.quorate = false;
    order(&a, 1300, o);
    la = beat_of(&a, 1700);
    deliver(&a, 1701, &la);
    assert_int_equal(ha_keeper_lease(&a), 1250 + X); /* runs out by itself */
}

static void beats_in_time(void **state)
{
    struct ha_keeper a;

    (void)state;
    start(&a, 1, 3);
    assert_true(ring(&a, 1000).send);
    assert_false(tick(&a, 1499).send);
    assert_int_equal(ha_keeper_deadline(&a), 1500);
    assert_true(tick(&a, 1500).send);
    step(&a, (struct ha_keeper_event){.type = HA_KEV_DISCONNECTED, .now = 1600});
    assert_false(tick(&a, 2500).send);
    assert_int_equal(ha_keeper_deadline(&a), INT64_MAX);
}

/* ------------------------------------------------------------------------------------ the disk */

static struct ha_keeper_orders disk_orders(enum ha_disk_order disk, uint32_t gen)
{
    struct ha_keeper_orders o = orders_for(1);

    o.disk = disk;
    o.disk_gen = gen;
    o.disk_ms = 15000;
    o.disk_id.b[0] = 1;
    return o;
}

static struct ha_keeper_result cycle(struct ha_keeper *k, ha_ms now, ha_ms t, uint8_t id,
                                     uint32_t loss)
{
    struct ha_keeper_event e = {.type = HA_KEV_DISK, .now = now};

    e.u.disk.t = t;
    e.u.disk.disk.b[0] = id;
    e.u.disk.pill = loss > 0;
    e.u.disk.loss = loss;
    return step(k, e);
}

/* One host that grants itself a lease by its own beats. */
static void alone(struct ha_keeper *k, struct ha_keeper_orders o, ha_ms now)
{
    struct ha_keeper_result r;
    struct letter own = {.from = 1};
    struct ha_uuid boot = boot_of(1, 1);

    ha_keeper_init(k, 1, &boot, HA_MUTANT_NONE);
    ring(k, now);
    r = order(k, now, o);
    memcpy(own.data, r.beat, r.beat_len);
    own.len = r.beat_len;
    deliver(k, now, &own);
}

static void the_lease_needs_the_disk(void **state)
{
    struct ha_keeper k;

    (void)state;
    alone(&k, disk_orders(HA_DISK_ON, 1), 1000);
    assert_true(ha_keeper_lease(&k) < 1000); /* no cycle yet */
    cycle(&k, 1500, 1400, 1, 0);
    assert_int_equal(ha_keeper_lease(&k), 1400 + 15000); /* from the cycle's start */
    cycle(&k, 1600, 1700, 1, 0);                         /* not yet: nonsense */
    assert_int_equal(ha_keeper_lease(&k), 1400 + 15000);
    cycle(&k, 2600, 2500, 2, 0); /* of another disk: nobody writes pills for us there */
    assert_int_equal(ha_keeper_lease(&k), 1400 + 15000);
    order(&k, 3000, disk_orders(HA_DISK_OFF, 2));
    assert_int_equal(ha_keeper_lease(&k), 1000 + X);
    order(&k, 3100, disk_orders(HA_DISK_ON, 1)); /* an older decision */
    assert_int_equal(ha_keeper_lease(&k), 1000 + X);
}

static void who_was_never_told_grants_nothing(void **state)
{
    struct ha_keeper k, again;
    struct ha_keeper_memory m;
    struct ha_uuid boot = boot_of(1, 1);

    (void)state;
    alone(&k, disk_orders(HA_DISK_KEEP, 0), 1000);
    assert_true(ha_keeper_lease(&k) == INT64_MIN);
    order(&k, 1000, disk_orders(HA_DISK_ON, 1));
    cycle(&k, 1500, 1400, 1, 0);
    ha_keeper_remember(&k, &m);
    /* a daemon that does not know the facts leaves it as it was, through a restart of both */
    ha_keeper_init(&again, 1, &boot, HA_MUTANT_NONE);
    ha_keeper_restore(&again, &m, 2000);
    order(&again, 2000, disk_orders(HA_DISK_KEEP, 0));
    assert_int_equal(ha_keeper_lease(&again), 1400 + 15000);
}

static void an_earlier_lease_runs_out_first(void **state)
{
    struct ha_keeper k;

    (void)state;
    alone(&k, disk_orders(HA_DISK_OFF, 0), 1000);
    assert_int_equal(ha_keeper_lease(&k), 1000 + X);
    order(&k, 1500, disk_orders(HA_DISK_ON, 1));
    assert_int_equal(ha_keeper_lease(&k), 1000 + X); /* was given without the disk */
}

static void a_pill_is_the_end(void **state)
{
    struct ha_keeper k;
    struct ha_keeper_orders o = disk_orders(HA_DISK_ON, 1);
    struct ha_keeper_result r;

    (void)state;
    alone(&k, o, 1000);
    device(&k, 1000, true);
    cycle(&k, 1500, 1400, 1, 0);
    o.pill_void = 2;
    order(&k, 1600, o);
    r = cycle(&k, 1700, 1650, 1, 2); /* for a loss after which it was admitted again */
    assert_true(!r.die && ha_keeper_lease(&k) == 1650 + 15000);
    r = cycle(&k, 1800, 1750, 1, 3);
    assert_true(r.die && ha_keeper_lease(&k) == INT64_MIN);
    o.empty = true;
    order(&k, 1900, o);
    assert_false(ha_keeper_may_pet(&k, 1900)); /* not even when empty */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(mute_until_ordered),
        cmocka_unit_test(lease_needs_echoes),
        cmocka_unit_test(five_hosts_need_three),
        cmocka_unit_test(nonsense_is_ignored),
        cmocka_unit_test(newer_versions_may_append),
        cmocka_unit_test(cut_lives_are_not_echoed),
        cmocka_unit_test(pets_only_with_lease_or_empty),
        cmocka_unit_test(no_arm_after_the_lapse),
        cmocka_unit_test(disarm_only_when_empty),
        cmocka_unit_test(longer_lease_needs_new_beats),
        cmocka_unit_test(restart_rebuilds_from_echoes),
        cmocka_unit_test(fence_only_lease),
        cmocka_unit_test(beats_in_time),
        cmocka_unit_test(the_lease_needs_the_disk),
        cmocka_unit_test(who_was_never_told_grants_nothing),
        cmocka_unit_test(an_earlier_lease_runs_out_first),
        cmocka_unit_test(a_pill_is_the_end),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
