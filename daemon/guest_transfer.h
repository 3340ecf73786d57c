/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The image of a process driver's guest on its way: frames with a type and a length, memory that
 * is as large as a test wants it, the guest's state, and an end with a sum over all of it. */
#ifndef XVM_GUEST_TRANSFER_H
#define XVM_GUEST_TRANSFER_H

#include <signal.h>

#include "guest_files.h"

struct xvm_image_stream {
    int fd, progress;
    ha_ms deadline;
    const volatile sig_atomic_t *cancelled;
    uint64_t sum;
    uint32_t round;
};

/* All of these: 0; -ECANCELED; -ETIMEDOUT; -EPIPE (the other end is gone); or another errno. */

/* One byte of the two ends' conversation (driver.h). -EPROTO: another byte came. */
int xvm_image_wait(struct xvm_image_stream *s, char byte);
int xvm_image_say(struct xvm_image_stream *s, char byte);

int xvm_image_send_head(struct xvm_image_stream *s, const struct xvm_guest_image *image);
/* One round of so many KiB. */
int xvm_image_send_memory(struct xvm_image_stream *s, uint64_t kib);
int xvm_image_send_state(struct xvm_image_stream *s, const struct xvm_guest_image *image);
/* After this the other end may have all of it. */
int xvm_image_send_end(struct xvm_image_stream *s);

/* Reads all of it. -EBADMSG: damaged, or another guest's or migration's. */
int xvm_image_receive(struct xvm_image_stream *s, const char *name, uint64_t mig,
                      struct xvm_guest_image *ret_image);

#endif
