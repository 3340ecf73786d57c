/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Reads and writes of the shared disk, past every cache (O_DIRECT), in blocks. May wait for minutes
 * in the kernel: only processes that nothing else waits for call these. */
#ifndef XVM_DISK_IO_H
#define XVM_DISK_IO_H

#include "disk_format.h"

struct xvm_disk {
    int fd;
    unsigned char *buffer;     /* aligned; XVM_DISK_BLOCKS_MAX blocks */
    unsigned char *block;      /* aligned; one */
    struct xvm_disk_view view; /* of the last good read */
    char why[HA_TEXT_MAX];     /* what the last failure was */
};

/* 0 or a negative errno with disk->why filled. `create`: makes a regular file where nothing is. */
int xvm_disk_open(struct xvm_disk *disk, const char *path, bool create);
void xvm_disk_close(struct xvm_disk *disk);
/* Everything, into disk->view. A block that was being written is read again, a few times. 0, or a
 * negative errno with disk->why. */
int xvm_disk_read(struct xvm_disk *disk);
/* disk->block to block number `at`; 0 only when the storage has said that it is there. */
int xvm_disk_write(struct xvm_disk *disk, size_t at);

#endif
