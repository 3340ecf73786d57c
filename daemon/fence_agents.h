/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Fence agents' metadata: asked for once (action=metadata on standard input, with a time limit),
 * kept in a folder until the agent's file changes. Asking blocks: only where nothing else waits,
 * that is in a program of its own or before the loop begins. */
#ifndef XVM_FENCE_AGENTS_H
#define XVM_FENCE_AGENTS_H

#include <stdint.h>

#include "fence_meta.h"

struct xvm_fence_agents;

struct xvm_agents_env {
    const char *dir;       /* of agents named without a slash; NULL: /usr/sbin */
    const char *cache_dir; /* may be NULL: nothing is kept; need not exist */
    int64_t limit_ms;      /* for one agent's answer; 0: 10 s */
    bool run;              /* may ask agents; false: only what is kept is known */
};

/* NULL when out of memory. The strings are copied. */
struct xvm_fence_agents *xvm_fence_agents_new(const struct xvm_agents_env *env);
struct xvm_fence_agents *xvm_fence_agents_free(struct xvm_fence_agents *agents);

/* The metadata of an agent, by file name or absolute path; borrowed until xvm_fence_agents_free.
 * -ENOENT: no such agent, or nothing that can be run; -ENODATA: not kept, and asking is not
 * allowed; -ETIMEDOUT, -EBADMSG: it is there but did not answer or answered nonsense; -ENOMEM.
 * `why` is then a sentence. Failures are remembered, too: one bad agent costs one time limit. */
int xvm_fence_agents_get(struct xvm_fence_agents *agents, const char *agent,
                         const struct xvm_fence_meta **ret_meta, char why[static XVM_META_WHY]);

#endif
