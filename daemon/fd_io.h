/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Writing to descriptors, for all programs: nothing to link. */
#ifndef XVM_FD_IO_H
#define XVM_FD_IO_H

#include <errno.h>
#include <stddef.h>
#include <unistd.h>

/* Writes all of it to a descriptor that blocks. 0, or a negative errno: some of it may be written.
 */
static inline int xvm_write_all(int fd, const void *data, size_t len)
{
    const char *at = data;
    while (len > 0) {
        ssize_t n = write(fd, at, len);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return n < 0 ? -errno : -EIO;
        at += n;
        len -= (size_t)n;
    }
    return 0;
}

#endif
