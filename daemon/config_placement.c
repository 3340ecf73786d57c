/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What places are chosen by: labels of hosts, needs and preferences of guests, `rules`, and how
 * much freedom there is (`reserve`, `failback`, `preempt`, `rebalance`). */
#include <ctype.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "config_internal.h"
#include "config_nearest.h"

enum {
    LABELS_MAX = 1024,
    RULES_MAX = 4096,
    RULE_GUESTS_MAX = 1024,
    ALL_RULE_GUESTS_MAX = 65536, /* of all rules: what is compared with each other stays bounded */
    WEIGHT_MAX = 1000 * 1000,
};

/* ---------------------------------------------------------------------------------- labels */

static int check_label(struct xvm_loader *l, const struct xvm_node *at)
{
    const char *c = at->text;

    if (at->kind != XVM_NODE_SCALAR || xvm_node_null(at))
        return xvm_config_fail_node(l, at,
                                    "%s among labels, expected a label such as san or rack=a",
                                    xvm_node_kind_name(at));
    if (strlen(c) >= HA_NAME_MAX)
        return xvm_config_fail_node(
            l, at, "label `%.20s...` is too long, expected at most %d bytes", c, HA_NAME_MAX - 1);
    for (; *c != '\0'; c++) {
        if (!isascii(*c) || (!isalnum((unsigned char)*c) && strchr("_.+-=", *c) == NULL))
            break;
    }
    if (*c != '\0' || !isalnum((unsigned char)at->text[0]))
        return xvm_config_fail_node(l, at,
                                    "label `%.80s`, expected letters, digits and _ . + - = only, a "
                                    "letter or digit first",
                                    at->text);
    return 0;
}

static struct ha_label *find_label(const struct ha_config *config, const char *name)
{
    for (size_t i = 0; i < config->nlabels; i++) {
        if (strcmp(config->labels[i].name, name) == 0)
            return &config->labels[i];
    }
    return NULL;
}

static struct ha_label *add_label(struct xvm_loader *l, const struct xvm_node *at)
{
    struct ha_config *c = l->config;
    struct ha_label *grown;

    if (c->nlabels == LABELS_MAX) {
        xvm_config_fail_node(l, at, "too many labels, expected at most %d", LABELS_MAX);
        return NULL;
    }
    grown = reallocarray(c->labels, c->nlabels + 1, sizeof(*grown));
    if (grown == NULL) {
        xvm_config_no_room(l);
        return NULL;
    }
    c->labels = grown;
    grown += c->nlabels++;
    *grown = (struct ha_label){0};
    strcpy(grown->name, at->text);
    return grown;
}

void xvm_read_host_labels(struct xvm_loader *l, const struct xvm_node *node, size_t nth)
{
    if (xvm_check_list(l, node, "`labels`") < 0)
        return;
    for (size_t i = 0; i < node->nitems && i < LABELS_MAX; i++) {
        const struct xvm_node *at = node->items[i];
        struct ha_label *label;

        if (check_label(l, at) < 0)
            continue;
        label = find_label(l->config, at->text);
        if (label == NULL && (label = add_label(l, at)) == NULL)
            return;
        if (label->hosts >> nth & 1)
            xvm_config_fail_node(l, at, "label `%s` twice in `labels`", at->text);
        label->hosts |= UINT64_C(1) << nth;
    }
}

/* -------------------------------------------------------------------------- lists of guests */

int xvm_read_guest_labels(struct xvm_loader *l, const struct xvm_field *f, const struct xvm_node *v,
                          void *out)
{
    struct ha_guest_config *guest = out;
    char(*labels)[HA_NAME_MAX];
    int r = 0;

    if (xvm_check_list(l, v, f->key) < 0)
        return -EINVAL;
    for (size_t i = 0; i < v->nitems; i++)
        r = check_label(l, v->items[i]) < 0 ? -EINVAL : r;
    if (r < 0)
        return r;
    labels = calloc(v->nitems + 1, sizeof(*labels));
    if (labels == NULL)
        return xvm_config_no_room(l);
    for (size_t i = 0; i < v->nitems; i++)
        strcpy(labels[i], v->items[i]->text);
    free(guest->labels);
    guest->labels = labels;
    guest->nlabels = v->nitems;
    return 0;
}

