/* SPDX-License-Identifier: GPL-2.0-or-later */
/* How far the hosts' clocks are apart (C5). For people who compare logs, and for guests that get
 * their time from dom0; nothing that keeps guests safe uses the time of day. */
#ifndef XVM_CLOCKS_H
#define XVM_CLOCKS_H

#include <systemd/sd-event.h>

#include "talk.h"

enum { XVM_CLOCK_TOO_FAR_MS = 1000 };

struct xvm_clocks;

/* That host's clock is `ms` ahead of ours (behind: negative); too_far: from now on, or no more. */
typedef void (*xvm_clocks_news)(void *user, ha_node host, bool too_far, ha_ms ms);

int xvm_clocks_new(sd_event *loop, struct xvm_talk *talk, ha_node self, xvm_clocks_news news,
                   void *user, struct xvm_clocks **ret_clocks);
struct xvm_clocks *xvm_clocks_free(struct xvm_clocks *clocks);
void xvm_clocks_heard(struct xvm_clocks *clocks, ha_node from, const char *kind,
                      const json_t *body);
/* False: not known, or not lately. */
bool xvm_clocks_of(const struct xvm_clocks *clocks, ha_node host, ha_ms *ret_ms);

#endif
