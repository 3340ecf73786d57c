/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The guard of disks, against a program that behaves like sg_persist on a disk that two or three
 * hosts share. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "../../daemon/disk_guard.h"
#include "../../daemon/guest_files.h"

#define DISK "/dev/lab/disk1"
#define FAKE XVM_TEST_DIR "/fake_sg_persist.py"

struct world {
    char dir[64], mpath[128];
    uint64_t keys[4]; /* of node 1, 2, 3 */
    struct xvm_guard guard;
    const char *refusal;
    char why[HA_TEXT_MAX];
};

static void put(struct world *w, const char *name, const char *text)
{
    char path[192];
    snprintf(path, sizeof(path), "%s/%s", w->dir, name);
    FILE *f = fopen(path, "w");
    assert_non_null(f);
    fputs(text, f);
    assert_int_equal(fclose(f), 0);
}

static unsigned calls(struct world *w, const char *part)
{
    char path[192], line[512];
    unsigned n = 0;
    snprintf(path, sizeof(path), "%s/calls", w->dir);
    FILE *f = fopen(path, "r");
    while (f && fgets(line, sizeof(line), f))
        n += strstr(line, part) != NULL;
    if (f)
        fclose(f);
    return n;
}

static const char *refuse(void *user)
{
    const struct world *w = user;
    return w->refusal;
}

/* From now on it is that host which calls, by a connection of that name. */
static struct xvm_guard *on(struct world *w, unsigned node, const char *nexus)
{
    put(w, "nexus", nexus);
    w->guard.key = w->keys[node];
    w->guard.deadline = xvm_boot_ms() + 200000;
    w->why[0] = '\0';
    return &w->guard;
}

static int hold(struct world *w, unsigned node, const char *nexus)
{
    return xvm_guard_hold(on(w, node, nexus), DISK, XVM_GUARD_SCSI, w->why);
}

static int join(struct world *w, unsigned node, const char *nexus)
{
    return xvm_guard_join(on(w, node, nexus), DISK, XVM_GUARD_SCSI, w->why);
}

static int adopt(struct world *w, unsigned node, const char *nexus)
{
    return xvm_guard_adopt(on(w, node, nexus), DISK, XVM_GUARD_SCSI, w->why);
}

static int leave(struct world *w, unsigned node, const char *nexus)
{
    return xvm_guard_leave(on(w, node, nexus), DISK, XVM_GUARD_SCSI, w->why);
}

/* The state of the disk: who is registered, in order, then who holds it ("-": nobody). */
static void assert_disk(struct world *w, const char *wanted)
{
    char path[192], got[512] = "";
    size_t i, n = 0;
    json_t *key;
    snprintf(path, sizeof(path), "%s/state", w->dir);
    json_t *json = json_load_file(path, JSON_DECODE_INT_AS_REAL, NULL);
    assert_non_null(json);
    const char *holder = json_string_value(json_object_get(json, "holder"));
    json_array_foreach(json_object_get(json, "keys"), i, key)
    {
        n += (size_t)snprintf(got + n, sizeof(got) - n, "%s ",
                              json_string_value(json_array_get(key, 0)));
    }
    snprintf(got + n, sizeof(got) - n, "%s", holder ? holder : "-");
    json_decref(json);
    assert_string_equal(got, wanted);
}

static void assert_why(const struct world *w, const char *part)
{
    if (!strstr(w->why, part) || strncmp(w->why, DISK ": ", strlen(DISK) + 2) != 0)
        fail_msg("`%s` does not say `%s`", w->why, part);
}

/* ------------------------------------------------------------------------------------- the life */

static void test_key(void **state)
{
    (void)state;
    assert_true(xvm_guard_key("lab", 2) == ((uint64_t)0x626092f4 << 32 | 2));
    assert_true(xvm_guard_key("lab", 2) != xvm_guard_key("lab2", 2));
}

static void test_start_and_stop(void **state)
{
    struct world *w = *state;
    assert_int_equal(hold(w, 1, "host1"), 0);
    assert_disk(w, "host1 host1");
    assert_int_equal(hold(w, 1, "host1"), 0); /* nothing is missing */
    assert_int_equal(calls(w, "--reserve"), 1);
    assert_int_equal(calls(w, "--preempt"), 0);
    assert_int_equal(leave(w, 1, "host1"), 0);
    assert_disk(w, "-");
    assert_int_equal(leave(w, 1, "host1"), 0);
}

