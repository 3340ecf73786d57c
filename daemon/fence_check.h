/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Asks fence devices whether they work, without switching anything: the agent's status of the
 * host's plug, or monitor where it has no status. Never blocks the loop; a device is asked for one
 * host at a time, few devices at once. */
#ifndef XVM_FENCE_CHECK_H
#define XVM_FENCE_CHECK_H

#include <systemd/sd-event.h>

#include "fence_text.h"
#include "../libha/ha.h"

enum xvm_check_result {
    XVM_CHECK_ON = 1,  /* it answered: the host is on */
    XVM_CHECK_OFF,     /* it answered: the host is off */
    XVM_CHECK_WORKS,   /* it answered monitor, which says nothing about the host */
    XVM_CHECK_FAILED,  /* it did not answer, or with an error */
    XVM_CHECK_UNKNOWN, /* its agent can neither status nor monitor */
};

struct xvm_check {
    char host[HA_NAME_MAX], device[HA_NAME_MAX];
    ha_node node;
    uint32_t level; /* first one of that host that uses the device, from 0 */
    enum xvm_check_result result;
    ha_ms took_ms;
    char text[XVM_FENCE_TEXT]; /* with FAILED: what happened, what to do; secrets struck out */
};

struct xvm_checker; /* one round of questions */

/* Called once, from the loop, with every question in the order it was added; the checker is freed
 * right after. */
typedef void (*xvm_check_done)(void *user, const struct xvm_check *checks, size_t n);

/* A round of questions. node 0: of every host; device NULL: every device. 0 (done comes later, also
 * if there is nothing to ask) or a negative errno. agent_dir as in fence_exec.h. */
int xvm_checker_new(sd_event *loop, const struct ha_config *config, const char *agent_dir,
                    ha_node node, const char *device, xvm_check_done done, void *user,
                    struct xvm_checker **ret_checker);
struct xvm_checker *xvm_checker_free(struct xvm_checker *checker); /* done is not called */

const char *xvm_check_result_name(enum xvm_check_result result);

#endif
