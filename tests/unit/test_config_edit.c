/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Guests into the text of a configuration file, and out of it: nothing else changes. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "daemon/config_edit.h"

static const char file[] = "# our cluster\n"
                           "cluster: {name: here} # the name\n"
                           "hosts:\n"
                           "  host1: {id: 1}\n"
                           "\n"
                           "# the guests\n"
                           "guests:\n"
                           "  # the shop: ask Ann\n"
                           "  # before you touch it\n"
                           "  web1:\n"
                           "    memory: 2G   # enough\n"
                           "    # priority: 5\n"
                           "\n"
                           "    hosts:\n"
                           "    - host1\n"
                           "\n"
                           "  # the database\n"
                           "  db1: {memory: 4G,\n"
                           "        priority: 900}\n"
                           "\n"
                           "  last: {memory: 1G}\n"
                           "# rules\n"
                           "rules: []\n";

static void expect_add(const char *before, const char *fragment, const char *after)
{
    struct xvm_edit edit = {0};
    struct ha_error error;
    int r = xvm_edit_add(before, strlen(before), fragment, strlen(fragment), &edit, &error);

    if (r < 0)
        fail_msg("%s", error.text);
    assert_string_equal(edit.text, after);
    assert_int_equal(edit.len, strlen(after));
    xvm_edit_done(&edit);
}

static void expect_remove(const char *before, const char *guest, const char *after)
{
    struct xvm_edit edit = {0};
    struct ha_error error;
    int r = xvm_edit_remove(before, strlen(before), guest, &edit, &error);

    if (r < 0)
        fail_msg("%s", error.text);
    assert_string_equal(edit.text, after);
    xvm_edit_done(&edit);
}

static void expect_refused(const char *before, const char *fragment, int code, const char *word)
{
    struct xvm_edit edit = {0};
    struct ha_error error = {0};
    int r = xvm_edit_add(before, strlen(before), fragment, strlen(fragment), &edit, &error);

    assert_int_equal(r, code);
    assert_null(edit.text);
    if (!strstr(error.text, word))
        fail_msg("`%s` is not in: %s", word, error.text);
}

/* What was found in `text`, with one piece replaced. */
static char *with(const char *text, const char *piece, const char *other)
{
    const char *at = strstr(text, piece);
    char *all = NULL;

    assert_non_null(at);
    assert_true(asprintf(&all, "%.*s%s%s", (int)(at - text), text, other, at + strlen(piece)) > 0);
    return all;
}

static void test_add(void **state)
{
    char *after = with(file, "  last: {memory: 1G}\n",
                       "  last: {memory: 1G}\n  new:\n    memory: 8G # all of it\n");

    (void)state;
    expect_add(file, "new:\n  memory: 8G # all of it\n", after);
    expect_add(file, "guests:\n    new:\n      memory: 8G # all of it\n\n", after);
    expect_add(file, "---\nnew:\n  memory: 8G # all of it", after);
    free(after);
    after = with(file, "  last: {memory: 1G}\n",
                 "  last: {memory: 1G}\n  # a note\n  a: {memory: 8G}\n  b: {memory: 9G}\n");
    expect_add(file, "# a note\na: {memory: 8G}\nb: {memory: 9G}\n", after);
    free(after);
}

static void test_add_first(void **state)
{
    static const char new[] = "new: {memory: 8G}\n";

    (void)state;
    expect_add("a: 1\nguests: {} # none yet\nb: 2\n", new,
               "a: 1\nguests: # none yet\n  new: {memory: 8G}\nb: 2\n");
    expect_add("a: 1\nguests: ~\nb: 2\n", new, "a: 1\nguests:\n  new: {memory: 8G}\nb: 2\n");
    expect_add("a: 1\nguests:\nb: 2\n", new, "a: 1\nguests:\n  new: {memory: 8G}\nb: 2\n");
    expect_add("a: 1\nguests:", new, "a: 1\nguests:\n  new: {memory: 8G}\n");
    expect_add("a: 1\nb: 2", new, "a: 1\nb: 2\nguests:\n  new: {memory: 8G}\n");
    expect_add("guests:\n    old: {memory: 1G}", new,
               "guests:\n    old: {memory: 1G}\n    new: {memory: 8G}\n");
    expect_add("guests:\n  old:\n    text: |\n      one\n\n      two\nb: 2\n", new,
               "guests:\n  old:\n    text: |\n      one\n\n      two\n  new: {memory: 8G}\nb: 2\n");
    expect_add("guests:\n  \xc3\xa4: {t: \xe2\x82\xac}\n", "\xc3\xb6:\n  t: \"\xe2\x82\xac\"\n",
               "guests:\n  \xc3\xa4: {t: \xe2\x82\xac}\n  \xc3\xb6:\n    t: \"\xe2\x82\xac\"\n");
    expect_add("guests:\n  old: {memory: 1G}\n", "new:\n  text: |\n    one\n     two\n  b: 1\n",
               "guests:\n  old: {memory: 1G}\n  new:\n    text: |\n      one\n       two\n"
               "    b: 1\n");
}