static int unknown_label(struct xvm_loader *l, const struct xvm_node *at)
{
    struct xvm_nearest nearest = {.wanted = at->text};

    for (size_t i = 0; i < l->config->nlabels; i++)
        xvm_nearest_try(&nearest, l->config->labels[i].name);
    if (nearest.best != NULL)
        return xvm_config_fail_node(l, at, "no host has the label `%.80s`, expected `%s`?",
                                    at->text, nearest.best);
    return xvm_config_fail_node(l, at,
                                "no host has the label `%.80s`, expected one of those in `labels` "
                                "of `hosts`",
                                at->text);
}

int xvm_read_needs(struct xvm_loader *l, const struct xvm_field *f, const struct xvm_node *v,
                   void *out)
{
    struct ha_guest_config *guest = out;
    uint32_t *needs;
    size_t n = 0;
    int r = 0;

    if (xvm_check_list(l, v, f->key) < 0)
        return -EINVAL;
    needs = calloc(v->nitems + 1, sizeof(*needs));
    if (needs == NULL)
        return xvm_config_no_room(l);
    for (size_t i = 0; i < v->nitems; i++) {
        const struct ha_label *label;

        if (check_label(l, v->items[i]) < 0) {
            r = -EINVAL;
            continue;
        }
        label = find_label(l->config, v->items[i]->text);
        if (label == NULL)
            r = unknown_label(l, v->items[i]);
        else
            needs[n++] = (uint32_t)(label - l->config->labels);
    }
    free(guest->needs);
    guest->needs = needs;
    guest->nneeds = n;
    return r;
}

int xvm_read_prefer(struct xvm_loader *l, const struct xvm_field *f, const struct xvm_node *v,
                    void *out)
{
    const struct xvm_field weight = {.key = "prefer", .min = -WEIGHT_MAX, .max = WEIGHT_MAX};
    struct ha_guest_config *guest = out;
    struct ha_preference *prefer;
    size_t n = 0;
    int r = xvm_check_map(l, v, "`prefer`");

    (void)f;
    if (r < 0)
        return r;
    prefer = calloc(v->nitems / 2 + 1, sizeof(*prefer));
    if (prefer == NULL)
        return xvm_config_no_room(l);
    for (size_t i = 0; i + 1 < v->nitems; i += 2) {
        int value = 0;

        prefer[n].host = xvm_host_by_name(l, v->items[i]);
        if (prefer[n].host == 0 || xvm_read_int(l, &weight, v->items[i + 1], &value) < 0)
            r = -EINVAL;
        else
            prefer[n++].weight = value;
    }
    free(guest->prefer);
    guest->prefer = prefer;
    guest->nprefer = n;
    return r;
}

static void *copy_of(struct xvm_loader *l, const void *from, size_t n, size_t size)
{
    void *to = calloc(n + 1, size);

    if (to == NULL)
        xvm_config_no_room(l);
    else if (n > 0)
        memcpy(to, from, n * size);
    return to;
}

int xvm_copy_guest_lists(struct xvm_loader *l, struct ha_guest_config *guest)
{
    guest->needs = copy_of(l, guest->needs, guest->nneeds, sizeof(*guest->needs));
    guest->prefer = copy_of(l, guest->prefer, guest->nprefer, sizeof(*guest->prefer));
    guest->labels = copy_of(l, guest->labels, guest->nlabels, sizeof(*guest->labels));
    if (guest->needs != NULL && guest->prefer != NULL && guest->labels != NULL)
        return 0;
    xvm_free_guest_lists(guest);
    return -ENOMEM;
}

