/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Facts and whole states of facts as bytes: there and back, read by an older version, cut at every
 * byte, and bytes that are no facts at all. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../../libha/facts.h"

static struct ha_uuid uuid_of(unsigned kind, unsigned n)
{
    struct ha_uuid u;

    for (unsigned i = 0; i < sizeof(u.b); i++)
        u.b[i] = (uint8_t)(kind + n * (i + 1));
    return u;
}

/* A copy in memory of just that size: a sanitizer sees the first byte too many. */
static uint8_t *exact(const void *data, size_t len)
{
    uint8_t *copy = malloc(len ? len : 1);

    assert_non_null(copy);
    if (len)
        memcpy(copy, data, len);
    return copy;
}

/* ---------------------------------------------------------------------------------- one fact */

/* With a value in each field that this kind carries, and in no other. */
static struct ha_fact full(enum ha_fact_kind kind)
{
    struct ha_fact f = {.kind = kind};

    if (kind == HA_FACT_FOUND || kind == HA_FACT_VOTERS) {
        f.cluster = kind == HA_FACT_FOUND ? uuid_of('c', 1) : (struct ha_uuid){{0}};
        f.tbl = 77;
        f.nvoters = HA_HOSTS_MAX;
        for (unsigned i = 0; i < HA_HOSTS_MAX; i++)
            f.voters[i] = (struct ha_voter){i + 1, uuid_of('m', i), uuid_of('j', i)};
    } else if (kind == HA_FACT_BEGIN) {
        f.host = 0xfffffffe;
    } else if (kind == HA_FACT_IN) {
        f.host = 3;
        f.boot = uuid_of('b', 3);
        f.machine = uuid_of('m', 3);
        f.journal = uuid_of('j', 3);
        f.armed = f.want_run = true;
        f.lease_ms = 21000;
        f.watchdog_ms = INT32_MAX;
    } else if (kind == HA_FACT_REGISTER) {
        memset(f.name, 'r', HA_NAME_MAX - 1);
        f.want_run = f.enabled = true;
    } else if (kind == HA_FACT_DISK || kind == HA_FACT_BOUND) {
        f.host = 4;
        f.boot = uuid_of('d', 4);
        f.loss = 77;
        f.level = 1;
        f.lease_ms = 15000;
    } else if (kind <= HA_FACT_OUT || kind == HA_FACT_REPLACE ||
               (kind >= HA_FACT_ORDER && kind <= HA_FACT_TURN) || kind == HA_FACT_MAINT ||
               kind == HA_FACT_DOWN) {
        f.host = 9;
        f.boot = uuid_of('b', 9);
        f.loss = UINT32_MAX;
        f.level = 7;
        f.how = 3;
        snprintf(f.name, sizeof(f.name), "operator");
    } else if (kind >= HA_FACT_FREEZE && kind <= HA_FACT_CONFIG) {
        f.host = 4;
        f.boot = uuid_of('b', 4);
        f.inc = UINT64_MAX - 1;
        snprintf(f.name, sizeof(f.name), "operator");
    } else {
        f.guest = HA_GUESTS_MAX - 1;
        f.want_run = f.failed = true;
        f.how = 5;
        f.inc = UINT64_MAX;
        f.old_inc = 1ULL << 63;
        f.mig = 0x123456789abcdefULL;
        f.host = 2;
        f.boot = uuid_of('b', 2);
    }
    return f;
}

