/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The shared disk: its blocks, what counts as garbage, making it ready, and pills that two hosts
 * write at the same time. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "../../daemon/config_disk.h"
#include "../../daemon/disk_main.h"

static char folder[] = "disk-test-XXXXXX", path[64];

static struct xvm_disk_options options(ha_node self, ha_node target)
{
    struct xvm_disk_options o = {.path = path,
                                 .run_dir = folder,
                                 .cluster = "test",
                                 .self = self,
                                 .target = target,
                                 .loss = 1,
                                 .wait_ms = 1500,
                                 .nodes = {1, 2, 7},
                                 .nnodes = 3};

    o.boot.b[0] = (uint8_t)self;
    o.target_boot.b[0] = (uint8_t)target;
    return o;
}

static int fresh(void **state)
{
    struct xvm_disk_options o = options(1, 0);

    (void)state;
    (void)unlink(path);
    return xvm_disk_init(&o) == XVM_DISK_OK ? 0 : -1;
}

/* As that host's xvm-ha-disk does it once. */
static void heartbeat(ha_node node, uint64_t seq)
{
    struct xvm_disk_slot s = {.node = node, .seq = seq, .boot.b[0] = (uint8_t)node};
    struct xvm_disk d;

    assert_int_equal(xvm_disk_open(&d, path, false), 0);
    assert_int_equal(xvm_disk_read(&d), 0);
    xvm_disk_put_slot(d.block, &d.view.header.disk, &s);
    assert_int_equal(xvm_disk_write(&d, 1 + (size_t)xvm_disk_slot_of(&d.view.header, node)), 0);
    xvm_disk_close(&d);
}

static void scribble(off_t at, size_t len, int byte)
{
    int fd = open(path, O_WRONLY | O_CLOEXEC);
    char garbage[8192];

    memset(garbage, byte, sizeof(garbage));
    assert_true(fd >= 0 && pwrite(fd, garbage, len, at) == (ssize_t)len);
    close(fd);
}

static int look(struct xvm_disk *d)
{
    int r = xvm_disk_open(d, path, false);

    return r == 0 ? xvm_disk_read(d) : r;
}

static bool pill_for(ha_node node)
{
    struct ha_uuid boot = {.b[0] = (uint8_t)node};
    struct xvm_disk d;
    bool found;

    assert_int_equal(look(&d), 0);
    found = xvm_disk_pill_for(&d.view, node, &boot, XVM_PILL_DEATH, -1) != NULL;
    xvm_disk_close(&d);
    return found;
}

/* ------------------------------------------------------------------------------------- blocks */

static void slots_come_back_as_they_were(void **state)
{
    struct xvm_disk_slot s = {.node = 7,
                              .seq = 1ULL << 40,
                              .bound = true,
                              .timeout_ms = 15000,
                              .watchdog_ms = 5000,
                              .boot.b[3] = 9};
    struct ha_uuid disk = {.b[1] = 4}, other = {.b[1] = 5};
    unsigned char block[XVM_DISK_BLOCK];
    struct xvm_disk_slot got;

    (void)state;
    xvm_disk_put_slot(block, &disk, &s);
    assert_int_equal(xvm_disk_get_slot(block, &disk, &got), 0);
    assert_true(got.node == 7 && got.seq == s.seq && got.bound && !got.armed);
    assert_true(got.timeout_ms == 15000 && got.watchdog_ms == 5000 && got.boot.b[3] == 9);
    assert_int_equal(xvm_disk_get_slot(block, &other, &got), -ESTALE);
    for (size_t i = 0; i < XVM_DISK_BLOCK; i += 7) { /* any byte */
        block[i] ^= 0x20;
        assert_true(xvm_disk_get_slot(block, &disk, &got) < 0);
        block[i] ^= 0x20;
    }
}

static void garbage_is_not_absence(void **state)
{
    struct xvm_disk d;

    (void)state;
    assert_int_equal(look(&d), 0);
    xvm_disk_close(&d);
    scribble(3 * XVM_DISK_BLOCK + 100, 10, 0x55); /* the slot of node 7 */
    assert_int_equal(look(&d), -EBADMSG);
    assert_non_null(strstr(d.why, "node 7"));
    xvm_disk_close(&d);
    scribble(3 * XVM_DISK_BLOCK, XVM_DISK_BLOCK, 0); /* an empty slot is written as such */
    assert_int_equal(look(&d), -ENOMSG);
    xvm_disk_close(&d);
}

