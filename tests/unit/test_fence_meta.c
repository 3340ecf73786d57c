/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Fence agents' metadata: parsing what nobody vouches for, asking agents that misbehave, and the
 * options of a configuration checked by it. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "../../daemon/config.h"
#include "../../daemon/fence_agents.h"

#define XML_HEAD "<?xml version=\"1.0\" ?>\n<resource-agent name=\"fence_x\">"
#define ACTIONS                                                                                    \
    "<actions><action name=\"off\"/><action name=\"on\" automatic=\"0\"/>"                         \
    "<action name=\"status\"/><action name=\"monitor\"/></actions>"
#define PARAMS                                                                                     \
    "<parameters>"                                                                                 \
    "<parameter name=\"action\" required=\"1\"><content type=\"string\" default=\"reboot\"/>"      \
    "</parameter>"                                                                                 \
    "<parameter name=\"ip\" required=\"1\" obsoletes=\"ipaddr\"><content type=\"string\"/>"        \
    "<shortdesc lang=\"en\">Address of\n  the device</shortdesc>"                                  \
    "<shortdesc lang=\"de\">Adresse</shortdesc></parameter>"                                       \
    "<parameter name=\"ipaddr\" required=\"1\" deprecated=\"1\"><content type=\"string\"/>"        \
    "</parameter>"                                                                                 \
    "<parameter name=\"plug\" required=\"1\"><content type=\"string\"/>"                           \
    "<shortdesc>Number of the outlet</shortdesc></parameter>"                                      \
    "<parameter name=\"port_count\"><content type=\"integer\" default=\"8\"/></parameter>"         \
    "<parameter name=\"quiet\"><content type=\"boolean\"/></parameter>"                            \
    "<parameter name=\"password\"><content type=\"string\"/></parameter>"                          \
    "<parameter name=\"method\"><content type=\"select\" default=\"onoff\">"                       \
    "<option value=\"onoff\"/><option value=\"cycle\"/></content></parameter>"                     \
    "</parameters>"
#define GOOD XML_HEAD PARAMS ACTIONS "</resource-agent>\n"

static char folder[] = "/tmp/xvm-ha-meta.XXXXXX";

static struct xvm_fence_meta *parse(const char *xml)
{
    struct xvm_fence_meta *meta = NULL;
    char why[XVM_META_WHY] = "";

    assert_int_equal(xvm_fence_meta_parse(xml, strlen(xml), &meta, why), 0);
    assert_non_null(meta);
    return meta;
}

static void test_good(void **state)
{
    struct xvm_fence_meta *meta = parse("\n\n" GOOD);
    const struct xvm_meta_param *p;

    (void)state;
    assert_string_equal(meta->agent, "fence_x");
    assert_int_equal(meta->nparams, 8);
    assert_int_equal(meta->actions,
                     XVM_META_OFF | XVM_META_ON | XVM_META_STATUS | XVM_META_MONITOR);
    p = xvm_fence_meta_param(meta, "ip");
    assert_true(p->required && !p->deprecated);
    assert_string_equal(p->text, "Address of the device");
    assert_ptr_equal(xvm_fence_meta_successor(meta, "ipaddr"), p);
    assert_null(xvm_fence_meta_successor(meta, "ip"));
    p = xvm_fence_meta_param(meta, "method");
    assert_int_equal(p->nchoices, 2);
    assert_string_equal(p->choices[1], "cycle");
    assert_string_equal(p->fallback, "onoff");
    assert_null(xvm_fence_meta_param(meta, "nothing"));
    xvm_fence_meta_free(meta);
}

static void test_nonsense(void **state)
{
    static const struct {
        const char *xml, *why;
    } bad[] = {
        {"", "says nothing"},
        {" \n\t", "says nothing"},
        {"usage: fence_x <node>", "not XML"},
        {"<html><body/></html>", "resource-agent"},
        {XML_HEAD PARAMS, "not XML"},
        {XML_HEAD PARAMS "</resource-agent>", "names no action"},
        {XML_HEAD "<parameters><parameter/></parameters></resource-agent>", "without a name"},
        {XML_HEAD "<parameters><parameter name=\"a\"/><parameter name=\"a\"/></parameters>"
                  "</resource-agent>",
         "twice"},
        {"<!DOCTYPE a [<!ENTITY x \"y\">]><resource-agent>&x;</resource-agent>", "document type"},
        {"<resource-agent>\xff\xfe</resource-agent>", "not XML"},
    };
    struct xvm_fence_meta *meta = NULL;
    char why[XVM_META_WHY];

    (void)state;
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        assert_int_equal(xvm_fence_meta_parse(bad[i].xml, strlen(bad[i].xml), &meta, why),
                         -EBADMSG);
        if (strstr(why, bad[i].why) == NULL)
            fail_msg("`%s` does not say `%s`", why, bad[i].why);
        assert_null(meta);
    }
}

