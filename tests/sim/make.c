/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Builds what a run needs: a configuration, and a random choice of faults (a swarm). */
#include "make.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "script.h"

enum { GUEST_KIB = 1 << 20 };

/* ------------------------------------------------------------------------------ configuration */

static void make_host(struct ha_host_config *h, unsigned i, const struct sim_shape *shape)
{
    const char *levels = shape->levels[i] ? shape->levels[i] : "ds";
    snprintf(h->name, sizeof(h->name), "host%u", i + 1);
    h->node = i + 1;
    for (; *levels; levels++) {
        struct ha_fence_level *l = &h->levels[h->nlevels];
        l->kind = *levels == 'd' ? HA_FENCE_DEVICE : *levels == 'p' ? HA_FENCE_DISK : HA_FENCE_SELF;
        if (l->kind == HA_FENCE_DEVICE) {
            l->devices[0] = h->nlevels ? 1 : 0;
            l->ndevices = 1;
        }
        l->delay_ms = h->nlevels == 0 ? shape->delay_ms[i] : 0;
        h->nlevels++;
    }
}

static void make_guest(struct ha_guest_config *g, unsigned i, const struct sim_shape *shape)
{
    snprintf(g->name, sizeof(g->name), "g%u", i + 1);
    g->priority = (int)(100 + 50 * (i % 4));
    g->memory_kib = GUEST_KIB;
    g->vcpus = 1;
    g->enabled = !(shape->disabled & 1u << i);
    g->stop_timeout_ms = 20000;
    g->restart_limit = 20;
    g->restart_window_ms = 60000;
    g->restart_delay_ms = 500;
}

struct ha_config *sim_config_new(const struct sim_shape *shape, ha_ms token_ms, ha_ms consensus_ms)
{
    struct ha_config *c = calloc(1, sizeof(*c));
    assert(c && shape->hosts > 0);
    strcpy(c->cluster_name, "sim");
    c->mode = shape->fence_only ? HA_MODE_FENCE_ONLY : HA_MODE_MAJORITY;
    ha_timers_default(shape->hosts, token_ms, consensus_ms, &c->timers);
    c->timers.watchdog = 5000;
    c->timers.startup_grace = 15000;
    c->timers.fence_retry = 3000;
    c->timers.daemon = 15000;
    c->fencing = shape->fencing;
    if (shape->disk) {
        c->disk.interval_ms = 1000;
        c->disk.timeout_ms = ha_disk_timeout_min(&c->timers, c->disk.interval_ms, 0);
    }
    c->placement = (struct ha_placement){.preempt = HA_PLAN_PREEMPT_LOWER, .rebalance = true};
    c->shutdown.timeout_ms = 60000;
    c->nhosts = shape->hosts;
    c->hosts = calloc(c->nhosts, sizeof(*c->hosts));
    c->ndevices = 2;
    c->devices = calloc(c->ndevices, sizeof(*c->devices));
    c->nguests = shape->guests;
    c->guests = calloc(c->nguests ? c->nguests : 1, sizeof(*c->guests));
    assert(c->hosts && c->devices && c->guests);
    for (unsigned i = 0; i < 2; i++) {
        snprintf(c->devices[i].name, sizeof(c->devices[i].name), "device%u", i);
        c->devices[i].timeout_ms = 8000;
        c->devices[i].verify = true;
    }
    for (unsigned i = 0; i < c->nhosts; i++)
        make_host(&c->hosts[i], i, shape);
    for (unsigned i = 0; i < c->nguests; i++)
        make_guest(&c->guests[i], i, shape);
    return c;
}

struct ha_config *sim_config_free(struct ha_config *c)
{
    if (!c)
        return NULL;
    for (size_t i = 0; i < c->nguests; i++) {
        free(c->guests[i].probes);
        free(c->guests[i].after);
        free(c->guests[i].rules);
        free(c->guests[i].prefer);
        free(c->guests[i].needs);
    }
    for (size_t i = 0; i < c->nrules; i++)
        free(c->rules[i].guests);
    free(c->rules);
    free(c->labels);
    free(c->hosts);
    free(c->devices);
    free(c->guests);
    free(c);
    return NULL;
}

