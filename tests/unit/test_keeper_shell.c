/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What surrounds the keeper's core: its words with the daemon, its memory, the watchdog's FIFO. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "../../daemon/keeper_memory.h"
#include "../../daemon/keeper_proto.h"
#include "../../daemon/watchdog.h"

/* What daemons and keepers from before the shared disk did not send. */
enum { DISK_ORDERS = 4 + 8 + 4 + 16, DISK_STATE = 8 + 4 + 16 + HA_HOSTS_MAX * 24 };

static struct ha_keeper_orders full_orders(void)
{
    struct ha_keeper_orders o = {.seq = 0x1234567890,
                                 .tbl = 7,
                                 .votes = HA_HOSTS_MAX,
                                 .nvoters = HA_HOSTS_MAX,
                                 .fence_only = true,
                                 .empty = true,
                                 .beat_ms = 500,
                                 .lease_ms = 21000,
                                 .watchdog_ms = 10000,
                                 .ncut = HA_HOSTS_MAX,
                                 .disk = HA_DISK_ON,
                                 .disk_gen = 5,
                                 .disk_ms = 15000,
                                 .pill_void = 3};

    for (ha_node i = 0; i < HA_HOSTS_MAX; i++) {
        o.voters[i] = i + 1;
        o.cut[i].node = i + 100;
        o.cut[i].boot.b[3] = (uint8_t)i;
    }
    return o;
}

static void orders_arrive_whole(void **state)
{
    unsigned char packet[XVM_KEEPER_PACKET_MAX];
    struct ha_keeper_orders sent = full_orders(), got;
    size_t len = xvm_keeper_put_orders(packet, 5, &sent);
    ha_node self;

    (void)state;
    assert_int_equal(xvm_keeper_get_orders(packet, len, &self, &got), 0);
    assert_int_equal(self, 5);
    assert_int_equal(got.seq, sent.seq);
    assert_true(got.fence_only && got.empty && !got.quorate && !got.disarm);
    assert_memory_equal(got.voters, sent.voters, sizeof(sent.voters));
    assert_int_equal(got.cut[63].node, 163);
    assert_int_equal(got.cut[63].boot.b[3], 63);
    assert_true(got.disk == HA_DISK_ON && got.disk_gen == 5 && got.disk_ms == 15000);
    assert_int_equal(got.pill_void, 3);
    for (size_t n = 0; n < len; n++)
        assert_int_equal(xvm_keeper_get_orders(packet, n, &self, &got),
                         n == len - DISK_ORDERS ? 0 : -EBADMSG);
    packet[len] = 1; /* a newer daemon appends */
    assert_int_equal(xvm_keeper_get_orders(packet, len + 1, &self, &got), 0);
}

static void state_arrives_whole(void **state)
{
    unsigned char packet[XVM_KEEPER_PACKET_MAX];
    struct xvm_keeper_state sent = {.self = 3,
                                    .seq_applied = 9,
                                    .lease_until = INT64_MIN,
                                    .armed = true,
                                    .pilled = true,
                                    .disk_t = 12345,
                                    .disk_gen = 2,
                                    .npeers = HA_HOSTS_MAX};
    struct xvm_keeper_state got;
    char path[XVM_KEEPER_PATH_MAX];
    ha_node self;
    size_t len;

    (void)state;
    sent.peers[63].last_ms = 77;
    sent.peers[63].disk_ms = 78;
    len = xvm_keeper_put_state(packet, &sent);
    assert_true(len <= sizeof(packet));
    assert_int_equal(xvm_keeper_get_state(packet, len, &got), 0);
    assert_true(got.lease_until == INT64_MIN && got.armed);
    assert_int_equal(got.peers[63].last_ms, 77);
    assert_int_equal(got.peers[63].disk_ms, 78);
    assert_true(got.pilled && got.disk_t == 12345 && got.disk_gen == 2);
    for (size_t n = 0; n < len; n++)
        assert_int_equal(xvm_keeper_get_state(packet, n, &got),
                         n == len - DISK_STATE ? 0 : -EBADMSG);
    /* an older keeper knows of no disk, and so nobody may think that its lease needs one */
    assert_int_equal(xvm_keeper_get_state(packet, len - DISK_STATE, &got), 0);
    assert_true(got.disk_t == -1 && got.disk_gen == 0);
    len = xvm_keeper_put_hello(packet, 4, "/dev/watchdog0");
    assert_int_equal(xvm_keeper_get_hello(packet, len, &self, path), 0);
    assert_int_equal(self, 4);
    assert_string_equal(path, "/dev/watchdog0");
    for (size_t n = 0; n < len; n++)
        assert_int_equal(xvm_keeper_get_hello(packet, n, &self, path), -EBADMSG);
}

