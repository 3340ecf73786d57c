/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The log through its journal: whatever was appended, cut, replaced and rewritten, a core that is
 * made from the records has the same log, the same facts and the same promise; and so after each
 * record, since power can go at any of them. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../../libha/core.h"

struct record {
    uint8_t *data;
    size_t len;
    /* what the log was once this record had been written */
    struct ha_key key;
    uint64_t hash;
    struct ha_epoch promised;
};

/* A core whose log is worked on directly, and its disk. */
struct desk {
    struct ha *ha;
    struct ha_actions actions;
    struct record *records;
    size_t n, size;
    size_t rewrites;
};

static struct ha_config config;

static void disk_clear(struct desk *d)
{
    for (size_t i = 0; i < d->n; i++)
        free(d->records[i].data);
    d->n = 0;
}

static void disk_add(struct desk *d, const void *data, size_t len)
{
    struct record *r;

    if (d->n == d->size) {
        d->size = d->size ? d->size * 2 : 64;
        d->records = reallocarray(d->records, d->size, sizeof(*d->records));
        assert_non_null(d->records);
    }
    r = &d->records[d->n++];
    *r = (struct record){.data = malloc(len), .len = len};
    assert_non_null(r->data);
    memcpy(r->data, data, len);
    r->key = ha_log_key(&d->ha->log);
    r->hash = ha_log_head_hash(&d->ha->log);
    r->promised = d->ha->log.promised;
}

/* Carries the journal's actions out; to be called after each change. */
static void disk_write(struct desk *d)
{
    for (size_t i = 0; i < d->actions.n; i++) {
        const struct ha_action *a = &d->actions.v[i];
        struct ha_get get;

        if (a->type == HA_ACT_JOURNAL)
            disk_add(d, a->u.journal.data, a->u.journal.len);
        if (a->type != HA_ACT_REWRITE)
            continue;
        d->rewrites++;
        disk_clear(d);
        get = (struct ha_get){a->u.journal.data, a->u.journal.len, false};
        while (get.left > 0) {
            size_t len = ha_get_u32(&get);
            const void *p = ha_get_bytes(&get, len);

            assert_non_null(p);
            disk_add(d, p, len);
        }
    }
    ha_actions_clear(&d->actions);
}

static void step_start(struct ha *ha, struct ha_actions *actions)
{
    struct ha_event e = {.type = HA_EV_START, .now = 1};

    e.u.start.node = 1;
    e.u.start.machine = (struct ha_uuid){{'m'}};
    e.u.start.fresh_journal = (struct ha_uuid){{'j'}};
    e.u.start.config = &config;
    assert_int_equal(ha_step(ha, &e, actions), 0);
}

static void desk_init(struct desk *d)
{
    *d = (struct desk){.ha = ha_new(HA_MUTANT_NONE)};
    assert_non_null(d->ha);
    step_start(d->ha, &d->actions);
    disk_write(d);
    d->ha->out = &d->actions; /* as within a step */
}

static void desk_done(struct desk *d)
{
    disk_clear(d);
    free(d->records);
    ha_actions_done(&d->actions);
    d->ha = ha_free(d->ha);
}

/* A new core from the first n records. */
static struct ha *restored(const struct desk *d, size_t n)
{
    struct ha *ha = ha_new(HA_MUTANT_NONE);

    assert_non_null(ha);
    for (size_t i = 0; i < n; i++)
        assert_int_equal(ha_restore(ha, d->records[i].data, d->records[i].len), 0);
    return ha;
}

