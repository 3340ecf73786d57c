/* SPDX-License-Identifier: GPL-2.0-or-later */
/* xvm-ha-block with a xenstore of a few nodes, and without processes: what libxl and blkback read is
 * written at once; what is no block device is left to Xen's own script. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#define DISK "backend/vbd/7/51712"

static struct {
    char path[64], value[128];
} nodes[16], before[16];
static int again, transactions, scripts; /* transactions that end with EAGAIN; begun; exec of Xen's */
static mode_t kind;                      /* of what stands at params; 0: nothing */

static int fake_stat(const char *path, struct stat *ret)
{
    (void)path;
    memset(ret, 0, sizeof(*ret));
    ret->st_mode = kind;
    ret->st_rdev = makedev(254, 17);
    errno = ENOENT;
    return kind ? 0 : -1;
}

static int fake_execv(const char *path, char *const argv[])
{
    assert_string_equal(path, "/etc/xen/scripts/block");
    assert_string_equal(argv[0], path);
    scripts++;
    errno = ENOENT;
    return -1;
}

#define stat(path, ret) fake_stat(path, ret)
#define execv(path, argv) fake_execv(path, argv)
#define main block_main
int block_main(int argc, char *argv[]);
/* The program itself, with its calls replaced. */
#include "../../daemon/block_main.c" /* NOLINT(bugprone-suspicious-include) */
#undef main
#undef stat
#undef execv

struct xs_handle *xs_open(unsigned long flags)
{
    (void)flags;
    return (struct xs_handle *)(void *)nodes;
}

void xs_close(struct xs_handle *xsh)
{
    (void)xsh;
}

static int find(const char *path)
{
    for (int i = 0; i < 16; i++)
        if (strcmp(nodes[i].path, path) == 0)
            return i;
    return -1;
}

void *xs_read(struct xs_handle *h, xs_transaction_t t, const char *path, unsigned int *len)
{
    int i = find(path);
    (void)h, (void)t;
    errno = ENOENT;
    *len = i < 0 ? 0 : (unsigned)strlen(nodes[i].value);
    return i < 0 ? NULL : strdup(nodes[i].value);
}

bool xs_write(struct xs_handle *h, xs_transaction_t t, const char *path, const void *data,
              unsigned int len)
{
    int i = find(path);
    (void)h, (void)t;
    if (i < 0)
        i = find("");
    assert_int_not_equal(i, -1);
    snprintf(nodes[i].path, sizeof(nodes[i].path), "%s", path);
    snprintf(nodes[i].value, sizeof(nodes[i].value), "%.*s", (int)len, (const char *)data);
    return true;
}

xs_transaction_t xs_transaction_start(struct xs_handle *h)
{
    (void)h;
    memcpy(before, nodes, sizeof(nodes));
    return (xs_transaction_t)++transactions;
}

bool xs_transaction_end(struct xs_handle *h, xs_transaction_t t, bool abort)
{
    (void)h, (void)t;
    if (abort || again > 0)
        memcpy(nodes, before, sizeof(nodes));
    errno = EAGAIN;
    return abort || again-- <= 0;
}

static void put_node(const char *key, const char *value)
{
    char path[64];
    snprintf(path, sizeof(path), DISK "/%s", key);
    assert_true(xs_write(NULL, 0, path, value, (unsigned)strlen(value)));
}

static void assert_node(const char *key, const char *value)
{
    char path[64];
    snprintf(path, sizeof(path), DISK "/%s", key);
    int i = find(path);
    if (!value)
        assert_int_equal(i, -1);
    else
        assert_string_equal(i < 0 ? "(none)" : nodes[i].value, value);
}

static int call(const char *word)
{
    char program[] = "/usr/libexec/xvm-had/xvm-ha-block", verb[16];
    char *argv[] = {program, verb, NULL};
    snprintf(verb, sizeof(verb), "%s", word);
    return block_main(2, argv);
}

static int setup(void **state)
{
    (void)state;
    memset(nodes, 0, sizeof(nodes));
    again = transactions = scripts = 0;
    kind = S_IFBLK;
    put_node("params", "/dev/vg/web");
    return setenv("XENBUS_PATH", DISK, 1);
}

static void test_block_device(void **state)
{
    (void)state;
    again = 2; /* others write, too */
    assert_int_equal(call("add"), 0);
    assert_int_equal(transactions, 3);
    assert_node("physical-device", "fe:11");
    assert_node("physical-device-path", "/dev/vg/web");
    assert_node("hotplug-status", "connected");
    assert_node("hotplug-error", NULL);
    assert_int_equal(call("add"), 0); /* as Xen's: done before */
    assert_int_equal(transactions, 3);
    assert_int_equal(call("remove"), 0);
    assert_int_equal(scripts, 0);
}

static void test_left_to_xen(void **state)
{
    static const mode_t kinds[] = {S_IFREG, 0};
    (void)state;
    for (size_t i = 0; i < 2; i++) {
        setup(NULL);
        kind = kinds[i];
        assert_int_equal(call("add"), 1); /* here that script is missing */
        assert_int_equal(scripts, 1);
        assert_node("hotplug-status", "error");
        assert_node("hotplug-error", "/dev/vg/web: no block device, and no /etc/xen/scripts/block");
        assert_node("physical-device", NULL);
        call("remove");
        assert_int_equal(scripts, kind ? 2 : 1);
    }
}

static void test_backend_is_gone(void **state)
{
    (void)state;
    memset(nodes, 0, sizeof(nodes));
    struct backend b = {.path = DISK};
    assert_int_equal(connect_disk(&b, "/dev/vg/web", makedev(1, 2)), 1);
    assert_int_equal(find(DISK "/hotplug-status"), -1);
    assert_int_equal(call("remove"), 0);
}

static void test_wrong_calls(void **state)
{
    char program[] = "xvm-ha-block";
    char *argv[] = {program, NULL};
    (void)state;
    assert_int_equal(block_main(1, argv), 2);
    assert_int_equal(call("online"), 2);
    unsetenv("XENBUS_PATH");
    assert_int_equal(call("add"), 2);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(test_block_device, setup),
        cmocka_unit_test_setup(test_left_to_xen, setup),
        cmocka_unit_test_setup(test_backend_is_gone, setup),
        cmocka_unit_test_setup(test_wrong_calls, setup),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