void xvm_free_guest_lists(struct ha_guest_config *guest)
{
    free(guest->needs);
    free(guest->prefer);
    free(guest->labels);
    free(guest->rules);
    guest->needs = guest->rules = NULL;
    guest->prefer = NULL;
    guest->labels = NULL;
    guest->nneeds = guest->nprefer = guest->nlabels = guest->nrules = 0;
}

/* ----------------------------------------------------------------------------------- rules */

struct rule_raw {
    const struct xvm_node *name, *apart, *together, *strength, *over;
};

static int add_guest(struct xvm_loader *l, const struct xvm_node *at, struct ha_rule *rule,
                     uint32_t guest)
{
    if (rule->nguests == RULE_GUESTS_MAX)
        return xvm_config_fail_node(l, at, "too many guests in a rule, expected at most %d",
                                    RULE_GUESTS_MAX);
    if (++l->rule_guests > ALL_RULE_GUESTS_MAX)
        return xvm_config_fail_node(l, at, "too many guests in all rules, expected at most %d",
                                    ALL_RULE_GUESTS_MAX);
    rule->guests[rule->nguests++] = guest;
    return 0;
}

static int by_name(const void *a, const void *b)
{
    const struct ha_guest_config *const *x = a, *const *y = b;

    return strcmp((*x)->name, (*y)->name);
}

static int guest_by_name(struct xvm_loader *l, const struct xvm_node *at)
{
    struct xvm_nearest nearest = {.wanted = at->text};
    struct ha_guest_config wanted;
    const struct ha_guest_config *key = &wanted, **found = NULL;

    if (xvm_check_name(l, at, "guest") < 0)
        return -EINVAL;
    strcpy(wanted.name, at->text);
    if (l->config->nguests > 0)
        found = bsearch(&key, l->by_name, l->config->nguests, sizeof(*l->by_name), by_name);
    if (found != NULL)
        return (int)(*found - l->config->guests);
    for (size_t i = 0; l->hidden == 0 && i < l->config->nguests; i++)
        xvm_nearest_try(&nearest, l->config->guests[i].name);
    if (nearest.best != NULL)
        return xvm_config_fail_node(l, at, "no guest `%.80s`, expected `%s`?", at->text,
                                    nearest.best);
    return xvm_config_fail_node(l, at, "no guest `%.80s`, expected one of `guests`", at->text);
}

static int read_members(struct xvm_loader *l, const struct xvm_node *node, struct ha_rule *rule)
{
    int r = xvm_check_list(l, node, "the guests of a rule");

    for (size_t i = 0; r == 0 && i < node->nitems; i++) {
        int guest = guest_by_name(l, node->items[i]);

        if (guest < 0)
            return guest;
        for (size_t k = 0; k < rule->nguests; k++) {
            if (rule->guests[k] == (uint32_t)guest)
                return xvm_config_fail_node(l, node->items[i], "guest `%s` twice in a rule",
                                            node->items[i]->text);
        }
        r = add_guest(l, node->items[i], rule, (uint32_t)guest);
    }
    if (r == 0 && rule->nguests < 2)
        r = xvm_config_fail_node(l, node, "a rule about %zu guests, expected at least 2",
                                 rule->nguests);
    return r;
}

/* All guests with a label. */
static int read_labelled(struct xvm_loader *l, const struct xvm_node *at, struct ha_rule *rule)
{
    const struct ha_config *c = l->config;

    for (size_t g = 0; g < c->nguests; g++) {
        for (size_t i = 0; i < c->guests[g].nlabels; i++) {
            if (strcmp(c->guests[g].labels[i], at->text) != 0)
                continue;
            if (add_guest(l, at, rule, (uint32_t)g) < 0)
                return -EINVAL;
            break;
        }
    }
    if (rule->nguests == 0)
        return xvm_config_fail_node(
            l, at,
            "no guest has the label `%.80s`, expected a label of guests, or "
            "a list of guests' names",
            at->text);
    return 0;
}

