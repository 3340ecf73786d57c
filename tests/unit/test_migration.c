/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The migration's transport without a daemon: the preamble, whose address is whose, and two hosts
 * on this machine's loopback that connect through the real xvm-ha-channel. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <arpa/inet.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "../../daemon/migration.h"
#include "../../daemon/util.h"

struct host {
    struct world *world;
    struct ha_config config;
    struct ha_host_config hosts[3];
    struct xvm_migration *migration;
    unsigned starts, dones, notes;
    struct ha_action action; /* of the last start */
    int stream;
    uint64_t done_op;
    char text[HA_TEXT_MAX];
    struct ha_transfer note;
};

struct world {
    char dir[64], keys[2][128];
    sd_event *loop;
    struct xvm_corosync_facts facts;
    struct host host[2];
};

/* ------------------------------------------------------------------------------ pure functions */

static void test_preamble(void **state)
{
    const struct xvm_preamble p = {.mig = 0x1122334455667788u, .source = 1, .target = 2};
    uint8_t bytes[XVM_PREAMBLE_SIZE];
    struct xvm_preamble got = {0};
    (void)state;
    xvm_preamble_write(&p, bytes);
    for (size_t n = 0; n < sizeof(bytes); n++)
        assert_int_equal(xvm_preamble_read(bytes, n, &got), -EAGAIN);
    assert_int_equal(got.mig, 0);
    assert_int_equal(xvm_preamble_read(bytes, sizeof(bytes), &got), 0);
    assert_memory_equal(&got, &p, sizeof(p));
    for (size_t i = 0; i < sizeof(bytes); i++) {
        uint8_t bad[sizeof(bytes)];
        memcpy(bad, bytes, sizeof(bad));
        bad[i] ^= 0x80;
        int r = xvm_preamble_read(bad, sizeof(bad), &got);
        if (i < 8)
            assert_int_equal(xvm_preamble_read(bad, i + 1, &got), -EBADMSG); /* at once */
        else if (i < 12)
            assert_int_equal(r, -EPROTONOSUPPORT);
        else if (i >= 28)
            assert_int_equal(r, -EBADMSG);
    }
}

static struct in6_addr mapped(const char *text)
{
    struct in6_addr a = {0};
    char full[64];
    snprintf(full, sizeof(full), strchr(text, ':') ? "%s" : "::ffff:%s", text);
    assert_int_equal(inet_pton(AF_INET6, full, &a), 1);
    return a;
}

static void assert_address(const struct ha_config *c, const struct xvm_corosync_facts *f,
                           ha_node node, const char *expected)
{
    struct in6_addr a;
    char why[HA_TEXT_MAX] = "", text[HA_ADDRESS_MAX];
    int r = xvm_migration_address(c, f, node, &a, why);
    if (!expected) {
        assert_int_equal(r, -EADDRNOTAVAIL);
        assert_non_null(strstr(why, "`migration:`"));
        return;
    }
    assert_int_equal(r, 0);
    xvm_address_text(&a, text);
    assert_string_equal(text, expected);
}

