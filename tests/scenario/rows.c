/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Which rows of the two state machines (libha/facts.c) the scenarios have taken. */
#include <stdio.h>

#include "libha/facts.h"
#include "runner.h"

static unsigned long host_rows[HA_HOST_OUT + 1][HA_FACT_COUNT];
static unsigned long guest_rows[HA_GUEST_ARRIVED + 1][HA_FACT_COUNT];

void ha_watch_host(enum ha_host_state state, enum ha_fact_kind kind)
{
    host_rows[state][kind]++;
}

void ha_watch_guest(enum ha_guest_state state, enum ha_fact_kind kind)
{
    guest_rows[state][kind]++;
}

unsigned scenario_rows_missing(void)
{
    unsigned missing = 0, rows = 0;
    for (int kind = 0; kind < HA_FACT_COUNT; kind++) {
        for (int state = 0; state <= HA_HOST_OUT; state++) {
            if (ha_host_next((enum ha_host_state)state, (enum ha_fact_kind)kind) < 0)
                continue;
            rows++;
            if (host_rows[state][kind] == 0) {
                printf("never taken: host %s, fact %d of enum ha_fact_kind\n",
                       ha_host_state_name((enum ha_host_state)state), kind);
                missing++;
            }
        }
        for (int state = 0; state <= HA_GUEST_ARRIVED; state++) {
            if (ha_guest_next((enum ha_guest_state)state, (enum ha_fact_kind)kind) < 0)
                continue;
            rows++;
            if (guest_rows[state][kind] == 0) {
                printf("never taken: guest %s, fact %d of enum ha_fact_kind\n",
                       ha_guest_state_name((enum ha_guest_state)state), kind);
                missing++;
            }
        }
    }
    printf("%u of %u rows taken\n", rows - missing, rows);
    return missing;
}
