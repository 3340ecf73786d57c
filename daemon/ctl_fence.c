/* SPDX-License-Identifier: GPL-2.0-or-later */
/* `xvmhactl fence history` and `fence check`. */
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "ctl.h"

enum { CHECK_PATIENCE_S = 900 }; /* each device has a time limit of its own */

static json_t *host_param(char **args, int nargs)
{
    return nargs > 0 ? json_pack("{s:s}", "host", args[0]) : json_object();
}

static enum ctl_style style_of(const char *severity)
{
    if (strcmp(severity, "alert") == 0 || strcmp(severity, "error") == 0)
        return STYLE_BAD;
    return strcmp(severity, "warning") == 0 ? STYLE_BUSY : STYLE_PLAIN;
}

static void put_entry(const struct ctl *ctl, const json_t *entry)
{
    const char *what = ctl_string(entry, "what"), *text = ctl_string(entry, "text");
    time_t seconds = (time_t)(ctl_int(entry, "usec") / 1000000);
    char clock[32];
    struct tm tm;
    int at;

    localtime_r(&seconds, &tm);
    strftime(clock, sizeof(clock), "%Y-%m-%d %H:%M:%S", &tm);
    at = printf("%s  ", clock);
    ctl_put(ctl, style_of(ctl_string(entry, "severity")), what);
    at += (int)strlen(what) + printf(": ");
    ctl_put_wrapped(ctl, STYLE_PLAIN, text, at, 10);
}

int ctl_fence_history(struct ctl *ctl, const struct ctl_command *command, char **args, int nargs)
{
    json_t *params = host_param(args, nargs), *answer = NULL;
    const json_t *entries, *entry;
    size_t i;
    int r;

    (void)command;
    if ((ctl->given & OPT_LINES) != 0)
        json_object_set_new(params, "last", json_integer(ctl->lines));
    r = ctl_call(ctl, "org.xvmha.FenceHistory", params, &answer);
    if (r != CTL_OK)
        return r;
    entries = json_object_get(answer, "entries");
    if (ctl->json)
        ctl_print_json(answer);
    else if (json_array_size(entries) == 0)
        puts("Nothing was ever fenced, as far as this host knows.");
    else
        json_array_foreach(entries, i, entry) put_entry(ctl, entry);
    json_decref(answer);
    return CTL_OK;
}

/* ------------------------------------------------------------------------------------- check */

static void put_check(struct ctl_cell *row, const json_t *check)
{
    bool good = ctl_bool(check, "good");

    ctl_cell_set(&row[0], STYLE_PLAIN, "%s", ctl_string(check, "host"));
    ctl_cell_set(&row[1], STYLE_PLAIN, "%lld", ctl_int(check, "level"));
    ctl_cell_set(&row[2], STYLE_PLAIN, "%s", ctl_string(check, "device"));
    ctl_cell_set(&row[3], good ? STYLE_GOOD : STYLE_BAD, "%s", good ? "works" : "DOES NOT WORK");
    ctl_cell_set(&row[4], STYLE_PLAIN, "%s", ctl_string(check, "result"));
    ctl_cell_set(&row[5], STYLE_PLAIN, "%.1f s", (double)ctl_int(check, "took_ms") / 1000);
}

static void put_checks(const struct ctl *ctl, const json_t *checks)
{
    struct ctl_table table = {
        .ncolumns = 6,
        .titles = {"HOST", "LEVEL", "DEVICE", "RESULT", "SAYS", "TIME"},
        .right = {false, true, false, false, false, true},
    };
    const json_t *check;
    size_t i;

    json_array_foreach(checks, i, check)
    {
        struct ctl_cell *row = ctl_table_row(&table);

        if (row != NULL)
            put_check(row, check);
    }
    ctl_table_print(ctl, &table);
    ctl_table_done(&table);
    json_array_foreach(checks, i, check)
    {
        const char *text = ctl_string(check, "text"), *host = ctl_string(check, "host");

        if (text[0] == '\0')
            continue;
        printf("\n%s: ", host);
        ctl_put_wrapped(ctl, STYLE_PLAIN, text, (int)strlen(host) + 2, 2);
    }
}

int ctl_fence_check(struct ctl *ctl, const struct ctl_command *command, char **args, int nargs)
{
    json_t *answer = NULL;
    const json_t *checks, *check;
    bool good = true;
    size_t i;
    int r;

    (void)command;
    if (!ctl->json)
        fputs("Asking the fence devices, this may take a while ...\n", stderr);
    ctl->patience_s = CHECK_PATIENCE_S;
    r = ctl_call(ctl, "org.xvmha.FenceCheck", host_param(args, nargs), &answer);
    if (r != CTL_OK)
        return r;
    checks = json_object_get(answer, "checks");
    json_array_foreach(checks, i, check) good = good && ctl_bool(check, "good");
    if (ctl->json)
        ctl_print_json(answer);
    else if (json_array_size(checks) == 0)
        puts("No fence device to ask.");
    else
        put_checks(ctl, checks);
    json_decref(answer);
    return good ? CTL_OK : CTL_FAILED;
}