/* Failure domains: hosts with the same label `over=…`; a host without one is alone. */
static int read_over(struct xvm_loader *l, const struct xvm_node *at, struct ha_rule *rule)
{
    const struct ha_config *c = l->config;
    size_t len, next = 0;

    for (size_t h = 0; h < c->nhosts; h++)
        rule->domain[h] = UINT8_MAX;
    if (at == NULL || (at->kind == XVM_NODE_SCALAR && strcmp(at->text, "host") == 0)) {
        for (size_t h = 0; h < c->nhosts; h++)
            rule->domain[h] = (uint8_t)h;
        return 0;
    }
    if (xvm_check_name(l, at, "over") < 0)
        return -EINVAL;
    len = strlen(at->text);
    for (size_t i = 0; i < c->nlabels; i++) {
        if (strncmp(c->labels[i].name, at->text, len) != 0 || c->labels[i].name[len] != '=')
            continue;
        for (size_t h = 0; h < c->nhosts; h++) {
            if (!(c->labels[i].hosts >> h & 1))
                continue;
            if (rule->domain[h] != UINT8_MAX)
                return xvm_config_fail_node(l, at, "host %s has two labels %s=..., expected one",
                                            c->hosts[h].name, at->text);
            rule->domain[h] = (uint8_t)next;
        }
        next++;
    }
    if (next == 0)
        return xvm_config_fail_node(l, at, "no host has a label `%s=...`, expected some, or `host`",
                                    at->text);
    for (size_t h = 0; h < c->nhosts; h++) {
        if (rule->domain[h] == UINT8_MAX)
            rule->domain[h] = (uint8_t)next++;
    }
    strcpy(rule->over, at->text);
    return 0;
}

static size_t count_domains(const struct ha_config *c, const struct ha_rule *rule)
{
    uint64_t seen = 0;

    for (size_t h = 0; h < c->nhosts; h++)
        if (rule->domain[h] < 64) /* more than that was refused already */
            seen |= UINT64_C(1) << rule->domain[h];
    return (size_t)__builtin_popcountll(seen);
}

static int read_rule(struct xvm_loader *l, const struct xvm_node *node, struct ha_rule *rule)
{
#define RAW(key_)                                                                                  \
    {                                                                                              \
        .key = #key_, .read = xvm_read_node, .offset = offsetof(struct rule_raw, key_)             \
    }
    static const struct xvm_field fields[] = {RAW(name), RAW(apart), RAW(together), RAW(strength),
                                              RAW(over)};
#undef RAW
    static const struct xvm_field name = {.key = "name"};
    static const char *const strengths[] = {"strong", "weak", "delegate", NULL};
    struct rule_raw raw = {0};
    const struct xvm_node *who;
    uint8_t strength = HA_PLAN_STRONG;

    if (xvm_read_map(l, node, "a rule", fields, sizeof(fields) / sizeof(fields[0]), &raw) < 0)
        return -EINVAL;
    if ((raw.apart == NULL) == (raw.together == NULL))
        return xvm_config_fail_node(l, node,
                                    "a rule with %s, expected either `apart` or `together`",
                                    raw.apart == NULL ? "no guests" : "both");
    who = raw.apart != NULL ? raw.apart : raw.together;
    rule->kind = raw.apart != NULL ? HA_PLAN_APART : HA_PLAN_TOGETHER;
    rule->guests = calloc(RULE_GUESTS_MAX, sizeof(*rule->guests));
    if (rule->guests == NULL)
        return xvm_config_no_room(l);
    if ((raw.name != NULL && xvm_read_name(l, &name, raw.name, rule->name) < 0) ||
        (raw.strength != NULL && xvm_read_word(l, "strength", raw.strength, strengths,
                                               "strong, weak or delegate", &strength) < 0) ||
        read_over(l, raw.over, rule) < 0)
        return -EINVAL;
    rule->strength = (enum ha_plan_strength)strength;
    if (who->kind == XVM_NODE_SCALAR && !xvm_node_null(who))
        return read_labelled(l, who, rule);
    return read_members(l, who, rule);
}

