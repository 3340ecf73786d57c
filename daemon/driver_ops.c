/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The operations of a driver that are under way. */
#include "driver_ops.h"
#include "guest_files.h"
#include "pidfd.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum {
    DEFAULT_TIMEOUT_MS = 600 * 1000,
};

/* The answers for operations that could not be started go through the loop, like every answer. */
static int on_problem(sd_event_source *source, void *user)
{
    struct xvm_ops *ops = user;
    struct xvm_op *op = ops->first, *other;
    while (op && !op->problem)
        op = op->next;
    if (!op)
        return 0;
    for (other = op->next; other && !other->problem;)
        other = other->next;
    if (other)
        (void)sd_event_source_set_enabled(source, SD_EVENT_ONESHOT);
    ops->finish(op, HA_RESULT_FAILED, op->problem);
    return 0;
}

int xvm_ops_open(struct xvm_ops *ops, sd_event *loop, xvm_op_finish finish)
{
    ops->finish = finish;
    int r = sd_event_add_defer(loop, &ops->on_problem, on_problem, ops);
    if (r >= 0)
        r = sd_event_source_set_enabled(ops->on_problem, SD_EVENT_OFF);
    return r < 0 ? r : 0;
}

void xvm_ops_close(struct xvm_ops *ops)
{
    while (ops->first) {
        struct xvm_op *op = ops->first;
        ops->first = op->next;
        op->child = xvm_child_abandon(op->child); /* the next daemon waits for it */
        xvm_op_close_channel(op);
        free(op);
    }
    ops->on_problem = sd_event_source_disable_unref(ops->on_problem);
}

struct xvm_op *xvm_op_new(struct xvm_ops *ops, struct xvm_driver *driver, const char *guest)
{
    struct xvm_op *op = calloc(1, sizeof(*op));
    if (!op)
        return NULL;
    op->ops = ops;
    op->driver = driver;
    op->stream = op->progress = -1;
    op->asked = xvm_boot_ms();
    snprintf(op->guest, sizeof(op->guest), "%s", guest);
    /* At the end: the oldest worker of a guest is the one that holds its lock. */
    struct xvm_op **at = &ops->first;
    while (*at)
        at = &(*at)->next;
    *at = op;
    return op;
}

struct xvm_op *xvm_op_asked(struct xvm_ops *ops, struct xvm_driver *driver,
                            const struct ha_action *action, const struct xvm_channel *channel)
{
    assert(action->type == HA_ACT_GUEST);
    struct xvm_op *op = xvm_op_new(ops, driver, action->u.guest.guest);
    if (!op)
        return NULL;
    op->id = action->u.guest.op;
    op->what = action->u.guest.what;
    op->inc = action->u.guest.inc;
    op->mig = action->u.guest.mig;
    op->kind = action->u.guest.kind;
    op->def = action->u.guest.def;
    op->until = action->u.guest.until;
    op->timeout_ms = action->u.guest.timeout_ms;
    op->dump = action->u.guest.dump;
    /* Copies: the worker may start later. */
    if (channel)
        op->stream = fcntl(channel->stream, F_DUPFD_CLOEXEC, 3);
    if (channel && channel->progress >= 0)
        op->progress = fcntl(channel->progress, F_DUPFD_CLOEXEC, 3);
    return op;
}

bool xvm_op_ok(const struct xvm_op *op)
{
    return xvm_guest_name_ok(op->guest) && op->what >= HA_OP_CREATE && op->what <= HA_OP_RESUME;
}

void xvm_op_take(struct xvm_op *op)
{
    struct xvm_op **at = &op->ops->first;
    while (*at != op)
        at = &(*at)->next;
    *at = op->next;
    xvm_op_close_channel(op);
}

void xvm_op_fail_soon(struct xvm_op *op, const char *problem)
{
    op->problem = problem;
    (void)sd_event_source_set_enabled(op->ops->on_problem, SD_EVENT_ONESHOT);
}

void xvm_op_close_channel(struct xvm_op *op)
{
    if (op->stream >= 0)
        close(op->stream);
    if (op->progress >= 0)
        close(op->progress);
    op->stream = op->progress = -1;
}

ha_ms xvm_op_left(const struct xvm_op *op)
{
    ha_ms timeout = op->timeout_ms > 0 ? op->timeout_ms : DEFAULT_TIMEOUT_MS;
    return timeout - (xvm_boot_ms() - op->asked);
}

void xvm_op_clear_the_way(const struct xvm_op *destroy)
{
    for (struct xvm_op *op = destroy->ops->first; op; op = op->next)
        if (op != destroy && op->child && !strcmp(op->guest, destroy->guest) &&
            (!destroy->inc || !op->inc || op->inc == destroy->inc))
            xvm_child_kill(op->child);
}

const struct xvm_op *xvm_ops_of(const struct xvm_ops *ops, const char *guest)
{
    for (const struct xvm_op *op = ops->first; op; op = op->next)
        if (op->child && !strcmp(op->guest, guest))
            return op;
    return NULL;
}

/* A worker that an earlier daemon left behind stops by the same signal. */
static void cancel_old(int guests_fd, const char *guest)
{
    struct xvm_guest_holder holder;
    int dir = xvm_guest_name_ok(guest) ? xvm_guest_open(guests_fd, guest) : -1;
    if (dir < 0)
        return;
    if (xvm_holder_read(dir, &holder) == 0 && holder.start &&
        (holder.op == HA_OP_SEND || holder.op == HA_OP_RECEIVE)) {
        int fd = xvm_pidfd_of(holder.pid, holder.start);
        if (fd >= 0) {
            (void)xvm_pidfd_signal(fd, SIGTERM);
            close(fd);
        }
    }
    close(dir);
}

void xvm_ops_cancel(struct xvm_ops *ops, int guests_fd, uint64_t id, const char *guest)
{
    if (id == 0) {
        cancel_old(guests_fd, guest);
        return;
    }
    for (struct xvm_op *op = ops->first; op; op = op->next) {
        if (op->id != id || op->problem)
            continue;
        if (op->child) /* it stops if it has not done anything yet */
            xvm_child_signal(op->child, SIGTERM);
        else
            xvm_op_fail_soon(op, "cancelled before it began");
        return;
    }
}
