/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Runs the probes of guests, as children of the daemon with a time limit. When, and what an answer
 * means, is the core's business (libha/probe.c). */
#ifndef XVM_PROBER_H
#define XVM_PROBER_H

#include <systemd/sd-event.h>

#include "../libha/ha.h"

struct xvm_prober;

/* Borrowed for the call; from the loop, never from inside a call. */
typedef void (*xvm_prober_done)(void *user, uint64_t id, enum ha_probe_result result,
                                const char *text);

/* `dir`: where probes are that have no path; `host`: this host's name. Both copied. 0 or a negative
 * errno. */
int xvm_prober_new(sd_event *loop, const char *dir, const char *host, xvm_prober_done done,
                   void *user, struct xvm_prober **ret_prober);
/* Kills what runs; nobody is told. */
struct xvm_prober *xvm_prober_free(struct xvm_prober *prober);
/* Runs it once; it always ends with done(). The guest's configuration is borrowed for the call.
 * 0 or -ENOMEM. */
int xvm_prober_run(struct xvm_prober *prober, const struct ha_guest_config *guest,
                   const struct ha_action *action);

#endif