static void test_add_refused(void **state)
{
    (void)state;
    expect_refused(file, "db1: {memory: 8G}\n", -EEXIST, "db1 is in the configuration already");
    expect_refused(file, "a: {memory: 8G}\na: {memory: 8G}\n", -EEXIST, "a twice");
    expect_refused(file, "{new: {memory: 8G}}\n", -EINVAL, "not a guest");
    expect_refused(file, "", -EINVAL, "not a guest");
    expect_refused(file, "- new\n", -EINVAL, "not a guest");
    expect_refused(file, "new: {memory: 8G\n", -EINVAL, "expected");
    expect_refused(file, "new: *other\n", -EINVAL, "alias");
    /* whose is the comment? and what is anchored might be meant elsewhere */
    expect_refused("guests: {old: {memory: 1G}, # mine\n  b: {m: 1}}\n", "new: {memory: 8G}\n",
                   -EINVAL, "write each guest on a line of its own");
    expect_refused("guests: &all {old: {memory: 1G}}\n", "new: {memory: 8G}\n", -EINVAL, "braces");
    expect_refused("guests: {\"old\":{m: 1}}\n", "new: {memory: 8G}\n", -EINVAL, "braces");
    expect_refused("guests: # mine\n  {old: {m: 1}}\n", "new: {memory: 8G}\n", -EINVAL, "braces");
    expect_refused("{guests: {old: {memory: 1G}}}\n", "new: {memory: 8G}\n", -EINVAL, "by hand");
    expect_refused("a: [\n", "new: {memory: 8G}\n", -EINVAL, "");
    /* an anchor of the same name would change what an alias below it means */
    expect_refused("a: &x 1\nguests:\n  old: {m: 1}\nb: *x\n", "new: &x {memory: 8G}\n", -EINVAL,
                   "by hand");
}

/* Guests in braces are put on lines of their own, and then it is a file like others. */
static void test_braces(void **state)
{
    static const char new[] = "new: {memory: 8G}\n";
    static const char tricky[] =
        "a: 1\nguests: {web1: {memory: 2G, t: 'it''s, {x}'}, \"b, c\": {t: \"\\\"}, \",\n"
        "    u: it's # one, {\n    , v: [1, {w: 2}]}, } # all\nb: 2\n";
    struct xvm_edit edit = {0};
    struct ha_error error;

    (void)state;
    expect_add("guests: {old: {memory: 1G}}\n", new,
               "guests:\n  old: {memory: 1G}\n  new: {memory: 8G}\n");
    expect_add("guests:\n  {old: {memory: 1G},\n   b: {m: 1}}\nc: 1", new,
               "guests:\n  old: {memory: 1G}\n  b: {m: 1}\n  new: {memory: 8G}\nc: 1");
    expect_add(tricky, new,
               "a: 1\nguests: # all\n  web1: {memory: 2G, t: 'it''s, {x}'}\n"
               "  \"b, c\": {t: \"\\\"}, \",\n          u: it's # one, {\n"
               "          , v: [1, {w: 2}]}\n"
               "  new: {memory: 8G}\nb: 2\n");
    expect_remove("guests: {old: {memory: 1G}, b: {m: 1}}\nc: 2\n", "old",
                  "guests:\n  b: {m: 1}\nc: 2\n");
    expect_remove("guests: {old: {memory: 1G}}\nc: 2\n", "old", "guests:\nc: 2\n");
    assert_int_equal(xvm_edit_export("guests: {old: {memory: 1G}}", 27, "old", &edit, &error), 0);
    assert_string_equal(edit.text, "old: {memory: 1G}\n");
    xvm_edit_done(&edit);
}

