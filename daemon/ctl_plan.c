/* SPDX-License-Identifier: GPL-2.0-or-later */
/* `xvmhactl plan`: what the planner would do, and why, with the cluster as it is or with one in a
 * file. Touches nothing; the planning is done here, not in the daemon. */
#include <string.h>
#include <time.h>

#include "ctl.h"
#include "ctl_plan.h"

/* ------------------------------------------------------------------------------------- JSON */

static json_t *host_json(const struct ha_plan *plan, int32_t host)
{
    return host < 0 ? json_null() : json_string(plan->in->hosts[host].name);
}

static json_t *placement_json(const struct ha_plan *plan)
{
    json_t *object = json_object();

    for (size_t g = 0; g < plan->in->nguests; g++)
        json_object_set_new_nocheck(object, plan->in->guests[g].name,
                                    host_json(plan, plan->place[g]));
    return object;
}

static json_t *after_json(const struct ha_plan *plan, size_t i)
{
    const struct ha_plan_action *a = &plan->actions[i];
    json_t *list = json_array();

    for (size_t k = 0; a->after_all && k < i; k++)
        json_array_append_new(list, json_integer((json_int_t)k));
    for (uint32_t k = 0; !a->after_all && k < a->nafter; k++)
        json_array_append_new(list, json_integer(plan->after[a->after + k]));
    return list;
}

static json_t *actions_json(const struct ha_plan *plan)
{
    json_t *list = json_array();

    for (size_t i = 0; i < plan->nactions; i++) {
        const struct ha_plan_action *a = &plan->actions[i];
        char why[HA_TEXT_MAX];

        ha_plan_why_action(plan, i, why, sizeof(why));
        json_array_append_new(
            list, json_pack("{s:s, s:s, s:o, s:o, s:s, s:I, s:o}", "do", ha_plan_do_name(a->what),
                            "guest", plan->in->guests[a->guest].name, "from",
                            host_json(plan, a->from), "to", host_json(plan, a->to), "why", why,
                            "wave", (json_int_t)a->wave, "after", after_json(plan, i)));
    }
    return list;
}

static json_t *unplaced_json(const struct ha_plan *plan)
{
    json_t *list = json_array();

    for (size_t i = 0; i < plan->nunplaced; i++) {
        char why[HA_TEXT_MAX];

        ha_plan_why_unplaced(plan, plan->unplaced[i], why, sizeof(why));
        json_array_append_new(
            list,
            json_pack("{s:s, s:s}", "guest", plan->in->guests[plan->unplaced[i]].name, "why", why));
    }
    return list;
}

static json_t *score_json(const struct ha_plan_score *s)
{
    return json_pack("{s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I}", "wanted",
                     (json_int_t)s->wanted, "running", (json_int_t)s->running, "started",
                     (json_int_t)s->started, "migrated", (json_int_t)s->migrated, "restarted",
                     (json_int_t)s->restarted, "preempted", (json_int_t)s->preempted, "weak_broken",
                     (json_int_t)s->weak_broken, "preference", (json_int_t)s->preference,
                     "fullest_permille", (json_int_t)s->fullest, "emptiest_permille",
                     (json_int_t)s->emptiest);
}

static json_t *why_json(const struct ha_plan *plan, uint32_t guest)
{
    json_t *object = json_object();
    char text[HA_TEXT_MAX];

    ha_plan_why_here(plan, guest, text, sizeof(text));
    json_object_set_new(object, "guest", json_string(plan->in->guests[guest].name));
    json_object_set_new(object, "here", json_string(text));
    json_object_set_new(object, "elsewhere", json_array());
    for (uint32_t h = 0; h < plan->in->nhosts; h++) {
        if (plan->place[guest] == (int32_t)h)
            continue;
        ha_plan_why_not(plan, guest, h, text, sizeof(text));
        json_array_append_new(json_object_get(object, "elsewhere"), json_string(text));
    }
    return object;
}

/* How long planning took, by the clock and in CPU time. */
struct took {
    int64_t elapsed_us, cpu_us;
};