static size_t count_enabled(const struct ha_config *c, const struct ha_rule *rule)
{
    size_t n = 0;

    for (size_t i = 0; i < rule->nguests; i++)
        n += c->guests[rule->guests[i]].enabled;
    return n;
}

/* Is there a pair of hosts that suits two guests who are in both rules? */
static bool agree(const struct ha_config *c, const struct ha_rule *a, const struct ha_rule *b)
{
    for (size_t g = 0; g < c->nhosts; g++) {
        for (size_t h = 0; h < c->nhosts; h++) {
            bool a_same = a->domain[g] == a->domain[h], b_same = b->domain[g] == b->domain[h];

            if (a_same == (a->kind == HA_PLAN_TOGETHER) && b_same == (b->kind == HA_PLAN_TOGETHER))
                return true;
        }
    }
    return false;
}

/* Two guests or more are in this rule and in an earlier, opposite one that it cannot go with. */
static void check_against(struct xvm_loader *l, const struct xvm_node *at, size_t nth)
{
    const struct ha_config *c = l->config;
    const struct ha_rule *rule = &c->rules[nth];
    uint16_t *shared = calloc(nth + 1, sizeof(*shared));

    if (shared == NULL) {
        xvm_config_no_room(l);
        return;
    }
    for (size_t i = 0; i < rule->nguests; i++) {
        const struct ha_guest_config *g = &c->guests[rule->guests[i]];

        for (size_t k = 0; k < g->nrules && g->rules[k] < nth; k++)
            shared[g->rules[k]]++;
    }
    for (size_t i = 0; i < nth; i++) {
        const struct ha_rule *other = &c->rules[i];

        if (shared[i] < 2 || other->strength == HA_PLAN_WEAK || other->kind == rule->kind ||
            agree(c, rule, other))
            continue;
        xvm_config_fail_node(
            l, at,
            "a rule against rule %zu: the same guests together and apart, expected "
            "one of them, or `strength: weak`",
            i + 1);
        break;
    }
    free(shared);
}

/* What no placement at all could satisfy. */
static void check_rule(struct xvm_loader *l, const struct xvm_node *at, size_t nth)
{
    const struct ha_config *c = l->config;
    const struct ha_rule *rule = &c->rules[nth];
    size_t domains = count_domains(c, rule), enabled = count_enabled(c, rule);

    if (rule->strength == HA_PLAN_WEAK || rule->nguests == 0)
        return;
    if (rule->kind == HA_PLAN_APART && enabled > domains)
        xvm_config_fail_node(l, at,
                             "%zu guests are to be apart on %zu %s%s, expected no more guests than "
                             "that, or `strength: weak`",
                             enabled, domains, rule->over[0] != '\0' ? "domains of " : "hosts",
                             rule->over);
    check_against(l, at, nth);
}

/* Which rules each guest is in. */
static void index_rules(struct xvm_loader *l)
{
    struct ha_config *c = l->config;

    for (size_t r = 0; r < c->nrules; r++) {
        for (size_t i = 0; i < c->rules[r].nguests; i++) {
            struct ha_guest_config *g = &c->guests[c->rules[r].guests[i]];
            uint32_t *grown = reallocarray(g->rules, g->nrules + 1, sizeof(*grown));

            if (grown == NULL) {
                xvm_config_no_room(l);
                return;
            }
            g->rules = grown;
            g->rules[g->nrules++] = (uint32_t)r;
        }
    }
}

