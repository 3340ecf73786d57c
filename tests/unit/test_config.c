/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The configuration loader: the example that ships, every kind of mistake (config-bad/, each file
 * with the errors it must give), secrets, modes, and input that is no configuration at all. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <dirent.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "../../daemon/config.h"
#include "../../libha/ha.h"

static const struct xvm_ring_facts three_hosts = {.token_ms = 3650, .consensus_ms = 4380};

static char temporary[] = "/tmp/xvm-test-config-XXXXXX";
static char yaml_path[128], secret_path[128];

static int set_up(void **state)
{
    (void)state;
    if (mkdtemp(temporary) == NULL)
        return -1;
    snprintf(yaml_path, sizeof(yaml_path), "%s/xvm-ha.yaml", temporary);
    snprintf(secret_path, sizeof(secret_path), "%s/secret", temporary);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    unlink(yaml_path);
    unlink(secret_path);
    return rmdir(temporary);
}

static void write_file(const char *path, const void *data, size_t len, mode_t mode)
{
    FILE *file = fopen(path, "w");

    assert_non_null(file);
    assert_int_equal(fwrite(data, 1, len, file), len);
    assert_int_equal(fclose(file), 0);
    assert_int_equal(chmod(path, mode), 0);
}

struct loaded {
    int r;
    struct ha_config *config;
    struct xvm_config_errors errors;
};

static struct loaded load_path(const char *path, const struct xvm_ring_facts *ring)
{
    struct loaded l = {0};

    l.r = xvm_config_load(path, ring, &l.config, &l.errors);
    if (l.r == 0)
        assert_non_null(l.config);
    else
        assert_true(l.errors.n > 0 && l.config == NULL);
    return l;
}

static struct loaded load(const char *text, const struct xvm_ring_facts *ring)
{
    write_file(yaml_path, text, strlen(text), 0644);
    return load_path(yaml_path, ring);
}

static void done(struct loaded *l)
{
    xvm_config_errors_done(&l->errors);
    l->config = xvm_config_free(l->config);
}

/* Has an entry (code 0: a warning) whose text contains `text`. */
static void expect(const struct loaded *l, bool warning, const char *text)
{
    for (size_t i = 0; i < l->errors.n; i++) {
        if ((l->errors.v[i].code == 0) == warning && strstr(l->errors.v[i].text, text) != NULL)
            return;
    }
    xvm_config_errors_print(&l->errors, stderr);
    fail_msg("no %s `%s`", warning ? "warning" : "error", text);
}

static const struct ha_guest_config *guest(const struct ha_config *config, const char *name)
{
    for (size_t i = 0; i < config->nguests; i++) {
        if (strcmp(config->guests[i].name, name) == 0)
            return &config->guests[i];
    }
    fail_msg("no guest %s", name);
    return NULL;
}

/* ----------------------------------------------------------------------------- the example */

static void check_example_guests(const struct ha_config *c)
{
    const struct ha_guest_config *db = guest(c, "db1"), *web = guest(c, "web1");

    assert_string_equal(db->config_path, "/etc/xen/db1.cfg");
    assert_int_equal(db->memory_kib, 4 << 20);
    assert_int_equal(db->vcpus, 2);
    assert_int_equal(db->priority, 900);
    assert_int_equal(db->nallowed, 0);
    assert_int_equal(db->stop_timeout_ms, 600 * 1000);
    assert_int_equal(db->restart_limit, 3);
    assert_int_equal(db->restart_window_ms, 600 * 1000);
    assert_int_equal(db->restart_delay_ms, 5000);
    assert_int_equal(web->vcpus, 1);
    assert_int_equal(web->nallowed, 2);
    assert_int_equal(web->allowed[1], 2);
    assert_true(web->enabled);
    assert_false(guest(c, "build")->enabled);
}

