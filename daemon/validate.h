/* SPDX-License-Identifier: GPL-2.0-or-later */
/* `xvmhactl validate`: whether guests could be started, looked at on every host (A6). Each host
 * looks for itself, one guest at a time, and tells all; who asked collects. */
#ifndef XVM_VALIDATE_H
#define XVM_VALIDATE_H

#include "driver.h"
#include "talk.h"

struct xvm_validate;

struct xvm_validate_env {
    sd_event *loop;
    ha_node self;
    void *user;
    const struct ha *(*core)(void *user); /* NULL: not yet */
    const struct ha_config *(*config)(void *user);
    const struct xvm_driver_ops *driver_ops;
    struct xvm_driver *driver;
    struct xvm_talk *talk;
    /* Answers the client of xvm_validate_ask; takes over `answer`. */
    void (*answer)(void *user, uint64_t client, json_t *answer);
    /* A guest could not be started here, or (fit) something of it should be known; seen when the
     * configuration was read. */
    void (*found)(void *user, const char *guest, bool fit, const char *text);
};

int xvm_validate_new(const struct xvm_validate_env *env, struct xvm_validate **ret_validate);
struct xvm_validate *xvm_validate_free(struct xvm_validate *validate);
/* Has every host look at a guest (NULL: at all). 0: the answer comes; -ENOENT: no such guest;
 * -EBUSY: many do that already; -ENOTCONN. */
int xvm_validate_ask(struct xvm_validate *validate, uint64_t client, const char *guest);
/* Looks at all guests here, and says what it finds. */
void xvm_validate_here(struct xvm_validate *validate);
void xvm_validate_heard(struct xvm_validate *validate, ha_node from, const char *kind,
                        const json_t *body);

#endif