void sim_give_probe(struct ha_guest_config *guest, const struct ha_probe_config *probe)
{
    struct ha_probe_config *v = realloc(guest->probes, (guest->nprobes + 1) * sizeof(*v));
    assert(v);
    v[guest->nprobes++] = *probe;
    guest->probes = v;
}

void sim_give_after(struct ha_guest_config *guest, const struct ha_after *after)
{
    struct ha_after *v = realloc(guest->after, (guest->nafter + 1) * sizeof(*v));
    assert(v);
    v[guest->nafter++] = *after;
    guest->after = v;
}

void sim_run_done(struct sim_run *run)
{
    run->setup.config = sim_config_free(run->setup.config);
    sim_plan_done(&run->plan);
}

/* ------------------------------------------------------------------------------------- faults */

int sim_faults_parse(const char *text, struct sim_faults *ret_faults)
{
    struct sim_faults f = {0};
    if (strcmp(text, "all") == 0) {
        *ret_faults = (struct sim_faults){.kinds = ~0ull, .rates = ~0u};
        return 0;
    }
    if (strcmp(text, "none") == 0) {
        *ret_faults = (struct sim_faults){.none = true};
        return 0;
    }
    while (*text) {
        size_t len = strcspn(text, ",");
        bool found = true;
        if (strncmp(text, "ops-rates", len) == 0 && len == 9)
            f.rates |= SIM_FAULT_OPS;
        else if (strncmp(text, "device-rates", len) == 0 && len == 12)
            f.rates |= SIM_FAULT_DEVICES;
        else if (strncmp(text, "net-rates", len) == 0 && len == 9)
            f.rates |= SIM_FAULT_NET;
        else
            found = false;
        for (int k = 0; k < SIM_OP_COUNT && !found; k++)
            if (strlen(sim_op_names[k]) == len && strncmp(text, sim_op_names[k], len) == 0) {
                f.kinds |= 1ull << k;
                found = true;
            }
        if (!found)
            return -1;
        text += len + (text[len] == ',');
    }
    *ret_faults = f;
    return 0;
}

/* How often a kind is drawn, and the longest it lasts. */
static const struct drawn {
    enum sim_op_kind kind;
    unsigned weight;
    ha_ms lo, hi;
} drawn[] = {
    {SIM_OP_CUT, 8, 200, 40000},
    {SIM_OP_SPLIT, 6, 200, 40000},
    {SIM_OP_POWER_OFF, 5, 3000, 60000},
    {SIM_OP_RESET, 4, 0, 0},
    {SIM_OP_HANG, 5, 100, 30000},
    {SIM_OP_DAEMON_KILL, 6, 50, 20000},
    {SIM_OP_DAEMON_STUCK, 4, 100, 40000},
    {SIM_OP_KEEPER_KILL, 2, 50, 8000},
    {SIM_OP_COROSYNC_KILL, 3, 100, 15000},
    {SIM_OP_COROSYNC_FREEZE, 3, 100, 20000},
    {SIM_OP_REFORM, 3, 0, 0},
    {SIM_OP_SLOW_NET, 3, 500, 20000},
    {SIM_OP_HOLD_TX, 2, 100, 6000},
    {SIM_OP_HOLD_RX, 2, 100, 6000},
    {SIM_OP_JOURNAL_SLOW, 4, 500, 20000},
    {SIM_OP_JOURNAL_FAIL, 1, 500, 15000},
    {SIM_OP_WIPE, 1, 100, 10000},
    {SIM_OP_ALL_OFF, 1, 100, 20000},
    {SIM_OP_FENCE, 5, 1000, 40000},
    {SIM_OP_DRIVER, 5, 1000, 30000},
    {SIM_OP_GUEST_EXIT, 6, 0, 0},
    {SIM_OP_DEAF, 1, 5000, 40000},
    {SIM_OP_BACKENDS_SLOW, 2, 2000, 30000},
    {SIM_OP_CMD, 14, 0, 0},
    {SIM_OP_CONFIRM, 4, 0, 0},
    {SIM_OP_SHUTDOWN, 2, 2000, 30000},
    {SIM_OP_INVENTORY, 2, 200, 15000},
    {SIM_OP_QUORUM_FLIP, 2, 100, 8000},
    {SIM_OP_VERDICT_LATE, 2, 1000, 20000},
    {SIM_OP_DEFINE, 2, 0, 0},
    {SIM_OP_CONFIG, 4, 1000, 60000},
};
enum { NDRAWN = sizeof(drawn) / sizeof(*drawn) };