static void test_addresses(void **state)
{
    static struct xvm_corosync_facts f = {.nnodes = 3};
    struct ha_host_config hosts[3] = {{.name = "a", .node = 1},
                                      {.name = "b", .node = 2, .migration_address = "10.9.9.9"},
                                      {.name = "c", .node = 3}};
    struct ha_config c = {.hosts = hosts, .nhosts = 3};
    struct sockaddr_storage s;
    struct in6_addr back;
    (void)state;
    f.nodes[0] = (struct xvm_corosync_node){.node = 1};
    f.nodes[0].links[0] = mapped("10.1.0.1");
    f.nodes[0].links[1] = mapped("10.2.0.1");
    f.nodes[1] = (struct xvm_corosync_node){.node = 2};
    f.nodes[2] = (struct xvm_corosync_node){.node = 3};
    f.nodes[2].links[2] = mapped("fd00::3");
    assert_address(&c, &f, 1, "10.1.0.1");
    assert_address(&c, &f, 2, "10.9.9.9");
    assert_address(&c, &f, 3, "fd00::3");
    assert_address(&c, &f, 4, NULL);
    strcpy(c.migration.network, "10.2.0.0");
    c.migration.network_bits = 16;
    assert_address(&c, &f, 1, "10.2.0.1");
    assert_address(&c, &f, 3, NULL);
    strcpy(c.migration.network, "fd00::");
    c.migration.network_bits = 64;
    assert_address(&c, &f, 3, "fd00::3");
    assert_address(&c, &f, 1, NULL);
    assert_int_equal(xvm_address_socket(&f.nodes[0].links[0], 80, &s), sizeof(struct sockaddr_in));
    assert_true(xvm_address_of(&s, &back));
    assert_memory_equal(&back, &f.nodes[0].links[0], sizeof(back));
    assert_int_equal(xvm_address_socket(&f.nodes[2].links[2], 80, &s), sizeof(struct sockaddr_in6));
    assert_true(xvm_address_of(&s, &back));
    assert_memory_equal(&back, &f.nodes[2].links[2], sizeof(back));
}

/* ----------------------------------------------------------------------------------- two hosts */

static void on_start(void *user, const struct ha_action *action, const struct xvm_channel *channel)
{
    struct host *h = user;
    h->starts++;
    h->action = *action;
    h->stream = dup(channel->stream);
    assert_true(h->stream >= 0 && channel->progress >= 0);
}

static void on_done(void *user, uint64_t op, enum ha_result result, const char *text)
{
    struct host *h = user;
    assert_int_equal(result, HA_RESULT_FAILED);
    h->dones++;
    h->done_op = op;
    snprintf(h->text, sizeof(h->text), "%s", text);
}

static void on_transfer(void *user, const struct ha_transfer *transfer)
{
    struct host *h = user;
    h->notes++;
    h->note = *transfer;
}

