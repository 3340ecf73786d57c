/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A core that only has a status. */
#include "fake_core.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void ha_status(const struct ha *ha, ha_ms now, struct ha_status *ret_status)
{
    (void)now;
    *ret_status = ha->status;
}

void ha_status_host(const struct ha *ha, ha_ms now, size_t i, struct ha_host_status *ret_host)
{
    (void)now;
    *ret_host = ha->hosts[i];
}

void ha_status_guest(const struct ha *ha, ha_ms now, size_t i, struct ha_guest_status *ret_guest)
{
    (void)now;
    *ret_guest = ha->guests[i];
}

static const struct {
    const char *name;
    ha_node owner;
    int priority;
    uint64_t memory_mib;
} guests[] = {
    {"db1", 1, 900, 4096}, {"mail", 3, 700, 2048}, {"web1", 1, 500, 512},
    {"web2", 2, 500, 512}, {"build", 0, 50, 2048},
};
enum { NGUESTS = sizeof(guests) / sizeof(guests[0]) };

/* The same cluster as the planner would be shown it: db1 and web1 are apart, mail needs a san. */
static const struct ha_plan_instance *fake_instance(void)
{
    static const struct ha_plan_host hosts[] = {
        {"host1", 16 << 20, 0, HA_PLAN_UP}, {"host2", 16 << 20, 0, HA_PLAN_UP},
        {"host3", 16 << 20, 0, HA_PLAN_UP}};
    static const uint32_t needs[] = {0}, apart[] = {0, 2};
    static const struct ha_plan_label labels[] = {{"san", 5}};
    static const struct ha_plan_preference prefer[] = {{2, 50}};
    static const struct ha_plan_rule rules[] = {
        {.kind = HA_PLAN_APART, .strength = HA_PLAN_WEAK, .guests = apart, .nguests = 2}};
    static struct ha_plan_guest planned[NGUESTS];
    static struct ha_plan_instance in = {.hosts = hosts, .nhosts = 3, .guests = planned,
                                         .nguests = NGUESTS, .labels = labels, .nlabels = 1,
                                         .rules = rules, .nrules = 1, .reserve = 1,
                                         .migrate = true, .preempt = HA_PLAN_PREEMPT_LOWER};

    for (size_t i = 0; i < NGUESTS; i++)
        planned[i] = (struct ha_plan_guest){.name = guests[i].name,
                                            .memory_kib = guests[i].memory_mib << 10,
                                            .vcpus = 1,
                                            .priority = guests[i].priority,
                                            .on = (int32_t)guests[i].owner - 1,
                                            .run = guests[i].owner != 0,
                                            .allowed = i == 2 ? 3 : UINT64_MAX};
    planned[1].needs = needs;
    planned[1].nneeds = 1;
    planned[3].prefer = prefer;
    planned[3].nprefer = 1;
    return &in;
}

void fake_core_init(struct ha *fake)
{
    static const char *const hosts[] = {"host1", "host2", "host3"};

    memset(fake, 0, sizeof(*fake));
    fake->status = (struct ha_status){
        .phase = HA_PHASE_OPEN,
        .quorate = true,
        .epoch = {7, 1},
        .self = 2,
        .coordinator = 1,
        .head = {{7, 1}, 41},
        .stable = {{7, 1}, 41},
        .founded = true,
        .synced = true,
        .lease_until = 21000,
        .keeper = true,
        .nhosts = 3,
        .nguests = NGUESTS,
        .sentence = "member of the cluster, following host1",
    };
    for (ha_node i = 0; i < 3; i++)
        fake->hosts[i] = (struct ha_host_status){
            .node = i + 1,
            .name = hosts[i],
            .state = HA_HOST_IN,
            .member = true,
            .daemon = true,
            .synced = true,
            .armed = true,
            .coordinator = i == 0,
            .memory_kib = 16 << 20,
            .memory_used_kib = (uint64_t)(i + 1) << 20,
        };
    fake->instance = fake_instance();
    fake->tolerates = (struct ha_tolerates){
        .known = true, .hosts = 2, .exact = true, .reserve = 1, .why = "no more hosts are there"};
    fake->guests = calloc(NGUESTS, sizeof(*fake->guests));
    for (size_t i = 0; fake->guests != NULL && i < NGUESTS; i++)
        fake->guests[i] = (struct ha_guest_status){
            .name = guests[i].name,
            .managed = true,
            .owner = guests[i].owner,
            .inc = i + 10,
            .state = guests[i].owner != 0 ? HA_GUEST_RUNNING : HA_GUEST_FREE,
            .enabled = guests[i].owner != 0,
            .want_run = guests[i].owner != 0,
            .priority = guests[i].priority,
            .memory_kib = guests[i].memory_mib << 10,
        };
}

/* As the core shows a guest to the planner that cannot be touched now. */
static void hold(struct ha *fake, size_t guest)
{
    struct ha_plan_guest *g = (struct ha_plan_guest *)&fake->instance->guests[guest];

    g->may = g->allowed;
    g->allowed = UINT64_C(1) << g->on;
    g->keep = true;
}

void fake_core_bad_day(struct ha *fake)
{
    struct ha_host_status *lost = &fake->hosts[2];

    lost->state = HA_HOST_FENCING;
    lost->member = lost->daemon = lost->synced = false;
    lost->loss = 1;
    snprintf(lost->why, sizeof(lost->why),
             "lost 12 s ago; fence level 1 (ipmi-3) under way; if no "
             "device confirms, its watchdog does in 22 s, or you: `xvmhactl fence confirm host3`");
    hold(fake, 1);
    snprintf(fake->guests[1].why, sizeof(fake->guests[1].why),
             "its host host3 is lost and not yet confirmed dead: waits for the fence");
    fake->guests[2].state = HA_GUEST_MIGRATING;
    fake->guests[2].target = 2;
    fake->guests[2].mig = 3;
    fake->guests[3].owner = 0;
    fake->guests[3].state = HA_GUEST_FREE;
    fake->guests[3].failed = true;
    fake->guests[3].restarts = 3;
    fake->hosts[0].drift = fake->hosts[0].down = true;
    fake->tolerates.hosts = 0;
    fake->hosts[0].armed = fake->hosts[1].armed = false;
    fake->hosts[0].arming = lost->foreign = true;
    fake->hosts[1].maintenance = 2;
    fake->hosts[1].leaving = 3;
    fake->hosts[1].going = 1;
    snprintf(fake->hosts[1].why, sizeof(fake->hosts[1].why), "is being emptied: 3 guests to go");
    fake->guests[4].enabled = fake->guests[4].want_run = fake->guests[4].preempted = true;
    snprintf(fake->guests[4].why, sizeof(fake->guests[4].why), "stopped for want of room");
}

void fake_core_done(struct ha *fake)
{
    free(fake->guests);
    fake->guests = NULL;
}

const struct ha_config *fake_config(void)
{
    static struct ha_host_config hosts[] = {
        {.name = "host1", .node = 1}, {.name = "host2", .node = 2}, {.name = "host3", .node = 3}};
    static struct ha_guest_config configured[] = {
        {.name = "db1"}, {.name = "web1"}, {.name = "new-one"}};
    static struct ha_config config = {
        .cluster_name = "demo", .hosts = hosts, .nhosts = 3, .guests = configured, .nguests = 3};

    return &config;
}

void ha_tolerates(const struct ha *ha, struct ha_tolerates *ret_tolerates)
{
    *ret_tolerates = ha->tolerates;
}

const struct ha_plan_instance *ha_instance(const struct ha *ha)
{
    return ha->instance;
}
