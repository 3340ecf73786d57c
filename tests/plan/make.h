/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Random instances for the planner, from a seed. */
#ifndef PLAN_MAKE_H
#define PLAN_MAKE_H

#include "../../libha/plan.h"

enum { MAKE_HOSTS = 8, MAKE_GUESTS = 40, MAKE_RULES = 6, MAKE_LABELS = 4 };

/* An instance with all that it points to. */
struct made_instance {
    struct ha_plan_instance in;
    struct ha_plan_host hosts[MAKE_HOSTS];
    struct ha_plan_guest guests[MAKE_GUESTS];
    struct ha_plan_rule rules[MAKE_RULES];
    struct ha_plan_label labels[MAKE_LABELS];
    char host_names[MAKE_HOSTS][8], guest_names[MAKE_GUESTS][8];
    uint32_t members[MAKE_RULES][MAKE_GUESTS], needs[MAKE_GUESTS][2];
    struct ha_plan_preference prefer[MAKE_GUESTS][2];
    uint8_t racks[HA_HOSTS_MAX];
};

void make_instance(struct made_instance *made, uint64_t seed);
/* As JSON for `xvmhactl plan --file`, to look into a failure. */
void make_print(const struct made_instance *made);

#endif