static void put_json(const struct ha_plan *plan, struct took took, int why)
{
    char text[HA_TEXT_MAX * 2];
    json_t *answer = json_pack(
        "{s:o, s:o, s:o, s:I, s:b, s:o, s:I, s:I, s:I}", "placement", placement_json(plan),
        "actions", actions_json(plan), "unplaced", unplaced_json(plan), "tolerates",
        (json_int_t)plan->tolerates, "tolerates_exact", plan->tolerates_exact, "score",
        score_json(&plan->score), "elapsed_us", (json_int_t)took.elapsed_us, "cpu_us",
        (json_int_t)took.cpu_us, "memory_bytes", (json_int_t)plan->arena_bytes);

    ha_plan_why_tolerates(plan, text, sizeof(text));
    json_object_set_new(answer, "tolerates_why", json_string(text));
    json_object_set_new(answer, "reserve_met", json_boolean(plan->tolerates >= plan->in->reserve));
    if (why >= 0)
        json_object_set_new(answer, "why", why_json(plan, (uint32_t)why));
    json_dumpf(answer, stdout, JSON_INDENT(1));
    putchar('\n');
    json_decref(answer);
}

/* ------------------------------------------------------------------------------------- text */

static void put_actions(const struct ctl *ctl, const struct ha_plan *plan)
{
    for (size_t i = 0; i < plan->nactions; i++) {
        const struct ha_plan_action *a = &plan->actions[i];
        char why[HA_TEXT_MAX], line[HA_TEXT_MAX * 2];
        const char *arrow = a->to < 0 ? " on " : a->from < 0 ? " on " : " to ";
        int32_t host = a->to < 0 ? a->from : a->to;

        ha_plan_why_action(plan, i, why, sizeof(why));
        snprintf(line, sizeof(line), "%3zu  %-8s ", i + 1, ha_plan_do_name(a->what));
        fputs(line, stdout);
        ctl_put(ctl, STYLE_BOLD, plan->in->guests[a->guest].name);
        snprintf(line, sizeof(line), "%s%s: %s", arrow, plan->in->hosts[host].name, why);
        ctl_put_wrapped(ctl, STYLE_PLAIN, line, 14 + (int)strlen(plan->in->guests[a->guest].name),
                        14);
    }
}

static void put_tolerates(const struct ctl *ctl, const struct ha_plan *plan)
{
    char why[HA_TEXT_MAX * 2], line[HA_TEXT_MAX * 3];
    bool met = plan->tolerates >= plan->in->reserve;

    ha_plan_why_tolerates(plan, why, sizeof(why));
    snprintf(line, sizeof(line), "Host failures tolerated: %s%u",
             plan->tolerates_exact ? "" : "at least ", plan->tolerates);
    ctl_put(ctl, met ? STYLE_GOOD : STYLE_BAD, line);
    snprintf(line, sizeof(line), "%s (%s)", met ? "" : ", less than the reserve", why);
    ctl_put_wrapped(ctl, STYLE_PLAIN, line, 26, 2);
}

static void put_text(const struct ctl *ctl, const struct ha_plan *plan, int why)
{
    const struct ha_plan_score *s = &plan->score;
    char text[HA_TEXT_MAX], line[HA_TEXT_MAX * 2];

    snprintf(line, sizeof(line),
             "%u of %u guests run: %u started, %u migrated, %u restarted, "
             "%u stopped for want of room",
             s->running, s->wanted, s->started, s->migrated, s->restarted, s->preempted);
    ctl_put_wrapped(ctl, STYLE_PLAIN, line, 0, 2);
    put_actions(ctl, plan);
    for (size_t i = 0; i < plan->nunplaced; i++) {
        const char *name = plan->in->guests[plan->unplaced[i]].name;

        ha_plan_why_unplaced(plan, plan->unplaced[i], text, sizeof(text));
        ctl_put(ctl, STYLE_BAD, name);
        snprintf(line, sizeof(line), " does not run: %s", text);
        ctl_put_wrapped(ctl, STYLE_PLAIN, line, (int)strlen(name), 2);
    }
    put_tolerates(ctl, plan);
    if (why < 0)
        return;
    ha_plan_why_here(plan, (uint32_t)why, text, sizeof(text));
    snprintf(line, sizeof(line), "%s: %s", plan->in->guests[why].name, text);
    ctl_put_wrapped(ctl, STYLE_PLAIN, line, 0, 2);
    for (uint32_t h = 0; h < plan->in->nhosts; h++) {
        if (plan->place[why] == (int32_t)h)
            continue;
        ha_plan_why_not(plan, (uint32_t)why, h, text, sizeof(text));
        snprintf(line, sizeof(line), "not on %s", text);
        fputs("  ", stdout);
        ctl_put_wrapped(ctl, STYLE_PLAIN, line, 2, 4);
    }
}

