/* SPDX-License-Identifier: GPL-2.0-or-later */
/* How the core uses the planner: the cluster as an instance, and the plan that follows from it.
 * Internal to libha. */
#ifndef HA_PLACING_H
#define HA_PLACING_H

#include "core.h"
#include "plan.h"

/* An instance and all that it points to. Guests and hosts have the indices of the facts.
 * Zero-initialise; the memory is used again by the next build. */
struct ha_live {
    struct ha_plan_instance in;
    struct ha_plan_host hosts[HA_HOSTS_MAX];
    uint64_t closed; /* hosts that take no guests, those that are there stay (bits) */
    const struct ha_member *member[HA_HOSTS_MAX]; /* NULL: not here; while it is built */
    struct ha_plan_guest *guests;
    struct ha_plan_preference *prefers;
    struct ha_plan_label *labels;
    struct ha_plan_rule *rules;
    uint32_t *members;                /* of all rules */
    uint8_t (*domains)[HA_HOSTS_MAX]; /* of each rule */
    int32_t *index;                   /* of the configuration's guests: that of the facts, or -1 */
    int *priorities;                  /* of the guests, with what they pass on to each other */
    size_t guests_size, prefers_size, labels_size, rules_size, members_size, domains_size,
        index_size, priorities_size;
    size_t nprefers, nmembers;
    bool homes;    /* a guest is away from the host that it left for its maintenance */
    uint64_t hash; /* of all that matters */
};

/* The cluster by these facts, and by what the members of this view have told, as it will be when
 * all that is under way has gone well. 0 or -ENOMEM. */
int ha_live_build(const struct ha *ha, const struct ha_facts *facts, struct ha_live *live);
void ha_live_done(struct ha_live *live);

/* What the coordinator planned last. */
struct ha_placing {
    struct ha_live live, next; /* what `plan` was made of, and scratch */
    struct ha_plan *plan;      /* NULL: none */
    bool valid;
    ha_ms looked_at; /* when the instance was built last */
    /* for status, on any host: how many failures are tolerated */
    struct ha_live status_live;
    struct ha_tolerates tolerates;
    bool tolerates_known;
    uint64_t tolerates_hash;
};

#endif