static void test_limits(void **state)
{
    size_t size = 2 * XVM_META_SIZE_MAX, n = 0;
    char *xml = malloc(size), why[XVM_META_WHY];
    struct xvm_fence_meta *meta = NULL;

    (void)state;
    assert_non_null(xml);
    memset(xml, ' ', size);
    memcpy(xml, "<a>", 3);
    assert_int_equal(xvm_fence_meta_parse(xml, size, &meta, why), -EBADMSG);
    for (int i = 0; i < 100; i++)
        n += (size_t)sprintf(xml + n, i == 0 ? "<resource-agent>" : "<a>");
    assert_int_equal(xvm_fence_meta_parse(xml, n, &meta, why), -EBADMSG);
    assert_non_null(strstr(why, "nested"));
    n = (size_t)sprintf(xml, "<resource-agent><parameters>");
    for (int i = 0; i <= XVM_META_PARAMS_MAX; i++)
        n += (size_t)sprintf(xml + n, "<parameter name=\"p%d\"/>", i);
    assert_int_equal(xvm_fence_meta_parse(xml, n, &meta, why), -EBADMSG);
    assert_non_null(strstr(why, "too many"));
    free(xml);
}

/* Every prefix and every text with one byte changed: an answer, and no crash. */
static void test_damaged(void **state)
{
    static const char xml[] = GOOD;
    struct xvm_fence_meta *meta = NULL;
    char copy[sizeof(xml)], why[XVM_META_WHY];

    (void)state;
    for (size_t n = 0; n < sizeof(xml); n++) {
        if (xvm_fence_meta_parse(xml, n, &meta, why) == 0)
            meta = xvm_fence_meta_free(meta);
        memcpy(copy, xml, sizeof(xml));
        copy[n] = (char)(copy[n] ^ 0x15);
        if (xvm_fence_meta_parse(copy, sizeof(xml) - 1, &meta, why) == 0)
            meta = xvm_fence_meta_free(meta);
    }
}

/* -------------------------------------------------------------------------------------- agents */

static const char *in_folder(const char *name)
{
    static char path[256];

    snprintf(path, sizeof(path), "%s/%s", folder, name);
    return path;
}

static void put_agent(const char *name, const char *body, mode_t mode)
{
    FILE *f = fopen(in_folder(name), "w");

    assert_non_null(f);
    fprintf(f, "#!/bin/sh\n%s\n", body);
    fclose(f);
    assert_int_equal(chmod(in_folder(name), mode), 0);
}

static void expect_agent(const char *name, int r, const char *why_part)
{
    const struct xvm_agents_env env = {.dir = folder, .limit_ms = 1500, .run = true};
    struct xvm_fence_agents *agents = xvm_fence_agents_new(&env);
    const struct xvm_fence_meta *meta;
    char why[XVM_META_WHY] = "";

    assert_int_equal(xvm_fence_agents_get(agents, name, &meta, why), r);
    /* and the second time without asking */
    assert_int_equal(xvm_fence_agents_get(agents, name, &meta, why), r);
    if (strstr(why, why_part) == NULL)
        fail_msg("`%s` does not say `%s`", why, why_part);
    xvm_fence_agents_free(agents);
}

#define TALKS "read -r line; [ \"$line\" = action=metadata ] || exit 3\ncat <<'E'\n" GOOD "E"