static void assert_same_log(const struct ha *a, const struct ha *b)
{
    struct ha_put x = {0}, y = {0};
    struct ha_key key = ha_log_key(&a->log);

    assert_int_equal(ha_key_cmp(key, ha_log_key(&b->log)), 0);
    assert_int_equal(ha_epoch_cmp(a->log.promised, b->log.promised), 0);
    assert_true(ha_uuid_eq(&a->log.journal, &b->log.journal));
    assert_true(ha_uuid_eq(&a->log.machine, &b->log.machine));
    for (uint64_t i = b->log.base.i; i <= key.i; i++) {
        struct ha_epoch ea, eb;
        uint64_t ha, hb;

        assert_int_equal(ha_log_hash(b, i, &eb, &hb), 0);
        if (ha_log_hash(a, i, &ea, &ha) == 0)
            assert_true(ha == hb && ha_epoch_cmp(ea, eb) == 0);
    }
    ha_facts_encode(&x, &a->log.head);
    ha_facts_encode(&y, &b->log.head);
    assert_int_equal(x.n, y.n);
    assert_memory_equal(x.v, y.v, x.n);
    ha_put_done(&x);
    ha_put_done(&y);
}

/* --------------------------------------------------------------------------------- what is written
 */

static void append(struct desk *d, uint64_t epoch, const struct ha_fact *fact)
{
    struct ha_put put = {0};

    ha_fact_encode(&put, fact);
    assert_int_equal(ha_log_append(d->ha, (struct ha_epoch){epoch, 1}, put.v, put.n), 0);
    ha_put_done(&put);
    disk_write(d);
}

static void found(struct desk *d)
{
    struct ha_fact f = {.kind = HA_FACT_FOUND, .cluster = {{'c'}}, .tbl = 1, .nvoters = 2};

    f.voters[0] = (struct ha_voter){1, {{'m'}}, {{'j'}}};
    f.voters[1] = (struct ha_voter){2, {{'n'}}, {{'k'}}};
    append(d, 1, &f);
}

static void append_guest(struct desk *d, uint64_t epoch, unsigned i)
{
    struct ha_fact f = {.kind = HA_FACT_REGISTER, .enabled = true, .want_run = true};

    snprintf(f.name, sizeof(f.name), "guest-%u", i);
    append(d, epoch, &f);
}

/* As when more than half of the votes have acknowledged up to i. */
static void make_stable(struct desk *d, uint64_t i)
{
    struct ha_fact f;

    while (d->ha->stable_i < i) {
        const struct ha_entry *e = ha_log_entry(&d->ha->log, ++d->ha->stable_i);

        assert_non_null(e);
        assert_int_equal(ha_fact_decode(e->data, e->len, &f), 0);
        assert_int_equal(ha_facts_apply(&d->ha->stable, &f, d->ha->stable_i), 0);
    }
}

static void assert_restores(struct desk *d)
{
    struct ha *again = restored(d, d->n);

    assert_same_log(d->ha, again);
    ha_free(again);
}

static void a_log_comes_back(void **state)
{
    struct desk d;
    struct ha_fact bad = {.kind = HA_FACT_BEGIN};
    struct ha_put put = {0};

    (void)state;
    desk_init(&d);
    assert_restores(&d); /* nothing but who we are */
    found(&d);
    for (unsigned i = 0; i < 20; i++)
        append_guest(&d, 1, i);
    ha_log_promise(d.ha, (struct ha_epoch){7, 2});
    disk_write(&d);
    assert_restores(&d);
    /* a fact of a newer version is refused before anything is written */
    ha_fact_encode(&put, &bad);
    put.v[0] = HA_FACT_COUNT;
    assert_int_equal(ha_log_append(d.ha, (struct ha_epoch){1, 1}, put.v, put.n), -ENOTSUP);
    assert_int_equal(ha_log_append(d.ha, (struct ha_epoch){1, 1}, put.v, 1), -EBADMSG);
    assert_int_equal(d.actions.n, 0);
    assert_int_equal(ha_log_key(&d.ha->log).i, 21);
    ha_put_done(&put);
    desk_done(&d);
}

static void a_cut_drops_the_tail_and_its_facts(void **state)
{
    struct desk d;
    uint64_t hash;

    (void)state;
    desk_init(&d);
    found(&d);
    append_guest(&d, 1, 0);
    make_stable(&d, 2);
    hash = ha_log_head_hash(&d.ha->log);
    append_guest(&d, 1, 1);
    append_guest(&d, 1, 2);
    assert_int_equal(ha_log_cut(d.ha, 2), 0);
    disk_write(&d);
    assert_int_equal(d.ha->log.head.nguests, 1);
    assert_true(ha_log_head_hash(&d.ha->log) == hash);
    assert_restores(&d);
    append_guest(&d, 2, 3); /* another epoch goes on from there: the same index, another hash */
    append_guest(&d, 2, 4);
    assert_restores(&d);
    assert_int_equal(ha_log_cut(d.ha, ha_log_key(&d.ha->log).i), 0);
    assert_int_equal(d.actions.n, 0); /* nothing to cut: nothing to write */
    desk_done(&d);
}

