/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A plan in words: why each step, why a guest is where it is, why not elsewhere, what would help.
 */
#include "plan_work.h"

#include "wire.h"

static unsigned long mib(uint64_t kib)
{
    return (unsigned long)((kib + 1023) / 1024);
}

static const char *guest_name(const struct ha_plan *plan, int32_t g)
{
    return g < 0 ? "others" : plan->in->guests[g].name;
}

static const char *host_name(const struct ha_plan *plan, int32_t h)
{
    return h < 0 ? "nowhere" : plan->in->hosts[h].name;
}

const char *ha_plan_do_name(enum ha_plan_do what)
{
    switch (what) {
    case HA_PLAN_START:
        return "start";
    case HA_PLAN_STOP:
        return "stop";
    case HA_PLAN_MIGRATE:
        return "migrate";
    case HA_PLAN_PREEMPT:
        return "preempt";
    }
    return "?";
}

static uint64_t free_kib(const struct ha_plan *plan, uint32_t host)
{
    uint64_t used = 0;
    for (size_t g = 0; g < plan->in->nguests; g++)
        if (plan->place[g] == (int32_t)host)
            used += plan->in->guests[g].memory_kib;
    return used > plan->in->hosts[host].memory_kib ? 0 : plan->in->hosts[host].memory_kib - used;
}

/* ------------------------------------------------------------------------------------- steps */

static void say_start(const struct ha_plan *plan, const struct ha_plan_action *a, char *text,
                      size_t size)
{
    const struct ha_plan_guest *g = &plan->in->guests[a->guest];
    if (a->reason == HA_PLAN_FOR_LOST)
        ha_say(text, size, "its host %s is down; %s has room for its %lu MiB",
               host_name(plan, g->on), host_name(plan, a->to), mib(g->memory_kib));
    else if (a->reason == HA_PLAN_FOR_RESTART)
        ha_say(text, size, "starts again, now on %s", host_name(plan, a->to));
    else
        ha_say(text, size, "should run and does not; %s has room for its %lu MiB",
               host_name(plan, a->to), mib(g->memory_kib));
}

static void say_room(const struct ha_plan *plan, const struct ha_plan_action *a, char *text,
                     size_t size)
{
    const struct ha_plan_guest *g = &plan->in->guests[a->guest];
    if (a->what == HA_PLAN_PREEMPT && a->for_guest >= 0)
        ha_say(
            text, size,
            "priority %d gives way to %s (priority %d) on %s; it comes back when %lu MiB are free",
            g->priority, guest_name(plan, a->for_guest), plan->in->guests[a->for_guest].priority,
            host_name(plan, a->from), mib(g->memory_kib));
    else if (a->what == HA_PLAN_PREEMPT)
        ha_say(text, size, "priority %d gives way; it comes back when %lu MiB are free",
               g->priority, mib(g->memory_kib));
    else if (a->for_guest >= 0)
        ha_say(text, size, "makes room on %s for %s (priority %d)", host_name(plan, a->from),
               guest_name(plan, a->for_guest), plan->in->guests[a->for_guest].priority);
    else
        ha_say(text, size, "makes room on %s", host_name(plan, a->from));
}

void ha_plan_why_action(const struct ha_plan *plan, size_t action, char *ret_text, size_t size)
{
    const struct ha_plan_action *a = &plan->actions[action];
    switch (a->reason) {
    case HA_PLAN_FOR_WANTED:
        if (a->what == HA_PLAN_START)
            say_start(plan, a, ret_text, size);
        else
            ha_say(ret_text, size, "should not run");
        return;
    case HA_PLAN_FOR_LOST:
    case HA_PLAN_FOR_RESTART:
        say_start(plan, a, ret_text, size);
        return;
    case HA_PLAN_FOR_DRAIN:
        ha_say(ret_text, size, "%s is to be emptied%s", host_name(plan, a->from),
               a->what == HA_PLAN_PREEMPT ? ", and no other host has room for it"
               : a->what == HA_PLAN_STOP  ? "; it moves by stop and start"
                                          : "");
        return;
    case HA_PLAN_FOR_RULE:
        ha_say(ret_text, size, "it may not stay on %s: a rule, a label or memory is against it%s",
               host_name(plan, a->from),
               a->what == HA_PLAN_PREEMPT ? ", and no other host can have it" : "");
        return;
    case HA_PLAN_FOR_ROOM:
        say_room(plan, a, ret_text, size);
        return;
    case HA_PLAN_FOR_WAY:
        if (a->to == plan->place[a->guest])
            ha_say(ret_text, size, "goes back to where it was; it had stepped aside");
        else
            ha_say(ret_text, size, "steps aside for a while, so that guests can change places");
        return;
    case HA_PLAN_FOR_PARTNER:
        ha_say(ret_text, size, "goes along with %s: a rule keeps them together",
               guest_name(plan, a->for_guest));
        return;
    case HA_PLAN_FOR_FAILBACK:
        ha_say(ret_text, size, "%s suits it better, and fail-back is allowed",
               host_name(plan, a->to));
        return;
    }
}

