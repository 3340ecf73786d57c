/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Reads a scenario's cluster.yaml: how many hosts and guests, how they are fenced, the timers. */
#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <yaml.h>

#include "runner.h"
#include "tests/sim/script.h"

enum { GUEST_KIB = 1 << 20 };

struct reader {
    yaml_document_t doc;
    const char *dir;
    bool bad;
};

static const char *text_of(struct reader *r, int node)
{
    yaml_node_t *n = yaml_document_get_node(&r->doc, node);
    return n && n->type == YAML_SCALAR_NODE ? (const char *)n->data.scalar.value : "";
}

static void complain(struct reader *r, const yaml_node_t *n, const char *what)
{
    fprintf(stderr, "%s/cluster.yaml:%zu:%zu: %s\n", r->dir, n->start_mark.line + 1,
            n->start_mark.column + 1, what);
    r->bad = true;
}

/* The value of a key in a mapping; NULL if it is not there. */
static yaml_node_t *value(struct reader *r, yaml_node_t *map, const char *key)
{
    if (!map || map->type != YAML_MAPPING_NODE)
        return NULL;
    for (yaml_node_pair_t *p = map->data.mapping.pairs.start; p < map->data.mapping.pairs.top; p++)
        if (strcmp(text_of(r, p->key), key) == 0)
            return yaml_document_get_node(&r->doc, p->value);
    return NULL;
}

static const char *scalar(struct reader *r, yaml_node_t *map, const char *key,
                          const char *otherwise)
{
    yaml_node_t *n = value(r, map, key);
    if (!n || n->type != YAML_SCALAR_NODE)
        return otherwise;
    return (const char *)n->data.scalar.value;
}

static long number(struct reader *r, yaml_node_t *map, const char *key, long otherwise)
{
    const char *text = scalar(r, map, key, NULL);
    return text ? strtol(text, NULL, 10) : otherwise;
}

static ha_ms duration(struct reader *r, yaml_node_t *map, const char *key, ha_ms otherwise)
{
    const char *text = scalar(r, map, key, NULL);
    ha_ms ms = text ? sim_script_time(text) : otherwise;
    if (ms < 0) {
        complain(r, value(r, map, key), "expected a time like 1500ms or 2s");
        return otherwise;
    }
    return ms;
}

static bool yes(struct reader *r, yaml_node_t *map, const char *key, bool otherwise)
{
    const char *text = scalar(r, map, key, NULL);
    return text ? strcmp(text, "yes") == 0 || strcmp(text, "true") == 0 : otherwise;
}

/* [device, device, self] as the letters that sim_shape has. */
static const char *levels(struct reader *r, yaml_node_t *list, char *ret, size_t size)
{
    size_t n = 0;
    if (!list || list->type != YAML_SEQUENCE_NODE)
        return NULL;
    for (yaml_node_item_t *i = list->data.sequence.items.start;
         i < list->data.sequence.items.top && n + 1 < size; i++)
        ret[n++] = text_of(r, *i)[0];
    ret[n] = '\0';
    return ret;
}

static void read_timers(struct reader *r, yaml_node_t *map, struct ha_timers *t)
{
    const struct {
        const char *key;
        ha_ms *at;
    } all[] = {
        {"beat", &t->beat},
        {"pet", &t->pet},
        {"exchange", &t->exchange},
        {"chair", &t->chair},
        {"settle", &t->settle},
        {"startup-grace", &t->startup_grace},
        {"lease", &t->lease},
        {"watchdog", &t->watchdog},
        {"margin", &t->margin},
        {"daemon", &t->daemon},
        {"fence-retry", &t->fence_retry},
        {"duel", &t->duel},
    };
    for (size_t i = 0; i < sizeof(all) / sizeof(*all); i++)
        *all[i].at = duration(r, map, all[i].key, *all[i].at);
}

/* ------------------------------------------------------------------------------------- places */

/* Node number and text of each item of a list. */
#define EACH(r, list, item)                                                                        \
    for (yaml_node_item_t *item = (list) ? (list)->data.sequence.items.start : NULL;               \
         item && item < (list)->data.sequence.items.top; item++)