static void test_second_host_preempts(void **state)
{
    struct world *w = *state;
    assert_int_equal(hold(w, 1, "host1"), 0);
    assert_int_equal(hold(w, 2, "host2"), 0);
    assert_disk(w, "host2 host2");
    assert_int_equal(calls(w, "--preempt-abort"), 1);
    /* What the first one still does changes nothing: it was not asked to start again. */
    assert_int_equal(leave(w, 1, "host1"), 0);
    assert_disk(w, "host2 host2");
}

/* Its keys of an earlier life are registered for a connection that is gone. */
static void test_returns_after_a_power_cut(void **state)
{
    struct world *w = *state;
    assert_int_equal(hold(w, 1, "host1"), 0);
    assert_int_equal(hold(w, 1, "host1-again"), 0);
    assert_disk(w, "host1-again host1-again");
    assert_int_equal(hold(w, 2, "host2"), 0);
    assert_disk(w, "host2 host2");
    /* And one that left behind what nobody uses can still leave. */
    assert_int_equal(hold(w, 1, "host1"), 0);
    assert_int_equal(join(w, 1, "host1-again"), 0);
    assert_disk(w, "host1 host1-again host1");
    assert_int_equal(leave(w, 1, "host1-again"), 0);
    assert_disk(w, "-");
}

static void test_move(void **state)
{
    struct world *w = *state;
    assert_int_equal(hold(w, 1, "host1"), 0);
    assert_int_equal(join(w, 2, "host2"), 0);
    assert_disk(w, "host1 host2 host1");
    /* The source may be first: it leaves no gap. */
    assert_int_equal(leave(w, 1, "host1"), 0);
    assert_disk(w, "host1 host2 host1");
    assert_int_equal(hold(w, 2, "host2"), 0);
    assert_disk(w, "host2 host2");
    assert_int_equal(leave(w, 1, "host1"), 0);
    assert_disk(w, "host2 host2");
    assert_int_equal(calls(w, "--reserve"), 1); /* it changed hands, and was never free */
}

static void test_abort_of_a_move(void **state)
{
    struct world *w = *state;
    assert_int_equal(hold(w, 1, "host1"), 0);
    assert_int_equal(join(w, 2, "host2"), 0);
    assert_int_equal(leave(w, 2, "host2"), 0);
    assert_disk(w, "host1 host1");
    /* Or the source, which goes on, sees to it. */
    assert_int_equal(join(w, 2, "host2"), 0);
    assert_int_equal(hold(w, 1, "host1"), 0);
    assert_disk(w, "host1 host1");
}

static void test_adoption(void **state)
{
    struct world *w = *state;
    assert_int_equal(adopt(w, 1, "host1"), 0);
    assert_disk(w, "host1 host1");
    assert_int_equal(adopt(w, 1, "host1"), 0);
    /* Never against another one. */
    assert_int_equal(adopt(w, 2, "host2"), -EBUSY);
    assert_why(w, "left alone");
    assert_disk(w, "host1 host1");
    assert_int_equal(leave(w, 1, "host1"), 0);
    assert_int_equal(join(w, 3, "host3"), 0);
    assert_int_equal(adopt(w, 2, "host2"), -EBUSY);
    assert_why(w, "may write to it, too");
    assert_disk(w, "host3 host2 host2");
}

/* ---------------------------------------------------------------------------------- two at once */

/* The one that is to be preempted leaves by itself, and takes the reservation along. */
static void test_other_leaves_meanwhile(void **state)
{
    struct world *w = *state;
    char before[128];
    assert_int_equal(hold(w, 1, "host1"), 0);
    snprintf(before, sizeof(before),
             "preempt-abort host1 --out --register-ignore --param-rk=%llx --param-sark=0",
             (unsigned long long)w->keys[1]);
    put(w, "before", before);
    assert_int_equal(hold(w, 2, "host2"), 0);
    assert_disk(w, "host2 host2");
    assert_int_equal(calls(w, "--reserve"), 2);
}

