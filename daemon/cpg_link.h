/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Membership of one CPG group without ever blocking the caller: connecting and leaving happen in
 * helper threads, sending is bounded by own deliveries, dispatching takes one message at a time.
 * Used by the daemon and by the keeper; needs no event library and no memory after init. */
#ifndef XVM_CPG_LINK_H
#define XVM_CPG_LINK_H

#include <corosync/cpg.h>
#include <stdatomic.h>

#include "../libha/types.h"

struct xvm_cpg_link;

/* Called from xvm_cpg_dispatch only, except `prepare`. Lists are borrowed for the call. */
struct xvm_cpg_ops {
    /* In the helper thread, connected but not yet joined: the place for other calls that may block.
     * 0, or a negative errno: the attempt fails. May be NULL. */
    int (*prepare)(struct xvm_cpg_link *link);
    void (*deliver)(struct xvm_cpg_link *link, ha_node node, uint32_t pid, const void *data,
                    size_t len);
    void (*group)(struct xvm_cpg_link *link, const struct cpg_address *members, size_t nmembers,
                  const struct cpg_address *left, size_t nleft, const struct cpg_address *joined,
                  size_t njoined);
    void (*ring)(struct xvm_cpg_link *link, struct ha_ring ring, const ha_node *members,
                 size_t nmembers);
};

struct xvm_cpg_link {
    const struct xvm_cpg_ops *ops;
    void *user;
    struct cpg_name group;
    unsigned in_flight_max; /* own messages not delivered yet */
    unsigned in_flight;
    int ready_fd;    /* readable: an attempt to connect has ended, call xvm_cpg_connected() */
    atomic_int busy; /* a helper thread owns handle, fd and node */
    int result;      /* of the attempt */
    bool connected;
    cpg_handle_t handle;
    int fd; /* readable: call xvm_cpg_dispatch() */
    ha_node node;
};

/* 0 or a negative errno. group is copied. */
int xvm_cpg_init(struct xvm_cpg_link *link, const char *group, unsigned in_flight_max,
                 const struct xvm_cpg_ops *ops, void *user);
/* Starts an attempt to connect and join. -EBUSY: one is under way. */
int xvm_cpg_connect(struct xvm_cpg_link *link);
/* The outcome, when ready_fd is readable: 0: joined; -EAGAIN: not ended; or why not. */
int xvm_cpg_connected(struct xvm_cpg_link *link);
/* Takes at most `max` messages. 0: done for now; -ENOTCONN: corosync is gone, call xvm_cpg_drop().
 */
int xvm_cpg_dispatch(struct xvm_cpg_link *link, unsigned max);
/* 0: queued; -EAGAIN: later; -ENOTCONN: as above. */
int xvm_cpg_send(struct xvm_cpg_link *link, const void *data, size_t len);
/* Gives up the connection (in a helper thread: it may wait for corosync). */
void xvm_cpg_drop(struct xvm_cpg_link *link);
/* 0, or the errno that is nearest. */
int xvm_cs_errno(cs_error_t error);

#endif
