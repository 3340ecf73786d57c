/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Reads /etc/xvm-ha.yaml into a struct ha_config, with errors that name file, line and column. */
#ifndef XVM_CONFIG_H
#define XVM_CONFIG_H

#include <stdio.h>

#include "fence_agents.h"
#include "../libha/config.h"

/* Timings of the ring, from corosync's cmap (or defaults when checking a file without corosync). */
struct xvm_ring_facts {
    ha_ms token_ms, consensus_ms;
    bool two_node, qdevice, last_man_standing, wait_for_all, allow_downscale;
};

/* Problems with a configuration file. One loader call can report several. All entries share one
 * allocated `file`, which xvm_config_errors_done frees with them. */
struct xvm_config_errors {
    struct ha_error *v;
    size_t n;
};
void xvm_config_errors_done(struct xvm_config_errors *errors);
/* Prints `FILE:LINE:COL: what, expected what`, one a line. */
void xvm_config_errors_print(const struct xvm_config_errors *errors, FILE *to);

/* Reads and checks everything that can be checked without a cluster. ring NULL: corosync's defaults
 * for that many hosts; what hangs on them is then only warned of. 0 and *ret_config (to be freed
 * with xvm_config_free), or a negative errno with at least one entry in ret_errors. Errors are
 * collected, not only the first. ret_errors may also hold warnings (code 0) on success. */
int xvm_config_load(const char *path, const struct xvm_ring_facts *ring,
                    struct ha_config **ret_config, struct xvm_config_errors *ret_errors);

/* How fence agents are looked at while a file is loaded. */
struct xvm_config_agents {
    struct xvm_agents_env env; /* see fence_agents.h */
    bool strict; /* an agent that is not there or does not answer is an error; false: a warning (a
                    daemon that starts must not depend on every agent of every host) */
};

/* The same, with every fence device's parameters checked against its agent's metadata. May block
 * for as long as agents take, if agents->env.run. */
int xvm_config_load_checked(const char *path, const struct xvm_ring_facts *ring,
                            const struct xvm_config_agents *agents, struct ha_config **ret_config,
                            struct xvm_config_errors *ret_errors);
struct ha_config *xvm_config_free(struct ha_config *config);
/* What ha_config.hash is of the file's bytes (FNV-1a). */
uint64_t xvm_config_hash(const void *text, size_t len);

#endif