/* One that was preempted while it was at it: the storage refuses it, and it does not insist. */
static void test_late_one_is_refused(void **state)
{
    struct world *w = *state;
    char before[128];
    assert_int_equal(hold(w, 1, "host1"), 0);
    snprintf(before, sizeof(before), "preempt-abort host1 --out --preempt --param-rk=%llx "
                                     "--param-sark=%llx --prout-type=5",
             (unsigned long long)w->keys[1], (unsigned long long)w->keys[2]);
    put(w, "before", before);
    assert_int_equal(hold(w, 2, "host2"), 0); /* licensed all the time: it tries again */
    assert_disk(w, "host2 host2");
}

static void test_nothing_without_license(void **state)
{
    struct world *w = *state;
    assert_int_equal(hold(w, 1, "host1"), 0);
    w->refusal = "too late: the lease has ended";
    assert_int_equal(hold(w, 2, "host2"), -ECANCELED);
    assert_why(w, "too late: the lease has ended");
    assert_disk(w, "host1 host1");
    w->refusal = NULL;
}

/* ------------------------------------------------------------------------------ what goes wrong */

static void test_no_abort(void **state)
{
    struct world *w = *state;
    put(w, "no-abort", "1");
    assert_int_equal(hold(w, 1, "host1"), 0);
    assert_int_equal(hold(w, 2, "host2"), 0);
    assert_disk(w, "host2 host2");
}

static void test_unit_attentions(void **state)
{
    struct world *w = *state;
    put(w, "attention", "3");
    assert_int_equal(hold(w, 1, "host1"), 0);
    put(w, "attention", "1000");
    assert_true(hold(w, 1, "host1") < 0);
    assert_why(w, "Unit attention");
    put(w, "attention", "0");
    assert_disk(w, "host1 host1");
}

static void test_unsupported(void **state)
{
    struct world *w = *state;
    put(w, "unsupported", "1");
    assert_int_equal(hold(w, 1, "host1"), -EIO);
    assert_why(w, "command not supported");
    assert_int_equal(join(w, 1, "host1"), -EIO);
    assert_why(w, "it does not answer to persistent reservations");
    assert_int_equal(xvm_guard_probe(&w->guard, DISK, XVM_GUARD_SCSI, w->why), -EIO);
    w->guard.sg_persist = "/nonexistent/sg_persist";
    assert_true(xvm_guard_probe(&w->guard, DISK, XVM_GUARD_SCSI, w->why) < 0);
    assert_why(w, "cannot run /nonexistent/sg_persist");
    assert_true(hold(w, 1, "host1") < 0);
}

static void test_hang(void **state)
{
    struct world *w = *state;
    put(w, "hang", "1");
    w->guard.call_ms = 300;
    ha_ms begin = xvm_boot_ms();
    assert_int_equal(hold(w, 1, "host1"), -ETIMEDOUT);
    assert_why(w, "did not answer within 0.3 s and was killed");
    assert_true(xvm_boot_ms() - begin < 30000);
    /* The whole has a limit, too. */
    w->guard.call_ms = 60000;
    on(w, 1, "host1")->deadline = xvm_boot_ms() + 300;
    assert_int_equal(xvm_guard_join(&w->guard, DISK, XVM_GUARD_SCSI, w->why), -ETIMEDOUT);
    assert_int_equal(xvm_guard_leave(&w->guard, DISK, XVM_GUARD_SCSI, w->why), -ETIMEDOUT);
    assert_why(w, "no time left");
}

static void test_garbage(void **state)
{
    struct world *w = *state;
    static const char *const words[] = {
        "all is well",
        "PR generation=0x1, 2 registered reservation keys follow:\n    0x1\n",
        "PR generation=0x1, registered reservation keys follow:\n    0x1\n",
        "PR generation=0x1, 1 registered reservation key follows:\n    0xzz\n",
        /* as if it were the answer to both questions */
        "PR generation=0x1, there are NO registered reservation keys\n",
        "PR generation=0x1, there are NO registered reservation keys\nReservation follows:\n",
        ("PR generation=0x1, there are NO registered reservation keys\nReservation follows:\n"
         "    Key=0x\n    scope: LU_SCOPE,  type: Write Exclusive, registrants only\n"),
    };
    for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++) {
        put(w, "garbage", words[i]);
        if (hold(w, 1, "host1") != -EBADMSG || join(w, 1, "host1") != -EBADMSG ||
            adopt(w, 1, "host1") != -EBADMSG || leave(w, 1, "host1") != -EBADMSG)
            fail_msg("taken for an answer: %s", words[i]);
        assert_why(w, "makes no sense");
    }
}