/* -------------------------------------------------------------------------------------- places */

static const char *missing_label(const struct ha_plan *plan, uint32_t guest, uint32_t host)
{
    const struct ha_plan_guest *g = &plan->in->guests[guest];
    for (size_t i = 0; i < g->nneeds; i++)
        if (!(plan->in->labels[g->needs[i]].hosts >> host & 1))
            return plan->in->labels[g->needs[i]].name;
    return NULL;
}

static uint8_t domain_of(const struct ha_plan_rule *rule, uint32_t host)
{
    return rule->domain ? rule->domain[host] : (uint8_t)host;
}

/* The partner that a hard rule puts against `guest` on `host`; NULL rule: none. */
static const struct ha_plan_rule *rule_against(const struct ha_plan *plan, uint32_t guest,
                                               uint32_t host, uint32_t *ret_partner)
{
    for (size_t r = 0; r < plan->in->nrules; r++) {
        const struct ha_plan_rule *rule = &plan->in->rules[r];
        bool member = false;
        for (size_t i = 0; i < rule->nguests; i++)
            member |= rule->guests[i] == guest;
        for (size_t i = 0; member && rule->strength != HA_PLAN_WEAK && i < rule->nguests; i++) {
            uint32_t m = rule->guests[i];
            if (m == guest || plan->place[m] < 0)
                continue;
            bool same = domain_of(rule, (uint32_t)plan->place[m]) == domain_of(rule, host);
            *ret_partner = m;
            if (same == (rule->kind == HA_PLAN_APART))
                return rule;
        }
    }
    return NULL;
}

static void say_no_room(const struct ha_plan *plan, uint32_t guest, uint32_t host, char *text,
                        size_t size)
{
    const struct ha_plan_guest *g = &plan->in->guests[guest];
    uint64_t room = free_kib(plan, host);
    int32_t lower = HA_PLAN_NONE;
    for (size_t i = 0; i < plan->in->nguests; i++) {
        const struct ha_plan_guest *o = &plan->in->guests[i];
        if (plan->place[i] != (int32_t)host || o->memory_kib + room < g->memory_kib)
            continue;
        if (lower < 0 || o->priority < plan->in->guests[lower].priority)
            lower = (int32_t)i;
    }
    if (g->memory_kib > plan->in->hosts[host].memory_kib)
        ha_say(text, size, "%s: needs %lu MiB, the whole host has %lu MiB",
               host_name(plan, (int32_t)host), mib(g->memory_kib),
               mib(plan->in->hosts[host].memory_kib));
    else if (lower >= 0)
        ha_say(text, size, "%s: needs %lu MiB, %lu MiB free; would fit without %s (priority %d)",
               host_name(plan, (int32_t)host), mib(g->memory_kib), mib(room),
               guest_name(plan, lower), plan->in->guests[lower].priority);
    else
        ha_say(text, size, "%s: needs %lu MiB, %lu MiB free; would fit with %lu MiB more",
               host_name(plan, (int32_t)host), mib(g->memory_kib), mib(room),
               mib(g->memory_kib - room));
}

static bool cpus_short(const struct ha_plan *plan, uint32_t guest, uint32_t host)
{
    uint64_t used = plan->in->guests[guest].vcpus;
    for (size_t g = 0; g < plan->in->nguests; g++)
        if (plan->place[g] == (int32_t)host)
            used += plan->in->guests[g].vcpus;
    return plan->in->vcpus_per_cpu &&
           used > (uint64_t)plan->in->vcpus_per_cpu * plan->in->hosts[host].cpus;
}

static void say_rule(const struct ha_plan *plan, const struct ha_plan_rule *rule, uint32_t partner,
                     uint32_t host, char *text, size_t size)
{
    ha_say(text, size, "%s: a rule keeps it %s %s, which runs on %s",
           host_name(plan, (int32_t)host),
           rule->kind == HA_PLAN_APART ? "apart from" : "together with",
           guest_name(plan, (int32_t)partner), host_name(plan, plan->place[partner]));
}

bool ha_plan_why_not(const struct ha_plan *plan, uint32_t guest, uint32_t host, char *ret_text,
                     size_t size)
{
    const struct ha_plan_host *h = &plan->in->hosts[host];
    const struct ha_plan_guest *g = &plan->in->guests[guest];
    const struct ha_plan_rule *rule;
    uint32_t partner = 0;
    if (h->state != HA_PLAN_UP) {
        ha_say(ret_text, size, "%s: %s", h->name,
               h->state == HA_PLAN_DOWN ? "is down" : "is to be emptied");
    } else if (!((g->may ? g->may : g->allowed) >> host & 1)) {
        ha_say(ret_text, size, "%s: is not among its allowed hosts", h->name);
    } else if (g->unaware >> host & 1) {
        ha_say(ret_text, size,
               "%s: its configuration does not have it: `xvmhactl config diff %s`, then `xvmhactl "
               "config push`", h->name, h->name);
    } else if (missing_label(plan, guest, host)) {
        ha_say(ret_text, size, "%s: has no `%s`, which it needs", h->name,
               missing_label(plan, guest, host));
    } else if ((rule = rule_against(plan, guest, host, &partner)) != NULL) {
        say_rule(plan, rule, partner, host, ret_text, size);
    } else if (free_kib(plan, host) < g->memory_kib) {
        say_no_room(plan, guest, host, ret_text, size);
    } else if (cpus_short(plan, guest, host)) {
        ha_say(ret_text, size, "%s: its %u virtual CPUs would be more than the limit of %u a CPU",
               h->name, g->vcpus, plan->in->vcpus_per_cpu);
    } else {
        ha_say(ret_text, size, "%s: would do, too", h->name);
        return true;
    }
    return false;
}

