/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Reads the planner's instances. Every mistake is told with the element it is in. */
#include "ctl_plan.h"

#include <errno.h>
#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Where reading is, for texts, and what went wrong first. */
struct reader {
    struct plan_file *file;
    char *error;
    size_t size;
    char where[160];
};

static int fail(struct reader *r, const char *format, ...) __attribute__((format(printf, 2, 3)));

static int fail(struct reader *r, const char *format, ...)
{
    va_list args;
    int n = snprintf(r->error, r->size, "%s: ", r->where);

    va_start(args, format);
    if (n >= 0 && (size_t)n < r->size)
        vsnprintf(r->error + n, r->size - (size_t)n, format, args);
    va_end(args);
    return -EINVAL;
}

static void at(struct reader *r, const char *format, ...) __attribute__((format(printf, 2, 3)));

static void at(struct reader *r, const char *format, ...)
{
    va_list args;

    va_start(args, format);
    vsnprintf(r->where, sizeof(r->where), format, args);
    va_end(args);
}

static const char *type_name(const json_t *value)
{
    switch (json_typeof(value)) {
    case JSON_OBJECT:
        return "an object";
    case JSON_ARRAY:
        return "a list";
    case JSON_STRING:
        return "a string";
    case JSON_INTEGER:
        return "an integer";
    case JSON_REAL:
        return "a fraction";
    case JSON_TRUE:
    case JSON_FALSE:
        return "true or false";
    case JSON_NULL:
        return "null";
    }
    return "?";
}

/* ----------------------------------------------------------------------------------- members */

/* No members but those in the list (ends with NULL). */
static int only(struct reader *r, const json_t *object, const char *const *names)
{
    const char *key;
    json_t *value;

    json_object_foreach((json_t *)object, key, value)
    {
        size_t i = 0;

        (void)value;
        while (names[i] != NULL && strcmp(names[i], key) != 0)
            i++;
        if (names[i] == NULL)
            return fail(r, "unknown member `%.60s`", key);
    }
    return 0;
}

static int get_int(struct reader *r, const json_t *object, const char *name, json_int_t least,
                   json_int_t most, json_int_t *value)
{
    const json_t *v = json_object_get(object, name);

    if (v == NULL)
        return 0;
    if (!json_is_integer(v))
        return fail(r, "%s: expected an integer, found %s", name, type_name(v));
    *value = json_integer_value(v);
    if (*value < least || *value > most)
        return fail(r, "%s: %lld, expected %lld to %lld", name, (long long)*value, (long long)least,
                    (long long)most);
    return 0;
}

static int get_bool(struct reader *r, const json_t *object, const char *name, bool *value)
{
    const json_t *v = json_object_get(object, name);

    if (v != NULL && !json_is_boolean(v))
        return fail(r, "%s: expected true or false, found %s", name, type_name(v));
    if (v != NULL)
        *value = json_is_true(v);
    return 0;
}

/* One of the words (ends with NULL); its number. */
static int get_word(struct reader *r, const json_t *object, const char *name,
                    const char *const *words, int *value)
{
    const json_t *v = json_object_get(object, name);
    char list[120] = "";

    if (v == NULL)
        return 0;
    for (int i = 0; json_is_string(v) && words[i] != NULL; i++) {
        if (strcmp(words[i], json_string_value(v)) == 0) {
            *value = i;
            return 0;
        }
    }
    for (int i = 0; words[i] != NULL; i++) {
        size_t len = strlen(list);

        snprintf(list + len, sizeof(list) - len, "%s%s", i > 0 ? ", " : "", words[i]);
    }
    if (json_is_string(v))
        return fail(r, "%s: \"%.60s\", expected one of: %s", name, json_string_value(v), list);
    return fail(r, "%s: expected one of: %s; found %s", name, list, type_name(v));
}

/* A list; NULL in *value: it is not there (or null, where that is allowed). */
static int get_list(struct reader *r, const json_t *object, const char *name, bool or_null,
                    const json_t **value)
{
    const json_t *v = json_object_get(object, name);

    *value = NULL;
    if (v == NULL || (or_null && json_is_null(v)))
        return 0;
    if (!json_is_array(v))
        return fail(r, "%s: expected a list%s, found %s", name, or_null ? " or null" : "",
                    type_name(v));
    *value = v;
    return 0;
}