/* What is said to be done is looked at. */
static void test_not_believed(void **state)
{
    struct world *w = *state;
    put(w, "deaf", "1");
    assert_int_equal(hold(w, 1, "host1"), -EIO);
    assert_why(w, "does not do what it says");
    assert_int_equal(join(w, 1, "host1"), -EIO);
    assert_true(adopt(w, 1, "host1") < 0);
    put(w, "deaf", "");
    assert_int_equal(hold(w, 1, "host1"), 0);
    put(w, "broken", "preempt");
    put(w, "no-abort", "1");
    assert_int_equal(hold(w, 2, "host2"), -EIO);
    assert_why(w, "Aborted command");
    assert_disk(w, "host1 host2 host1");
}

static void test_reserved_in_another_way(void **state)
{
    struct world *w = *state;
    char text[256];
    for (unsigned type = 1; type <= 7; type += 6) {
        snprintf(text, sizeof(text),
                 "{\"generation\": 1, \"keys\": [[\"other\", 7]], \"holder\": \"other\", "
                 "\"type\": %u}",
                 type);
        put(w, "state", text);
        assert_int_equal(hold(w, 1, "host1"), -EBUSY);
        assert_why(w, "reserved in another way (`Write Exclusive");
        assert_int_equal(join(w, 2, "host2"), -EBUSY);
        assert_int_equal(adopt(w, 2, "host2"), -EBUSY);
        assert_disk(w, "other host1 other");
    }
}

/* ---------------------------------------------------------------------------------- the devices */

static void test_multipath(void **state)
{
    struct world *w = *state;
    struct xvm_guard *g = on(w, 1, "host1");
    assert_int_equal(xvm_guard_hold(g, DISK, XVM_GUARD_MULTIPATH, w->why), 0);
    assert_disk(w, "host1 host1");
    g = on(w, 2, "host2");
    assert_int_equal(xvm_guard_join(g, DISK, XVM_GUARD_MULTIPATH, w->why), 0);
    assert_int_equal(xvm_guard_hold(g, DISK, XVM_GUARD_MULTIPATH, w->why), 0);
    assert_disk(w, "host2 host2");
    assert_int_equal(xvm_guard_leave(g, DISK, XVM_GUARD_MULTIPATH, w->why), 0);
    assert_disk(w, "-");
    assert_int_equal(calls(w, "--no-inquiry"), 0);
    assert_int_equal(xvm_guard_hold(g, DISK, XVM_GUARD_NONE, w->why), -ENODEV);
}

static void device(struct world *w, const char *number, const char *file, const char *text)
{
    char command[512], path[128];
    snprintf(path, sizeof(path), "sys/dev/block/%s/%s", number, file);
    snprintf(command, sizeof(command), "mkdir -p \"$(dirname '%s/%s')\"", w->dir, path);
    assert_int_equal(system(command), 0);
    put(w, path, text);
}

static void test_kinds(void **state)
{
    struct world *w = *state;
    char sysfs[96], why[HA_TEXT_MAX] = "";
    snprintf(sysfs, sizeof(sysfs), "%s/sys", w->dir);
    w->guard.sysfs = sysfs;
    device(w, "8:16", "device/scsi_level", "6\n");
    device(w, "8:17", "partition", "1\n");
    device(w, "254:0", "dm/uuid", "mpath-36001405\n");
    device(w, "254:1", "dm/uuid", "LVM-abcdef\n");
    device(w, "254:2", "dm/uuid", "part1-mpath-36001405\n");
    device(w, "7:0", "size", "1\n");
    assert_int_equal(xvm_guard_kind_of(&w->guard, 8, 16, why), XVM_GUARD_SCSI);
    assert_int_equal(xvm_guard_kind_of(&w->guard, 254, 0, why), XVM_GUARD_MULTIPATH);
    assert_int_equal(xvm_guard_kind_of(&w->guard, 8, 17, why), XVM_GUARD_NONE);
    assert_string_equal(why, "it is a partition, and a reservation is for the whole disk");
    assert_int_equal(xvm_guard_kind_of(&w->guard, 254, 1, why), XVM_GUARD_NONE);
    assert_int_equal(xvm_guard_kind_of(&w->guard, 254, 2, why), XVM_GUARD_NONE);
    assert_int_equal(xvm_guard_kind_of(&w->guard, 7, 0, why), XVM_GUARD_NONE);
    assert_string_equal(why, "it is no SCSI disk");
    assert_int_equal(xvm_guard_kind(&w->guard, "/dev/null", why), XVM_GUARD_NONE);
    assert_string_equal(why, "it is not a block device");
    assert_int_equal(xvm_guard_kind(&w->guard, "/dev/there/is/no/such", why), XVM_GUARD_NONE);
    w->guard.sysfs = NULL;
}