static void assert_same_fact(const struct ha_fact *a, const struct ha_fact *b)
{
    assert_int_equal(a->kind, b->kind);
    assert_int_equal(a->host, b->host);
    assert_true(ha_uuid_eq(&a->boot, &b->boot) && ha_uuid_eq(&a->machine, &b->machine) &&
                ha_uuid_eq(&a->journal, &b->journal) && ha_uuid_eq(&a->cluster, &b->cluster));
    assert_true(a->loss == b->loss && a->level == b->level && a->how == b->how);
    assert_true(a->armed == b->armed && a->want_run == b->want_run && a->enabled == b->enabled &&
                a->failed == b->failed);
    assert_string_equal(a->name, b->name);
    assert_true(a->guest == b->guest && a->inc == b->inc && a->old_inc == b->old_inc &&
                a->mig == b->mig);
    assert_true(a->lease_ms == b->lease_ms && a->watchdog_ms == b->watchdog_ms);
    assert_true(a->tbl == b->tbl && a->nvoters == b->nvoters);
    for (size_t i = 0; i < a->nvoters; i++)
        assert_true(a->voters[i].node == b->voters[i].node &&
                    ha_uuid_eq(&a->voters[i].machine, &b->voters[i].machine) &&
                    ha_uuid_eq(&a->voters[i].journal, &b->voters[i].journal));
}

/* There and back; with the appended fields of a newer version; and cut at every byte. */
static void every_kind_of_fact_survives_its_bytes(void **state)
{
    (void)state;
    for (int k = HA_FACT_FOUND; k < HA_FACT_COUNT; k++) {
        struct ha_fact f = full((enum ha_fact_kind)k), back;
        struct ha_put put = {0};
        size_t len;

        ha_fact_encode(&put, &f);
        assert_int_equal(ha_fact_decode(put.v, put.n, &back), 0);
        assert_same_fact(&f, &back);
        len = put.n;
        put.v[1]++; /* the fact's version */
        ha_put_bytes(&put, "fields of the next version", 26);
        assert_int_equal(ha_fact_decode(put.v, put.n, &back), 0);
        assert_same_fact(&f, &back);
        for (size_t n = 0; n < len; n++) {
            uint8_t *cut = exact(put.v, n);

            assert_int_equal(ha_fact_decode(cut, n, &back), -EBADMSG);
            free(cut);
        }
        ha_put_done(&put);
    }
}

static void unknown_kinds_are_of_a_newer_version(void **state)
{
    struct ha_fact f = full(HA_FACT_IN), before;

    (void)state;
    memcpy(&before, &f, sizeof(f));
    for (unsigned k = HA_FACT_COUNT; k <= 255; k++) {
        uint8_t bytes[] = {(uint8_t)k, 1, 2, 3};

        assert_int_equal(ha_fact_decode(bytes, sizeof(bytes), &f), -ENOTSUP);
    }
    assert_int_equal(ha_fact_decode("\0\1\2\3", 4, &f), -EBADMSG);
    assert_int_equal(ha_fact_decode("", 0, &f), -EBADMSG);
    assert_memory_equal(&f, &before, sizeof(f)); /* untouched */
}

static void too_many_voters_are_refused(void **state)
{
    struct ha_fact f = full(HA_FACT_VOTERS);
    struct ha_put put = {0};

    (void)state;
    ha_fact_encode(&put, &f);
    for (unsigned i = 0; i < 10000; i++)
        ha_put_u8(&put, 0);
    for (unsigned n = HA_HOSTS_MAX + 1; n <= 255; n++) {
        put.v[6] = (uint8_t)n; /* behind kind, version and table */
        assert_int_equal(ha_fact_decode(put.v, put.n, &f), -EBADMSG);
    }
    ha_put_done(&put);
}

/* -------------------------------------------------------------------------------- a whole state */

static struct ha_facts large_state(size_t nguests)
{
    struct ha_facts facts;