static void draw_command(struct sim_rng *r, const struct sim_run *run, struct sim_op *op)
{
    static const enum ha_command commands[] = {
        HA_CMD_MOVE,  HA_CMD_MOVE,   HA_CMD_MOVE,    HA_CMD_MOVE,  HA_CMD_START,      HA_CMD_STOP,
        HA_CMD_START, HA_CMD_ENABLE, HA_CMD_DISABLE, HA_CMD_CLEAR, HA_CMD_MOVE_CANCEL,
        HA_CMD_FENCE, HA_CMD_HOST_CLEAR, HA_CMD_EVACUATE, HA_CMD_MAINTENANCE_ON,
        HA_CMD_MAINTENANCE_ON, HA_CMD_MAINTENANCE_OFF, HA_CMD_FREEZE, HA_CMD_THAW, HA_CMD_THAW,
        HA_CMD_CHAIR, HA_CMD_CONFIG, HA_CMD_RESTART, HA_CMD_RESTART};
    static const char *const kinds[] = {"live", "live", "migrate", "normal"};
    op->arg = (int)commands[sim_rng_below(r, sizeof(commands) / sizeof(*commands))];
    if (op->arg == HA_CMD_FENCE ||
        (op->arg >= HA_CMD_HOST_CLEAR && op->arg != HA_CMD_FREEZE && op->arg != HA_CMD_THAW &&
         op->arg < HA_CMD_CONFIG))
        op->peer = (uint8_t)sim_rng_below(r, run->hosts);
    if (op->arg >= HA_CMD_EVACUATE && op->arg < HA_CMD_MAINTENANCE_OFF && sim_rng_chance(r, 300))
        strcpy(op->text, "force");
    if (op->arg == HA_CMD_CONFIG)
        strcpy(op->text, sim_rng_chance(r, 700) ? "add" : sim_rng_chance(r, 500) ? "remove" : "push");
    if (op->arg == HA_CMD_MOVE) {
        if (sim_rng_chance(r, 700))
            op->peer = (uint8_t)sim_rng_below(r, run->hosts);
        strcpy(op->text, kinds[sim_rng_below(r, 4)]);
    }
}

static void draw_args(struct sim_rng *r, const struct sim_run *run, struct sim_op *op)
{
    switch (op->kind) {
    case SIM_OP_SPLIT:
        for (unsigned i = 0; i < run->hosts; i++)
            op->comp[i] = (uint8_t)sim_rng_below(r, sim_rng_chance(r, 800) ? 2 : 3);
        break;
    case SIM_OP_SLOW_NET:
        op->val = sim_rng_range(r, 5, 400);
        break;
    case SIM_OP_JOURNAL_SLOW:
        op->val = sim_rng_range(r, 50, 3000);
        break;
    case SIM_OP_BACKENDS_SLOW:
        op->val = sim_rng_range(r, 500, 12000);
        break;
    case SIM_OP_VERDICT_LATE:
        op->val = sim_rng_range(r, 20, 4000);
        break;
    case SIM_OP_FENCE: {
        static const enum sim_device_mode modes[] = {SIM_DEV_FAIL, SIM_DEV_HANG, SIM_DEV_LATE,
                                                     SIM_DEV_LOST, SIM_DEV_SLOW};
        op->arg = (int)modes[sim_rng_below(r, 5)];
        if (run->setup.lies && sim_rng_chance(r, 600))
            op->arg = SIM_DEV_LIE;
        op->arg2 = sim_rng_chance(r, 500) ? -1 : (int)sim_rng_below(r, 2);
        op->val = sim_rng_range(r, 1000, 12000);
        break;
    }
    case SIM_OP_DRIVER:
        op->arg = (int)sim_rng_below(r, HA_OP_RESUME + 1);
        op->arg2 = (int)(1 + sim_rng_below(r, SIM_OUT_SLOW));
        op->val = 1 + (ha_ms)sim_rng_below(r, 3);
        op->guest = -1;
        break;
    case SIM_OP_GUEST_EXIT:
        op->arg = (int)(1 + sim_rng_below(r, HA_EXIT_UNKNOWN));
        break;
    case SIM_OP_CMD:
        draw_command(r, run, op);
        break;
    case SIM_OP_CONFIRM:
        op->peer = (uint8_t)sim_rng_below(r, run->hosts);
        break;
    case SIM_OP_ALL_OFF:
        op->arg = (int)sim_rng_below(r, 2);
        break;
    default:
        break;
    }
}