/* --------------------------------------------------------------------------------- the command */

int ctl_plan_bad(const struct ctl *ctl, int code, const char *text)
{
    if (ctl->json) {
        json_t *answer = json_pack("{s:s}", "error", text);

        ctl_print_json(answer);
        json_decref(answer);
    }
    fprintf(stderr, "xvmhactl: %s\n", text);
    return code;
}

int ctl_plan_unknown(const struct ctl *ctl, const char *what, const char *name)
{
    char text[160];

    snprintf(text, sizeof(text), "there is no %s `%.80s`", what, name);
    return ctl_plan_bad(ctl, CTL_UNKNOWN, text);
}

/* What --down, --drain and --add change; *ret_why: the guest of --why. */
static int apply(const struct ctl *ctl, struct plan_file *file, int *ret_why)
{
    const struct ctl_words *hosts[] = {&ctl->down, &ctl->drain};

    for (int k = 0; k < 2; k++) {
        for (size_t i = 0; i < hosts[k]->n; i++) {
            int host = plan_file_host(file, hosts[k]->word[i]);

            if (host < 0)
                return ctl_plan_unknown(ctl, "host", hosts[k]->word[i]);
            file->hosts[host].state = k == 0 ? HA_PLAN_DOWN : HA_PLAN_DRAIN;
        }
    }
    for (size_t i = 0; i < ctl->add.n; i++) {
        int guest = plan_file_guest(file, ctl->add.word[i]);

        if (guest < 0)
            return ctl_plan_unknown(ctl, "guest", ctl->add.word[i]);
        file->guests[guest].run = true;
    }
    *ret_why = ctl->why != NULL ? plan_file_guest(file, ctl->why) : -1;
    return ctl->why != NULL && *ret_why < 0 ? ctl_plan_unknown(ctl, "guest", ctl->why) : CTL_OK;
}

static int64_t now_us(clockid_t clock)
{
    struct timespec t;

    clock_gettime(clock, &t);
    return (int64_t)t.tv_sec * 1000000 + t.tv_nsec / 1000;
}

int ctl_plan_instance(const struct ctl *ctl, struct plan_file *file)
{
    char error[400];
    json_t *answer = NULL;
    int r;

    *file = (struct plan_file){0};
    if (ctl->file != NULL)
        return plan_file_read(file, ctl->file, error, sizeof(error)) < 0
                   ? ctl_plan_bad(ctl, CTL_FAILED, error)
                   : CTL_OK;
    r = ctl_call(ctl, "org.xvmha.Instance", NULL, &answer);
    if (r != CTL_OK)
        return r;
    r = plan_file_take(file, json_incref(json_object_get(answer, "instance")), error,
                       sizeof(error)) < 0
            ? ctl_plan_bad(ctl, CTL_FAILED, error)
            : CTL_OK;
    json_decref(answer);
    return r;
}

int ctl_plan(struct ctl *ctl, const struct ctl_command *command, char **args, int nargs)
{
    struct plan_file file;
    struct ha_plan *plan = NULL;
    struct took took = {0};
    int why = -1, r = ctl_plan_instance(ctl, &file);

    (void)command;
    (void)args;
    (void)nargs;
    if (r == CTL_OK)
        r = apply(ctl, &file, &why);
    took.elapsed_us -= now_us(CLOCK_MONOTONIC);
    took.cpu_us -= now_us(CLOCK_PROCESS_CPUTIME_ID);
    if (r == CTL_OK && ha_plan_make(&file.in, &plan) < 0)
        r = ctl_plan_bad(ctl, CTL_FAILED, "out of memory");
    took.elapsed_us += now_us(CLOCK_MONOTONIC);
    took.cpu_us += now_us(CLOCK_PROCESS_CPUTIME_ID);
    if (plan != NULL && ctl->json)
        put_json(plan, took, why);
    else if (plan != NULL)
        put_text(ctl, plan, why);
    ha_plan_free(plan);
    plan_file_done(&file);
    return r;
}