static void test_agents(void **state)
{
    (void)state;
    put_agent("fence_good", TALKS, 0755);
    put_agent("fence_plain", TALKS, 0644);
    put_agent("fence_angry", "exit 7", 0755);
    put_agent("fence_html", "echo '<html/>'", 0755);
    put_agent("fence_mute", "exit 0", 0755);
    put_agent("fence_hangs", "sleep 100 & exec sleep 100", 0755);
    put_agent("fence_forks", "sleep 100 & echo '<resource-agent>'", 0755);
    put_agent("fence_spews", "while :; do echo xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx; done", 0755);
    put_agent("fence_killed", "kill -9 $$", 0755);
    expect_agent("fence_good", 0, "");
    expect_agent("fence_plain", -ENOENT, "no program");
    expect_agent("fence_missing", -ENOENT, "no such agent");
    expect_agent("fence_angry", -EBADMSG, "exit code 7");
    expect_agent("fence_html", -EBADMSG, "resource-agent");
    expect_agent("fence_mute", -EBADMSG, "says nothing");
    expect_agent("fence_hangs", -ETIMEDOUT, "did not answer");
    expect_agent("fence_forks", -ETIMEDOUT, "did not answer");
    expect_agent("fence_killed", -EBADMSG, "status 9");
    /* more than anybody needs: read up to the limit, then ended */
    const struct xvm_agents_env env = {.dir = folder, .limit_ms = 10000, .run = true};
    struct xvm_fence_agents *agents = xvm_fence_agents_new(&env);
    const struct xvm_fence_meta *meta;
    char why[XVM_META_WHY];
    assert_true(xvm_fence_agents_get(agents, "fence_spews", &meta, why) < 0);
    xvm_fence_agents_free(agents);
}

static void test_kept(void **state)
{
    char cache[128];
    struct xvm_agents_env env = {.dir = folder, .cache_dir = cache, .limit_ms = 5000};
    const struct xvm_fence_meta *meta;
    char why[XVM_META_WHY];

    (void)state;
    snprintf(cache, sizeof(cache), "%s/cache", folder);
    put_agent("fence_kept", "echo x >>\"$0.calls\"\n" TALKS, 0755);
    for (int i = 0; i < 5; i++) {
        /* not asked yet; asked; kept; changed, so not known; asked again */
        static const int expected[] = {-ENODATA, 0, 0, -ENODATA, 0};
        struct xvm_fence_agents *agents;

        if (i == 3)
            put_agent("fence_kept", "echo x >>\"$0.calls\"\n# new\n" TALKS, 0755);
        env.run = i == 1 || i == 4;
        agents = xvm_fence_agents_new(&env);
        assert_int_equal(xvm_fence_agents_get(agents, "fence_kept", &meta, why), expected[i]);
        xvm_fence_agents_free(agents);
    }
    struct stat st;
    assert_int_equal(stat(in_folder("fence_kept.calls"), &st), 0);
    assert_int_equal(st.st_size, 4); /* asked twice */
    /* what others could have written is not believed */
    char name[512];
    snprintf(name, sizeof(name), "%s/%s%%fence_kept.xml", cache, folder + 1);
    for (char *c = name + strlen(cache) + 1; *c != '\0'; c++)
        *c = *c == '/' ? '%' : *c;
    assert_int_equal(chmod(name, 0666), 0);
    env.run = false;
    struct xvm_fence_agents *agents = xvm_fence_agents_new(&env);
    assert_int_equal(xvm_fence_agents_get(agents, "fence_kept", &meta, why), -ENODATA);
    xvm_fence_agents_free(agents);
}

/* --------------------------------------------------------------------------------- configuration
 */

static void check_config(const char *devices, const char *host, bool strict, const char *expected)
{
    const struct xvm_config_agents agents = {.env = {.dir = folder, .limit_ms = 5000, .run = true},
                                             .strict = strict};
    struct xvm_config_errors errors = {0};
    struct ha_config *config = NULL;
    FILE *f = fopen(in_folder("x.yaml"), "w");
    bool found = false;

    assert_non_null(f);
    fprintf(f,
            "cluster: {name: demo}\ndriver: process\nprocess: {shared_dir: /tmp}\n"
            "fence_devices:\n%s\nhosts:\n  host1: {id: 1, %s}\nguests: {}\n",
            devices, host);
    fclose(f);
    int r = xvm_config_load_checked(in_folder("x.yaml"), NULL, &agents, &config, &errors);
    for (size_t i = 0; i < errors.n; i++) {
        char line[600];

        snprintf(line, sizeof(line), "%u:%u: %s%s", errors.v[i].line, errors.v[i].column,
                 errors.v[i].code == 0 ? "warning: " : "", errors.v[i].text);
        found = found || strncmp(line, expected, strlen(expected)) == 0;
    }
    if (!found && (expected[0] != '\0' || r < 0)) {
        xvm_config_errors_print(&errors, stderr);
        fail_msg("nobody says `%s`", expected);
    }
    if (expected[0] == '\0')
        assert_true(config->devices[0].verify);
    xvm_config_errors_done(&errors);
    xvm_config_free(config);
}