/* Faults come in bursts, often about the same host: that is where things go wrong. */
static void draw_plan(struct sim_rng *r, const struct sim_options *o, struct sim_run *run)
{
    unsigned weights[NDRAWN], total = 0;
    for (unsigned k = 0; k < NDRAWN; k++) {
        bool fo_bad = run->setup.config->mode == HA_MODE_FENCE_ONLY &&
                      (drawn[k].kind == SIM_OP_WIPE || drawn[k].kind == SIM_OP_FENCE);
        bool on = (o->faults.kinds >> drawn[k].kind & 1) && sim_rng_chance(r, 550) && !fo_bad;
        total += weights[k] = on ? drawn[k].weight : 0;
    }
    if (total == 0 || o->faults.none)
        return;
    ha_ms gap = (ha_ms[]){800, 2000, 4000, 9000}[sim_rng_below(r, 4)], t = 6000;
    uint8_t hot = (uint8_t)sim_rng_below(r, run->hosts);
    while (t < run->setup.faults_ms - 2000) {
        unsigned x = sim_rng_below(r, total), k = 0;
        for (; x >= weights[k]; k++)
            x -= weights[k];
        if (sim_rng_chance(r, 200))
            hot = (uint8_t)sim_rng_below(r, run->hosts);
        struct sim_op op = {
            .kind = drawn[k].kind,
            .at = t,
            .host = sim_rng_chance(r, 500) ? hot : (uint8_t)sim_rng_below(r, run->hosts),
            .peer = SIM_NO_HOST,
            .guest = run->guests ? (int)sim_rng_below(r, run->guests) : -1,
        };
        if (drawn[k].hi) { /* mostly short, sometimes long */
            ha_ms hi = sim_rng_chance(r, 600) ? drawn[k].lo + (drawn[k].hi - drawn[k].lo) / 6
                                              : drawn[k].hi;
            op.dur = sim_rng_range(r, drawn[k].lo, hi);
        }
        draw_args(r, run, &op);
        bool about_guest =
            op.kind == SIM_OP_CMD || op.kind == SIM_OP_GUEST_EXIT || op.kind == SIM_OP_DEAF;
        if (!about_guest || op.guest >= 0)
            sim_plan_add(&run->plan, &op);
        t += sim_rng_chance(r, 350) ? sim_rng_range(r, 0, 300) : sim_rng_range(r, gap / 4, gap * 2);
    }
}

static uint32_t draw_rate(struct sim_rng *r, uint32_t most)
{
    return sim_rng_chance(r, 500) ? 0 : sim_rng_below(r, most + 1);
}

static void draw_rates(struct sim_rng *r, unsigned which, struct sim_rates *ret)
{
    if (which & SIM_FAULT_OPS) {
        ret->op_fail = draw_rate(r, 120);
        ret->op_lost = draw_rate(r, 80);
        ret->op_hang = draw_rate(r, 40);
        ret->op_slow = draw_rate(r, 150);
        ret->inventory_unknown = draw_rate(r, 150);
        ret->crash_tail = sim_rng_below(r, 1001);
    }
    if (which & SIM_FAULT_DEVICES) {
        ret->fence_fail = draw_rate(r, 300);
        ret->fence_late = draw_rate(r, 200);
        ret->fence_hang = draw_rate(r, 200);
        ret->fence_lost = draw_rate(r, 200);
    }
    if (which & SIM_FAULT_NET) {
        ret->verdict_late = draw_rate(r, 200);
        ret->merge_stepwise = draw_rate(r, 800);
    }
}