/* The name of element `i` of a list; adds it to the index. */
static int take_name(struct reader *r, const char *list, size_t i, const json_t *object,
                     json_t *index, const char **name)
{
    const json_t *v;

    at(r, "%s[%zu]", list, i);
    if (!json_is_object(object))
        return fail(r, "expected an object, found %s", type_name(object));
    v = json_object_get(object, "name");
    if (v == NULL)
        return fail(r, "has no name");
    if (!json_is_string(v) || json_string_length(v) == 0)
        return fail(r, "name: expected a string that is not empty");
    *name = json_string_value(v);
    at(r, "%s[%zu] (%.60s)", list, i, *name);
    if (json_object_get(index, *name) != NULL)
        return fail(r, "another one has the same name");
    return json_object_set_new(index, *name, json_integer((json_int_t)i)) < 0 ? -ENOMEM : 0;
}

static int number_of(const json_t *index, const char *name)
{
    const json_t *v = json_object_get(index, name);

    return v != NULL ? (int)json_integer_value(v) : -1;
}

int plan_file_host(const struct plan_file *file, const char *name)
{
    return number_of(file->host_index, name);
}

int plan_file_guest(const struct plan_file *file, const char *name)
{
    return number_of(file->guest_index, name);
}

/* The number of a host that `value` names, in member `name`. */
static int host_number(struct reader *r, const char *name, const json_t *value, int *number)
{
    if (!json_is_string(value))
        return fail(r, "%s: expected a host's name, found %s", name, type_name(value));
    *number = plan_file_host(r->file, json_string_value(value));
    if (*number < 0)
        return fail(r, "%s: no host is called \"%.60s\"", name, json_string_value(value));
    return 0;
}

/* ------------------------------------------------------------------------------------ labels */

/* The number of a label, new or known; -1: out of memory. */
static int label_number(struct plan_file *file, const char *name)
{
    int known = number_of(file->label_index, name);
    struct ha_plan_label *labels;

    if (known >= 0)
        return known;
    if (file->in.nlabels == file->labels_size) {
        size_t size = file->labels_size * 2 + 16;

        labels = realloc(file->labels, size * sizeof(*labels));
        if (labels == NULL)
            return -1;
        file->labels = labels;
        file->labels_size = size;
    }
    file->labels[file->in.nlabels] = (struct ha_plan_label){.name = name};
    if (json_object_set_new(file->label_index, name, json_integer((json_int_t)file->in.nlabels)) <
        0)
        return -1;
    return (int)file->in.nlabels++;
}

static int read_labels(struct reader *r, const json_t *object, uint32_t **ret_labels, size_t *ret_n)
{
    const json_t *list;
    uint32_t *labels;
    int e = get_list(r, object, "labels", true, &list);

    if (e < 0 || list == NULL || json_array_size(list) == 0)
        return e;
    labels = calloc(json_array_size(list), sizeof(*labels));
    if (labels == NULL)
        return -ENOMEM;
    *ret_labels = labels;
    for (size_t i = 0; i < json_array_size(list); i++) {
        const json_t *v = json_array_get(list, i);
        int number;

        if (!json_is_string(v))
            return fail(r, "labels[%zu]: expected a string, found %s", i, type_name(v));
        number = label_number(r->file, json_string_value(v));
        if (number < 0)
            return -ENOMEM;
        labels[i] = (uint32_t)number;
        ++*ret_n;
    }
    return 0;
}

/* -------------------------------------------------------------------------------------- hosts */

/* `memory_mib`, or `memory_kib` where that is not exact enough. */
static int get_memory(struct reader *r, const json_t *object, json_int_t mib, json_int_t least,
                      uint64_t *ret_kib)
{
    json_int_t kib = -1;
    int e = get_int(r, object, "memory_kib", least, (json_int_t)1 << 40, &kib);

    if (e < 0)
        return e;
    if ((mib < 0) == (kib < 0))
        return fail(r, mib < 0 ? "has no memory_mib" : "memory_mib and memory_kib: which?");
    *ret_kib = (uint64_t)(kib >= 0 ? kib : mib * 1024);
    return 0;
}