static void ready_only_once(void **state)
{
    struct xvm_disk_options o = options(1, 0);

    (void)state;
    assert_int_equal(xvm_disk_init(&o), XVM_DISK_FAILED);
    scribble(0, XVM_DISK_BLOCK, 'x'); /* somebody's file system */
    assert_int_equal(xvm_disk_init(&o), XVM_DISK_FAILED);
    o.force = true;
    assert_int_equal(xvm_disk_init(&o), XVM_DISK_OK);
    o.nodes[0] = 99;
    o.nnodes = 1;
    assert_int_equal(xvm_disk_add(&o), XVM_DISK_OK);
    assert_int_equal(xvm_disk_show(&o), XVM_DISK_OK);
    o.cluster = "other";
    assert_int_equal(xvm_disk_add(&o), XVM_DISK_FAILED);
}

/* -------------------------------------------------------------------------------------- pills */

static void a_pill_is_written_and_stays(void **state)
{
    struct xvm_disk_options o = options(1, 2), other = options(1, 7);

    (void)state;
    heartbeat(1, 1);
    heartbeat(2, 1);
    heartbeat(7, 1);
    assert_false(pill_for(2));
    assert_int_equal(xvm_disk_pill(&o), XVM_DISK_OK);
    assert_int_equal(xvm_disk_pill(&other), XVM_DISK_OK);
    assert_true(pill_for(2) && pill_for(7) && !pill_for(1));
    /* whoever has been given one gives none */
    o = options(2, 1);
    assert_int_equal(xvm_disk_pill(&o), XVM_DISK_FAILED);
    assert_false(pill_for(1));
}

static void a_pill_names_a_life(void **state)
{
    struct xvm_disk_options o = options(1, 2);

    (void)state;
    heartbeat(1, 1);
    heartbeat(2, 1);
    o.target_boot.b[5] = 1; /* not the life that writes there */
    assert_int_equal(xvm_disk_pill(&o), XVM_DISK_FAILED);
    o = options(1, 5); /* no slot */
    assert_int_equal(xvm_disk_pill(&o), XVM_DISK_FAILED);
    o = options(1, 2);
    o.disk_given = true; /* another disk */
    assert_int_equal(xvm_disk_pill(&o), XVM_DISK_FAILED);
    assert_false(pill_for(2));
}

static void *shoot(void *user)
{
    const struct xvm_disk_options *o = user;

    return (void *)(intptr_t)xvm_disk_pill(o);
}

/* Whatever way the two writes fall: at most one is shot. Each lives (its slot changes) meanwhile.
 */
static void never_both(void **state)
{
    for (int round = 0; round < 6; round++) {
        struct xvm_disk_options a = options(1, 2), b = options(2, 1);
        pthread_t threads[2];
        void *ends[2];

        assert_int_equal(fresh(state), 0);
        a.wait_ms = b.wait_ms = 300;
        heartbeat(1, 1);
        heartbeat(2, 1);
        assert_int_equal(pthread_create(&threads[0], NULL, shoot, &a), 0);
        assert_int_equal(pthread_create(&threads[1], NULL, shoot, &b), 0);
        for (uint64_t seq = 2; seq < 12; seq++) {
            heartbeat(1, seq);
            heartbeat(2, seq);
            usleep(20000);
        }
        pthread_join(threads[0], &ends[0]);
        pthread_join(threads[1], &ends[1]);
        assert_false(pill_for(1) && pill_for(2));
        assert_true((ends[0] == XVM_DISK_OK) == pill_for(2));
        assert_true((ends[1] == XVM_DISK_OK) == pill_for(1));
    }
}

static void put_claim(ha_node from, ha_node target)
{
    struct xvm_disk_pills p = {.node = from, .boot.b[0] = (uint8_t)from};
    struct xvm_disk d;
    int slot;

    assert_int_equal(look(&d), 0);
    slot = xvm_disk_slot_of(&d.view.header, target);
    p.pills[slot] = (struct xvm_pill){XVM_PILL_CLAIM, target, {.b[0] = (uint8_t)target}, 1, 1};
    xvm_disk_put_pills(d.block, &d.view.header.disk, &p);
    slot = xvm_disk_slot_of(&d.view.header, from);
    assert_int_equal(xvm_disk_write(&d, 1 + d.view.header.nslots + (size_t)slot), 0);
    xvm_disk_close(&d);
}