static void test_example(void **state)
{
    struct loaded l = load_path(XVM_SOURCE_DIR "/conf/xvm-ha.yaml", &three_hosts);
    const struct ha_config *c = l.config;
    const struct ha_host_config *h;

    (void)state;
    xvm_config_errors_print(&l.errors, stderr);
    assert_int_equal(l.r, 0);
    assert_int_equal(l.errors.n, 0);
    assert_string_equal(c->cluster_name, "demo");
    assert_string_equal(c->driver, "libxl");
    assert_string_equal(c->watchdog_device, "xen");
    assert_int_equal(c->mode, HA_MODE_MAJORITY);
    assert_int_equal(c->timers.lease, 21000);
    assert_int_equal(c->timers.watchdog, 10000);
    assert_int_equal(c->timers.margin, 3000);
    assert_true(c->hash != 0);
    assert_int_equal(c->nhosts, 3);
    assert_int_equal(c->ndevices, 5);
    h = &c->hosts[0];
    assert_int_equal(h->node, 1);
    assert_int_equal(h->nlevels, 3);
    assert_int_equal(h->levels[0].kind, HA_FENCE_DEVICE);
    assert_string_equal(c->devices[h->levels[0].devices[0]].name, "ipmi-1");
    assert_int_equal(h->levels[1].ndevices, 2);
    assert_string_equal(c->devices[h->levels[1].devices[1]].name, "pdu-right");
    assert_int_equal(h->levels[2].kind, HA_FENCE_SELF);
    assert_string_equal(h->params[0].name, "plug");
    assert_string_equal(h->params[0].value, "1");
    assert_int_equal(c->hosts[2].levels[0].delay_ms, 2000);
    assert_string_equal(c->devices[0].agent, "fence_ipmilan");
    assert_int_equal(c->devices[0].nparams, 4);
    assert_int_equal(c->devices[0].timeout_ms, 20000);
    assert_int_equal(c->devices[1].retries, 1);
    assert_true(c->devices[1].verify);
    check_example_guests(c);
    done(&l);
}

/* --------------------------------------------------------------------------- the bad files */

/* Reads the `#! LINE:COL: text` lines at the top of a bad file and compares. */
static void check_bad_file(const char *path)
{
    struct loaded l = load_path(path, &three_hosts);
    FILE *file = fopen(path, "r");
    char line[512], found[512];
    size_t i = 0;

    assert_int_equal(l.r, -EINVAL);
    assert_non_null(file);
    while (fgets(line, sizeof(line), file) != NULL && strncmp(line, "#! ", 3) == 0) {
        line[strcspn(line, "\n")] = '\0';
        while (i < l.errors.n && l.errors.v[i].code == 0)
            i++;
        if (i == l.errors.n)
            fail_msg("%s: missing: %s", path, line);
        snprintf(found, sizeof(found), "%u:%u: %s", l.errors.v[i].line, l.errors.v[i].column,
                 l.errors.v[i].text);
        if (strncmp(found, line + 3, strlen(line + 3)) != 0)
            fail_msg("%s:\nexpected %s\nfound    %s", path, line + 3, found);
        assert_string_equal(l.errors.v[i].file, path);
        i++;
    }
    for (; i < l.errors.n; i++) {
        if (l.errors.v[i].code != 0)
            fail_msg("%s: unexpected: %u:%u: %s", path, l.errors.v[i].line, l.errors.v[i].column,
                     l.errors.v[i].text);
    }
    fclose(file);
    done(&l);
}

static void test_bad_files(void **state)
{
    static const char folder[] = XVM_TEST_DIR "/config-bad";
    DIR *dir = opendir(folder);
    struct dirent *entry;
    char path[sizeof(folder) + 300];
    size_t n = 0;

    (void)state;
    assert_non_null(dir);
    while ((entry = readdir(dir)) != NULL) {
        size_t len = strlen(entry->d_name);

        if (len < 6 || strcmp(entry->d_name + len - 5, ".yaml") != 0)
            continue;
        snprintf(path, sizeof(path), "%s/%s", folder, entry->d_name);
        check_bad_file(path);
        n++;
    }
    closedir(dir);
    assert_true(n >= 23);
}