static void the_hash_tells_logs_apart(void **state)
{
    struct desk a, b;
    struct ha_epoch e;
    uint64_t x, y;

    (void)state;
    desk_init(&a);
    desk_init(&b);
    found(&a);
    found(&b);
    assert_true(ha_log_head_hash(&a.ha->log) == ha_log_head_hash(&b.ha->log));
    append_guest(&a, 1, 0);
    append_guest(&b, 2, 0); /* the same fact in another epoch */
    assert_false(ha_log_head_hash(&a.ha->log) == ha_log_head_hash(&b.ha->log));
    append_guest(&a, 2, 1);
    append_guest(&b, 2, 1); /* and all that follows is another log, too */
    assert_false(ha_log_head_hash(&a.ha->log) == ha_log_head_hash(&b.ha->log));
    assert_int_equal(ha_log_hash(a.ha, 1, &e, &x), 0);
    assert_int_equal(ha_log_hash(b.ha, 1, &e, &y), 0);
    assert_true(x == y && e.number == 1);
    assert_int_equal(ha_log_hash(a.ha, 4, &e, &x), -ENOENT);
    desk_done(&a);
    desk_done(&b);
}

static void a_snapshot_replaces_everything(void **state)
{
    struct desk from, d;
    struct ha *again;
    struct ha_epoch e;
    uint64_t hash;

    (void)state;
    desk_init(&from);
    desk_init(&d);
    found(&from);
    for (unsigned i = 0; i < 50; i++)
        append_guest(&from, 1, i);
    make_stable(&from, 51);
    found(&d);
    append_guest(&d, 1, 99); /* a tail of its own, never stable */
    assert_int_equal(ha_log_snapshot(d.ha, ha_log_key(&from.ha->log),
                                     ha_log_head_hash(&from.ha->log), &from.ha->stable),
                     0);
    d.ha->stable_i = 51;
    assert_int_equal(ha_facts_copy(&d.ha->stable, &from.ha->stable), 0);
    disk_write(&d);
    append_guest(&from, 2, 50);
    append_guest(&d, 2, 50);
    assert_true(ha_log_head_hash(&from.ha->log) == ha_log_head_hash(&d.ha->log));
    assert_restores(&d);
    assert_int_equal(ha_log_hash(d.ha, 50, &e, &hash), -ENOENT); /* before the snapshot */
    again = restored(&d, d.n);
    assert_int_equal(again->stable.nguests, 50); /* a snapshot is stable, its tail is not */
    assert_int_equal(again->log.head.nguests, 51);
    ha_free(again);
    desk_done(&from);
    desk_done(&d);
}

static void a_rewritten_journal_says_the_same(void **state)
{
    struct desk d;

    (void)state;
    desk_init(&d);
    found(&d);
    for (unsigned i = 0; i < 30; i++)
        append_guest(&d, 1, i);
    ha_log_promise(d.ha, (struct ha_epoch){3, 1});
    make_stable(&d, 25);
    ha_log_rewrite(d.ha);
    disk_write(&d);
    assert_int_equal(d.rewrites, 1);
    assert_int_equal(d.n, 1 + 1 + 6 + 1); /* who we are, what is stable, the tail, the promise */
    assert_restores(&d);
    append_guest(&d, 3, 77); /* and it goes on behind it, cuts included */
    assert_int_equal(ha_log_cut(d.ha, 26), 0);
    disk_write(&d);
    append_guest(&d, 4, 78);
    assert_restores(&d);
    desk_done(&d);
}