static void *live(void *user)
{
    for (uint64_t seq = 10; seq < 14; seq++) {
        usleep(100000);
        heartbeat(*(ha_node *)user, seq);
    }
    return NULL;
}

static void steps_back_for_the_living_only(void **state)
{
    struct xvm_disk_options o = options(1, 2);
    ha_node two = 2;
    pthread_t thread;

    (void)state;
    heartbeat(1, 1);
    heartbeat(2, 1);
    put_claim(2, 1);
    assert_int_equal(pthread_create(&thread, NULL, live, &two), 0);
    assert_int_equal(xvm_disk_pill(&o), XVM_DISK_FAILED);
    pthread_join(thread, NULL);
    assert_false(pill_for(2));
    /* silent for as long as it takes to be dead: its claim is a dead host's */
    assert_int_equal(xvm_disk_pill(&o), XVM_DISK_OK);
    assert_true(pill_for(2));
}

/* ------------------------------------------------------------------------------------ storage */

static void put_file(const char *name, const char *text)
{
    char at[256], *slash;
    FILE *f;

    snprintf(at, sizeof(at), "%s/sys/%s", folder, name);
    for (slash = strchr(at, '/'); slash != NULL; slash = strchr(slash + 1, '/')) {
        *slash = '\0';
        mkdir(at, 0700);
        *slash = '/';
    }
    f = fopen(at, "we");
    assert_non_null(f);
    fputs(text, f);
    fclose(f);
}

static void the_longest_timeout_counts(void **state)
{
    char sysfs[64], link[128];
    struct xvm_storage s;

    (void)state;
    snprintf(sysfs, sizeof(sysfs), "%s/sys", folder);
    put_file("devices/host3/session7/block/sda/device/timeout", "30\n");
    put_file("devices/host3/session7/block/sda/sda1/partition", "1\n");
    put_file("class/iscsi_session/session7/recovery_tmo", "120\n");
    put_file("dev/block/x", "");
    snprintf(link, sizeof(link), "%s/dev/block/8:1", sysfs);
    assert_int_equal(symlink("../../devices/host3/session7/block/sda/sda1", link), 0);
    xvm_storage_look(sysfs, 8, 1, &s);
    assert_int_equal(s.ms, 120 * 1000);
    assert_non_null(strstr(s.what, "replacement_timeout"));
    /* a map above it */
    put_file("devices/virtual/block/dm-0/slaves/x", "");
    snprintf(link, sizeof(link), "%s/devices/virtual/block/dm-0/slaves/sda", sysfs);
    assert_int_equal(symlink("../../../../host3/session7/block/sda", link), 0);
    snprintf(link, sizeof(link), "%s/dev/block/253:0", sysfs);
    assert_int_equal(symlink("../../devices/virtual/block/dm-0", link), 0);
    xvm_storage_look(sysfs, 253, 0, &s);
    assert_int_equal(s.ms, 120 * 1000);
    put_file("class/iscsi_session/session7/recovery_tmo", "5\n");
    xvm_storage_look(sysfs, 8, 1, &s);
    assert_int_equal(s.ms, 30 * 1000);
    xvm_storage_look(sysfs, 9, 9, &s);
    assert_int_equal(s.ms, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(slots_come_back_as_they_were),
        cmocka_unit_test_setup(garbage_is_not_absence, fresh),
        cmocka_unit_test_setup(ready_only_once, fresh),
        cmocka_unit_test_setup(a_pill_is_written_and_stays, fresh),
        cmocka_unit_test_setup(a_pill_names_a_life, fresh),
        cmocka_unit_test_setup(never_both, fresh),
        cmocka_unit_test_setup(steps_back_for_the_living_only, fresh),
        cmocka_unit_test(the_longest_timeout_counts),
    };
    char command[128];
    int failed;

    if (mkdtemp(folder) == NULL)
        return 1;
    snprintf(path, sizeof(path), "%s/disk", folder);
    failed = cmocka_run_group_tests(tests, NULL, NULL);
    snprintf(command, sizeof(command), "rm -rf %s", folder);
    return system(command) != 0 || failed;
}