/* ------------------------------------------------------------------------------- placement */

static const char places[] =
    "cluster: {name: demo}\n"
    "driver: process\n"
    "process: {shared_dir: /srv/shared}\n"
    "hosts:\n"
    "  host1: {id: 11, fence: none, labels: [rack=a, san]}\n"
    "  host2: {id: 12, fence: none, labels: [san, rack=a]}\n"
    "  host3: {id: 13, fence: none}\n"
    "guest_defaults: {needs: [san], prefer: {host1: 5}, labels: [web]}\n"
    "guests:\n"
    "  web1: {memory: 1G}\n"
    "  web2: {memory: 1G, needs: [], prefer: {host2: -7, host3: 9}}\n"
    "  db1: {memory: 1G, labels: []}\n"
    "rules:\n"
    "  - {apart: web, over: rack, name: webs}\n"
    "  - {together: [web2, db1], strength: weak}\n"
    "  - {together: [web1, db1], strength: delegate, over: host}\n"
    "reserve: 1\n"
    "failback: maintenance-window\n"
    "preempt: more\n"
    "rebalance: no\n"
    "shutdown: {evacuate: no, timeout: 90s}\n";

static const char plain_places[] = "cluster: {name: demo}\n"
                                   "hosts: {host1: {id: 1, fence: none}}\n";

static void check_places(const struct ha_config *c)
{
    const struct ha_guest_config *web2 = guest(c, "web2"), *db = guest(c, "db1");
    const struct ha_rule *r = c->rules;

    assert_int_equal(c->nlabels, 2);
    assert_string_equal(c->labels[1].name, "san");
    assert_int_equal(c->labels[1].hosts, 3);
    assert_int_equal(guest(c, "web1")->nneeds, 1);
    assert_int_equal(guest(c, "web1")->needs[0], 1);
    assert_int_equal(web2->nneeds, 0);
    assert_int_equal(web2->nprefer, 2);
    assert_int_equal(web2->prefer[0].host, 12);
    assert_int_equal(web2->prefer[0].weight, -7);
    assert_int_equal(db->prefer[0].weight, 5);
    assert_int_equal(db->nrules, 2);
    assert_int_equal(db->rules[1], 2);
    assert_int_equal(c->nrules, 3);
    assert_string_equal(r[0].name, "webs");
    assert_int_equal(r[0].kind, HA_PLAN_APART);
    assert_int_equal(r[0].strength, HA_PLAN_STRONG);
    assert_int_equal(r[0].nguests, 2);
    assert_string_equal(r[0].over, "rack");
    assert_int_equal(r[0].domain[0], r[0].domain[1]);
    assert_int_not_equal(r[0].domain[0], r[0].domain[2]);
    assert_int_equal(r[1].strength, HA_PLAN_WEAK);
    assert_int_equal(r[2].strength, HA_PLAN_DELEGATE);
    assert_int_equal(r[2].guests[1], 2);
}

static void test_placement(void **state)
{
    struct loaded l = load(places, &three_hosts);

    (void)state;
    assert_int_equal(l.r, 0);
    check_places(l.config);
    assert_int_equal(l.config->placement.reserve, 1);
    assert_int_equal(l.config->placement.failback, HA_FAILBACK_MAINTENANCE);
    assert_int_equal(l.config->placement.preempt, HA_PLAN_PREEMPT_MORE);
    assert_false(l.config->placement.rebalance);
    assert_false(l.config->shutdown.evacuate);
    assert_int_equal(l.config->shutdown.timeout_ms, 90000);
    done(&l);
    l = load(plain_places, &three_hosts);
    assert_int_equal(l.r, 0);
    assert_int_equal(l.config->placement.preempt, HA_PLAN_PREEMPT_LOWER);
    assert_int_equal(l.config->placement.failback, HA_FAILBACK_NEVER);
    assert_true(l.config->placement.rebalance);
    assert_true(l.config->shutdown.evacuate);
    assert_int_equal(l.config->shutdown.timeout_ms, 600000);
    done(&l);
}