static yaml_node_t *list_of(struct reader *r, yaml_node_t *map, const char *key)
{
    yaml_node_t *n = value(r, map, key);
    if (n && n->type != YAML_SEQUENCE_NODE) {
        complain(r, n, "expected a list");
        return NULL;
    }
    return n;
}

static uint32_t label_of(struct ha_config *c, const char *name)
{
    uint32_t i = 0;
    while (i < c->nlabels && strcmp(c->labels[i].name, name) != 0)
        i++;
    if (i < c->nlabels)
        return i;
    c->labels = realloc(c->labels, (c->nlabels + 1) * sizeof(*c->labels));
    assert(c->labels);
    c->labels[c->nlabels] = (struct ha_label){0};
    snprintf(c->labels[c->nlabels++].name, HA_NAME_MAX, "%s", name);
    return i;
}

/* labels: {host1: [rack=a, san]} */
static void read_labels(struct reader *r, yaml_node_t *map, struct ha_config *c)
{
    for (size_t h = 0; h < c->nhosts; h++)
        EACH(r, map ? list_of(r, map, c->hosts[h].name) : NULL, i)
        {
            uint32_t label = label_of(c, text_of(r, *i));
            c->labels[label].hosts |= UINT64_C(1) << h;
        }
}

static void read_domains(const struct ha_config *c, const char *over, struct ha_rule *rule)
{
    uint8_t next = HA_HOSTS_MAX - 1;
    snprintf(rule->over, sizeof(rule->over), "%s", over);
    for (size_t h = 0; h < c->nhosts; h++) {
        rule->domain[h] = over[0] ? next-- : (uint8_t)h;
        for (size_t i = 0; over[0] && i < c->nlabels; i++)
            if ((c->labels[i].hosts >> h & 1) &&
                strncmp(c->labels[i].name, over, strlen(over)) == 0)
                rule->domain[h] = (uint8_t)i;
    }
}

static void read_rule(struct reader *r, yaml_node_t *map, struct ha_config *c, uint32_t nth)
{
    struct ha_rule *rule = &c->rules[nth];
    const char *strength = scalar(r, map, "strength", "strong");
    rule->kind = value(r, map, "apart") ? HA_PLAN_APART : HA_PLAN_TOGETHER;
    rule->strength = strength[0] == 's' ? HA_PLAN_STRONG
                     : strength[0] == 'w' ? HA_PLAN_WEAK
                                          : HA_PLAN_DELEGATE;
    rule->guests = calloc(c->nguests + 1, sizeof(*rule->guests));
    assert(rule->guests);
    EACH(r, list_of(r, map, rule->kind == HA_PLAN_APART ? "apart" : "together"), i)
        for (size_t g = 0; g < c->nguests; g++) {
            struct ha_guest_config *guest = &c->guests[g];
            if (strcmp(guest->name, text_of(r, *i)) != 0)
                continue;
            rule->guests[rule->nguests++] = (uint32_t)g;
            guest->rules = realloc(guest->rules, (guest->nrules + 1) * sizeof(*guest->rules));
            assert(guest->rules);
            guest->rules[guest->nrules++] = nth;
        }
    read_domains(c, scalar(r, map, "over", ""), rule);
}

static void read_places(struct reader *r, yaml_node_t *root, struct ha_config *c)
{
    const char *failback = scalar(r, root, "failback", "never");
    const char *preempt = scalar(r, root, "preempt", "lower");
    yaml_node_t *rules = list_of(r, root, "rules");
    c->shutdown = (struct ha_shutdown){
        .evacuate = yes(r, root, "evacuate", true),
        .timeout_ms = (ha_ms)number(r, root, "shutdown", 60) * 1000};
    c->placement = (struct ha_placement){
        .reserve = (unsigned)number(r, root, "reserve", 0),
        .failback = failback[0] == 'a'   ? HA_FAILBACK_AUTO
                    : failback[0] == 'm' ? HA_FAILBACK_MAINTENANCE
                                         : HA_FAILBACK_NEVER,
        .preempt = preempt[0] == 'l'   ? HA_PLAN_PREEMPT_LOWER
                   : preempt[0] == 'm' ? HA_PLAN_PREEMPT_MORE
                                       : HA_PLAN_PREEMPT_NEVER,
        .rebalance = yes(r, root, "rebalance", true)};
    if (!rules)
        return;
    size_t n = (size_t)(rules->data.sequence.items.top - rules->data.sequence.items.start);
    c->rules = calloc(n + 1, sizeof(*c->rules));
    assert(c->rules);
    EACH(r, rules, i)
    {
        read_rule(r, yaml_document_get_node(&r->doc, *i), c, (uint32_t)c->nrules);
        c->nrules++;
    }
}