    ha_facts_init(&facts, HA_MUTANT_NONE);
    facts.cluster = uuid_of('c', 1);
    facts.tbl = 9;
    facts.next_inc = 1ULL << 40;
    facts.next_mig = 17;
    facts.nhosts = HA_HOSTS_MAX;
    for (unsigned i = 0; i < HA_HOSTS_MAX; i++) {
        struct ha_host_fact *h = &facts.hosts[i];

        *h = (struct ha_host_fact){.node = i + 1,
                                   .loss = i,
                                   .level = i % 8,
                                   .rounds = i % 3,
                                   .in_index = i * 1000ULL,
                                   .how = (uint8_t)(i % 4)};
        h->state = (enum ha_host_state)(i % (HA_HOST_OUT + 1));
        h->voter = i % 2;
        h->lease_ms = 1000 + i;
        h->watchdog_ms = 2000 + i;
        h->tried = i % 3 == 0;
        h->armed = i % 5 == 0;
        h->distrusted = i % 7 == 0;
        h->ordered = i % 9 == 0;
        h->flaps = (uint8_t)i;
        h->turn = (uint8_t)(i % (HA_TURNS + 1));
        h->disk_ms = 15000 + i;
        h->disk_gen = 3;
        h->unarmed = i % 4 == 0;
        h->boot = uuid_of('b', i);
        h->machine = uuid_of('m', i);
        h->journal = uuid_of('j', i);
    }
    facts.frozen = nguests % 2;
    facts.looking = !facts.frozen;
    facts.froze_at = 1ULL << 40;
    facts.thaw_at = 5;
    facts.config_file = uuid_of('f', 1);
    for (unsigned i = 0; i < HA_CONFIG_CHANGES; i++)
        facts.config_changes[i] = (struct ha_config_change){100 - i, UINT64_MAX - i};
    facts.guests = calloc(nguests, sizeof(*facts.guests));
    assert_non_null(facts.guests);
    facts.nguests = facts.guests_size = nguests;
    for (unsigned i = 0; i < nguests; i++) {
        struct ha_guest_fact *g = &facts.guests[i];

        snprintf(g->name, sizeof(g->name), "guest-with-a-long-name-%u", i);
        g->state = (enum ha_guest_state)(i % (HA_GUEST_ARRIVED + 1));
        g->enabled = i % 2;
        g->want_run = i % 3;
        g->failed = i % 11 == 0;
        g->quarantined = i % 13 == 0;
        g->by_mig = i % 4 == 0;
        g->by_adopt = i % 6 == 0;
        g->owner = i % 65;
        g->boot = uuid_of('b', i);
        g->inc = i * 3ULL;
        g->old_inc = i;
        g->restarts = i % 4;
        g->start_losses = i % 3;
        g->mig = i % 17;
        g->mig_kind = i % 4;
        g->mig_host = i % 60;
        g->mig_boot = uuid_of('B', i);
        g->mig_inc = i * 5ULL;
        g->left_host = i % 50;
        g->left_boot = uuid_of('L', i);
        g->avoid = i % 40;
        g->recall = i % 19 == 0;
        g->prefer = i % 63;
        g->last_release = (uint8_t)(i % 7);
    }
    return facts;
}

/* Every field is encoded, so equal bytes are equal states; some are looked at one by one, in case
 * the encoder forgets one. */