/* Guests that an operator started by hand before the cluster was founded. */
static void draw_by_hand(struct sim_rng *r, struct sim_run *run)
{
    for (unsigned g = 0; g < run->guests; g++) {
        if (!sim_rng_chance(r, 120))
            continue;
        struct sim_op op = {.kind = SIM_OP_HAND_START,
                            .at = sim_rng_range(r, 2600, 3500),
                            .host = (uint8_t)sim_rng_below(r, run->hosts),
                            .peer = SIM_NO_HOST,
                            .guest = (int)g};
        sim_plan_add(&run->plan, &op);
        if (!sim_rng_chance(r, 300))
            continue; /* else the file there does not have it yet */
        op.kind = SIM_OP_CONFIG;
        op.at = 0;
        op.dur = sim_rng_range(r, 10000, 60000);
        sim_plan_add(&run->plan, &op);
    }
}

static void draw_shape(struct sim_rng *r, const struct sim_options *o, struct sim_shape *ret)
{
    static const char *const levels[] = {"ds", "ds", "d", "dd", "dds", "s"};
    struct sim_shape s = {0};
    s.hosts = o->hosts_lo + sim_rng_below(r, o->hosts_hi - o->hosts_lo + 1);
    s.guests = o->guests ? o->guests : 1 + sim_rng_below(r, 7);
    assert(s.hosts > 0);
    s.fence_only = s.hosts == 2;
    const char *all = levels[sim_rng_below(r, 6)];
    for (unsigned i = 0; i < s.hosts; i++) {
        s.levels[i] = sim_rng_chance(r, 800) ? all : levels[sim_rng_below(r, 6)];
        if (s.fence_only)
            s.levels[i] = sim_rng_chance(r, 500) ? "d" : "ds";
        s.delay_ms[i] = sim_rng_chance(r, 200) ? sim_rng_range(r, 0, 3000) : 0;
    }
    s.fencing = (struct ha_fence_policy){.window = 40000};
    if (sim_rng_chance(r, 300)) {
        s.fencing.host_limit = 1 + sim_rng_below(r, 4);
        s.fencing.cluster_limit = 1 + sim_rng_below(r, 6);
    }
    unsigned least = (s.guests + s.hosts - 1) / s.hosts;
    s.fit = least + sim_rng_below(r, s.guests + 1);
    s.disabled = sim_rng_chance(r, 200) ? (uint32_t)sim_rng_next(r) & 0x5 : 0;
    *ret = s;
}

/* In a stream of its own: worlds without a disk stay as they were. */
static void draw_disk(struct sim_rng *r, struct sim_shape *s)
{
    static const char *const levels[] = {"p", "dp", "ps", "dps", "pd", "p"};
    if (!sim_rng_chance(r, 400))
        return;
    s->disk = true;
    for (unsigned i = 0; i < s->hosts; i++)
        if (sim_rng_chance(r, 800))
            s->levels[i] = levels[sim_rng_below(r, 6)];
}

static void draw_disk_plan(struct sim_rng *r, const struct sim_options *o, struct sim_run *run)
{
    static const struct drawn disk[] = {
        {SIM_OP_DISK_LOST, 6, 500, 60000},
        {SIM_OP_DISK_ALL, 2, 500, 60000},
        {SIM_OP_DISK_SLOW, 4, 2000, 60000},
    };
    ha_ms gap = (ha_ms[]){3000, 8000, 20000}[sim_rng_below(r, 3)];
    for (ha_ms t = 6000; t < run->setup.faults_ms - 2000; t += sim_rng_range(r, gap / 4, gap * 2)) {
        unsigned x = sim_rng_below(r, 12), k = x < 6 ? 0 : x < 8 ? 1 : 2;
        struct sim_op op = {.kind = disk[k].kind,
                            .at = t,
                            .dur = sim_rng_range(r, disk[k].lo, disk[k].hi),
                            .val = sim_rng_range(r, 200, 9000),
                            .host = (uint8_t)sim_rng_below(r, run->hosts),
                            .peer = SIM_NO_HOST,
                            .guest = -1};
        if (op.kind == SIM_OP_DISK_ALL)
            op.host = SIM_NO_HOST;
        if (o->faults.kinds >> op.kind & 1)
            sim_plan_add(&run->plan, &op);
    }
}

