/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Bytes in and out: what is put comes back, a reader stops at the end of what it was given whatever
 * length that is, names keep their limits, and the formatter cuts instead of overflowing. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>

#include "../../libha/wire.h"

static const struct ha_uuid uuid = {{1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 255}};

/* One of everything. */
static struct ha_put one_of_each(void)
{
    struct ha_put put = {0};

    ha_put_u8(&put, 0xfe);
    ha_put_u16(&put, 0x1234);
    ha_put_u32(&put, 0x89abcdef);
    ha_put_u64(&put, 0xfedcba9876543210ULL);
    ha_put_uuid(&put, &uuid);
    ha_put_epoch(&put, (struct ha_epoch){UINT64_MAX, UINT32_MAX});
    ha_put_name(&put, "web-1");
    ha_put_bytes(&put, "tail", 4);
    return put;
}

static void numbers_are_little_endian(void **state)
{
    static const uint8_t expected[] = {0xfe, 0x34, 0x12, 0xef, 0xcd, 0xab, 0x89, 0x10,
                                       0x32, 0x54, 0x76, 0x98, 0xba, 0xdc, 0xfe};
    struct ha_put put = one_of_each();

    (void)state;
    assert_false(put.failed);
    assert_memory_equal(put.v, expected, sizeof(expected));
    ha_put_done(&put);
    assert_null(put.v);
    ha_put_done(&put); /* twice is once */
}

static void what_is_put_comes_back(void **state)
{
    struct ha_put put = one_of_each();
    struct ha_get get = {put.v, put.n, false};
    char name[HA_NAME_MAX];
    struct ha_uuid u;
    struct ha_epoch e;

    (void)state;
    assert_int_equal(ha_get_u8(&get), 0xfe);
    assert_int_equal(ha_get_u16(&get), 0x1234);
    assert_int_equal(ha_get_u32(&get), 0x89abcdef);
    assert_true(ha_get_u64(&get) == 0xfedcba9876543210ULL);
    u = ha_get_uuid(&get);
    assert_true(ha_uuid_eq(&u, &uuid));
    e = ha_get_epoch(&get);
    assert_true(e.number == UINT64_MAX && e.node == UINT32_MAX);
    ha_get_name(&get, name);
    assert_string_equal(name, "web-1");
    assert_memory_equal(ha_get_bytes(&get, 4), "tail", 4);
    assert_false(get.failed);
    assert_int_equal(get.left, 0);
    ha_put_done(&put);
}

/* Cut at every byte, in memory of just that size so that a sanitizer sees one byte too many:
 * reading fails, stays failed, and gives zeroes from then on. */
static void a_cut_message_fails_at_every_length(void **state)
{
    struct ha_put put = one_of_each();

    (void)state;
    for (size_t len = 0; len < put.n; len++) {
        uint8_t *copy = malloc(len ? len : 1);
        struct ha_get get = {copy, len, false};
        char name[HA_NAME_MAX];

        assert_non_null(copy);
        memcpy(copy, put.v, len);
        (void)ha_get_u8(&get);
        (void)ha_get_u16(&get);
        (void)ha_get_u32(&get);
        (void)ha_get_u64(&get);
        (void)ha_get_uuid(&get);
        (void)ha_get_epoch(&get);
        ha_get_name(&get, name);
        assert_true(memchr(name, 0, sizeof(name)) != NULL);
        assert_null(ha_get_bytes(&get, 4));
        assert_true(get.failed);
        get.left = 1; /* even if there were more: a failure is final */
        assert_int_equal(ha_get_u8(&get), 0);
        assert_int_equal(ha_get_u64(&get), 0);
        assert_null(ha_get_bytes(&get, 0));
        free(copy);
    }
    ha_put_done(&put);
}

static void lengths_beyond_the_end_are_refused(void **state)
{
    uint8_t bytes[4] = {0};
    struct ha_get get = {bytes, sizeof(bytes), false};

    (void)state;
    assert_non_null(ha_get_bytes(&get, 4));
    assert_non_null(ha_get_bytes(&get, 0)); /* nothing, at the end, is there */
    get = (struct ha_get){bytes, sizeof(bytes), false};
    assert_null(ha_get_bytes(&get, SIZE_MAX));
    assert_null(ha_get_bytes(&get, 1));
}