static void memory_survives_a_torn_write(void **state)
{
    char path[] = "/tmp/xvm-keeper-XXXXXX";
    struct ha_uuid boot = {{1}};
    struct ha_keeper_orders orders = full_orders();
    struct ha_keeper_event event = {.type = HA_KEV_ORDERS, .now = 1000, .u.orders = &orders};
    const struct xvm_keeper_slot *slot;
    struct ha_keeper_result result;
    struct xvm_keeper_file file, again;
    struct ha_keeper k;

    (void)state;
    close(mkstemp(path));
    assert_int_equal(xvm_keeper_file_open(&file, path), 0);
    assert_null(xvm_keeper_file_last(&file));
    ha_keeper_init(&k, 1, &boot, HA_MUTANT_NONE);
    xvm_keeper_file_save(&file, &k); /* nothing worth remembering yet */
    assert_null(xvm_keeper_file_last(&file));
    ha_keeper_step(&k, &event, &result);
    xvm_keeper_file_save(&file, &k);
    orders.tbl = 8;
    ha_keeper_step(&k, &event, &result);
    xvm_keeper_file_save(&file, &k);
    assert_int_equal(xvm_keeper_file_open(&again, path), 0);
    slot = xvm_keeper_file_last(&again);
    assert_non_null(slot);
    assert_int_equal(slot->memory.orders.tbl, 8);
    again.slots[slot->generation & 1].memory.orders.votes = 1; /* died in the middle of it */
    assert_int_equal(xvm_keeper_file_open(&again, path), 0);
    assert_int_equal(xvm_keeper_file_last(&again)->memory.orders.tbl, 7);
    unlink(path);
}

static void expect(int fd, const char *text)
{
    char got[64] = "";

    if (read(fd, got, sizeof(got) - 1) < 0)
        assert_int_equal(errno, EAGAIN);
    assert_string_equal(got, text);
}

static void fifo_speaks_its_protocol(void **state)
{
    char dir[] = "/tmp/xvm-watchdog-XXXXXX", path[64];
    struct xvm_watchdog dog;
    int fd;

    (void)state;
    signal(SIGPIPE, SIG_IGN);
    assert_non_null(mkdtemp(dir));
    snprintf(path, sizeof(path), "%s/fifo", dir);
    assert_int_equal(xvm_watchdog_choose(&dog, path), -ENOENT);
    assert_int_equal(xvm_watchdog_arm(&dog, 10), -ENODEV);
    assert_int_equal(mkfifo(path, 0600), 0);
    assert_int_equal(xvm_watchdog_choose(&dog, path), 0);
    assert_int_equal(xvm_watchdog_arm(&dog, 10), -ENXIO); /* no hardware behind it */
    fd = open(path, O_RDONLY | O_NONBLOCK);
    assert_int_equal(xvm_watchdog_pet(&dog), -ENODEV); /* never petted before it is armed */
    expect(fd, "");
    assert_int_equal(xvm_watchdog_arm(&dog, 10), 0);
    expect(fd, "T10\n");
    assert_int_equal(xvm_watchdog_pet(&dog), 0);
    expect(fd, "p");
    assert_int_equal(xvm_watchdog_set_timeout(&dog, 4), 0);
    expect(fd, "T4\n");
    assert_int_equal(xvm_watchdog_disarm(&dog), 0);
    expect(fd, "V");
    assert_int_equal(xvm_watchdog_pet(&dog), -ENODEV);
    assert_int_equal(xvm_watchdog_arm(&dog, 10), 0);
    close(fd);
    assert_int_equal(xvm_watchdog_pet(&dog), -EPIPE);
    unlink(path);
    rmdir(dir);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(orders_arrive_whole),
        cmocka_unit_test(state_arrives_whole),
        cmocka_unit_test(memory_survives_a_torn_write),
        cmocka_unit_test(fifo_speaks_its_protocol),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