/* ----------------------------------------------------------------------------------- the whole */

/* g1 and g2 are apart, and both prefer host1. */
static void make_apart(struct ha_config *c)
{
    c->rules = calloc(1, sizeof(*c->rules));
    assert(c->rules);
    c->nrules = 1;
    c->rules[0].kind = HA_PLAN_APART;
    c->rules[0].guests = calloc(2, sizeof(*c->rules[0].guests));
    assert(c->rules[0].guests);
    c->rules[0].nguests = 2;
    for (unsigned h = 0; h < c->nhosts; h++)
        c->rules[0].domain[h] = (uint8_t)h;
    for (uint32_t g = 0; g < 2; g++) {
        c->rules[0].guests[g] = g;
        c->guests[g].rules = calloc(1, sizeof(*c->guests[g].rules));
        c->guests[g].prefer = calloc(1, sizeof(*c->guests[g].prefer));
        assert(c->guests[g].rules && c->guests[g].prefer);
        c->guests[g].nrules = c->guests[g].nprefer = 1;
        c->guests[g].prefer[0] = (struct ha_preference){.host = 1, .weight = 10};
    }
}

static bool make_directed(const struct sim_directed *d, struct sim_run *run)
{
    struct sim_shape shape = {
        .hosts = d->hosts, .guests = d->guests, .fence_only = d->fence_only, .fit = 8};
    shape.disk = strchr(d->levels, 'p') != NULL;
    for (unsigned i = 0; i < d->hosts; i++)
        shape.levels[i] = d->levels;
    if (strcmp(d->name, "blind-duel") == 0)
        shape.levels[0] = "d";
    if (strcmp(d->name, "budget") == 0)
        shape.fencing = (struct ha_fence_policy){.cluster_limit = 2, .window = 40000};
    if (strcmp(d->name, "flaps") == 0)
        shape.fencing = (struct ha_fence_policy){.host_limit = 2, .window = 40000};
    if (strcmp(d->name, "apart-under-way") == 0)
        shape.disabled = 2;
    run->hosts = d->hosts;
    run->guests = d->guests;
    run->setup.config = sim_config_new(&shape, 1000, 1200);
    if (strcmp(d->name, "floor") == 0)
        run->setup.config->timers.lease = 40000;
    if (strncmp(d->name, "apart", 5) == 0)
        make_apart(run->setup.config);
    run->setup.token_ms = 1000;
    run->setup.consensus_ms = 1200;
    run->setup.calm = d->calm;
    run->setup.host_memory_kib = (uint64_t)shape.fit * GUEST_KIB;
    run->setup.boot_ms = 8000;
    if (strcmp(d->name, "old-look") == 0)
        run->setup.look_ms = 4000;
    run->setup.faults_ms = 60000;
    run->setup.settle_ms = 240000;
    char error[300];
    if (sim_script_parse(d->script, run->setup.config, &run->plan, &run->setup.faults_ms, error,
                         sizeof(error)) < 0) {
        fprintf(stderr, "%s: %s\n", d->name, error);
        abort();
    }
    return true;
}

/* A rule that can be kept when all hosts are up: one has `first` and those after it. */
static void draw_rule(struct sim_rng *r, struct ha_config *c, unsigned most)
{
    static const enum ha_plan_strength strengths[] = {HA_PLAN_STRONG, HA_PLAN_STRONG,
                                                      HA_PLAN_DELEGATE, HA_PLAN_WEAK};
    bool apart = sim_rng_chance(r, 600);
    unsigned n = apart ? 2 + sim_rng_below(r, most - 1) : 2;
    unsigned first = sim_rng_below(r, (unsigned)c->nguests - n + 1);
    c->rules = calloc(1, sizeof(*c->rules));
    assert(c->rules);
    struct ha_rule *rule = &c->rules[c->nrules++];
    rule->kind = apart ? HA_PLAN_APART : HA_PLAN_TOGETHER;
    rule->strength = strengths[sim_rng_below(r, 4)];
    rule->guests = calloc(n, sizeof(*rule->guests));
    assert(rule->guests);
    for (unsigned h = 0; h < c->nhosts; h++)
        rule->domain[h] = (uint8_t)h;
    for (unsigned i = 0; i < n; i++) {
        struct ha_guest_config *g = &c->guests[first + i];
        rule->guests[rule->nguests++] = first + i;
        g->rules = calloc(1, sizeof(*g->rules));
        assert(g->rules);
        g->rules[g->nrules++] = 0;
    }
}