void ha_plan_why_here(const struct ha_plan *plan, uint32_t guest, char *ret_text, size_t size)
{
    const struct ha_plan_guest *g = &plan->in->guests[guest];
    int32_t here = plan->place[guest];
    if (!g->run)
        ha_say(ret_text, size, "it should not run");
    else if (here < 0)
        ha_plan_why_unplaced(plan, guest, ret_text, size);
    else if (here == g->on)
        ha_say(ret_text, size, "it runs on %s, and nothing asks for a move", host_name(plan, here));
    else
        for (size_t i = plan->nactions; i-- > 0;)
            if (plan->actions[i].guest == guest) {
                ha_plan_why_action(plan, i, ret_text, size);
                return;
            }
}

/* The host that lacks least memory of those that only lack memory; HA_PLAN_NONE: none. */
static int32_t nearest_host(const struct ha_plan *plan, uint32_t guest, uint32_t *ret_others,
                            uint32_t *ret_other)
{
    int32_t best = HA_PLAN_NONE;
    uint64_t best_free = 0;
    uint32_t partner;
    *ret_others = 0;
    for (uint32_t h = 0; h < plan->in->nhosts; h++) {
        if (plan->in->hosts[h].state != HA_PLAN_UP)
            continue;
        if (!(plan->in->guests[guest].allowed >> h & 1) || missing_label(plan, guest, h) ||
            rule_against(plan, guest, h, &partner)) {
            if (!*ret_others)
                *ret_other = h;
            ++*ret_others;
            continue;
        }
        uint64_t room = free_kib(plan, h);
        if (best < 0 || room > best_free) {
            best = (int32_t)h;
            best_free = room;
        }
    }
    return best;
}

void ha_plan_why_unplaced(const struct ha_plan *plan, uint32_t guest, char *ret_text, size_t size)
{
    char text[HA_TEXT_MAX];
    uint32_t others, other = 0;
    int32_t h = nearest_host(plan, guest, &others, &other);
    if (h < 0 && !others) {
        ha_say(ret_text, size, "no host is up; bring one back");
        return;
    }
    ha_plan_why_not(plan, guest, h < 0 ? other : (uint32_t)h, text, sizeof text);
    if (h < 0)
        ha_say(ret_text, size, "no host that is up may have it: %s%s", text,
               others > 1 ? "; the others neither" : "");
    else if (others)
        ha_say(ret_text, size, "%s; that is the nearest, and %u other host%s may not have it", text,
               others, others == 1 ? "" : "s");
    else
        ha_say(ret_text, size, "%s; no other host has more room", text);
}

/* -------------------------------------------------------------------------------- tolerates */

/* Names of the hosts, as many as fit. */
static void host_list(const struct ha_plan *plan, uint64_t hosts, char *text, size_t size)
{
    size_t len = 0;
    text[0] = '\0';
    for (; hosts && len + 8 < size; hosts &= hosts - 1) {
        ha_say(text + len, size - len, "%s%s", len ? " and " : "",
               plan->in->hosts[__builtin_ctzll(hosts)].name);
        len = strnlen(text, size);
    }
}

void ha_plan_why_tolerates(const struct ha_plan *plan, char *ret_text, size_t size)
{
    const struct ha_plan_gap *gap = &plan->gap;
    char hosts[100];
    host_list(plan, gap->hosts, hosts, sizeof hosts);
    if (plan->nunplaced)
        ha_say(ret_text, size,
               "%s has no place even now; more memory, a host more, or stopping "
               "less important guests would help",
               guest_name(plan, gap->guest));
    else if (!gap->hosts)
        ha_say(ret_text, size,
               plan->tolerates_exact ? "no more hosts are there to fail"
                                     : "more was not looked at");
    else if (gap->missing_kib)
        ha_say(ret_text, size,
               "if %s failed, %lu MiB would be missing; so much more memory, or "
               "guests of that size stopped, would help",
               hosts, mib(gap->missing_kib));
    else if (!plan->tolerates_exact)
        ha_say(ret_text, size, "if %s failed, no place was found for %s; there may be one", hosts,
               guest_name(plan, gap->guest));
    else
        ha_say(ret_text, size,
               "if %s failed, no host would have a place for %s; room for its %lu "
               "MiB on a host that it may run on would help",
               hosts, guest_name(plan, gap->guest), mib(plan->in->guests[gap->guest].memory_kib));
}