static void test_remove(void **state)
{
    char *after = with(file,
                       "  # the shop: ask Ann\n"
                       "  # before you touch it\n"
                       "  web1:\n"
                       "    memory: 2G   # enough\n"
                       "    # priority: 5\n"
                       "\n"
                       "    hosts:\n"
                       "    - host1\n",
                       "");

    (void)state;
    expect_remove(file, "web1", after);
    free(after);
    after = with(file, "  # the database\n  db1: {memory: 4G,\n        priority: 900}\n", "");
    expect_remove(file, "db1", after);
    free(after);
    after = with(file, "  last: {memory: 1G}\n", "");
    expect_remove(file, "last", after);
    free(after);
    expect_remove("guests:\n  a: {m: 1}\nb: 2\n", "a", "guests:\nb: 2\n");
    expect_remove("guests:\n  a:\n    m: 1\n# odd\n    n: 2\n  b: 2\n", "a", "guests:\n  b: 2\n");
}

static void test_remove_refused(void **state)
{
    static const char anchored[] = "guests:\n  a: &a {m: 1}\n  b: *a\n";
    struct xvm_edit edit = {0};
    struct ha_error error;

    (void)state;
    assert_int_equal(xvm_edit_remove(file, strlen(file), "nosuch", &edit, &error), -ENOENT);
    assert_non_null(strstr(error.text, "nosuch"));
    assert_int_equal(xvm_edit_remove(anchored, strlen(anchored), "a", &edit, &error), -EINVAL);
    assert_non_null(strstr(error.text, "alias"));
    assert_null(edit.text);
}

static void test_export(void **state)
{
    static const char aliased[] = "x: &a {m: 1}\nguests:\n  b: *a\n";
    static const char *const names[] = {"web1", "db1", "last"};
    struct xvm_edit part = {0}, without = {0}, again = {0}, back = {0};
    struct ha_error error;

    (void)state;
    for (size_t i = 0; i < 3; i++) {
        assert_int_equal(xvm_edit_export(file, strlen(file), names[i], &part, &error), 0);
        assert_int_equal(xvm_edit_remove(file, strlen(file), names[i], &without, &error), 0);
        assert_int_equal(
            xvm_edit_add(without.text, without.len, part.text, part.len, &again, &error), 0);
        assert_int_equal(xvm_edit_export(again.text, again.len, names[i], &back, &error), 0);
        assert_string_equal(back.text, part.text);
        xvm_edit_done(&part);
        xvm_edit_done(&without);
        xvm_edit_done(&again);
        xvm_edit_done(&back);
    }
    assert_int_equal(xvm_edit_export(file, strlen(file), "web1", &part, &error), 0);
    assert_string_equal(part.text, "# the shop: ask Ann\n# before you touch it\nweb1:\n"
                                   "  memory: 2G   # enough\n  # priority: 5\n\n  hosts:\n"
                                   "  - host1\n");
    xvm_edit_done(&part);
    assert_int_equal(xvm_edit_export(aliased, strlen(aliased), "b", &part, &error), -EINVAL);
}

/* Where a mistake in the fragment will be found in the whole. */
static void test_lines(void **state)
{
    static const char fragment[] = "\n# note\nnew:\n  memory: 8G\n";
    struct xvm_edit edit = {0};
    struct ha_error error;

    (void)state;
    assert_int_equal(
        xvm_edit_add(file, strlen(file), fragment, strlen(fragment), &edit, &error), 0);
    assert_int_equal(edit.first, 22);
    assert_int_equal(edit.n, 3);
    assert_int_equal(edit.from, 2);
    assert_string_equal(edit.guest, "new");
    xvm_edit_done(&edit);
    assert_int_equal(xvm_edit_add(file, strlen(file), "a: [\n", 5, &edit, &error), -EINVAL);
    assert_int_equal(error.code, 1);
    assert_true(error.line > 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_add),     cmocka_unit_test(test_add_first),
        cmocka_unit_test(test_add_refused), cmocka_unit_test(test_braces),
        cmocka_unit_test(test_remove),
        cmocka_unit_test(test_remove_refused), cmocka_unit_test(test_export),
        cmocka_unit_test(test_lines),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