/* A journal does not grow for ever, and old entries leave the memory; what is kept stays known. */
static void a_long_journal_is_rewritten(void **state)
{
    struct desk d;
    struct ha_fact f = {.kind = HA_FACT_WANT, .enabled = true};
    struct ha_epoch e;
    uint64_t hash, last;

    (void)state;
    desk_init(&d);
    found(&d);
    append_guest(&d, 1, 0);
    for (unsigned i = 0; i < 9000; i++) {
        f.want_run = i % 2;
        append(&d, 1 + i / 1000, &f);
        make_stable(&d, ha_log_key(&d.ha->log).i - 1);
        ha_log_compact(d.ha);
        disk_write(&d);
        assert_true(d.n < 4100);
    }
    assert_int_equal(d.rewrites, 2);
    last = ha_log_key(&d.ha->log).i;
    assert_int_equal(last, 9002);
    assert_true(d.ha->log.n < 5000);
    assert_int_equal(ha_log_hash(d.ha, last - 1999, &e, &hash), 0);
    assert_int_equal(ha_log_hash(d.ha, 1, &e, &hash), -ENOENT);
    assert_restores(&d);
    desk_done(&d);
}

/* ------------------------------------------------------------------------------------ torn
 * journals */

static uint32_t next(uint64_t *seed, uint32_t below)
{
    *seed = *seed * 6364136223846793005ULL + 1442695040888963407ULL;
    return (uint32_t)(*seed >> 33) % below;
}

/* A random life: appended, cut, promised, replaced, rewritten. Each beginning of the journal is
 * what the log was at that time. */
static void every_beginning_of_a_journal_is_a_state_it_had(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= 20; seed++) {
        struct desk d;
        uint64_t s = seed, epoch = 1;
        size_t whole = 0; /* records from here on were written one by one */

        desk_init(&d);
        found(&d);
        for (unsigned i = 0; i < 200; i++) {
            uint64_t last = ha_log_key(&d.ha->log).i, tail = last - d.ha->stable_i;
            uint32_t what = next(&s, 100);

            if (what < 60)
                append_guest(&d, epoch, i);
            else if (what < 75)
                make_stable(&d, d.ha->stable_i + next(&s, (uint32_t)tail + 1));
            else if (what < 85)
                assert_int_equal(ha_log_cut(d.ha, d.ha->stable_i + next(&s, (uint32_t)tail + 1)),
                                 0);
            else if (what < 95)
                ha_log_promise(d.ha, (struct ha_epoch){++epoch, 1 + next(&s, 3)});
            else if (what == 95) {
                ha_log_rewrite(d.ha);
                disk_write(&d);
                whole = d.n;
            }
            disk_write(&d);
        }
        for (size_t n = whole; n <= d.n; n++) {
            struct ha *again = restored(&d, n);
            const struct record *r = n ? &d.records[n - 1] : NULL;

            if (r) {
                assert_int_equal(ha_key_cmp(ha_log_key(&again->log), r->key), 0);
                assert_true(ha_log_head_hash(&again->log) == r->hash);
                assert_int_equal(ha_epoch_cmp(again->log.promised, r->promised), 0);
            }
            ha_free(again);
        }
        assert_restores(&d);
        desk_done(&d);
    }
}

/* A record missing in the middle is not a torn end: the journal is refused. */
static void a_gap_is_refused(void **state)
{
    struct desk d;

    (void)state;
    desk_init(&d);
    found(&d);
    for (unsigned i = 0; i < 5; i++)
        append_guest(&d, 1, i);
    for (size_t gap = 1; gap + 1 < d.n; gap++) {
        struct ha *ha = restored(&d, gap);

        assert_int_equal(ha_restore(ha, d.records[gap + 1].data, d.records[gap + 1].len), -EBADMSG);
        ha_free(ha);
    }
    for (size_t twice = 1; twice < d.n; twice++) {
        struct ha *ha = restored(&d, twice + 1);

        assert_int_equal(ha_restore(ha, d.records[twice].data, d.records[twice].len), -EBADMSG);
        ha_free(ha);
    }
    desk_done(&d);
}

/* No record can be read when cut; a whole one with bytes behind it that a newer version wrote can,
 * unless the rest is what it is about. */