/* ----------------------------------------------------------------------------------- modes */

static const char plain[] = "cluster: {name: demo}\n"
                            "watchdog: {device: /dev/watchdog, timeout: 20s}\n"
                            "fence_devices: {ipmi: {agent: fence_ipmilan}}\n"
                            "hosts:\n"
                            "  host1: {id: 1, fence: [ipmi, self]}\n"
                            "  host2: {id: 2, fence: [ipmi]}\n";

static void test_modes(void **state)
{
    struct xvm_ring_facts rings[] = {three_hosts, three_hosts, three_hosts, three_hosts};
    static const char *const why[] = {"two_node", "a qdevice", "last_man_standing",
                                      "allow_downscale"};
    struct loaded l = load(plain, &three_hosts);

    (void)state;
    assert_int_equal(l.r, 0);
    assert_int_equal(l.config->mode, HA_MODE_MAJORITY);
    assert_int_equal(l.config->timers.watchdog, 20000);
    assert_string_equal(l.config->watchdog_device, "/dev/watchdog");
    done(&l);
    rings[0].two_node = rings[1].qdevice = rings[2].last_man_standing = true;
    rings[3].allow_downscale = true;
    for (size_t i = 0; i < 4; i++) {
        l = load(plain, &rings[i]);
        assert_int_equal(l.r, -EINVAL);
        expect(&l, false, "`self` with ");
        expect(&l, false, why[i]);
        done(&l);
    }
}

/* Without corosync to ask, only what no ring could satisfy is an error. */
static void test_guessed_ring(void **state)
{
    struct loaded l = load(plain, NULL);
    static const char fast[] = "cluster: {name: demo}\nhosts: {host1: {id: 1, fence: self}}\n"
                               "timers: {lease: %s}\n";
    char text[256];

    (void)state;
    assert_int_equal(l.r, 0);
    assert_int_equal(l.config->mode, HA_MODE_FENCE_ONLY);
    expect(&l, true, "`self` does not work with corosync's two_node");
    done(&l);
    snprintf(text, sizeof(text), fast, "9s");
    l = load(text, NULL);
    assert_int_equal(l.r, 0);
    expect(&l, true, "with corosync's default timings: lease is 9000 ms, expected at least");
    done(&l);
    l = load(text, &(struct xvm_ring_facts){.token_ms = 1000, .consensus_ms = 1200});
    assert_int_equal(l.r, 0);
    assert_int_equal(l.errors.n, 0);
    done(&l);
    snprintf(text, sizeof(text), fast, "4s");
    l = load(text, NULL);
    assert_int_equal(l.r, -EINVAL);
    done(&l);
}

static void test_process_driver(void **state)
{
    struct loaded l = load("cluster: {name: demo}\n"
                           "driver: process\n"
                           "process: {shared_dir: /srv/shared, memory: 4GiB}\n"
                           "timers: {startup_grace: 5s, fence_retry: 1s}\n"
                           "hosts: {host1: {id: 1, fence: none}}\n"
                           "guest_defaults: {memory: 64M, hosts: host1, restart: {limit: 0}}\n"
                           "guests: {a: , b: {hosts: all, restart: {delay: 1s}}}\n",
                           NULL);

    (void)state;
    assert_int_equal(l.r, 0);
    expect(&l, true, "`xvmhactl fence confirm host1`");
    assert_string_equal(l.config->shared_dir, "/srv/shared");
    assert_int_equal(l.config->process_memory_kib, 4 << 20);
    assert_null(l.config->watchdog_device);
    assert_int_equal(l.config->timers.startup_grace, 5000);
    assert_int_equal(l.config->hosts[0].nlevels, 0);
    assert_int_equal(guest(l.config, "a")->memory_kib, 64 << 10);
    assert_int_equal(guest(l.config, "a")->nallowed, 1);
    assert_int_equal(guest(l.config, "a")->restart_limit, 0);
    assert_int_equal(guest(l.config, "b")->nallowed, 0);
    assert_int_equal(guest(l.config, "b")->restart_delay_ms, 1000);
    assert_null(guest(l.config, "b")->config_path);
    done(&l);
}