static void read_wishes(struct reader *r, yaml_node_t *map, struct ha_config *c,
                        struct ha_guest_config *g)
{
    yaml_node_t *prefer = value(r, map, "prefer");
    const char *move = scalar(r, map, "move", "");
    g->move_type = move[0] == 'n' ? HA_MOVE_NORMAL : move[0] == 'm' ? HA_MOVE_MIGRATE : 0;
    g->needs = calloc(SIM_HOSTS_MAX, sizeof(*g->needs));
    g->prefer = calloc(SIM_HOSTS_MAX, sizeof(*g->prefer));
    assert(g->needs && g->prefer);
    EACH(r, list_of(r, map, "needs"), i)
        g->needs[g->nneeds++] = label_of(c, text_of(r, *i));
    for (size_t h = 0; prefer && h < c->nhosts; h++)
        if (value(r, prefer, c->hosts[h].name))
            g->prefer[g->nprefer++] = (struct ha_preference){
                c->hosts[h].node, (int32_t)number(r, prefer, c->hosts[h].name, 0)};
}

/* probes: [{name: ping, interval: 10s, timeout: 2s, grace: 30s, failures: 3, unknowns: 6}] */
static void read_probes(struct reader *r, yaml_node_t *list, struct ha_guest_config *g)
{
    if (!list || list->type != YAML_SEQUENCE_NODE)
        return;
    for (yaml_node_item_t *i = list->data.sequence.items.start; i < list->data.sequence.items.top;
         i++) {
        yaml_node_t *map = yaml_document_get_node(&r->doc, *i);
        struct ha_probe_config p = {
            .interval_ms = duration(r, map, "interval", 5000),
            .timeout_ms = duration(r, map, "timeout", 2000),
            .grace_ms = duration(r, map, "grace", 20000),
            .failures = (unsigned)number(r, map, "failures", 3),
            .unknowns = (unsigned)number(r, map, "unknowns", 6),
        };
        snprintf(p.name, sizeof(p.name), "%s", scalar(r, map, "name", "probe"));
        sim_give_probe(g, &p);
    }
}

/* after: [g1, {guest: g2, healthy: yes, delay: 5s}] */
static void read_after(struct reader *r, yaml_node_t *list, struct ha_guest_config *g)
{
    if (!list || list->type != YAML_SEQUENCE_NODE)
        return;
    for (yaml_node_item_t *i = list->data.sequence.items.start; i < list->data.sequence.items.top;
         i++) {
        yaml_node_t *map = yaml_document_get_node(&r->doc, *i);
        struct ha_after a = {.healthy = yes(r, map, "healthy", false),
                             .delay_ms = duration(r, map, "delay", 0)};
        snprintf(a.name, sizeof(a.name), "%s", scalar(r, map, "guest", text_of(r, *i)));
        sim_give_after(g, &a);
    }
}

static uint8_t on_end(const char *word)
{
    return strcmp(word, "stop") == 0           ? HA_ON_STOP
           : strcmp(word, "dump-restart") == 0 ? HA_ON_DUMP_RESTART
           : strcmp(word, "dump-stop") == 0    ? HA_ON_DUMP_STOP
                                               : HA_ON_RESTART;
}