static void assert_same_state(const struct ha_facts *a, const struct ha_facts *b)
{
    struct ha_put x = {0}, y = {0};

    ha_facts_encode(&x, a);
    ha_facts_encode(&y, b);
    assert_int_equal(x.n, y.n);
    assert_memory_equal(x.v, y.v, x.n);
    ha_put_done(&x);
    ha_put_done(&y);
    assert_true(a->frozen == b->frozen && a->looking == b->looking &&
                a->froze_at == b->froze_at && a->thaw_at == b->thaw_at);
    assert_true(ha_uuid_eq(&a->config_file, &b->config_file));
    for (size_t i = 0; i < HA_CONFIG_CHANGES; i++)
        assert_true(a->config_changes[i].at == b->config_changes[i].at &&
                    a->config_changes[i].from == b->config_changes[i].from);
    assert_int_equal(a->nguests, b->nguests);
    for (size_t i = 0; i < a->nguests; i++) {
        const struct ha_guest_fact *g = &a->guests[i], *h = &b->guests[i];

        assert_string_equal(g->name, h->name);
        assert_true(g->state == h->state && g->enabled == h->enabled &&
                    g->want_run == h->want_run && g->failed == h->failed &&
                    g->quarantined == h->quarantined && g->by_mig == h->by_mig &&
                    g->by_adopt == h->by_adopt && g->owner == h->owner && g->inc == h->inc);
        assert_true(g->old_inc == h->old_inc && g->restarts == h->restarts &&
                    g->start_losses == h->start_losses && g->mig == h->mig &&
                    g->mig_kind == h->mig_kind && g->mig_host == h->mig_host &&
                    g->mig_inc == h->mig_inc && g->left_host == h->left_host &&
                    g->avoid == h->avoid && g->last_release == h->last_release &&
                    g->recall == h->recall && g->prefer == h->prefer);
        assert_true(ha_uuid_eq(&g->boot, &h->boot) && ha_uuid_eq(&g->mig_boot, &h->mig_boot) &&
                    ha_uuid_eq(&g->left_boot, &h->left_boot));
    }
    for (size_t i = 0; i < a->nhosts; i++) {
        const struct ha_host_fact *g = &a->hosts[i], *h = &b->hosts[i];

        assert_true(g->node == h->node && g->state == h->state && g->voter == h->voter &&
                    g->loss == h->loss && g->level == h->level && g->rounds == h->rounds &&
                    g->tried == h->tried && g->in_index == h->in_index && g->armed == h->armed &&
                    g->how == h->how && g->distrusted == h->distrusted &&
                    g->ordered == h->ordered && g->unarmed == h->unarmed && g->flaps == h->flaps && g->turn == h->turn &&
                    g->disk_ms == h->disk_ms && g->disk_gen == h->disk_gen &&
                    g->lease_ms == h->lease_ms && g->watchdog_ms == h->watchdog_ms);
    }
}

static void a_state_with_thousands_of_guests_survives_its_bytes(void **state)
{
    struct ha_facts facts = large_state(HA_GUESTS_MAX), back;
    struct ha_put put = {0};
    struct ha_get get;

    (void)state;
    ha_facts_init(&back, HA_MUTANT_NONE);
    ha_facts_encode(&put, &facts);
    get = (struct ha_get){put.v, put.n, false};
    assert_int_equal(ha_facts_decode(&get, &back), 0);
    assert_int_equal(get.left, 0);
    assert_same_state(&facts, &back);
    /* into one that held more: nothing of it is left */
    ha_facts_done(&facts);
    facts = large_state(2);
    put.n = 0;
    ha_facts_encode(&put, &facts);
    get = (struct ha_get){put.v, put.n, false};
    assert_int_equal(ha_facts_decode(&get, &back), 0);
    assert_same_state(&facts, &back);
    ha_facts_done(&facts);
    ha_facts_done(&back);
    ha_put_done(&put);
}

/* What a newer version would write: four more bytes in each record of a host and a guest. */
static void append_to_records(struct ha_put *newer, const struct ha_put *old)
{
    struct ha_get get = {old->v, old->n, false};

    ha_put_bytes(newer, ha_get_bytes(&get, 2 + 16 + 4 + 8 + 8), 38);
    while (get.left > 0) {
        uint32_t n = ha_get_u32(&get);

        ha_put_u32(newer, n);
        for (uint32_t i = 0; i < n; i++) {
            uint32_t len = ha_get_u32(&get);

            ha_put_u32(newer, len + 4);
            ha_put_bytes(newer, ha_get_bytes(&get, len), len);
            ha_put_u32(newer, 0xdeadbeef);
        }
    }
    assert_false(get.failed);
}

static void an_older_reader_passes_over_appended_fields(void **state)
{
    struct ha_facts facts = large_state(300), back;
    struct ha_put put = {0}, newer = {0};
    struct ha_get get;

    (void)state;
    ha_facts_init(&back, HA_MUTANT_NONE);
    ha_facts_encode(&put, &facts);
    append_to_records(&newer, &put);
    ha_put_bytes(&newer, "and more behind all of it", 25);
    get = (struct ha_get){newer.v, newer.n, false};
    assert_int_equal(ha_facts_decode(&get, &back), 0);
    assert_int_equal(get.left, 25);
    assert_same_state(&facts, &back);
    ha_put_done(&put);
    ha_put_done(&newer);
    ha_facts_done(&facts);
    ha_facts_done(&back);
}