/* --------------------------------------------------------------------------------- secrets */

static struct loaded load_secret(const char *content, mode_t mode)
{
    char text[512];

    write_file(secret_path, content, strlen(content), mode);
    snprintf(text, sizeof(text),
             "cluster: {name: demo}\nhosts: {host1: {id: 1, fence: ipmi}}\n"
             "fence_devices: {ipmi: {agent: fence_x, options: {token: seen}, secrets: "
             "{password: %s}}}\n",
             secret_path);
    return load(text, &three_hosts);
}

static void test_secrets(void **state)
{
    struct loaded l = load_secret("s3cret word\n", 0600);
    struct ha_param *params;

    (void)state;
    assert_int_equal(l.r, 0);
    params = l.config->devices[0].params;
    assert_int_equal(l.config->devices[0].nparams, 2);
    assert_true(params[0].secret && params[1].secret);
    assert_string_equal(params[1].name, "password");
    assert_string_equal(params[1].value, "s3cret word");
    expect(&l, true, "`token` is readable in this file");
    done(&l);
    l = load_secret("x", 0640);
    expect(&l, false, "has mode 0640, expected 0600");
    done(&l);
    l = load_secret("two\nlines\n", 0600);
    expect(&l, false, "expected one line");
    done(&l);
    l = load_secret("", 0600);
    expect(&l, false, "expected one line");
    done(&l);
    if (geteuid() == 0) {
        write_file(secret_path, "x", 1, 0600);
        assert_int_equal(chown(secret_path, 12345, 0), 0);
        l = load_path(yaml_path, &three_hosts);
        expect(&l, false, "belongs to user 12345, expected root");
        done(&l);
    }
}

/* ----------------------------------------------------------------------------- not a file */

static void test_unreadable(void **state)
{
    struct loaded l = load_path("/nonexistent/xvm-ha.yaml", &three_hosts);

    (void)state;
    assert_int_equal(l.r, -ENOENT);
    expect(&l, false, "cannot read it: No such file or directory");
    done(&l);
    l = load_path("/tmp", &three_hosts);
    expect(&l, false, "not a regular file");
    done(&l);
}

/* A text repeated `n` times between a head and a tail. */
static char *repeat(const char *head, const char *text, size_t n, const char *tail)
{
    size_t len = strlen(text), at = strlen(head);
    char *all = malloc(at + len * n + strlen(tail) + 1);

    assert_non_null(all);
    strcpy(all, head);
    for (size_t i = 0; i < n; i++, at += len)
        memcpy(all + at, text, len);
    strcpy(all + at, tail);
    return all;
}

static void test_hostile(void **state)
{
    static const struct {
        const char *head, *text, *tail, *error;
        size_t n;
    } inputs[] = {
        {"", "[", "", "nested too deeply", 200000},
        {"", "{a: ", "", "nested too deeply", 200000},
        {"", "- ", "", "nested too deeply", 200000},
        {"", "x", "", "too large", 9 * 1024 * 1024},
        {"[", "x,", "]", "too many values", 600000},
        {"a: &a [", "x,", "]\nguests: {a: *a, b: *a, c: *a}", "unknown key `a`", 400000},
        {"hosts: {", "h: {id: 1},", "}", "a second time", 5000},
        {"guests: {", "g: {},", "}", "a second time", 9000},
        {"", "&a ", "", "did not find", 1000},
        {"", "? ", "", "as a key", 100000},
        {"a: \"", "\\0", "\"", "NUL character", 2},
        {"", "\x01\x02\xff", "", "control characters", 1000},
        {"", "\xff\xfe", "", "expected", 1000},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(inputs) / sizeof(inputs[0]); i++) {
        char *text = repeat(inputs[i].head, inputs[i].text, inputs[i].n, inputs[i].tail);
        struct loaded l = load(text, &three_hosts);

        assert_int_equal(l.r, -EINVAL);
        assert_true(l.errors.n <= 100);
        expect(&l, false, inputs[i].error);
        done(&l);
        free(text);
    }
}

