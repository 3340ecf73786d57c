/* SPDX-License-Identifier: GPL-2.0-or-later */
/* `xvmhactl status`: the whole cluster on one screen, what needs attention last, where the eye is.
 */
#include <string.h>

#include "ctl.h"

static bool is_one_of(const char *word, const char *const *list)
{
    for (; *list != NULL; list++) {
        if (strcmp(word, *list) == 0)
            return true;
    }
    return false;
}

static enum ctl_style style_of(const char *condition)
{
    static const char *const good[] = {"online", "running", NULL};
    static const char *const quiet[] = {"out",        "stopped",  "disabled", "unmanaged",
                                        "never seen", "external", NULL};
    static const char *const busy[] = {"joining",   "syncing",  "starting", "stopping",
                                       "migrating", "arriving", "waiting",  NULL};

    if (is_one_of(condition, good))
        return STYLE_GOOD;
    if (is_one_of(condition, quiet))
        return STYLE_DIM;
    return is_one_of(condition, busy) ? STYLE_BUSY : STYLE_BAD;
}

/* Adds to a comma-separated list in a cell. */
static void add_note(struct ctl_cell *cell, const char *text)
{
    size_t len = strlen(cell->text);

    if (text[0] != '\0')
        snprintf(cell->text + len, sizeof(cell->text) - len, "%s%s", len > 0 ? ", " : "", text);
}

/* ---------------------------------------------------------------------------------- header */

static void put_summary(const struct ctl *ctl, const json_t *status)
{
    const json_t *hosts = json_object_get(status, "hosts"), *host;
    const char *coordinator = ctl_string(status, "coordinator");
    size_t i, online = 0, members = 0;
    bool unheard = ctl_bool(status, "unheard");
    char text[200];

    json_array_foreach(hosts, i, host)
    {
        online += strcmp(ctl_string(host, "condition"), "online") == 0;
        members += ctl_bool(host, "member");
    }
    ctl_put(ctl, STYLE_PLAIN, "Cluster ");
    ctl_put(ctl, STYLE_BOLD, ctl_string(status, "cluster"));
    ctl_put(ctl, STYLE_PLAIN, ": ");
    if (unheard)
        ctl_put(ctl, STYLE_BAD, "out of touch");
    else if (ctl_bool(status, "quorate"))
        ctl_put(ctl, STYLE_GOOD, "quorate");
    else
        ctl_put(ctl, STYLE_BAD, "no quorum");
    if (ctl_bool(status, "frozen")) {
        ctl_put(ctl, STYLE_PLAIN, ", ");
        ctl_put(ctl, STYLE_BUSY, "FROZEN");
    }
    /* Before there is a coordinator nobody is online, but somebody is here. */
    if (unheard)
        snprintf(text, sizeof(text), ", the coordinator was %s", coordinator);
    else if (coordinator[0] == '\0')
        snprintf(text, sizeof(text), ", %zu of %zu hosts in the ring, no coordinator", members,
                 json_array_size(hosts));
    else
        snprintf(text, sizeof(text), ", %zu of %zu hosts online, coordinator %s", online,
                 json_array_size(hosts), coordinator);
    puts(text);
}

/* What is shown of the others is as of now, and this host is well. */
static bool fresh(const json_t *status)
{
    return ctl_bool(status, "synced") && !ctl_bool(status, "unheard") &&
           !ctl_bool(status, "lapsed");
}

static void put_self(const struct ctl *ctl, const json_t *status)
{
    const char *self = ctl_string(status, "self"), *sentence = ctl_string(status, "sentence");
    static const char prefix[] = "This host, ";

    fputs(prefix, stdout);
    ctl_put(ctl, STYLE_BOLD, self);
    fputs(": ", stdout);
    ctl_put_wrapped(ctl, fresh(status) ? STYLE_PLAIN : STYLE_BUSY, sentence,
                    (int)(strlen(prefix) + strlen(self) + 2), 2);
}

/* ---------------------------------------------------------------------------------- tables */

static void memory_text(const json_t *host, char *buf, size_t size)
{
    long long total = ctl_int(host, "memory_kib"), used = ctl_int(host, "memory_used_kib");
    double unit = total >= 10 << 20 ? 1 << 20 : 1 << 10;

    if (total == 0)
        snprintf(buf, size, "-");
    else if (total >= 10 << 20)
        snprintf(buf, size, "%.1f / %.1f GiB", (double)used / unit, (double)total / unit);
    else
        snprintf(buf, size, "%.0f / %.0f MiB", (double)used / unit, (double)total / unit);
}