#define WAIT_UNTIL(w, condition)                                                                   \
    do {                                                                                           \
        ha_ms end_ = xvm_now_ms() + 20000;                                                         \
        while (!(condition)) {                                                                     \
            if (xvm_now_ms() > end_)                                                               \
                fail_msg("waited in vain for: %s", #condition);                                    \
            assert_true(sd_event_run((w)->loop, 20 * 1000) >= 0);                                  \
        }                                                                                          \
    } while (0)

static void write_key(const char *path, char c)
{
    char key[128];
    FILE *f = fopen(path, "w");
    memset(key, c, sizeof(key));
    assert_non_null(f);
    assert_int_equal(fwrite(key, 1, sizeof(key), f), sizeof(key));
    assert_int_equal(fclose(f), 0);
    assert_int_equal(chmod(path, 0600), 0);
}

static void open_host(struct world *w, int i)
{
    struct host *h = &w->host[i];
    const struct xvm_migration_env env = {.loop = w->loop,
                                          .self = (ha_node)i + 1,
                                          .config = &h->config,
                                          .facts = &w->facts,
                                          .start = on_start,
                                          .done = on_done,
                                          .transfer = on_transfer,
                                          .user = h};
    assert_int_equal(xvm_migration_new(&env, &h->migration), 0);
}

static int setup(void **state)
{
    struct world *w = calloc(1, sizeof(*w));
    assert_non_null(w);
    strcpy(w->dir, "/tmp/xvm-migration-test.XXXXXX");
    assert_non_null(mkdtemp(w->dir));
    assert_true(sd_event_new(&w->loop) >= 0);
    for (int i = 0; i < 2; i++) {
        struct host *h = &w->host[i];
        snprintf(w->keys[i], sizeof(w->keys[i]), "%s/key%d", w->dir, i);
        write_key(w->keys[i], 'k');
        h->world = w;
        h->stream = -1;
        for (ha_node n = 1; n <= 3; n++) {
            h->hosts[n - 1].node = n;
            snprintf(h->hosts[n - 1].name, HA_NAME_MAX, "host%u", n);
            snprintf(h->hosts[n - 1].migration_address, HA_ADDRESS_MAX, "127.7.%d.%u",
                     getpid() % 200, n);
        }
        h->config = (struct ha_config){.hosts = h->hosts, .nhosts = 3};
        strcpy(h->config.cluster_name, "test");
        h->config.migration = (struct ha_migration_config){.encrypted = true,
                                                           .authkey = w->keys[i],
                                                           .port = 20000 + getpid() % 20000,
                                                           .time_limit_ms = 60000};
        open_host(w, i);
    }
    *state = w;
    return 0;
}

static int teardown(void **state)
{
    struct world *w = *state;
    char command[128];
    for (int i = 0; i < 2; i++) {
        w->host[i].migration = xvm_migration_free(w->host[i].migration);
        if (w->host[i].stream >= 0)
            close(w->host[i].stream);
    }
    sd_event_unref(w->loop);
    snprintf(command, sizeof(command), "rm -rf '%s'", w->dir);
    assert_int_equal(system(command), 0);
    free(w);
    return 0;
}

/* The first host sends, the second receives. */
static void begin(struct world *w, int i, uint64_t mig)
{
    struct ha_action a = {.type = HA_ACT_GUEST};
    a.u.guest.op = mig * 10 + (uint64_t)i;
    a.u.guest.what = i ? HA_OP_RECEIVE : HA_OP_SEND;
    strcpy(a.u.guest.guest, "web");
    a.u.guest.mig = mig;
    a.u.guest.peer = i ? 1 : 2;
    a.u.guest.timeout_ms = 30000;
    xvm_migration_start(w->host[i].migration, &a);
}

static void turn(struct world *w, ha_ms ms)
{
    ha_ms end = xvm_now_ms() + ms, left;
    while ((left = end - xvm_now_ms()) > 0)
        assert_true(sd_event_run(w->loop, (uint64_t)left * 1000) >= 0);
}

static void assert_talk(struct world *w)
{
    char buf[8] = "";
    assert_int_equal(write(w->host[1].stream, "R", 1), 1);
    assert_int_equal(read(w->host[0].stream, buf, 1), 1);
    assert_int_equal(buf[0], 'R');
    assert_int_equal(write(w->host[0].stream, "image", 5), 5);
    assert_int_equal(recv(w->host[1].stream, buf, 5, MSG_WAITALL), 5);
    assert_memory_equal(buf, "image", 5);
}

static void end(struct world *w, uint64_t mig)
{
    for (unsigned i = 0; i < 2; i++) {
        close(w->host[i].stream);
        w->host[i].stream = -1;
        xvm_migration_ended(w->host[i].migration, mig * 10 + i, HA_RESULT_OK, NULL);
    }
}

static void test_they_meet(void **state)
{
    struct world *w = *state;
    for (uint64_t mig = 5; mig < 9; mig++) {
        bool target_first = mig % 2;
        begin(w, target_first, mig);
        turn(w, 200);
        begin(w, !target_first, mig);
        WAIT_UNTIL(w, w->host[0].starts == mig - 4 && w->host[1].starts == mig - 4);
        assert_int_equal(w->host[1].action.u.guest.what, HA_OP_RECEIVE);
        assert_int_equal(w->host[1].action.u.guest.mig, mig);
        assert_talk(w);
        WAIT_UNTIL(w, w->host[0].notes > mig - 5); /* the source tells how it goes */
        assert_non_null(strstr(w->host[0].note.text, "TLS 1.3"));
        assert_false(w->host[0].note.failed);
        end(w, mig);
    }
    assert_int_equal(w->host[0].dones + w->host[1].dones, 0);
}

/* Another migration than the one that is received here is not let in, however long it waits. */
static void test_only_what_was_decided(void **state)
{
    struct world *w = *state;
    begin(w, 1, 6);
    begin(w, 0, 5);
    turn(w, 1500);
    assert_int_equal(w->host[0].starts + w->host[1].starts, 0);
    begin(w, 1, 5); /* until that one is decided, too */
    WAIT_UNTIL(w, w->host[0].starts == 1 && w->host[1].starts == 1);
    assert_int_equal(w->host[1].action.u.guest.mig, 5);
    assert_talk(w);
    assert_false(xvm_migration_cancel(w->host[1].migration, 51)); /* the driver has it */
    assert_true(xvm_migration_cancel(w->host[1].migration, 61));
    assert_int_equal(w->host[1].dones, 0); /* never from inside the call */
    WAIT_UNTIL(w, w->host[1].dones == 1);
    assert_int_equal(w->host[1].done_op, 61);
    assert_int_equal(w->host[1].notes, 0); /* an order is no failure */
    end(w, 5);
}

static void test_other_key(void **state)
{
    struct world *w = *state;
    write_key(w->keys[1], 'x');
    begin(w, 1, 5);
    begin(w, 0, 5);
    WAIT_UNTIL(w, w->host[0].dones);
    assert_non_null(strstr(w->host[0].text, "authkey"));
    assert_true(w->host[0].note.failed && !w->host[0].note.target);
    turn(w, 100);
    assert_int_equal(w->host[1].dones, 0); /* it may have been a stranger */
    write_key(w->keys[1], 'k');
    begin(w, 0, 5);
    WAIT_UNTIL(w, w->host[0].starts && w->host[1].starts);
    assert_talk(w);
    end(w, 5);
}

static void test_no_key(void **state)
{
    struct world *w = *state;
    assert_int_equal(unlink(w->keys[1]), 0);
    begin(w, 1, 5);
    assert_int_equal(w->host[1].dones, 0);
    WAIT_UNTIL(w, w->host[1].dones);
    assert_non_null(strstr(w->host[1].text, "corosync-keygen"));
    assert_true(w->host[1].note.failed && w->host[1].note.target);
}

/* A connection from a host's address that names the right migration, but has no key, holds nobody
 * up. */
static void test_impostor(void **state)
{
    struct world *w = *state;
    const struct xvm_preamble p = {.mig = 5, .source = 1, .target = 2};
    uint8_t bytes[XVM_PREAMBLE_SIZE];
    struct sockaddr_storage from, to;
    int fds[3];
    struct in6_addr a = mapped(w->host[0].hosts[0].migration_address),
                    b = mapped(w->host[0].hosts[1].migration_address);
    socklen_t nfrom = xvm_address_socket(&a, 0, &from);
    socklen_t nto = xvm_address_socket(&b, w->host[0].config.migration.port, &to);
    xvm_preamble_write(&p, bytes);
    begin(w, 1, 5);
    for (int i = 0; i < 2; i++) {
        fds[i] = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
        assert_int_equal(bind(fds[i], (struct sockaddr *)&from, nfrom), 0);
        assert_int_equal(connect(fds[i], (struct sockaddr *)&to, nto), 0);
        assert_int_equal(write(fds[i], bytes, sizeof(bytes)), sizeof(bytes));
    }
    turn(w, 300);
    begin(w, 0, 5);
    WAIT_UNTIL(w, w->host[0].starts && w->host[1].starts);
    assert_talk(w);
    WAIT_UNTIL(w, recv(fds[0], bytes, 1, MSG_DONTWAIT) >= 0 || errno == ECONNRESET);
    close(fds[0]);
    close(fds[1]);
    end(w, 5);
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(test_##name, setup, teardown)
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_preamble),
        cmocka_unit_test(test_addresses),
        T(they_meet),
        T(only_what_was_decided),
        T(other_key),
        T(no_key),
        T(impostor),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