static void a_writer_grows(void **state)
{
    struct ha_put put = {0};
    struct ha_get get;
    uint8_t block[1000];

    (void)state;
    memset(block, 7, sizeof(block));
    ha_put_bytes(&put, NULL, 0);
    assert_int_equal(put.n, 0);
    for (unsigned i = 0; i < 300; i++) {
        ha_put_u32(&put, i);
        ha_put_bytes(&put, block, sizeof(block));
    }
    assert_int_equal(put.n, 300 * 1004);
    get = (struct ha_get){put.v, put.n, false};
    for (unsigned i = 0; i < 300; i++) {
        assert_int_equal(ha_get_u32(&get), i);
        assert_memory_equal(ha_get_bytes(&get, sizeof(block)), block, sizeof(block));
    }
    ha_put_patch_u32(&put, 1004, 0x01020304);
    get = (struct ha_get){put.v + 1004, 4, false};
    assert_int_equal(ha_get_u32(&get), 0x01020304);
    ha_put_done(&put);
}

static void a_writer_without_memory_does_nothing(void **state)
{
    struct ha_put put = {.failed = true};

    (void)state;
    ha_put_u64(&put, 1);
    ha_put_name(&put, "x");
    ha_put_patch_u32(&put, 0, 1);
    assert_null(put.v);
    assert_int_equal(put.n, 0);
}

/* ------------------------------------------------------------------------------------- names */

static void a_name_is_cut_when_written(void **state)
{
    char in[HA_NAME_MAX * 2], out[HA_NAME_MAX];
    struct ha_put put = {0};
    struct ha_get get;

    (void)state;
    memset(in, 'n', sizeof(in) - 1);
    in[sizeof(in) - 1] = '\0';
    ha_put_name(&put, in);
    ha_put_name(&put, "");
    assert_int_equal(put.n, HA_NAME_MAX + 1);
    get = (struct ha_get){put.v, put.n, false};
    ha_get_name(&get, out);
    assert_int_equal(strlen(out), HA_NAME_MAX - 1);
    ha_get_name(&get, out);
    assert_string_equal(out, "");
    assert_false(get.failed);
    ha_put_done(&put);
}

/* All bytes after a name are zero: names are compared and hashed as whole arrays elsewhere. */
static void a_name_is_padded_with_zeroes(void **state)
{
    static const uint8_t zero[HA_NAME_MAX];
    uint8_t bytes[] = {2, 'a', 'b'};
    struct ha_get get = {bytes, sizeof(bytes), false};
    char out[HA_NAME_MAX];

    (void)state;
    memset(out, 'x', sizeof(out));
    ha_get_name(&get, out);
    assert_memory_equal(out, "ab", 2);
    assert_memory_equal(out + 2, zero, HA_NAME_MAX - 2);
    memset(out, 'x', sizeof(out));
    ha_name_copy(out, "c");
    assert_memory_equal(out + 1, zero, HA_NAME_MAX - 1);
    ha_name_copy(out, out); /* onto itself */
    assert_string_equal(out, "c");
}

static void bad_names_are_refused(void **state)
{
    uint8_t nul_inside[] = {3, 'a', 0, 'b'};
    uint8_t too_long[1 + 255];
    struct ha_get get = {nul_inside, sizeof(nul_inside), false};
    char out[HA_NAME_MAX];

    (void)state;
    ha_get_name(&get, out);
    assert_true(get.failed);
    memset(too_long, 'x', sizeof(too_long));
    for (unsigned len = HA_NAME_MAX; len <= 255; len++) {
        too_long[0] = (uint8_t)len;
        get = (struct ha_get){too_long, sizeof(too_long), false};
        ha_get_name(&get, out);
        assert_true(get.failed);
        assert_string_equal(out, "");
    }
}

/* --------------------------------------------------------------------------------- formatter */

static void the_formatter_knows_its_directives(void **state)
{
    char text[200];

    (void)state;
    ha_say(text, sizeof(text), "%s is lost (loss %u), %d of %lu, 100 %%", "host1", 4294967295u, -7,
           ULONG_MAX);
    assert_string_equal(text, "host1 is lost (loss 4294967295), -7 of 18446744073709551615, 100 %");
    ha_say(text, sizeof(text), "%d %d %u", INT_MIN, INT_MAX, 0u);
    assert_string_equal(text, "-2147483648 2147483647 0");
    ha_say(text, sizeof(text), "%s%s", "", "x");
    assert_string_equal(text, "x");
}

