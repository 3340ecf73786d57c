/* SPDX-License-Identifier: GPL-2.0-or-later */
/* `xvmhactl why GUEST`: why it is where it is, why on no other host, and what would change that.
 * The daemon knows what blocks a guest, the planner what speaks against a host: here both are put
 * together. */
#include <string.h>

#include "ctl.h"
#include "ctl_plan.h"

struct why {
    const struct ha_plan *plan;
    const json_t *hosts, *guest; /* of the status */
    uint32_t g;
    const char *name, *condition, *host;
    bool lost;   /* with its host; the plan is the one for when that is confirmed dead */
    bool frozen; /* the cluster */
};

static const json_t *named(const json_t *list, const char *name)
{
    const json_t *item;
    size_t i;

    json_array_foreach(list, i, item)
    {
        if (strcmp(ctl_string(item, "name"), name) == 0)
            return item;
    }
    return NULL;
}

static bool is(const char *word, const char *other)
{
    return strcmp(word, other) == 0;
}

/* Lost, or about to be. */
static bool is_lost(const json_t *host)
{
    const char *condition = ctl_string(host, "condition");

    return is(condition, "lost") || is(condition, "fencing") || is(condition, "missing");
}

/* Makes of lost hosts dead ones, whose guests may start elsewhere. */
static void bury(struct plan_file *file, const json_t *hosts)
{
    for (size_t h = 0; h < file->in.nhosts; h++) {
        if (is_lost(named(hosts, file->hosts[h].name)))
            file->hosts[h].state = HA_PLAN_DOWN;
    }
    for (size_t g = 0; g < file->in.nguests; g++) {
        struct ha_plan_guest *guest = &file->guests[g];

        if (guest->on < 0 || file->hosts[guest->on].state != HA_PLAN_DOWN)
            continue;
        guest->keep = false;
        guest->allowed = (guest->may != 0 ? guest->may : UINT64_MAX) & ~guest->unaware;
    }
}

/* ---------------------------------------------------------------------------- why not elsewhere */

/* That host would do: when, and how one gets the guest there. */
static void would_do(const struct why *w, uint32_t host, char *text, size_t size)
{
    const char *h = w->plan->in->hosts[host].name;

    if (w->frozen)
        snprintf(text, size, "%s: would do, once the cluster is thawed", h);
    else if (w->lost)
        snprintf(text, size, "%s: would do, once %s is confirmed dead", h, w->host);
    else if (is(w->condition, "running") && ctl_bool(w->guest, "managed"))
        snprintf(text, size, "%s: would do, too; `xvmhactl move %s %s` moves it there", h, w->name,
                 h);
    else
        snprintf(text, size, "%s: would do", h);
}

/* What is wrong with the host itself comes first. */
static void why_not(const struct why *w, uint32_t host, char *text, size_t size)
{
    const char *name = w->plan->in->hosts[host].name;
    const json_t *h = named(w->hosts, name);
    const char *condition = ctl_string(h, "condition"), *why = ctl_string(h, "why");
    const char *maintenance = ctl_string(h, "maintenance");
    bool quarantined = ctl_bool(h, "quarantined");
    bool well = is(condition, "online") && !quarantined && maintenance[0] == '\0';

    if (h != NULL && !well)
        snprintf(text, size, "%s: %s%s%s", name,
                 quarantined                ? "quarantined"
                 : maintenance[0] != '\0' ? maintenance
                                            : condition,
                 why[0] != '\0' ? ": " : "", why);
    else if (ha_plan_why_not(w->plan, w->g, host, text, size))
        would_do(w, host, text, size);
}

/* ------------------------------------------------------------------------------- why it is here */

/* It waits for a place: the planner knows which would be the nearest, or has just found one. */
static void why_unplaced(const struct why *w, const char *plans, char *text, size_t size)
{
    const char *for_guest = ctl_string(w->guest, "gave_way");
    int32_t to = w->plan->place[w->g];

    if (to >= 0)
        snprintf(text, size, "does not run yet: %s has room for it, where it is to start",
                 w->plan->in->hosts[to].name);
    else if (is(w->condition, "preempted"))
        snprintf(text, size, "gave way%s%s for want of room: %s",
                 for_guest[0] != '\0' ? " to " : "", for_guest, plans);
    else
        snprintf(text, size, "does not run: %s", plans);
}

/* What the cluster says of it, where that says something; behind the condition, unless the words
 * begin with that. */