static int read_host(struct reader *r, size_t i, const json_t *object)
{
    static const char *const members[] = {"name",  "memory_mib", "memory_kib", "cpus",
                                          "state", "labels",     NULL};
    static const char *const states[] = {"up", "down", "drain", NULL};
    struct ha_plan_host *host = &r->file->hosts[i];
    json_int_t memory = -1, cpus = 0;
    uint32_t *labels = NULL;
    size_t nlabels = 0;
    int state = 0;
    int e = take_name(r, "hosts", i, object, r->file->host_index, &host->name);

    if (e < 0 || (e = only(r, object, members)) < 0 ||
        (e = get_int(r, object, "memory_mib", 0, (json_int_t)1 << 30, &memory)) < 0 ||
        (e = get_int(r, object, "cpus", 0, 1 << 20, &cpus)) < 0 ||
        (e = get_word(r, object, "state", states, &state)) < 0)
        return e;
    if ((e = get_memory(r, object, memory, 0, &host->memory_kib)) < 0)
        return e;
    host->cpus = (uint32_t)cpus;
    host->state = (enum ha_plan_state)state;
    e = read_labels(r, object, &labels, &nlabels);
    for (size_t k = 0; k < nlabels; k++)
        r->file->labels[labels[k]].hosts |= UINT64_C(1) << i;
    free(labels);
    return e;
}

static int read_hosts(struct reader *r)
{
    const json_t *list;
    int e;

    at(r, "instance");
    e = get_list(r, r->file->root, "hosts", false, &list);
    if (e < 0)
        return e;
    if (list == NULL)
        return fail(r, "has no hosts");
    if (json_array_size(list) > HA_HOSTS_MAX)
        return fail(r, "hosts: %zu of them, at most %d", json_array_size(list), HA_HOSTS_MAX);
    r->file->hosts = calloc(json_array_size(list) + 1, sizeof(*r->file->hosts));
    if (r->file->hosts == NULL)
        return -ENOMEM;
    for (size_t i = 0; e == 0 && i < json_array_size(list); i++) {
        e = read_host(r, i, json_array_get(list, i));
        r->file->in.nhosts = i + 1;
    }
    return e;
}

/* ------------------------------------------------------------------------------------- guests */

/* null: all of them. What is not there leaves *bits. */
static int read_host_bits(struct reader *r, const json_t *object, const char *key, uint64_t *bits)
{
    const json_t *list;
    int e = get_list(r, object, key, true, &list);

    if (e < 0 || json_object_get(object, key) == NULL)
        return e;
    *bits = list == NULL ? UINT64_MAX : 0;
    for (size_t i = 0; i < json_array_size(list); i++) {
        int host = 0;

        e = host_number(r, key, json_array_get(list, i), &host);
        if (e < 0)
            return e;
        *bits |= UINT64_C(1) << host;
    }
    return 0;
}

static int read_prefer(struct reader *r, const json_t *object, struct ha_plan_guest *guest)
{
    json_t *v = json_object_get(object, "prefer");
    struct ha_plan_preference *prefer;
    const char *key;
    json_t *weight;

    if (v == NULL || json_is_null(v))
        return 0;
    if (!json_is_object(v))
        return fail(r, "prefer: expected an object of host and weight, found %s", type_name(v));
    prefer = calloc(json_object_size(v) + 1, sizeof(*prefer));
    if (prefer == NULL)
        return -ENOMEM;
    guest->prefer = prefer;
    json_object_foreach(v, key, weight)
    {
        int host = plan_file_host(r->file, key);

        if (host < 0)
            return fail(r, "prefer: no host is called \"%.60s\"", key);
        if (!json_is_integer(weight) || llabs(json_integer_value(weight)) > 1000000)
            return fail(r, "prefer: %.60s: expected a weight from -1000000 to 1000000", key);
        prefer[guest->nprefer].host = (uint32_t)host;
        prefer[guest->nprefer++].weight = (int32_t)json_integer_value(weight);
    }
    return 0;
}

static int read_on(struct reader *r, const json_t *object, int32_t *on)
{
    const json_t *v = json_object_get(object, "on");
    int host = HA_PLAN_NONE;
    int e = v == NULL || json_is_null(v) ? 0 : host_number(r, "on", v, &host);

    *on = host;
    return e;
}