static void a_state_cut_at_any_byte_is_refused(void **state)
{
    struct ha_facts facts = large_state(3), back;
    struct ha_put put = {0};

    (void)state;
    facts.nhosts = 3;
    ha_facts_init(&back, HA_MUTANT_NONE);
    ha_facts_encode(&put, &facts);
    for (size_t len = 0; len < put.n; len++) {
        uint8_t *cut = exact(put.v, len);
        struct ha_get get = {cut, len, false};

        assert_int_equal(ha_facts_decode(&get, &back), -EBADMSG);
        free(cut);
    }
    ha_put_done(&put);
    ha_facts_done(&facts);
    ha_facts_done(&back);
}

/* One field of a state overwritten: counts, lengths and enums beyond their limits are refused. */
static void nonsense_in_a_state_is_refused(void **state)
{
    enum { NHOSTS_AT = 38, LEN_AT = 42, STATE_AT = 50 };
    static const struct {
        size_t at;
        uint32_t value;
    } bad[] = {
        {NHOSTS_AT, HA_HOSTS_MAX + 1},
        {NHOSTS_AT, UINT32_MAX},
        {LEN_AT, UINT32_MAX},
        {LEN_AT, 0},
        {LEN_AT, 10},
        {STATE_AT, HA_HOST_OUT + 1},
    };
    struct ha_facts facts = large_state(3), back;

    (void)state;
    ha_facts_init(&back, HA_MUTANT_NONE);
    for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++) {
        struct ha_put put = {0};
        struct ha_get get;

        ha_facts_encode(&put, &facts);
        ha_put_patch_u32(&put, bad[i].at, bad[i].value);
        get = (struct ha_get){put.v, put.n, false};
        assert_int_equal(ha_facts_decode(&get, &back), -EBADMSG);
        ha_put_done(&put);
    }
    ha_facts_done(&facts);
    ha_facts_done(&back);
}

/* Random bytes, and real bytes with a few of them changed: an answer, never a read out of bounds.
 */
static void garbage_is_refused_or_read_within_bounds(void **state)
{
    struct ha_facts facts = large_state(5), back;
    struct ha_put put = {0};
    uint64_t seed = 1;

    (void)state;
    ha_facts_init(&back, HA_MUTANT_NONE);
    ha_facts_encode(&put, &facts);
    for (int round = 0; round < 3000; round++) {
        uint8_t *bytes = exact(put.v, put.n);
        struct ha_get get = {bytes, put.n, false};
        struct ha_fact fact;
        size_t changes = round % 3 ? (size_t)(round % 5) + 1 : put.n;
        int r;

        for (size_t i = 0; i < changes; i++) {
            seed = seed * 6364136223846793005ULL + 1442695040888963407ULL;
            bytes[(seed >> 33) % put.n] = (uint8_t)(seed >> 25);
        }
        r = ha_facts_decode(&get, &back);
        assert_true(r == 0 || r == -EBADMSG || r == -ENOTSUP);
        assert_true(back.nhosts <= HA_HOSTS_MAX && back.nguests <= HA_GUESTS_MAX);
        r = ha_fact_decode(bytes, (size_t)(seed >> 33) % put.n, &fact);
        assert_true(r == 0 || r == -EBADMSG || r == -ENOTSUP);
        free(bytes);
    }
    ha_put_done(&put);
    ha_facts_done(&facts);
    ha_facts_done(&back);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_kind_of_fact_survives_its_bytes),
        cmocka_unit_test(unknown_kinds_are_of_a_newer_version),
        cmocka_unit_test(too_many_voters_are_refused),
        cmocka_unit_test(a_state_with_thousands_of_guests_survives_its_bytes),
        cmocka_unit_test(an_older_reader_passes_over_appended_fields),
        cmocka_unit_test(a_state_cut_at_any_byte_is_refused),
        cmocka_unit_test(nonsense_in_a_state_is_refused),
        cmocka_unit_test(garbage_is_refused_or_read_within_bounds),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