/* One host and one guest more than there may be. */
static void test_too_many(void **state)
{
    char *text = malloc(1024 * 1024);
    size_t n = (size_t)sprintf(text, "cluster: {name: demo}\nguests: {");
    struct loaded l;

    (void)state;
    for (int i = 0; i <= HA_GUESTS_MAX; i++)
        n += (size_t)sprintf(text + n, "g%d: {config: /x, memory: 1M}, ", i);
    n += (size_t)sprintf(text + n, "}\nhosts: {");
    for (int i = 0; i <= HA_HOSTS_MAX; i++)
        n += (size_t)sprintf(text + n, "h%d: {id: %d, fence: none}, ", i, i + 1);
    sprintf(text + n, "}\n");
    l = load(text, &three_hosts);
    assert_int_equal(l.errors.n, 2);
    expect(&l, false, "65 hosts, expected 1 to 64");
    expect(&l, false, "8193 guests, expected at most 8192");
    done(&l);
    free(text);
}

/* Aliases of aliases: nine levels of nine each would be 387 million values. */
static void test_alias_bomb(void **state)
{
    struct loaded l;
    char text[2048];
    size_t n = (size_t)snprintf(text, sizeof(text), "a0: &a0 [x,x,x,x,x,x,x,x,x]\n");

    (void)state;
    for (int i = 1; i < 10; i++) {
        n += (size_t)snprintf(text + n, sizeof(text) - n, "a%d: &a%d [", i, i);
        for (int k = 0; k < 9; k++)
            n += (size_t)snprintf(text + n, sizeof(text) - n, "*a%d,", i - 1);
        n += (size_t)snprintf(text + n, sizeof(text) - n, "]\n");
    }
    snprintf(text + n, sizeof(text) - n, "guests: *a9\nhosts: *a9\ncluster: *a9\n");
    l = load(text, &three_hosts);
    expect(&l, false, "`guests` is a list, expected a map");
    done(&l);
}

/* A default for all guests, and one that is without. */
static void test_disk_guard(void **state)
{
    struct loaded l;

    (void)state;
    l = load("cluster: {name: c}\nhosts: {a: {id: 1, fence: none}}\n"
             "guest_defaults: {disk_guard: scsi}\n"
             "guests: {g: {config: /g}, h: {config: /h, disk_guard: none}}\n",
             NULL);
    assert_int_equal(l.r, 0);
    assert_int_equal(l.config->guests[0].disk_guard, HA_GUARD_SCSI);
    assert_int_equal(l.config->guests[1].disk_guard, HA_GUARD_NONE);
    done(&l);
    l = load("cluster: {name: c}\nhosts: {a: {id: 1, fence: none}}\nguests: {g: {config: /g}}\n",
             NULL);
    assert_int_equal(l.r, 0);
    assert_int_equal(l.config->guests[0].disk_guard, HA_GUARD_NONE);
    done(&l);
}

