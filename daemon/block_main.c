/* SPDX-License-Identifier: GPL-2.0-or-later */
/* xvm-ha-block: the hotplug script of disks that are plain block devices of this host. libxl's own
 * (/etc/xen/scripts/block) does no more for them than this, but in some fifty processes, and a guest
 * that moves live stands still for as long. Whatever is not such a disk is left to that script.
 *
 * Called by libxl, with the disk's backend path in XENBUS_PATH. What is written, and when, is an
 * interface between libxl, the scripts and Linux's xen-blkback: physical-device (major:minor in
 * hexadecimal) makes blkback connect; hotplug-status, or hotplug-error, is what libxl reads. */
#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>
#include <xenstore.h>

#define XEN_SCRIPT "/etc/xen/scripts/block"

struct backend {
    struct xs_handle *xs;
    const char *path;
};

static bool put(const struct backend *b, xs_transaction_t t, const char *key, const char *value)
{
    char path[512];
    snprintf(path, sizeof(path), "%s/%s", b->path, key);
    return xs_write(b->xs, t, path, value, (unsigned)strlen(value));
}

static char *get(const struct backend *b, xs_transaction_t t, const char *key)
{
    char path[512];
    unsigned len;
    snprintf(path, sizeof(path), "%s/%s", b->path, key);
    return xs_read(b->xs, t, path, &len);
}

static int refuse(const struct backend *b, const char *device, const char *why)
{
    char text[600];
    snprintf(text, sizeof(text), "%s: %s", device, why);
    fprintf(stderr, "xvm-ha-block: %s\n", text);
    (void)put(b, XBT_NULL, "hotplug-error", text);
    (void)put(b, XBT_NULL, "hotplug-status", "error");
    return EXIT_FAILURE;
}

/* All of it at once. The backend must still be there: libxl may have given it up meanwhile. */
static int connect_disk(const struct backend *b, const char *device, dev_t number)
{
    char text[32];
    snprintf(text, sizeof(text), "%x:%x", major(number), minor(number));
    for (;;) {
        xs_transaction_t t = xs_transaction_start(b->xs);
        if (t == XBT_NULL)
            return refuse(b, device, strerror(errno));
        char *there = get(b, t, "params");
        bool ok = there && put(b, t, "physical-device", text) &&
                  put(b, t, "physical-device-path", device) &&
                  put(b, t, "hotplug-status", "connected");
        int e = errno;
        bool gone = !there;
        free(there);
        if (xs_transaction_end(b->xs, t, !ok)) {
            if (ok || gone)
                return ok ? EXIT_SUCCESS : EXIT_FAILURE;
            return refuse(b, device, strerror(e));
        }
        if (errno != EAGAIN)
            return refuse(b, device, strerror(errno));
    }
}

/* The script of Xen, with our arguments, instead of this program. */
static void leave_to_xen(char *argv[])
{
    static char script[] = XEN_SCRIPT;
    argv[0] = script;
    execv(XEN_SCRIPT, argv);
}

static int add(const struct backend *b, char *argv[], const char *device)
{
    struct stat st;
    if (!device || stat(device, &st) < 0 || !S_ISBLK(st.st_mode)) {
        leave_to_xen(argv);
        return refuse(b, device ? device : b->path, "no block device, and no " XEN_SCRIPT);
    }
    char *done = get(b, XBT_NULL, "physical-device");
    int r = done ? EXIT_SUCCESS : connect_disk(b, device, st.st_rdev);
    free(done);
    return r;
}

/* A block device was there before, and stays. */
static int take_away(const struct backend *b, char *argv[], const char *device)
{
    struct stat st;
    if (device && stat(device, &st) == 0 && !S_ISBLK(st.st_mode)) {
        leave_to_xen(argv);
        return refuse(b, device, "no block device, and no " XEN_SCRIPT);
    }
    return EXIT_SUCCESS;
}

int main(int argc, char *argv[])
{
    struct backend b = {.path = getenv("XENBUS_PATH")};
    bool adds = argc > 1 && strcmp(argv[1], "add") == 0;
    if (!b.path || argc < 2 || (!adds && strcmp(argv[1], "remove") != 0)) {
        fprintf(stderr, "xvm-ha-block: a hotplug script, called by libxl: add or remove, with the "
                        "disk's path in XENBUS_PATH\n");
        return 2;
    }
    b.xs = xs_open(0);
    if (!b.xs) {
        fprintf(stderr, "xvm-ha-block: no connection to xenstore: %s\n", strerror(errno));
        return EXIT_FAILURE;
    }
    char *device = get(&b, XBT_NULL, "params");
    int r = adds ? add(&b, argv, device) : take_away(&b, argv, device);
    free(device);
    xs_close(b.xs);
    return r;
}
