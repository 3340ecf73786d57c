/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The cluster's state as JSON, for `xvmhactl status` and other clients of the control socket. */
#ifndef XVM_STATUS_JSON_H
#define XVM_STATUS_JSON_H

#include <jansson.h>

#include "../libha/ha.h"

/* Parameters of the answer to org.xvmha.Status. `config` may be NULL. NULL: out of memory. */
json_t *xvm_status_json(const struct ha *core, ha_ms now, const struct ha_config *config);

const char *xvm_severity_name(enum ha_severity severity);

/* A JSON string of any bytes: what is not UTF-8 becomes question marks. */
json_t *xvm_json_text(const char *text);

/* The live cluster as an instance for the planner, in the form of `xvmhactl plan --file`. NULL:
 * nothing is founded yet, or no memory. Owned by the caller. */
json_t *xvm_instance_json(const struct ha *core);

/* Adds what is known of the hosts' clocks to a status. */
void xvm_status_clocks(json_t *all, bool (*clock)(void *user, const char *host, ha_ms *ret_ms),
                       void *user);
/* Adds config_hash, which shows when a change is in use, and what is debugged here. */
void xvm_status_register(json_t *status, const struct ha_config *config);

#endif