static void host_row(struct ctl_cell *row, const json_t *host, const char *self, bool disk)
{
    const char *name = ctl_string(host, "name"), *condition = ctl_string(host, "condition");
    char memory[64], level[48];

    memory_text(host, memory, sizeof(memory));
    ctl_cell_set(&row[0], STYLE_PLAIN, "%s", name);
    ctl_cell_set(&row[1], style_of(condition), "%s", condition);
    ctl_cell_set(&row[2], STYLE_PLAIN, "%lld", ctl_int(host, "guests"));
    ctl_cell_set(&row[3], STYLE_PLAIN, "%s", memory);
    if (ctl_bool(host, "coordinator"))
        add_note(&row[4], "coordinator");
    if (ctl_bool(host, "goes_down"))
        add_note(&row[4], "goes down");
    else if (ctl_string(host, "maintenance")[0] != '\0')
        add_note(&row[4], strcmp(ctl_string(host, "maintenance"), "maintenance") == 0
                              ? "in maintenance"
                              : "being emptied");
    if (strcmp(name, self) == 0)
        add_note(&row[4], "this host");
    if (strcmp(condition, "fencing") == 0) {
        snprintf(level, sizeof(level), "fence level %lld", ctl_int(host, "fence_level") + 1);
        add_note(&row[4], level);
    }
    if (ctl_bool(host, "frozen"))
        add_note(&row[4], "frozen");
    else if (strcmp(condition, "online") == 0 && !ctl_bool(host, "armed"))
        add_note(&row[4], ctl_bool(host, "arming") ? "watchdog: ?" : "no watchdog");
    if (strcmp(condition, "online") == 0 && disk && !ctl_bool(host, "disk_ok"))
        add_note(&row[4], "no shared disk");
    if (ctl_bool(host, "drift"))
        add_note(&row[4], "other configuration");
}

static void put_hosts(const struct ctl *ctl, const json_t *status)
{
    struct ctl_table table = {
        .ncolumns = 5,
        .titles = {"HOST", "STATE", "GUESTS", "MEMORY", "NOTES"},
        .right = {false, false, true, true, false},
    };
    const json_t *host;
    struct ctl_cell *row;
    size_t i;

    putchar('\n');
    json_array_foreach(json_object_get(status, "hosts"), i, host)
    {
        row = ctl_table_row(&table);
        if (row != NULL)
            host_row(row, host, ctl_string(status, "self"),
                     ctl_bool(json_object_get(status, "disk"), "configured"));
    }
    ctl_table_print(ctl, &table);
    ctl_table_done(&table);
}

static void guest_row(struct ctl_cell *row, const json_t *guest)
{
    const char *condition = ctl_string(guest, "condition"), *host = ctl_string(guest, "host"),
               *target = ctl_string(guest, "target");
    char text[128];

    ctl_cell_set(&row[0], STYLE_PLAIN, "%s", ctl_string(guest, "name"));
    ctl_cell_set(&row[1], style_of(condition), "%s", condition);
    ctl_cell_set(&row[2], STYLE_PLAIN, "%s", host[0] != '\0' ? host : "-");
    ctl_cell_set(&row[3], STYLE_PLAIN, "%lld", ctl_int(guest, "priority"));
    if (target[0] != '\0') {
        snprintf(text, sizeof(text), "to %s", target);
        add_note(&row[4], text);
    }
    if (ctl_int(guest, "restarts") > 0) {
        snprintf(text, sizeof(text), "%lld restart%s", ctl_int(guest, "restarts"),
                 ctl_int(guest, "restarts") == 1 ? "" : "s");
        add_note(&row[4], text);
    }
    if (strcmp(ctl_string(guest, "health"), "bad") == 0)
        add_note(&row[4], "probe fails");
    else if (strcmp(ctl_string(guest, "health"), "good") == 0)
        add_note(&row[4], "healthy");
    if (!ctl_bool(guest, "managed"))
        add_note(&row[4], "not in the configuration");
}

