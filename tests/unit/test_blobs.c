/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Bytes by their hash: kept while anybody needs them, deleted some time after. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "daemon/blobs.h"
#include "libha/wire.h"

enum { KEEP = 1000 };

struct world {
    char dir[64];
    struct xvm_blobs *blobs;
    struct ha_uuid needed; /* the only one */
};

static int setup(void **state)
{
    static struct world w;

    w = (struct world){.dir = "/tmp/xvm-blobs-XXXXXX"};
    assert_non_null(mkdtemp(w.dir));
    assert_int_equal(xvm_blobs_new(w.dir, &w.blobs), 0);
    *state = &w;
    return 0;
}

static int teardown(void **state)
{
    struct world *w = *state;
    char command[128];

    w->blobs = xvm_blobs_free(w->blobs);
    snprintf(command, sizeof(command), "rm -rf '%s'", w->dir);
    return system(command);
}

static bool needed(void *user, const struct ha_uuid *hash)
{
    const struct world *w = user;

    return ha_uuid_eq(&w->needed, hash);
}

static struct ha_uuid put(struct world *w, const char *text)
{
    struct ha_uuid hash;

    assert_int_equal(xvm_blobs_put(w->blobs, text, strlen(text), &hash), 0);
    return hash;
}

static size_t sweep(struct world *w, ha_ms now)
{
    return xvm_blobs_sweep(w->blobs, needed, w, now, KEEP);
}

static void test_unneeded(void **state)
{
    struct world *w = *state;
    struct ha_uuid old = put(w, "old"), present = put(w, "present");

    w->needed = present;
    assert_int_equal(sweep(w, 5000), 0); /* needed until now, for all we know */
    assert_int_equal(sweep(w, 5999), 0);
    assert_int_equal(sweep(w, 6000), 1);
    assert_false(xvm_blobs_have(w->blobs, &old));
    assert_true(xvm_blobs_have(w->blobs, &present));
    assert_int_equal(sweep(w, 60000), 0);
}

/* A file that is pushed back to what it was: the same bytes are needed again. */
static void test_needed_again(void **state)
{
    struct world *w = *state;
    struct ha_uuid a = put(w, "a"), b = put(w, "b");
    void *bytes = NULL;
    size_t len = 0;

    w->needed = b;
    assert_int_equal(sweep(w, 5000), 0);
    w->needed = a;
    assert_int_equal(sweep(w, 5900), 0);
    w->needed = b;
    assert_int_equal(sweep(w, 6500), 0); /* its time began anew */
    assert_int_equal(sweep(w, 7400), 0);
    assert_int_equal(sweep(w, 7500), 1);
    assert_false(xvm_blobs_have(w->blobs, &a));
    /* brought, or asked for, though no fact is there yet */
    w->needed = (struct ha_uuid){{0}};
    assert_int_equal(sweep(w, 8000), 0);
    put(w, "b");
    assert_int_equal(sweep(w, 9500), 0);
    assert_int_equal(xvm_blobs_get(w->blobs, &b, &bytes, &len), 0);
    free(bytes);
    assert_int_equal(sweep(w, 20000), 0);
    assert_true(xvm_blobs_have(w->blobs, &b));
    assert_int_equal(sweep(w, 30000), 0);
    assert_int_equal(sweep(w, 31000), 1);
}

/* What is no blob is nobody's to delete; what was made of a guest's file is remembered. */
static void test_others(void **state)
{
    struct world *w = *state;
    struct ha_uuid a = put(w, "a"), made;

    assert_int_equal(xvm_blobs_set_made(w->blobs, "web1", &a), 0);
    assert_int_equal(sweep(w, 0), 0);
    assert_int_equal(sweep(w, 100000), 1);
    made = xvm_blobs_made(w->blobs, "web1");
    assert_true(ha_uuid_eq(&made, &a));
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_unneeded, setup, teardown),
        cmocka_unit_test_setup_teardown(test_needed_again, setup, teardown),
        cmocka_unit_test_setup_teardown(test_others, setup, teardown),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