static void test_record(void **state)
{
    struct world *w = *state;
    struct xvm_guard_record record = {.key = w->keys[2], .inc = 7}, read;
    int dir = open(w->dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    assert_true(dir >= 0);
    assert_int_equal(xvm_guard_read(dir, XVM_GUARD_FILE, &read), -ENOENT);
    assert_int_equal(xvm_guard_add(&record, "relative"), -EINVAL);
    assert_int_equal(xvm_guard_add(&record, "/dev/a\nb"), -EINVAL);
    assert_int_equal(xvm_guard_add(&record, DISK), 0);
    assert_int_equal(xvm_guard_add(&record, "/dev/disk/by-id/with blank"), 0);
    assert_int_equal(xvm_guard_write(dir, &record), 0);
    assert_int_equal(xvm_guard_read(dir, XVM_GUARD_FILE, &read), 0);
    assert_true(read.key == record.key && read.inc == 7 && !read.adopted && read.n == 2);
    assert_string_equal(read.disks[1], "/dev/disk/by-id/with blank");
    static const char *const torn[] = {"", "guard 1 7 7 held\n", "guard 1 7 7 held\n/dev/a\n",
                                       "guard 1 7 7 held\n/dev/a\nend", "guard 2 7 7 held\nend\n",
                                       "guard 1 7 7 else\nend\n", "guard 1 0 7 held\nend\n"};
    for (size_t i = 0; i < sizeof(torn) / sizeof(torn[0]); i++) {
        put(w, XVM_GUARD_FILE, torn[i]);
        assert_int_equal(xvm_guard_read(dir, XVM_GUARD_FILE, &read), -EBADMSG);
    }
    close(dir);
}

static int setup(void **state)
{
    struct world *w = calloc(1, sizeof(*w));
    assert_non_null(w);
    strcpy(w->dir, "/tmp/xvm-guard-test.XXXXXX");
    assert_non_null(mkdtemp(w->dir));
    snprintf(w->mpath, sizeof(w->mpath), "%s/mpathpersist", w->dir);
    assert_int_equal(symlink(FAKE, w->mpath), 0);
    assert_int_equal(setenv("XVM_FAKE_PR", w->dir, 1), 0);
    for (unsigned i = 1; i < 4; i++)
        w->keys[i] = xvm_guard_key("test", i);
    w->guard = (struct xvm_guard){.call_ms = 60000,
                                  .sg_persist = FAKE,
                                  .mpathpersist = w->mpath,
                                  .refuse = refuse,
                                  .user = w};
    *state = w;
    return 0;
}

static int teardown(void **state)
{
    struct world *w = *state;
    char command[128];
    snprintf(command, sizeof(command), "rm -rf '%s'", w->dir);
    assert_int_equal(system(command), 0);
    free(w);
    return 0;
}

#define T(name) cmocka_unit_test_setup_teardown(test_##name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_key),
        T(start_and_stop),
        T(second_host_preempts),
        T(returns_after_a_power_cut),
        T(move),
        T(abort_of_a_move),
        T(adoption),
        T(other_leaves_meanwhile),
        T(late_one_is_refused),
        T(nothing_without_license),
        T(no_abort),
        T(unit_attentions),
        T(unsupported),
        T(hang),
        T(garbage),
        T(not_believed),
        T(reserved_in_another_way),
        T(multipath),
        T(kinds),
        T(record),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