/* Most rules name a few guests. */
static void shrink(struct ha_rule *rule)
{
    uint32_t *smaller = reallocarray(rule->guests, rule->nguests + 1, sizeof(*smaller));

    if (smaller != NULL)
        rule->guests = smaller;
}

static void read_rules(struct xvm_loader *l, const struct xvm_node *node)
{
    struct ha_config *c = l->config;

    if (xvm_check_list(l, node, "`rules`") < 0)
        return;
    if (node->nitems > RULES_MAX) {
        xvm_config_fail_node(l, node, "%zu rules, expected at most %d", node->nitems, RULES_MAX);
        return;
    }
    c->rules = calloc(node->nitems + 1, sizeof(*c->rules));
    if (c->rules == NULL) {
        xvm_config_no_room(l);
        return;
    }
    for (size_t i = 0; i < node->nitems && !l->no_room && l->hidden == 0; i++) {
        struct ha_rule *rule = &c->rules[c->nrules++];

        if (read_rule(l, node->items[i], rule) < 0)
            rule->nguests = 0;
        if (rule->guests != NULL)
            shrink(rule);
    }
    if (l->no_room)
        return;
    index_rules(l);
    for (size_t i = 0; i < c->nrules && !l->no_room && l->hidden == 0; i++)
        check_rule(l, node->items[i], i);
}

static void read_sorted(struct xvm_loader *l, const struct xvm_node *node)
{
    const struct ha_config *c = l->config;

    l->by_name = calloc(c->nguests + 1, sizeof(*l->by_name));
    if (l->by_name == NULL) {
        xvm_config_no_room(l);
        return;
    }
    for (size_t i = 0; i < c->nguests; i++)
        l->by_name[i] = &c->guests[i];
    if (c->nguests > 0)
        qsort(l->by_name, c->nguests, sizeof(*l->by_name), by_name);
    read_rules(l, node);
    free(l->by_name);
    l->by_name = NULL;
}

/* --------------------------------------------------------------------------------- freedom */

void xvm_read_placement(struct xvm_loader *l, const struct xvm_placement_nodes *nodes)
{
    static const char *const failbacks[] = {"never", "maintenance-window", "auto", NULL};
    static const char *const preempts[] = {"never", "lower", "more", NULL};
    const struct xvm_field reserve = {.key = "reserve", .max = HA_HOSTS_MAX};
    static const struct xvm_field rebalance = {.key = "rebalance"};
    struct ha_placement *p = &l->config->placement;
    uint8_t failback = HA_FAILBACK_NEVER, preempt = HA_PLAN_PREEMPT_LOWER;
    int hosts = 0;

    p->rebalance = true;
    if (nodes->rules != NULL && !xvm_node_null(nodes->rules))
        read_sorted(l, nodes->rules);
    if (nodes->reserve != NULL && xvm_read_int(l, &reserve, nodes->reserve, &hosts) == 0 &&
        hosts > 0 && (size_t)hosts >= l->config->nhosts)
        xvm_config_fail_node(l, nodes->reserve,
                             "`reserve` is %d with %zu hosts, expected fewer host failures than "
                             "there are hosts",
                             hosts, l->config->nhosts);
    if (nodes->failback != NULL)
        xvm_read_word(l, "failback", nodes->failback, failbacks,
                      "never, maintenance-window or auto", &failback);
    if (nodes->preempt != NULL)
        xvm_read_word(l, "preempt", nodes->preempt, preempts, "never, lower or more", &preempt);
    if (nodes->rebalance != NULL)
        xvm_read_bool(l, &rebalance, nodes->rebalance, &p->rebalance);
    p->reserve = (unsigned)hosts;
    p->failback = (enum ha_failback)failback;
    p->preempt = (enum ha_plan_preempt)preempt;
}

void xvm_free_placement(struct ha_config *config)
{
    for (size_t i = 0; i < config->nrules; i++)
        free(config->rules[i].guests);
    free(config->rules);
    free(config->labels);
}