static int read_guest(struct reader *r, size_t i, const json_t *object)
{
    static const char *const members[] = {"name",   "memory_mib", "vcpus",   "priority",
                                          "on",     "want",       "allowed", "prefer",
                                          "labels", "move",       "keep",    "memory_kib",
                                          "content", "may",        "unaware", NULL};
    static const char *const wants[] = {"run", "stop", NULL};
    static const char *const moves[] = {"live", "normal", NULL};
    struct ha_plan_guest *guest = &r->file->guests[i];
    json_int_t memory = -1, vcpus = 1, priority = 100;
    uint32_t *needs = NULL;
    int want = 0, move = 0;
    int e = take_name(r, "guests", i, object, r->file->guest_index, &guest->name);

    guest->allowed = UINT64_MAX;
    if (e < 0 || (e = only(r, object, members)) < 0 ||
        (e = get_int(r, object, "memory_mib", 1, (json_int_t)1 << 30, &memory)) < 0 ||
        (e = get_int(r, object, "vcpus", 0, 1 << 20, &vcpus)) < 0 ||
        (e = get_int(r, object, "priority", INT32_MIN, INT32_MAX, &priority)) < 0 ||
        (e = get_word(r, object, "want", wants, &want)) < 0 ||
        (e = get_word(r, object, "move", moves, &move)) < 0 ||
        (e = get_bool(r, object, "keep", &guest->keep)) < 0 ||
        (e = get_bool(r, object, "content", &guest->content)) < 0 ||
        (e = read_on(r, object, &guest->on)) < 0 ||
        (e = read_host_bits(r, object, "allowed", &guest->allowed)) < 0 ||
        (e = read_host_bits(r, object, "may", &guest->may)) < 0 ||
        (e = read_host_bits(r, object, "unaware", &guest->unaware)) < 0 ||
        (e = read_prefer(r, object, guest)) < 0)
        return e;
    if ((e = get_memory(r, object, memory, 1, &guest->memory_kib)) < 0)
        return e;
    guest->vcpus = (uint32_t)vcpus;
    guest->priority = (int32_t)priority;
    guest->run = want == 0;
    guest->move = (enum ha_plan_move)move;
    e = read_labels(r, object, &needs, &guest->nneeds);
    guest->needs = needs;
    return e;
}

static int read_guests(struct reader *r)
{
    const json_t *list;
    int e;

    at(r, "instance");
    e = get_list(r, r->file->root, "guests", false, &list);
    if (e < 0)
        return e;
    if (list == NULL)
        return fail(r, "has no guests");
    if (json_array_size(list) > HA_GUESTS_MAX)
        return fail(r, "guests: %zu of them, at most %d", json_array_size(list), HA_GUESTS_MAX);
    r->file->guests = calloc(json_array_size(list) + 1, sizeof(*r->file->guests));
    if (r->file->guests == NULL)
        return -ENOMEM;
    for (size_t i = 0; e == 0 && i < json_array_size(list); i++) {
        r->file->in.nguests = i + 1;
        e = read_guest(r, i, json_array_get(list, i));
    }
    return e;
}

/* -------------------------------------------------------------------------------------- rules */

/* Failure domains: hosts with the same label `over=…`; a host without one is alone. */
static int read_over(struct reader *r, const json_t *object, struct ha_plan_rule *rule)
{
    const json_t *v = json_object_get(object, "over");
    uint8_t *domain, next = 0;
    size_t len;
    bool any = false;

    if (v == NULL || json_is_null(v) ||
        (json_is_string(v) && strcmp(json_string_value(v), "host") == 0))
        return 0;
    if (!json_is_string(v))
        return fail(r, "over: expected a string such as \"rack\", found %s", type_name(v));
    domain = malloc(HA_HOSTS_MAX);
    if (domain == NULL)
        return -ENOMEM;
    rule->domain = domain;
    rule->over = json_string_value(v);
    len = strlen(rule->over);
    memset(domain, UINT8_MAX, HA_HOSTS_MAX);
    for (size_t i = 0; i < r->file->in.nlabels; i++) {
        const struct ha_plan_label *label = &r->file->labels[i];

        if (strncmp(label->name, rule->over, len) != 0 || label->name[len] != '=' ||
            label->hosts == 0)
            continue;
        for (size_t h = 0; h < r->file->in.nhosts; h++) {
            if (!(label->hosts >> h & 1))
                continue;
            if (domain[h] != UINT8_MAX)
                return fail(r, "over: host %.60s has two labels %.30s=…", r->file->hosts[h].name,
                            rule->over);
            domain[h] = next;
        }
        next++;
        any = true;
    }
    if (!any)
        return fail(r, "over: no host has a label \"%.60s=…\"", rule->over);
    for (size_t h = 0; h < r->file->in.nhosts; h++)
        if (domain[h] == UINT8_MAX)
            domain[h] = next++;
    return 0;
}