static void the_formatter_cuts_at_every_size(void **state)
{
    static const char whole[] = "guest web-1: 12345678901234567890 of -42";

    (void)state;
    for (size_t size = 1; size <= sizeof(whole) + 3; size++) {
        char *text = malloc(size);
        size_t expected = size <= sizeof(whole) ? size - 1 : sizeof(whole) - 1;

        assert_non_null(text);
        ha_say(text, size, "guest %s: %lu of %d", "web-1", 12345678901234567890UL, -42);
        assert_int_equal(strlen(text), expected);
        assert_memory_equal(text, whole, expected);
        free(text);
    }
}

/* ------------------------------------------------------------------------ hash and comparisons */

/* Vectors of the FNV-1a authors (draft-eastlake-fnv, appendix). */
static void the_hash_is_fnv_1a(void **state)
{
    (void)state;
    assert_true(ha_hash(HA_HASH_START, "", 0) == 0xcbf29ce484222325ULL);
    assert_true(ha_hash(HA_HASH_START, "a", 1) == 0xaf63dc4c8601ec8cULL);
    assert_true(ha_hash(HA_HASH_START, "foobar", 6) == 0x85944171f73967e8ULL);
    assert_true(ha_hash(ha_hash(HA_HASH_START, "foo", 3), "bar", 3) == 0x85944171f73967e8ULL);
}

static void keys_are_ordered_by_epoch_then_index(void **state)
{
    static const struct ha_key sorted[] = {
        {{0, 0}, 0}, {{1, 1}, 1}, {{1, 1}, 2}, {{1, 2}, 1}, {{2, 1}, 1}, {{UINT64_MAX, 1}, 0},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(sorted) / sizeof(*sorted); i++)
        for (size_t j = 0; j < sizeof(sorted) / sizeof(*sorted); j++) {
            int r = ha_key_cmp(sorted[i], sorted[j]);

            assert_int_equal((r > 0) - (r < 0), (i > j) - (i < j));
        }
    assert_true(ha_epoch_cmp((struct ha_epoch){1, 2}, (struct ha_epoch){1, 3}) < 0);
    assert_true(ha_ring_eq((struct ha_ring){1, 4}, (struct ha_ring){1, 4}));
    assert_false(ha_ring_eq((struct ha_ring){1, 4}, (struct ha_ring){2, 4}));
    assert_false(ha_ring_eq((struct ha_ring){1, 4}, (struct ha_ring){1, 8}));
    assert_false(ha_uuid_zero(&uuid));
    assert_true(ha_uuid_zero(&(struct ha_uuid){{0}}));
}

/* A text for people that is too long ends between two words, and says so. */
static void long_texts_end_between_words(void **state)
{
    char text[60];

    (void)state;
    ha_say(text, sizeof(text), "%s",
           "device 'power': off failed: exit code 1: run the agent by hand");
    assert_string_equal(text, "device 'power': off failed: exit code 1: run the agent...");
    ha_say(text, sizeof(text), "%s",
           "device power off failed: aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa");
    assert_int_equal(strlen(text), sizeof(text) - 1);
    assert_string_equal(text + sizeof(text) - 5, "a...");
    ha_say(text, sizeof(text), "%s", "a text of as many bytes as there are: fifty-nine, 1 2 3 4 5");
    assert_string_equal(text, "a text of as many bytes as there are: fifty-nine, 1 2 3 4 5");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(numbers_are_little_endian),
        cmocka_unit_test(what_is_put_comes_back),
        cmocka_unit_test(a_cut_message_fails_at_every_length),
        cmocka_unit_test(lengths_beyond_the_end_are_refused),
        cmocka_unit_test(a_writer_grows),
        cmocka_unit_test(a_writer_without_memory_does_nothing),
        cmocka_unit_test(a_name_is_cut_when_written),
        cmocka_unit_test(a_name_is_padded_with_zeroes),
        cmocka_unit_test(bad_names_are_refused),
        cmocka_unit_test(the_formatter_knows_its_directives),
        cmocka_unit_test(the_formatter_cuts_at_every_size),
        cmocka_unit_test(the_hash_is_fnv_1a),
        cmocka_unit_test(long_texts_end_between_words),
        cmocka_unit_test(keys_are_ordered_by_epoch_then_index),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