static void put_guests(const struct ctl *ctl, const json_t *status)
{
    struct ctl_table table = {
        .ncolumns = 5,
        .titles = {"GUEST", "STATE", "HOST", "PRIORITY", "NOTES"},
        .right = {false, false, false, true, false},
    };
    const json_t *guests = json_object_get(status, "guests"), *guest;
    struct ctl_cell *row;
    size_t i;

    putchar('\n');
    if (json_array_size(guests) == 0) {
        puts("  No guests yet: add some under `guests:` in the configuration, then\n"
             "  `xvmhactl reload`.");
        return;
    }
    json_array_foreach(guests, i, guest)
    {
        row = ctl_table_row(&table);
        if (row != NULL)
            guest_row(row, guest);
    }
    ctl_table_print(ctl, &table);
    ctl_table_done(&table);
}

/* ----------------------------------------------------------------------------------- notes */

static void put_notes(const struct ctl *ctl, const json_t *notes, const char *title)
{
    const json_t *n;
    size_t i;

    if (json_array_size(notes) == 0)
        return;
    putchar('\n');
    ctl_put(ctl, STYLE_BOLD, title);
    putchar('\n');
    json_array_foreach(notes, i, n)
    {
        const char *kind = ctl_string(n, "kind"), *name = ctl_string(n, "name"),
                   *condition = ctl_string(n, "condition"), *text = ctl_string(n, "text");

        printf("  %s ", kind);
        ctl_put(ctl, STYLE_BOLD, name);
        fputs(", ", stdout);
        ctl_put(ctl, style_of(condition), condition);
        if (text[0] == '\0') {
            putchar('\n');
            continue;
        }
        fputs(": ", stdout);
        ctl_put_wrapped(ctl, STYLE_PLAIN, text,
                        (int)(2 + strlen(kind) + 1 + strlen(name) + 2 + strlen(condition) + 2), 6);
    }
}

static void put_tolerates(const struct ctl *ctl, const json_t *status)
{
    const json_t *t = json_object_get(status, "tolerates");
    long long hosts = ctl_int(t, "hosts"), reserve = ctl_int(t, "reserve");
    char text[120];

    if (!json_is_object(t) || json_array_size(json_object_get(status, "guests")) == 0)
        return;
    snprintf(text, sizeof(text), "Host failures tolerated: %s%lld",
             ctl_bool(t, "exact") ? "" : "at least ", hosts);
    putchar('\n');
    ctl_put(ctl, hosts < reserve ? STYLE_BAD : STYLE_PLAIN, text);
    if (reserve > 0)
        printf(" (reserve %lld)", reserve);
    putchar('\n');
}

/* Two hosts: who would live on if they lost sight of each other. */
static void put_survivor(const struct ctl *ctl, const json_t *status)
{
    const char *why = ctl_string(status, "survivor_why");

    if (why[0] == '\0')
        return;
    putchar('\n');
    ctl_put_wrapped(ctl, STYLE_PLAIN, why, 0, 2);
}

int ctl_status(struct ctl *ctl, const struct ctl_command *command, char **args, int nargs)
{
    json_t *status = NULL;
    int r = ctl_call(ctl, "org.xvmha.Status", NULL, &status);

    (void)command;
    (void)args;
    (void)nargs;
    if (r != CTL_OK)
        return r;
    if (ctl->json) {
        ctl_print_json(status);
    } else {
        put_summary(ctl, status);
        put_self(ctl, status);
        if (!ctl_bool(status, "synced") || ctl_bool(status, "unheard"))
            puts("What follows is what was last agreed, as far as this host knows.");
        put_hosts(ctl, status);
        put_guests(ctl, status);
        put_tolerates(ctl, status);
        put_survivor(ctl, status);
        put_notes(ctl, json_object_get(status, "underway"), "Under way");
        put_notes(ctl, json_object_get(status, "attention"), "Needs attention");
    }
    json_decref(status);
    return CTL_OK;
}

/* For completions: one name a line. */
int ctl_names(struct ctl *ctl, const struct ctl_command *command, char **args, int nargs)
{
    json_t *status = NULL;
    const json_t *item;
    size_t i;
    int r;

    (void)command;
    (void)nargs;
    if (strcmp(args[0], "guests") != 0 && strcmp(args[0], "hosts") != 0)
        return ctl_usage_error("names: expected `guests` or `hosts`, got `%s`", args[0]);
    r = ctl_call(ctl, "org.xvmha.Status", NULL, &status);
    if (r != CTL_OK)
        return r;
    json_array_foreach(json_object_get(status, args[0]), i, item)
    {
        ctl_put(ctl, STYLE_PLAIN, ctl_string(item, "name"));
        putchar('\n');
    }
    json_decref(status);
    return CTL_OK;
}
