/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The cluster as the planner sees it, in the form that `xvmhactl plan --file` reads. */
#include "status_json.h"

#include <stdlib.h>
#include <string.h>

enum { WEIGHT_MAX = 1000 * 1000 };

static json_t *host_json(const struct ha_plan_instance *in, size_t h)
{
    static const char *const states[] = {"up", "down", "drain"};
    json_t *labels = json_array();

    for (size_t i = 0; i < in->nlabels; i++) {
        if (in->labels[i].hosts >> h & 1)
            json_array_append_new(labels, xvm_json_text(in->labels[i].name));
    }
    return json_pack("{s:o, s:I, s:s, s:o}", "name", xvm_json_text(in->hosts[h].name), "memory_kib",
                     (json_int_t)in->hosts[h].memory_kib, "state", states[in->hosts[h].state],
                     "labels", labels);
}

/* null: every host. */
static json_t *host_list_json(const struct ha_plan_instance *in, uint64_t hosts)
{
    uint64_t all = in->nhosts >= 64 ? UINT64_MAX : (UINT64_C(1) << in->nhosts) - 1;
    json_t *list;

    if ((hosts & all) == all)
        return json_null();
    list = json_array();
    for (size_t h = 0; h < in->nhosts; h++) {
        if (hosts >> h & 1)
            json_array_append_new(list, xvm_json_text(in->hosts[h].name));
    }
    return list;
}

static json_t *prefer_json(const struct ha_plan_instance *in, const struct ha_plan_guest *g)
{
    json_t *object = json_object();

    for (size_t i = 0; i < g->nprefer; i++) {
        const char *name = in->hosts[g->prefer[i].host].name;
        json_int_t weight = json_integer_value(json_object_get(object, name)) + g->prefer[i].weight;

        weight = weight > WEIGHT_MAX ? WEIGHT_MAX : weight < -WEIGHT_MAX ? -WEIGHT_MAX : weight;
        json_object_set_new(object, name, json_integer(weight));
    }
    return object;
}

static json_t *guest_json(const struct ha_plan_instance *in, const struct ha_plan_guest *g)
{
    json_t *needs = json_array();

    for (size_t i = 0; i < g->nneeds; i++)
        json_array_append_new(needs, xvm_json_text(in->labels[g->needs[i]].name));
    return json_pack("{s:o, s:I, s:I, s:I, s:o, s:s, s:o, s:o, s:o, s:s, s:b, s:b, s:o, s:o}",
                     "name", xvm_json_text(g->name), "memory_kib", (json_int_t)g->memory_kib,
                     "vcpus", (json_int_t)g->vcpus, "priority", (json_int_t)g->priority, "on",
                     g->on >= 0 ? xvm_json_text(in->hosts[g->on].name) : json_null(), "want",
                     g->run ? "run" : "stop", "allowed", host_list_json(in, g->allowed), "prefer",
                     prefer_json(in, g), "labels", needs, "move",
                     g->move == HA_PLAN_MOVE_LIVE ? "live" : "normal", "keep", g->keep,
                     "content", g->content, "may", host_list_json(in, g->may ? g->may : g->allowed),
                     "unaware", host_list_json(in, g->unaware));
}

static json_t *rule_json(const struct ha_plan_instance *in, const struct ha_plan_rule *rule)
{
    static const char *const kinds[] = {"together", "apart"};
    static const char *const strengths[] = {"strong", "weak", "delegate"};
    json_t *guests = json_array();

    for (size_t i = 0; i < rule->nguests; i++)
        json_array_append_new(guests, xvm_json_text(in->guests[rule->guests[i]].name));
    return json_pack("{s:s, s:s, s:o, s:s}", "kind", kinds[rule->kind], "strength",
                     strengths[rule->strength], "guests", guests, "over",
                     rule->over != NULL ? rule->over : "host");
}

json_t *xvm_instance_json(const struct ha *core)
{
    static const char *const preempts[] = {"never", "lower", "more"};
    const struct ha_plan_instance *in = ha_instance(core);
    json_t *hosts, *guests, *rules;

    if (in == NULL)
        return NULL;
    hosts = json_array();
    guests = json_array();
    rules = json_array();
    for (size_t i = 0; i < in->nhosts; i++)
        json_array_append_new(hosts, host_json(in, i));
    for (size_t i = 0; i < in->nguests; i++)
        json_array_append_new(guests, guest_json(in, &in->guests[i]));
    for (size_t i = 0; i < in->nrules; i++)
        json_array_append_new(rules, rule_json(in, &in->rules[i]));
    return json_pack("{s:o, s:o, s:o, s:I, s:I, s:I, s:{s:b, s:s, s:s}}", "hosts", hosts, "guests",
                     guests, "rules", rules, "reserve", (json_int_t)in->reserve, "transfers",
                     (json_int_t)in->transfers, "effort", (json_int_t)in->effort, "freedom",
                     "migrate", in->migrate, "preempt", preempts[in->preempt], "failback",
                     in->failback ? "auto" : "never");
}
