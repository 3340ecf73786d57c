/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Domains as facts: there and back as JSON, whose they are, records, and definitions. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "../../daemon/definitions.h"
#include "../../daemon/domain_facts.h"

static const struct ha_uuid some = {{1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16}};

static void test_json_there_and_back(void **state)
{
    struct xvm_domain back, d = {.domid = 32751,
                                 .uuid = some,
                                 .name = "web--incoming-18446744073709551615",
                                 .guest = "web",
                                 .inc = UINT64_MAX,
                                 .mig = 9007199254740993, /* JSON numbers need not hold it */
                                 .paused = true,
                                 .end = XVM_END_SOFT_RESET,
                                 .writers = true};
    (void)state;
    json_t *json = xvm_domain_json(&d);
    assert_non_null(json);
    memset(&back, 0, sizeof(back));
    assert_int_equal(xvm_domain_parse(json, &back), 0);
    assert_memory_equal(&back, &d, sizeof(d));
    json_decref(json);
    d = (struct xvm_domain){.domid = 1, .gone = true};
    json = xvm_domain_json(&d);
    assert_int_equal(xvm_domain_parse(json, &back), 0);
    assert_memory_equal(&back, &d, sizeof(d));
    json_decref(json);
}

static void test_json_nonsense(void **state)
{
    struct xvm_domain d = {.domid = 5, .guest = "web"}, back;
    static const struct {
        const char *key, *value;
    } wrongs[] = {{"domid", "0"},
                  {"domid", "\"5\""},
                  {"uuid", "\"xyz\""},
                  {"gone", "1"},
                  {"name", "null"},
                  {"tag", "{}"},
                  {"tag", "7"},
                  {"tag", "{\"guest\": \"web\", \"inc\": \"-1\", \"mig\": \"0\"}"},
                  {"tag", "{\"guest\": \"web\", \"inc\": \"1x\", \"mig\": \"0\"}"}};
    (void)state;
    for (size_t i = 0; i < sizeof(wrongs) / sizeof(wrongs[0]); i++) {
        json_t *json = xvm_domain_json(&d);
        json_object_set_new(json, wrongs[i].key,
                            json_loads(wrongs[i].value, JSON_DECODE_ANY, NULL));
        assert_int_equal(xvm_domain_parse(json, &back), -EBADMSG);
        json_decref(json);
    }
}

static void test_records(void **state)
{
    char dir_name[] = "/tmp/xvm-record-test.XXXXXX", path[64];
    static const struct xvm_domain_record record = {
        .uuid = {{1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16}},
        .domid = 7,
        .inc = UINT64_MAX,
        .mig = 3,
        .ending = true};
    struct xvm_domain_record back;
    (void)state;
    assert_non_null(mkdtemp(dir_name));
    int dir = open(dir_name, O_RDONLY | O_DIRECTORY);
    assert_int_equal(xvm_record_read(dir, &back), -ENOENT);
    assert_int_equal(xvm_record_write(dir, &record), 0);
    memset(&back, 0, sizeof(back));
    assert_int_equal(xvm_record_read(dir, &back), 0);
    assert_memory_equal(&back, &record, sizeof(record));
    snprintf(path, sizeof(path), "%s/domain", dir_name);
    assert_int_equal(truncate(path, 60), 0); /* torn */
    assert_int_equal(xvm_record_read(dir, &back), -EBADMSG);
    xvm_record_remove(dir);
    assert_int_equal(xvm_record_read(dir, &back), -ENOENT);
    close(dir);
    assert_int_equal(rmdir(dir_name), 0);
}

static unsigned heard;

static void on_changed(void *user, const char *guest, const void *bytes, size_t len, bool here)
{
    assert_string_equal(guest, "web");
    assert_non_null(bytes);
    assert_true(len > 0);
    assert_true(here);
    heard += user != NULL;
}

static void test_definitions(void **state)
{
    static const char good[] =
        "{\"xvm-ha-definition\": 1, \"guest\": \"web\", \"uuid\": "
        "\"00000001-7ab0-4000-8000-000000000001\", \"name\": \"w\", \"type\": \"pv\", "
        "\"memory_kib\": 102400, \"vcpus\": 2, \"hardware\": false, \"config\": {}}";
    static const char *const wrongs[][2] = {{": 1,", ": 2,"},
                                            {"\"web\"", "\"other\""},
                                            {"\"pv\"", "\"lxc\""},
                                            {"102400", "0"},
                                            {"\"vcpus\": 2", "\"vcpus\": -2"},
                                            {"{}}", "[]}"},
                                            {"}}", "}"},
                                            {"7ab0", "zzzz"}};
    char dir[] = "/tmp/xvm-definitions-test.XXXXXX", command[64], text[512];
    struct xvm_definitions *d = NULL;
    struct xvm_definition facts;
    struct ha_error error;
    (void)state;
    assert_non_null(mkdtemp(dir));
    assert_int_equal(xvm_definitions_new(dir, &d), 0);
    assert_int_equal(xvm_definitions_listen(d, on_changed, d), 0);
    assert_int_equal(xvm_definitions_facts(d, "web", &facts), -ENOENT);
    assert_int_equal(xvm_definitions_put(d, "web", good, strlen(good), true, &error), 0);
    assert_int_equal(heard, 1);
    assert_int_equal(xvm_definitions_put(d, "web", good, strlen(good), true, &error), 0);
    assert_int_equal(heard, 1); /* nothing new */
    assert_int_equal(xvm_definitions_facts(d, "web", &facts), 0);
    assert_int_equal(facts.memory_kib, 102400);
    assert_int_equal(facts.vcpus, 2);
    assert_string_equal(facts.name, "w");
    assert_non_null(xvm_definition_not_live(&facts, false, true));
    assert_null(xvm_definition_not_live(&facts, true, true));
    facts.type = XVM_TYPE_PVH;
    assert_null(xvm_definition_not_live(&facts, false, true));
    facts.hardware = true;
    assert_non_null(xvm_definition_not_live(&facts, true, true));
    for (size_t i = 0; i < sizeof(wrongs) / sizeof(wrongs[0]); i++) {
        const char *at = strstr(good, wrongs[i][0]);
        assert_non_null(at);
        snprintf(text, sizeof(text), "%.*s%s%s", (int)(at - good), good, wrongs[i][1],
                 at + strlen(wrongs[i][0]));
        error.text[0] = '\0';
        assert_int_equal(xvm_definitions_put(d, "web", text, strlen(text), true, &error), -EBADMSG);
        assert_true(error.text[0]);
    }
    assert_null(xvm_definitions_path(d, "../etc/passwd"));
    assert_int_equal(xvm_definitions_facts(d, "web", &facts), 0); /* the good one stayed */
    assert_int_equal(heard, 1);
    xvm_definitions_free(d);
    snprintf(command, sizeof(command), "rm -rf '%s'", dir);
    assert_int_equal(system(command), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_json_there_and_back),
        cmocka_unit_test(test_json_nonsense),
        cmocka_unit_test(test_records),
        cmocka_unit_test(test_definitions),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