static int read_rule(struct reader *r, size_t i, const json_t *object)
{
    static const char *const members[] = {"name", "kind", "strength", "guests", "over", NULL};
    static const char *const kinds[] = {"together", "apart", NULL};
    static const char *const strengths[] = {"strong", "weak", "delegate", NULL};
    struct ha_plan_rule *rule = &r->file->rules[i];
    const json_t *list;
    uint32_t *guests;
    int kind = -1, strength = -1, e;

    at(r, "rules[%zu]", i);
    if (!json_is_object(object))
        return fail(r, "expected an object, found %s", type_name(object));
    if ((e = only(r, object, members)) < 0 || (e = get_word(r, object, "kind", kinds, &kind)) < 0 ||
        (e = get_word(r, object, "strength", strengths, &strength)) < 0 ||
        (e = get_list(r, object, "guests", false, &list)) < 0)
        return e;
    if (kind < 0 || strength < 0 || list == NULL)
        return fail(r, "has no %s", kind < 0 ? "kind" : strength < 0 ? "strength" : "guests");
    rule->kind = (enum ha_plan_kind)kind;
    rule->strength = (enum ha_plan_strength)strength;
    guests = calloc(json_array_size(list) + 1, sizeof(*guests));
    if (guests == NULL)
        return -ENOMEM;
    rule->guests = guests;
    for (size_t k = 0; k < json_array_size(list); k++) {
        const char *name = json_string_value(json_array_get(list, k));
        int number = name != NULL ? plan_file_guest(r->file, name) : -1;

        if (name == NULL)
            return fail(r, "guests[%zu]: expected a guest's name, found %s", k,
                        type_name(json_array_get(list, k)));
        if (number < 0)
            return fail(r, "guests[%zu]: no guest is called \"%.60s\"", k, name);
        for (size_t j = 0; j < k; j++)
            if (guests[j] == (uint32_t)number)
                return fail(r, "guests[%zu]: %.60s is in it twice", k, name);
        guests[k] = (uint32_t)number;
        rule->nguests++;
    }
    return read_over(r, object, rule);
}

static int read_rules(struct reader *r)
{
    const json_t *list;
    int e;

    at(r, "instance");
    e = get_list(r, r->file->root, "rules", true, &list);
    if (e < 0 || list == NULL)
        return e;
    r->file->rules = calloc(json_array_size(list) + 1, sizeof(*r->file->rules));
    if (r->file->rules == NULL)
        return -ENOMEM;
    for (size_t i = 0; e == 0 && i < json_array_size(list); i++) {
        r->file->in.nrules = i + 1;
        e = read_rule(r, i, json_array_get(list, i));
    }
    return e;
}

/* --------------------------------------------------------------------------------- the whole */

static int read_freedom(struct reader *r)
{
    static const char *const members[] = {"migrate", "preempt", "failback", NULL};
    static const char *const preempts[] = {"never", "lower", "more", NULL};
    static const char *const failbacks[] = {"never", "maintenance-window", "auto", NULL};
    const json_t *object = json_object_get(r->file->root, "freedom");
    int preempt = HA_PLAN_PREEMPT_MORE, failback = 0, e = 0;

    r->file->in.migrate = true;
    at(r, "freedom");
    if (object != NULL && !json_is_object(object))
        return fail(r, "expected an object, found %s", type_name(object));
    if (object != NULL && ((e = only(r, object, members)) < 0 ||
                           (e = get_bool(r, object, "migrate", &r->file->in.migrate)) < 0 ||
                           (e = get_word(r, object, "preempt", preempts, &preempt)) < 0 ||
                           (e = get_word(r, object, "failback", failbacks, &failback)) < 0))
        return e;
    r->file->in.preempt = (enum ha_plan_preempt)preempt;
    r->file->in.failback = failback == 2; /* when a window is open is not known to a file */
    return 0;
}