static void read_guest(struct reader *r, yaml_node_t *map, struct ha_config *c,
                       struct ha_guest_config *g)
{
    snprintf(g->name, sizeof(g->name), "%s", scalar(r, map, "name", g->name));
    g->priority = (int)number(r, map, "priority", g->priority);
    g->memory_kib = (uint64_t)number(r, map, "memory", 1) * GUEST_KIB;
    g->enabled = yes(r, map, "enabled", true);
    g->external = yes(r, map, "external", false);
    g->restart_limit = (unsigned)number(r, map, "restart-limit", (long)g->restart_limit);
    g->restart_delay_ms = duration(r, map, "restart-delay", g->restart_delay_ms);
    read_wishes(r, map, c, g);
    read_probes(r, value(r, map, "probes"), g);
    read_after(r, value(r, map, "after"), g);
    g->start_wait_ms = duration(r, map, "start-wait", 60000);
    g->stop_timeout_ms = duration(r, map, "stop-timeout", g->stop_timeout_ms);
    g->restart_per_host = (unsigned)number(r, map, "restart-per-host", 0);
    g->on_reboot = on_end(scalar(r, map, "on-reboot", ""));
    g->on_poweroff = on_end(scalar(r, map, "on-poweroff", ""));
    g->on_crash = on_end(scalar(r, map, "on-crash", ""));
    yaml_node_t *allowed = value(r, map, "allowed");
    if (!allowed || allowed->type != YAML_SEQUENCE_NODE)
        return;
    for (yaml_node_item_t *i = allowed->data.sequence.items.start;
         i < allowed->data.sequence.items.top; i++)
        for (size_t h = 0; h < c->nhosts; h++)
            if (strcmp(c->hosts[h].name, text_of(r, *i)) == 0)
                g->allowed[g->nallowed++] = c->hosts[h].node;
}

static unsigned count_guests(const yaml_node_t *guests)
{
    if (guests && guests->type == YAML_SEQUENCE_NODE)
        return (unsigned)(guests->data.sequence.items.top - guests->data.sequence.items.start);
    if (guests && guests->type == YAML_SCALAR_NODE)
        return (unsigned)strtoul((const char *)guests->data.scalar.value, NULL, 10);
    return 1;
}

static uint32_t host_mask(struct reader *r, yaml_node_t *list, unsigned hosts)
{
    uint32_t mask = 0;
    if (!list || list->type != YAML_SEQUENCE_NODE)
        return 0;
    for (yaml_node_item_t *i = list->data.sequence.items.start; i < list->data.sequence.items.top;
         i++)
        for (unsigned h = 0; h < hosts; h++) {
            char name[16];
            snprintf(name, sizeof(name), "host%u", h + 1);
            if (strcmp(name, text_of(r, *i)) == 0)
                mask |= 1u << h;
        }
    return mask;
}