/* How moves travel, and how guests move; what is not written has a default. */
static void test_migration(void **state)
{
    static const char head[] = "cluster: {name: c}\ndriver: process\nprocess: {shared_dir: /tmp}\n"
                               "hosts: {a: {id: 1, fence: none}, b: {id: 2, fence: none}}\n"
                               "guests: {g: {memory: 1G, move: {type: migrate, fallback: normal}}, "
                               "h: {memory: 1G}, i: {memory: 1G, move: normal}}\n";
    char text[1024];
    struct loaded l;

    (void)state;
    l = load(head, NULL);
    assert_int_equal(l.r, 0);
    assert_true(l.config->migration.encrypted);
    assert_string_equal(l.config->migration.authkey, "/etc/corosync/authkey");
    assert_int_equal(l.config->migration.port, 7443);
    assert_int_equal(l.config->migration.bandwidth_kib, 0);
    assert_int_equal(l.config->migration.time_limit_ms, 3600 * 1000);
    assert_int_equal(l.config->guests[0].move_type, HA_MOVE_MIGRATE);
    assert_int_equal(l.config->guests[0].move_fallback, HA_FALLBACK_NORMAL);
    assert_int_equal(l.config->guests[1].move_type, 0);
    assert_int_equal(l.config->guests[1].move_fallback, HA_FALLBACK_NONE);
    assert_int_equal(l.config->guests[2].move_type, HA_MOVE_NORMAL);
    done(&l);
    snprintf(text, sizeof(text),
             "%smigration: {address: {a: 10.1.0.1, b: 'fd00::2'}, encryption: off, "
             "bandwidth: 100M, time_limit: 10m, port: 1234}\n",
             head);
    l = load(text, NULL);
    assert_int_equal(l.r, 0);
    assert_false(l.config->migration.encrypted);
    assert_string_equal(l.config->hosts[0].migration_address, "10.1.0.1");
    assert_string_equal(l.config->hosts[1].migration_address, "fd00::2");
    assert_int_equal(l.config->migration.bandwidth_kib, 100 * 1024);
    assert_int_equal(l.config->migration.time_limit_ms, 600 * 1000);
    assert_int_equal(l.config->migration.port, 1234);
    done(&l);
    /* Without a key a warning that says what to do; the file is good all the same. */
    snprintf(text, sizeof(text), "%smigration: {address: 10.1.0.0/24, key: /nowhere/authkey}\n",
             head);
    l = load(text, NULL);
    assert_int_equal(l.r, 0);
    assert_string_equal(l.config->migration.network, "10.1.0.0");
    assert_int_equal(l.config->migration.network_bits, 24);
    expect(&l, true, "corosync-keygen");
    done(&l);
    snprintf(text, sizeof(text), "%smigration: {address: {a: 10.1.0.1}}\n", head);
    l = load(text, NULL);
    expect(&l, false, "`address` has none for host b");
    done(&l);
}

/* Every prefix of the example, and the example with each byte spoilt: an answer, never a crash. */
static void test_mutilated_example(void **state)
{
    static char data[64 * 1024], copy[64 * 1024];
    FILE *file = fopen(XVM_SOURCE_DIR "/conf/xvm-ha.yaml", "r");
    size_t len;
    struct loaded l;

    (void)state;
    assert_non_null(file);
    len = fread(data, 1, sizeof(data), file);
    fclose(file);
    assert_true(len > 500 && len < sizeof(data));
    for (size_t i = 0; i < len; i += 7) {
        write_file(yaml_path, data, i, 0644);
        l = load_path(yaml_path, &three_hosts);
        done(&l);
        memcpy(copy, data, len);
        copy[i] = "\t\0{[&*:\xff"[i % 8];
        write_file(yaml_path, copy, len, 0644);
        l = load_path(yaml_path, &three_hosts);
        done(&l);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_example),
        cmocka_unit_test(test_bad_files),
        cmocka_unit_test(test_placement),
        cmocka_unit_test(test_modes),
        cmocka_unit_test(test_process_driver),
        cmocka_unit_test(test_guessed_ring),
        cmocka_unit_test(test_secrets),
        cmocka_unit_test(test_unreadable),
        cmocka_unit_test(test_hostile),
        cmocka_unit_test(test_alias_bomb),
        cmocka_unit_test(test_too_many),
        cmocka_unit_test(test_disk_guard),
        cmocka_unit_test(test_migration),
        cmocka_unit_test(test_mutilated_example),
    };

    return cmocka_run_group_tests(tests, set_up, tear_down);
}