/* Rules, scarcity, and what the planner may do: from numbers of their own, so that the rest of a seed stays
 * what it was. */
static void draw_places(uint64_t seed, struct sim_run *run)
{
    struct sim_rng down = sim_rng_seed(seed, 179);
    run->setup.config->shutdown.evacuate = sim_rng_chance(&down, 700);
    run->setup.config->shutdown.timeout_ms = 5000 + (ha_ms)sim_rng_below(&down, 55000);
    struct sim_rng r = sim_rng_seed(seed, 78);
    struct ha_config *c = run->setup.config;
    unsigned most = (unsigned)(c->nhosts < c->nguests ? c->nhosts : c->nguests);
    uint64_t *memory_kib = &run->setup.host_memory_kib;
    c->placement.failback = (enum ha_failback)sim_rng_below(&r, 3);
    c->placement.preempt = (enum ha_plan_preempt)sim_rng_below(&r, 3);
    c->placement.rebalance = sim_rng_chance(&r, 700);
    if (sim_rng_chance(&r, 400) && most >= 2) {
        draw_rule(&r, c, most);
        *memory_kib += 2 * GUEST_KIB;
    } else if (sim_rng_chance(&r, 400) && *memory_kib >= 2 * GUEST_KIB) {
        run->setup.scarce = true;
        *memory_kib = GUEST_KIB * (1 + sim_rng_below(&r, (unsigned)(*memory_kib / GUEST_KIB)));
    }
    for (size_t g = 0; g < c->nguests; g++)
        if (sim_rng_chance(&r, 250)) {
            c->guests[g].prefer = calloc(1, sizeof(*c->guests[g].prefer));
            assert(c->guests[g].prefer);
            c->guests[g].nprefer = 1;
            c->guests[g].prefer[0] = (struct ha_preference){
                .host = 1 + sim_rng_below(&r, (unsigned)c->nhosts), .weight = 10};
        }
}

static void make_random(uint64_t seed, const struct sim_options *o, struct sim_run *run)
{
    struct sim_rng r = sim_rng_seed(seed, 77);
    struct sim_shape shape;
    draw_shape(&r, o, &shape);
    struct sim_rng disk_r = sim_rng_seed(seed, 78);
    draw_disk(&disk_r, &shape);
    run->hosts = shape.hosts;
    run->guests = shape.guests;
    struct sim_setup *s = &run->setup;
    s->token_ms = (ha_ms[]){1000, 1000, 1000, 3000}[sim_rng_below(&r, 4)];
    s->consensus_ms = s->token_ms * 12 / 10;
    s->config = sim_config_new(&shape, s->token_ms, s->consensus_ms);
    s->config->journal_keep = (unsigned[]){0, 0, 2, 15}[seed % 4];
    static char path[] = "/etc/xen/guest.cfg";
    for (unsigned i = 0; seed % 3 == 0 && i < shape.guests; i++)
        s->config->guests[i].config_path = path;
    s->host_memory_kib = (uint64_t)shape.fit * GUEST_KIB;
    draw_places(seed, run);
    s->boot_ms = sim_rng_range(&r, 3000, 15000);
    s->look_ms = (ha_ms[]){0, 0, 50, 1500, 4000}[seed % 5];
    s->faults_ms = o->secs ? o->secs : sim_rng_range(&r, 20000, 120000);
    s->settle_ms = 300000;
    s->lies = o->lies;
    if (!o->faults.none) {
        draw_rates(&r, o->faults.rates, &s->rates);
        if (sim_rng_chance(&r, 100) && !shape.fence_only)
            s->no_watchdog = 1u << sim_rng_below(&r, shape.hosts);
    }
    if (shape.fence_only)
        s->rates.fence_late = s->rates.fence_lost = 0;
    draw_by_hand(&r, run);
    draw_plan(&r, o, run);
    if (shape.disk && !o->faults.none)
        draw_disk_plan(&disk_r, o, run);
}