static void build(struct reader *r, yaml_node_t *root, struct scenario *s)
{
    static const char *const known[] = {
        "hosts", "guests", "mode", "fence", "fence-hosts", "delay",       "timers",
        "token", "room",   "boot", "lies",  "liveness",    "no-watchdog", "suspendable",
        "starts", "definitions", "labels", "rules", "preempt", "failback", "rebalance", "reserve",
        "losses-host", "losses-cluster", "losses-window", "disk", "evacuate", "shutdown"};
    for (yaml_node_pair_t *p = root->data.mapping.pairs.start; p < root->data.mapping.pairs.top;
         p++) {
        bool found = false;
        for (size_t i = 0; i < sizeof(known) / sizeof(*known); i++)
            found |= strcmp(known[i], text_of(r, p->key)) == 0;
        if (!found)
            complain(r, yaml_document_get_node(&r->doc, p->key), "unknown key");
    }
    char letters[SIM_HOSTS_MAX + 1][8];
    struct sim_shape shape = {.hosts = (unsigned)number(r, root, "hosts", 3)};
    yaml_node_t *guests = value(r, root, "guests"), *per_host = value(r, root, "fence-hosts");
    shape.guests = count_guests(guests);
    shape.fence_only = strcmp(scalar(r, root, "mode", "majority"), "majority") != 0;
    if (shape.hosts < 2 || shape.hosts > SIM_HOSTS_MAX || shape.guests > SIM_GUESTS_MAX) {
        complain(r, root, "too many hosts or guests");
        return;
    }
    shape.disk = yes(r, root, "disk", false);
    const char *all = levels(r, value(r, root, "fence"), letters[SIM_HOSTS_MAX], 8);
    for (unsigned i = 0; i < shape.hosts; i++) {
        char name[16];
        snprintf(name, sizeof(name), "host%u", i + 1);
        const char *own = levels(r, value(r, per_host, name), letters[i], 8);
        shape.levels[i] = own ? own : all;
        shape.delay_ms[i] = duration(r, value(r, root, "delay"), name, 0);
    }
    struct sim_setup *set = &s->run.setup;
    set->token_ms = duration(r, root, "token", 1000);
    set->consensus_ms = set->token_ms * 12 / 10;
    set->config = sim_config_new(&shape, set->token_ms, set->consensus_ms);
    read_timers(r, value(r, root, "timers"), &set->config->timers);
    read_labels(r, value(r, root, "labels"), set->config);
    if (guests && guests->type == YAML_SEQUENCE_NODE)
        for (unsigned i = 0; i < shape.guests; i++)
            read_guest(r, yaml_document_get_node(&r->doc, guests->data.sequence.items.start[i]),
                       set->config, &set->config->guests[i]);
    read_places(r, root, set->config);
    set->config->fencing = (struct ha_fence_policy){
        .host_limit = (unsigned)number(r, root, "losses-host", 0),
        .cluster_limit = (unsigned)number(r, root, "losses-cluster", 0),
        .window = duration(r, root, "losses-window", 0),
    };
    yaml_node_t *starts = value(r, root, "starts");
    set->config->starts = (struct ha_starts){
        .per_host = (unsigned)number(r, starts, "per-host", 0),
        .cluster = (unsigned)number(r, starts, "cluster", 0),
        .boot_ms = duration(r, starts, "boot-time", 0),
    };
    for (unsigned i = 0; guests && guests->type == YAML_SEQUENCE_NODE && i < shape.guests; i++)
        set->need_kib[i] =
            (uint64_t)number(r, yaml_document_get_node(&r->doc, guests->data.sequence.items.start[i]),
                             "defined-memory", 1) * GUEST_KIB;
    set->config->suspendable_hosts = yes(r, root, "suspendable", false);
    set->host_memory_kib = (uint64_t)number(r, root, "room", 16) * GUEST_KIB;
    set->boot_ms = duration(r, root, "boot", 10000);
    set->lies = yes(r, root, "lies", false);
    static char path[] = "/etc/xen/guest.cfg";
    set->no_files = yes(r, root, "definitions", false); /* needed, and nowhere yet */
    for (unsigned i = 0; set->no_files && i < shape.guests; i++)
        set->config->guests[i].config_path = path;
    set->no_watchdog = host_mask(r, value(r, root, "no-watchdog"), shape.hosts);
    s->liveness = yes(r, root, "liveness", true);
    s->run.hosts = shape.hosts;
    s->run.guests = shape.guests;
}

int scenario_load_cluster(struct scenario *s, const char *text)
{
    yaml_parser_t parser;
    struct reader r = {.dir = s->dir};
    yaml_parser_initialize(&parser);
    yaml_parser_set_input_string(&parser, (const unsigned char *)text, strlen(text));
    if (!yaml_parser_load(&parser, &r.doc)) {
        fprintf(stderr, "%s/cluster.yaml:%zu: %s\n", s->dir, parser.problem_mark.line + 1,
                parser.problem ? parser.problem : "not YAML");
        yaml_parser_delete(&parser);
        return -1;
    }
    yaml_node_t *root = yaml_document_get_root_node(&r.doc);
    if (root && root->type == YAML_MAPPING_NODE) {
        build(&r, root, s);
    } else {
        fprintf(stderr, "%s/cluster.yaml: expected a mapping\n", s->dir);
        r.bad = true;
    }
    yaml_document_delete(&r.doc);
    yaml_parser_delete(&parser);
    return r.bad ? -1 : 0;
}
