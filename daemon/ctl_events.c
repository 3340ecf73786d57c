/* SPDX-License-Identifier: GPL-2.0-or-later */
/* `xvmhactl events`: what happened lately, by this host's clock. */
#include <string.h>
#include <time.h>

#include "ctl.h"

static enum ctl_style style_of(const char *severity)
{
    if (strcmp(severity, "alert") == 0 || strcmp(severity, "error") == 0)
        return STYLE_BAD;
    if (strcmp(severity, "warning") == 0)
        return STYLE_BUSY;
    return STYLE_PLAIN;
}

/* A new day gets a line of its own, so that the time needs only eight columns. */
static void put_day(const struct ctl *ctl, const struct tm *tm, char last_day[32])
{
    char day[32];

    strftime(day, sizeof(day), "%a %d %b %Y", tm);
    if (strcmp(day, last_day) == 0)
        return;
    strcpy(last_day, day);
    ctl_put(ctl, STYLE_BOLD, day);
    putchar('\n');
}

static void put_event(const struct ctl *ctl, const json_t *event, char last_day[32])
{
    const char *severity = ctl_string(event, "severity"), *what = ctl_string(event, "what"),
               *host = ctl_string(event, "host"), *guest = ctl_string(event, "guest"),
               *text = ctl_string(event, "text");
    time_t seconds = (time_t)(ctl_int(event, "usec") / 1000000);
    char clock[16];
    struct tm tm;
    int at;

    localtime_r(&seconds, &tm);
    put_day(ctl, &tm, last_day);
    strftime(clock, sizeof(clock), "%H:%M:%S", &tm);
    at = printf("%s  ", clock);
    ctl_put(ctl, style_of(severity), what);
    at += (int)strlen(what);
    /* A sentence that names host and guest by itself needs no prefix. */
    if (guest[0] != '\0' && strstr(text, guest) == NULL)
        at += printf(" guest %s", guest);
    if (host[0] != '\0' && strstr(text, host) == NULL)
        at += printf(" host %s", host);
    at += printf("%s ", text[0] != '\0' ? ":" : "");
    ctl_put_wrapped(ctl, STYLE_PLAIN, text, at, 10);
}

int ctl_events(struct ctl *ctl, const struct ctl_command *command, char **args, int nargs)
{
    int lines = (ctl->given & OPT_LINES) != 0 ? ctl->lines : 50;
    char last_day[32] = "";
    json_t *answer = NULL;
    const json_t *event;
    size_t i;
    int r;

    (void)command;
    (void)args;
    (void)nargs;
    r = ctl_call(ctl, "org.xvmha.Events", json_pack("{s:i}", "last", lines), &answer);
    if (r != CTL_OK)
        return r;
    if (ctl->json)
        ctl_print_json(answer);
    else
        json_array_foreach(json_object_get(answer, "events"), i, event)
            put_event(ctl, event, last_day);
    json_decref(answer);
    return CTL_OK;
}
