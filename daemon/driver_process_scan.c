/* SPDX-License-Identifier: GPL-2.0-or-later */
/* One look at the guests' directories. Only reads; takes no lock. */
#include "driver_process.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* The state and the lock cannot be read in one instant: `alive` is asked before and after, and only
 * an unchanged answer counts. */
static int look_at_process(int dir, struct xvm_seen *seen)
{
    int before = xvm_lock_held_at(dir, "alive");
    int r = xvm_state_read(dir, &seen->state);
    int after = xvm_lock_held_at(dir, "alive");
    if (before < 0 || after < 0)
        return before < 0 ? before : after;
    if (before != after)
        return -EAGAIN;
    seen->alive = after;
    seen->has_state = r == 0;
    if (seen->alive && r < 0)
        return -EAGAIN; /* just starting; or damaged, which will not pass */
    return r == 0 || r == -ENOENT || r == -EBADMSG ? 0 : r;
}

static int look_at(int guests_fd, const char *name, struct xvm_seen *seen)
{
    int dir = openat(guests_fd, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
    if (dir < 0)
        return errno == ENOTDIR || errno == ENOENT || errno == ELOOP ? 0 : -errno;
    memcpy(seen->guest, name, strnlen(name, sizeof(seen->guest) - 1));
    /* The worker first: one that ends in between has left its work done. */
    int worker = xvm_lock_held_at(dir, "lock");
    if (worker == 1 && xvm_holder_read(dir, &seen->holder) < 0)
        seen->holder = (struct xvm_guest_holder){0};
    int r = worker < 0 ? worker : look_at_process(dir, seen);
    seen->worker = worker == 1;
    close(dir);
    return r;
}

static struct xvm_seen *grow(struct xvm_scan *scan)
{
    if (scan->n == scan->size) {
        size_t size = scan->size ? 2 * scan->size : 16;
        struct xvm_seen *v = reallocarray(scan->v, size, sizeof(*v));
        if (!v)
            return NULL;
        scan->v = v;
        scan->size = size;
    }
    scan->v[scan->n] = (struct xvm_seen){0};
    return &scan->v[scan->n];
}

static int scan_dir(DIR *dir, struct xvm_scan *scan)
{
    const struct dirent *entry;
    while (errno = 0, (entry = readdir(dir))) {
        if (!xvm_guest_name_ok(entry->d_name))
            continue;
        struct xvm_seen *seen = grow(scan);
        if (!seen)
            return -ENOMEM;
        int r = look_at(dirfd(dir), entry->d_name, seen);
        if (r < 0)
            return r;
        if (seen->has_state || seen->alive || seen->worker)
            scan->n++;
    }
    return -errno;
}

int xvm_process_scan(int guests_fd, struct xvm_scan *ret_scan)
{
    struct xvm_scan scan = {0};
    int fd = openat(guests_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0)
        return -errno;
    DIR *dir = fdopendir(fd);
    if (!dir) {
        int r = -errno;
        close(fd);
        return r;
    }
    int r = scan_dir(dir, &scan);
    closedir(dir);
    if (r < 0) {
        free(scan.v);
        return r;
    }
    *ret_scan = scan;
    return 0;
}