static void test_options(void **state)
{
    static const struct {
        const char *device, *host, *expected;
    } cases[] = {
        {"  a: {agent: fence_good, options: {ip: x, plug: 1}}", "fence: a", ""},
        {"  a: {agent: fence_good, options: {ip: x}}", "fence: a, options: {plug: 1}", ""},
        {"  a: {agent: fence_good, options: {ipp: x, plug: 1}}", "fence: a",
         "5:36: fence_x has no option `ipp`, expected `ip`? (Address of the device)"},
        {"  a: {agent: fence_good, options: {ip: x, xylophone: 1}}", "fence: a",
         "5:43: fence_x has no option `xylophone`, expected one of those"},
        {"  a: {agent: fence_good, options: {ip: x}}", "fence: a",
         "7:3: fence device a (fence_x) has no option `plug` for host host1, expected it among the "
         "options of the device or of the host (Number of the outlet)"},
        {"  a: {agent: fence_good, options: {plug: 1}}", "fence: a",
         "7:3: fence device a (fence_x) has no option `ip`"},
        {"  a: {agent: fence_good, options: {ipaddr: x, plug: 1}}", "fence: a",
         "5:36: warning: option `ipaddr` is an old name in fence_x, better: `ip`"},
        {"  a: {agent: fence_good, options: {ip: x, plug: 1, port_count: many}}", "fence: a",
         "5:52: option `port_count` is `many`, expected a number"},
        {"  a: {agent: fence_good, options: {ip: x, plug: 1, quiet: 7}}", "fence: a",
         "5:52: option `quiet` is `7`, expected 1 or 0"},
        {"  a: {agent: fence_good, options: {ip: x, plug: 1, method: off-on}}", "fence: a",
         "5:52: option `method` is `off-on`, expected one of: onoff cycle"},
        {"  a: {agent: fence_good, options: {ip: x, plug: 1, method: cycle}}", "fence: a",
         "5:52: option `method` is `cycle`, expected `onoff`"},
        {"  a: {agent: fence_good, options: {ip: x}}", "fence: a, options: {plug: 1, plugg: 2}",
         "7:47: fence_x has no option `plugg`, expected `plug`?"},
        {"  a: {agent: fence_html}", "fence: a", "5:6: agent `fence_html`: the outer element"},
        {"  a: {agent: fence_missing}", "fence: a",
         "5:6: agent `fence_missing`: there is no such agent on this host"},
        {"  a: {agent: fence_noff}", "fence: a", "5:6: agent `fence_noff` has no action off"},
        {"  a: {agent: fence_nostatus, verify: true}", "fence: a",
         "5:38: warning: `verify: true`, but fence_nostatus has no action status"},
    };

    (void)state;
    put_agent("fence_good", TALKS, 0755);
    put_agent("fence_html", "echo '<html/>'", 0755);
    put_agent(
        "fence_noff",
        "echo '<resource-agent><actions><action name=\"reboot\"/></actions></resource-agent>'",
        0755);
    put_agent("fence_nostatus",
              "echo '<resource-agent><actions><action name=\"off\"/></actions></resource-agent>'",
              0755);
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
        check_config(cases[i].device, cases[i].host, true, cases[i].expected);
    /* a daemon that starts goes on without an agent, and says so */
    check_config("  a: {agent: fence_missing}", "fence: a", false,
                 "5:6: warning: agent `fence_missing`: there is no such agent on this host");
}

static int make_folder(void **state)
{
    (void)state;
    return mkdtemp(folder) == NULL ? -1 : 0;
}

static int remove_folder(void **state)
{
    char command[64];

    (void)state;
    snprintf(command, sizeof(command), "rm -rf %s", folder);
    return system(command);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_good),    cmocka_unit_test(test_nonsense),
        cmocka_unit_test(test_limits),  cmocka_unit_test(test_damaged),
        cmocka_unit_test(test_agents),  cmocka_unit_test(test_kept),
        cmocka_unit_test(test_options),
    };

    return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