static int read_numbers(struct reader *r)
{
    static const char *const members[] = {
        "hosts",     "guests", "rules", "reserve", "freedom", "vcpus_per_cpu", "starts",
        "transfers", "effort", "name",  "seed",    "mode",    "comment",       NULL};
    json_int_t reserve = 0, ratio = 0, starts = 0, transfers = 0, effort = 0;
    const json_t *root = r->file->root;
    int e;

    at(r, "instance");
    if ((e = only(r, root, members)) < 0 ||
        (e = get_int(r, root, "reserve", 0, HA_HOSTS_MAX, &reserve)) < 0 ||
        (e = get_int(r, root, "vcpus_per_cpu", 0, 1000, &ratio)) < 0 ||
        (e = get_int(r, root, "starts", 0, 1000, &starts)) < 0 ||
        (e = get_int(r, root, "transfers", 0, 1000, &transfers)) < 0 ||
        (e = get_int(r, root, "effort", 0, (json_int_t)1 << 40, &effort)) < 0)
        return e;
    r->file->in.reserve = (unsigned)reserve;
    r->file->in.vcpus_per_cpu = (unsigned)ratio;
    r->file->in.starts = (unsigned)starts;
    r->file->in.transfers = (unsigned)transfers;
    r->file->in.effort = (uint64_t)effort;
    return 0;
}

/* What the reader's root says. */
static int take_root(struct reader *r)
{
    struct plan_file *file = r->file;
    struct ha_error bad;
    int e;

    at(r, "instance");
    if (!json_is_object(file->root))
        return fail(r, "expected an object, found %s", type_name(file->root));
    if ((e = read_numbers(r)) < 0 || (e = read_freedom(r)) < 0 || (e = read_hosts(r)) < 0 ||
        (e = read_guests(r)) < 0 || (e = read_rules(r)) < 0)
        return e;
    file->in.hosts = file->hosts;
    file->in.guests = file->guests;
    file->in.labels = file->labels;
    file->in.rules = file->rules;
    e = ha_plan_check(&file->in, &bad);
    if (e < 0)
        snprintf(r->error, r->size, "%s", bad.text);
    return e;
}

static int init(struct plan_file *file, char *error, size_t size)
{
    *file = (struct plan_file){
        .host_index = json_object(), .guest_index = json_object(), .label_index = json_object()};
    snprintf(error, size, "out of memory");
    return file->host_index != NULL && file->guest_index != NULL && file->label_index != NULL
               ? 0
               : -ENOMEM;
}

int plan_file_take(struct plan_file *file, json_t *root, char *error, size_t size)
{
    struct reader r = {.file = file, .error = error, .size = size};
    int e = init(file, error, size);

    file->root = root;
    return e < 0 ? e : take_root(&r);
}

int plan_file_read(struct plan_file *file, const char *path, char *error, size_t size)
{
    struct reader r = {.file = file, .error = error, .size = size};
    json_error_t problem;

    if (init(file, error, size) < 0)
        return -ENOMEM;
    file->root = strcmp(path, "-") == 0 ? json_loadf(stdin, JSON_REJECT_DUPLICATES, &problem)
                                        : json_load_file(path, JSON_REJECT_DUPLICATES, &problem);
    if (file->root == NULL && problem.line < 0) /* not even opened */
        snprintf(error, size, "%s", problem.text);
    at(&r, "%.100s:%d:%d", path, problem.line, problem.column);
    if (file->root == NULL)
        return problem.line < 0 ? -ENOENT : fail(&r, "%s", problem.text);
    return take_root(&r);
}

void plan_file_done(struct plan_file *file)
{
    for (size_t i = 0; i < file->in.nguests; i++) {
        free((void *)file->guests[i].needs);
        free((void *)file->guests[i].prefer);
    }
    for (size_t i = 0; i < file->in.nrules; i++) {
        free((void *)file->rules[i].guests);
        free((void *)file->rules[i].domain);
    }
    free(file->hosts);
    free(file->guests);
    free(file->labels);
    free(file->rules);
    json_decref(file->host_index);
    json_decref(file->guest_index);
    json_decref(file->label_index);
    json_decref(file->root);
}
