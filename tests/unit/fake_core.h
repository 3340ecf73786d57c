/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A core that only has a status: what the test put into it. Stands in for ha_status() and its like.
 */
#ifndef FAKE_CORE_H
#define FAKE_CORE_H

#include "../../libha/ha.h"

enum { FAKE_HOSTS_MAX = 8 };

struct ha {
    struct ha_status status;
    struct ha_host_status hosts[FAKE_HOSTS_MAX];
    struct ha_guest_status *guests; /* status.nguests of them */
    struct ha_tolerates tolerates;
    const struct ha_plan_instance *instance;
};

/* Three hosts and five guests on a good day; host1 is the coordinator, host2 is this host. */
void fake_core_init(struct ha *fake);
/* host3 is being fenced, guests are blocked, failed and moving. */
void fake_core_bad_day(struct ha *fake);
void fake_core_done(struct ha *fake);
/* The configuration that goes with it; static. */
const struct ha_config *fake_config(void);

#endif
