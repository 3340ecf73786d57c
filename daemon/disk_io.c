/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Owns the file descriptor of the shared disk; see disk_io.h. */
#include "disk_io.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

enum { TRIES = 5, TRY_PAUSE_MS = 20 };

static int fail(struct xvm_disk *disk, int r, const char *what)
{
    snprintf(disk->why, sizeof(disk->why), "%s: %s", what, strerror(-r));
    return r;
}

int xvm_disk_open(struct xvm_disk *disk, const char *path, bool create)
{
    int flags = O_RDWR | O_DIRECT | O_DSYNC | O_CLOEXEC | O_NOCTTY | O_NONBLOCK;
    struct stat st;

    *disk = (struct xvm_disk){.fd = -1};
    disk->buffer = aligned_alloc(XVM_DISK_BLOCK, (size_t)XVM_DISK_BLOCKS_MAX * XVM_DISK_BLOCK);
    disk->block = aligned_alloc(XVM_DISK_BLOCK, XVM_DISK_BLOCK);
    if (disk->buffer == NULL || disk->block == NULL)
        return fail(disk, -ENOMEM, "buffers");
    memset(disk->buffer, 0, (size_t)XVM_DISK_BLOCKS_MAX * XVM_DISK_BLOCK);
    disk->fd = open(path, flags | (create ? O_CREAT : 0), 0600);
    if (disk->fd < 0)
        return fail(disk, -errno, errno == EINVAL ? "no direct I/O on this file system" : path);
    if (fstat(disk->fd, &st) < 0)
        return fail(disk, -errno, path);
    if (!S_ISBLK(st.st_mode) && !S_ISREG(st.st_mode))
        return fail(disk, -EINVAL, "neither a block device nor a file");
    return 0;
}

void xvm_disk_close(struct xvm_disk *disk)
{
    if (disk->fd >= 0)
        close(disk->fd);
    free(disk->buffer);
    free(disk->block);
    *disk = (struct xvm_disk){.fd = -1};
}

static int read_at(struct xvm_disk *disk, size_t from, size_t len)
{
    size_t n = 0;

    while (n < len) {
        ssize_t got = pread(disk->fd, disk->buffer + from + n, len - n, (off_t)(from + n));

        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0)
            return fail(disk, -errno, "cannot be read");
        if (got == 0)
            return fail(disk, -ENODATA,
                        "is too small, or was never made ready (xvmhactl disk init)");
        n += (size_t)got;
    }
    return 0;
}

int xvm_disk_read(struct xvm_disk *disk)
{
    struct xvm_disk_header header;
    struct timespec pause = {0, TRY_PAUSE_MS * 1000000L};
    int r = 0;

    for (int i = 0; i < TRIES; i++) {
        if (i > 0)
            nanosleep(&pause, NULL);
        r = read_at(disk, 0, XVM_DISK_BLOCK);
        if (r < 0)
            return r;
        r = xvm_disk_get_header(disk->buffer, &header);
        if (r == 0)
            r = read_at(disk, XVM_DISK_BLOCK, xvm_disk_size(&header) - XVM_DISK_BLOCK);
        if (r < 0 && r != -EBADMSG && r != -ENOMSG)
            return r;
        r = xvm_disk_get_view(disk->buffer, r < 0 ? XVM_DISK_BLOCK : xvm_disk_size(&header),
                              &disk->view, disk->why);
        if (r != -EBADMSG)
            return r;
    }
    return r;
}

int xvm_disk_write(struct xvm_disk *disk, size_t at)
{
    off_t offset = (off_t)(at * XVM_DISK_BLOCK);
    ssize_t n;

    do
        n = pwrite(disk->fd, disk->block, XVM_DISK_BLOCK, offset);
    while (n < 0 && errno == EINTR);
    if (n < 0)
        return fail(disk, -errno, "cannot be written");
    return n == XVM_DISK_BLOCK ? 0 : fail(disk, -EIO, "was written in part only");
}
