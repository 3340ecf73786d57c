/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What goes into a fence agent and what its end means: the input for one call, the verdict on its
 * exit, and the sentence an operator reads. Internal to fence_exec. */
#ifndef XVM_FENCE_TEXT_H
#define XVM_FENCE_TEXT_H

#include "child.h"
#include "../libha/ha.h"

enum {
    XVM_FENCE_TEXT = 640, /* bytes of the sentence about one call, with its NUL */
};

/* One device of one launch: a copy of its own, so that a new configuration can come meanwhile. */
struct xvm_fence_device {
    char name[HA_NAME_MAX];
    char *path;
    struct ha_param *params; /* the device's, then the host's; the host's win */
    size_t nparams;
    ha_ms timeout_ms;
    unsigned retries;
    bool verify;
    ha_ms delay_ms; /* before its first call */
};

/* Copies what is needed to fence `host` with `from`. 0 or -ENOMEM. */
int xvm_fence_device_copy(const struct ha_fence_device *from, const struct ha_host_config *host,
                          const char *agent_dir, struct xvm_fence_device *ret_device);
void xvm_fence_device_done(struct xvm_fence_device *device);

/* The lines for standard input. Caller wipes and frees *ret_input. -ENOMEM, or -EINVAL with a
 * sentence in `why`: a parameter that cannot be passed or would change the action. */
int xvm_fence_input(const struct xvm_fence_device *device, const char *action, char **ret_input,
                    size_t *ret_len, char why[static XVM_FENCE_TEXT]);

enum xvm_fence_power {
    XVM_FENCE_OFF = 1,
    XVM_FENCE_ON,
    XVM_FENCE_DONT_KNOW,
};

/* What an ended call of action=status says. */
enum xvm_fence_power xvm_fence_status(const struct xvm_child_end *end);

/* HA_RESULT_FAILED if the agent itself said so or never ran, else HA_RESULT_UNKNOWN. Only for calls
 * that did not end with exit code 0. */
enum ha_result xvm_fence_verdict(const struct xvm_child_end *end);

/* The sentence about a call that went wrong: the device, what happened, what to do, the agent's
 * last words with secrets struck out. */
void xvm_fence_explain(const struct xvm_fence_device *device, const char *action,
                       const struct xvm_child_end *end, char why[static XVM_FENCE_TEXT]);

#endif