/* Who starts after whom, always a later one after an earlier one; and how many at once. */
static void draw_order(struct sim_rng *r, struct sim_run *run)
{
    struct ha_config *c = run->setup.config;
    for (unsigned i = 1; i < run->guests; i++) {
        if (!sim_rng_chance(r, 400))
            continue;
        struct ha_after a = {.healthy = sim_rng_chance(r, 400),
                             .delay_ms = sim_rng_chance(r, 300) ? sim_rng_range(r, 0, 8000) : 0};
        memcpy(a.name, c->guests[sim_rng_below(r, i)].name, sizeof(a.name));
        sim_give_after(&c->guests[i], &a);
        c->guests[i].start_wait_ms = sim_rng_range(r, 0, 40000);
    }
    if (sim_rng_chance(r, 400))
        c->starts = (struct ha_starts){.per_host = sim_rng_below(r, 3),
                                       .cluster = sim_rng_below(r, 4),
                                       .boot_ms = sim_rng_range(r, 0, 8000)};
}

/* A guest's life: probes, illness. With chance of its own, so that the rest of a seed's schedule
 * stays what it was. */
static void draw_life(uint64_t seed, const struct sim_options *o, struct sim_run *run)
{
    struct sim_rng r = sim_rng_seed(seed, 191);
    struct sim_setup *s = &run->setup;
    if (!sim_rng_chance(&r, 300) || o->faults.none || !run->guests)
        return;
    for (unsigned i = 0; i < run->guests; i++) {
        struct ha_probe_config p = {.name = "probe",
                                    .interval_ms = sim_rng_range(&r, 1000, 10000),
                                    .timeout_ms = sim_rng_range(&r, 500, 5000),
                                    .grace_ms = sim_rng_range(&r, 0, 20000),
                                    .failures = 1 + sim_rng_below(&r, 4)};
        p.unknowns = sim_rng_chance(&r, 500) ? p.failures * 2 : 0;
        struct ha_guest_config *g = &s->config->guests[i];
        g->restart_per_host = sim_rng_below(&r, 4);
        g->on_reboot = sim_rng_chance(&r, 100) ? HA_ON_STOP : HA_ON_RESTART;
        g->on_poweroff = sim_rng_chance(&r, 200) ? HA_ON_STOP : HA_ON_RESTART;
        g->on_crash = sim_rng_chance(&r, 300) ? (uint8_t)sim_rng_below(&r, 4) : HA_ON_RESTART;
        if (sim_rng_chance(&r, 600))
            sim_give_probe(&s->config->guests[i], &p);
    }
    draw_order(&r, run);
    for (unsigned n = sim_rng_below(&r, 4); n > 0; n--) {
        struct sim_op op = {.kind = SIM_OP_SICK,
                            .at = sim_rng_range(&r, 8000, s->faults_ms),
                            .dur = sim_rng_range(&r, 1000, 40000),
                            .host = SIM_NO_HOST,
                            .peer = SIM_NO_HOST,
                            .guest = (int)sim_rng_below(&r, run->guests),
                            .arg = (int)sim_rng_range(&r, HA_PROBE_UNHEALTHY, HA_PROBE_NOTHING)};
        if (!o->faults.kinds || o->faults.kinds & 1ull << SIM_OP_SICK)
            sim_plan_add(&run->plan, &op);
    }
}

bool sim_run_make(uint64_t seed, const struct sim_options *o, struct sim_run *ret_run)
{
    struct sim_run run = {.setup = {.seed = seed}};
    const struct sim_directed *d = NULL;
    if (o->bias && strcmp(o->bias, "*") != 0) {
        d = sim_directed_find(o->bias);
        if (!d)
            return false;
    } else if (o->bias && sim_ndirected && seed % 8 == 0) {
        d = &sim_directed[seed / 8 % sim_ndirected];
    }
    if (d)
        make_directed(d, &run);
    else
        make_random(seed, o, &run);
    if (!d)
        draw_life(seed, o, &run);
    *ret_run = run;
    return true;
}