static void why_told(const struct why *w, const char *why, char *text, size_t size)
{
    size_t n = strlen(w->condition);
    int32_t to = w->plan->place[w->g];
    bool twice = strncmp(why, w->condition, n) == 0 && (why[n] == ' ' || why[n] == ':');

    snprintf(text, size, "%s%s%s%s%s%s%s", twice ? "" : w->condition,
             !twice && w->host[0] != '\0' ? " on " : "", twice ? "" : w->host, twice ? "" : ": ",
             why, w->lost && to >= 0 ? "; it would then start on " : "",
             w->lost && to >= 0 ? w->plan->in->hosts[to].name : "");
}

static void why_here(const struct why *w, char *text, size_t size)
{
    const char *why = ctl_string(w->guest, "why");
    char plans[HA_TEXT_MAX];

    ha_plan_why_here(w->plan, w->g, plans, sizeof(plans));
    if (ctl_bool(w->guest, "unplaced") && w->plan->in->guests[w->g].run)
        why_unplaced(w, plans, text, size);
    else if (why[0] != '\0')
        why_told(w, why, text, size);
    else
        snprintf(text, size, "%s%s", plans,
                 w->frozen ? "; the cluster is frozen: nobody moves before `xvmhactl thaw`" : "");
}

/* ------------------------------------------------------------------------------------ the whole */

/* Where it is, or is to be, needs no "why not". */
static bool is_here(const struct why *w, uint32_t host)
{
    int32_t on = w->plan->in->guests[w->g].on, to = w->plan->place[w->g];

    return on == (int32_t)host || (on < 0 && w->plan->in->guests[w->g].run && to == (int32_t)host);
}

static void put_why(const struct ctl *ctl, const struct why *w)
{
    json_t *answer = json_object(), *elsewhere = json_array();
    char text[HA_TEXT_MAX * 3], line[HA_TEXT_MAX * 3 + 16];

    why_here(w, text, sizeof(text));
    json_object_set_new(answer, "guest", json_string(w->name));
    json_object_set_new(answer, "host", json_string(w->host));
    json_object_set_new(answer, "condition", json_string(w->condition));
    json_object_set_new(answer, "here", json_string(text));
    json_object_set_new(answer, "elsewhere", elsewhere);
    if (!ctl->json) {
        ctl_put(ctl, STYLE_BOLD, w->name);
        ctl_put(ctl, STYLE_PLAIN, ": ");
        ctl_put_wrapped(ctl, STYLE_PLAIN, text, (int)strlen(w->name) + 2, 2);
    }
    for (uint32_t h = 0; h < w->plan->in->nhosts; h++) {
        if (is_here(w, h))
            continue;
        why_not(w, h, text, sizeof(text));
        json_array_append_new(elsewhere, json_string(text));
        snprintf(line, sizeof(line), "not on %s", text);
        if (!ctl->json) {
            fputs("  ", stdout);
            ctl_put_wrapped(ctl, STYLE_PLAIN, line, 2, 4);
        }
    }
    if (ctl->json)
        ctl_print_json(answer);
    json_decref(answer);
}

/* Plans, looking at what becomes of a lost guest when its host is confirmed dead. */
static int look(const struct ctl *ctl, struct plan_file *file, const json_t *status, int guest)
{
    struct why w = {.g = (uint32_t)guest, .name = file->guests[guest].name,
                    .hosts = json_object_get(status, "hosts"),
                    .guest = named(json_object_get(status, "guests"), file->guests[guest].name),
                    .frozen = ctl_bool(status, "frozen")};
    struct ha_plan *plan = NULL;

    w.condition = ctl_string(w.guest, "condition");
    w.host = ctl_string(w.guest, "host");
    w.lost = is(w.condition, "host lost") || is(w.condition, "host missing");
    if (w.lost)
        bury(file, w.hosts);
    if (ha_plan_make(&file->in, &plan) < 0)
        return ctl_plan_bad(ctl, CTL_FAILED, "out of memory");
    w.plan = plan;
    put_why(ctl, &w);
    ha_plan_free(plan);
    return CTL_OK;
}

int ctl_why(struct ctl *ctl, const struct ctl_command *command, char **args, int nargs)
{
    struct plan_file file;
    json_t *status = NULL;
    int r = ctl_plan_instance(ctl, &file), guest = -1;

    (void)command;
    (void)nargs;
    if (r == CTL_OK)
        r = ctl_call(ctl, "org.xvmha.Status", NULL, &status);
    if (r == CTL_OK && (guest = plan_file_guest(&file, args[0])) < 0)
        r = ctl_plan_unknown(ctl, "guest", args[0]);
    if (r == CTL_OK)
        r = look(ctl, &file, status, guest);
    json_decref(status);
    plan_file_done(&file);
    return r;
}
