/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What both drivers do alike: the list of operations under way, in the order in which they were
 * asked for, their channels, and how they are cancelled. What an operation is, and what its end
 * means, is each driver's own. */
#ifndef XVM_DRIVER_OPS_H
#define XVM_DRIVER_OPS_H

#include "child.h"
#include "driver.h"

struct xvm_op {
    struct xvm_op *next;
    struct xvm_ops *ops;
    struct xvm_driver *driver;
    uint64_t id; /* 0: the driver's own doing, nobody waits for it */
    enum ha_op what;
    char guest[HA_NAME_MAX];
    uint64_t inc, mig;
    enum ha_move_kind kind;
    struct ha_uuid def; /* CREATE: the definition to build from; zero: what this host has */
    ha_ms until, timeout_ms;
    bool dump;               /* DESTROY: its memory goes to a file first */
    ha_ms asked;             /* when it was asked for */
    int stream, progress;    /* a transfer's channel, until the worker has it; else -1 */
    const char *problem;     /* it cannot be started; the answer is on its way */
    struct xvm_child *child; /* NULL: not started yet */
    char text[HA_TEXT_MAX];  /* its result line, where the worker says one */
    bool has_text;
};

/* Ends an operation: takes it out of the list (xvm_op_take), answers, frees it. */
typedef void (*xvm_op_finish)(struct xvm_op *op, enum ha_result result, const char *text);

struct xvm_ops {
    struct xvm_op *first;
    sd_event_source *on_problem; /* answers for operations that could not be started */
    xvm_op_finish finish;
};

/* 0 or a negative errno. */
int xvm_ops_open(struct xvm_ops *ops, sd_event *loop, xvm_op_finish finish);
/* Lets go of all of them; their workers go on, the next daemon waits for them. Idempotent. */
void xvm_ops_close(struct xvm_ops *ops);
/* A new operation at the end of the list, asked for now, without a channel; NULL: no memory. */
struct xvm_op *xvm_op_new(struct xvm_ops *ops, struct xvm_driver *driver, const char *guest);
/* The same for an HA_ACT_GUEST action. The channel (may be NULL) is borrowed for the call. */
struct xvm_op *xvm_op_asked(struct xvm_ops *ops, struct xvm_driver *driver,
                            const struct ha_action *action, const struct xvm_channel *channel);
/* Its name and its kind make sense. */
bool xvm_op_ok(const struct xvm_op *op);
/* Out of the list, its channel closed; the caller frees it. */
void xvm_op_take(struct xvm_op *op);
/* It ends as FAILED, from the loop. The text is borrowed until then. */
void xvm_op_fail_soon(struct xvm_op *op, const char *problem);
/* The worker has its own: the other end must see when nobody is here any more. */
void xvm_op_close_channel(struct xvm_op *op);
/* What is left of its time, 0 or less: none. */
ha_ms xvm_op_left(const struct xvm_op *op);
/* A destroy ends the workers that are in its way; what they did is then unknown, and soon gone. */
void xvm_op_clear_the_way(const struct xvm_op *destroy);
/* The first operation of that guest that has a worker; NULL: none. */
const struct xvm_op *xvm_ops_of(const struct xvm_ops *ops, const char *guest);
/* As xvm_driver_ops.cancel; guests_fd: RUN_DIR/guests. */
void xvm_ops_cancel(struct xvm_ops *ops, int guests_fd, uint64_t id, const char *guest);

#endif