static void bad_records_are_refused(void **state)
{
    static const uint8_t kinds[] = {0, 6, 7, 200, 255};
    struct desk d;

    (void)state;
    desk_init(&d);
    found(&d);
    append_guest(&d, 1, 0);
    make_stable(&d, 2);
    append_guest(&d, 1, 1);
    assert_int_equal(ha_log_cut(d.ha, 2), 0);
    disk_write(&d);
    ha_log_rewrite(d.ha);
    disk_write(&d);
    append_guest(&d, 1, 2);
    for (size_t i = 0; i < d.n; i++)
        for (size_t len = 0; len < d.records[i].len; len++) {
            struct ha *ha = restored(&d, i);
            uint8_t *cut = malloc(len ? len : 1);

            assert_non_null(cut);
            memcpy(cut, d.records[i].data, len);
            assert_int_equal(ha_restore(ha, cut, len), -EBADMSG);
            free(cut);
            ha_free(ha);
        }
    for (size_t i = 0; i < sizeof(kinds); i++) {
        uint8_t bytes[40] = {kinds[i], 1};
        struct ha *ha = restored(&d, d.n);

        assert_int_equal(ha_restore(ha, bytes, sizeof(bytes)), -EBADMSG);
        ha_free(ha);
    }
    desk_done(&d);
}

/* --------------------------------------------------------------------------- through the core's
 * door */

static void a_restarted_core_tells_the_same_story(void **state)
{
    struct desk d;
    struct ha_actions actions = {0};
    struct ha_status before, after;
    struct ha *again;

    (void)state;
    desk_init(&d);
    found(&d);
    for (unsigned i = 0; i < 10; i++)
        append_guest(&d, 1, i);
    ha_status(d.ha, 1, &before);
    again = restored(&d, d.n);
    step_start(again, &actions);
    for (size_t i = 0; i < actions.n; i++) /* it knows who it is: nothing to write */
        assert_true(actions.v[i].type != HA_ACT_JOURNAL && actions.v[i].type != HA_ACT_REWRITE);
    ha_status(again, 1, &after);
    assert_int_equal(ha_key_cmp(before.head, after.head), 0);
    assert_true(before.head_hash == after.head_hash);
    assert_true(after.founded && !after.synced);
    assert_int_equal(after.stable.i, 0); /* what is stable, only an open epoch can say */
    assert_int_equal(ha_restore(again, d.records[0].data, d.records[0].len), -EINVAL);
    ha_free(again);
    ha_actions_done(&actions);
    desk_done(&d);
}

/* A record that could not be written makes all behind it worthless: nothing more is written until a
 * rewrite has it all. */
static void after_a_failure_only_a_rewrite_counts(void **state)
{
    struct desk d;
    size_t written;

    (void)state;
    desk_init(&d);
    found(&d);
    append_guest(&d, 1, 0);
    written = d.n;
    d.ha->log.failed = true;
    append_guest(&d, 1, 1);
    append_guest(&d, 1, 2);
    assert_int_equal(d.n, written);
    ha_log_compact(d.ha);
    assert_int_equal(d.rewrites, 0);
    ha_log_rewrite(d.ha);
    disk_write(&d);
    assert_int_equal(d.rewrites, 1);
    d.ha->log.failed = false;
    append_guest(&d, 1, 3);
    assert_restores(&d);
    desk_done(&d);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_log_comes_back),
        cmocka_unit_test(a_cut_drops_the_tail_and_its_facts),
        cmocka_unit_test(the_hash_tells_logs_apart),
        cmocka_unit_test(a_snapshot_replaces_everything),
        cmocka_unit_test(a_rewritten_journal_says_the_same),
        cmocka_unit_test(a_long_journal_is_rewritten),
        cmocka_unit_test(every_beginning_of_a_journal_is_a_state_it_had),
        cmocka_unit_test(a_gap_is_refused),
        cmocka_unit_test(bad_records_are_refused),
        cmocka_unit_test(a_restarted_core_tells_the_same_story),
        cmocka_unit_test(after_a_failure_only_a_rewrite_counts),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
