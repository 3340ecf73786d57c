/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The last reports, in a ring of fixed size, for `xvmhactl events`. */
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "ipc_internal.h"
#include "status_json.h"

struct entry {
    int64_t usec; /* wall clock */
    enum ha_report what;
    enum ha_severity severity;
    char host[HA_NAME_MAX], guest[HA_NAME_MAX];
    char text[HA_TEXT_MAX];
};

struct xvm_event_log {
    struct entry ring[XVM_EVENTS_MAX];
    size_t added; /* ever; the newest is at (added - 1) % XVM_EVENTS_MAX */
};

struct xvm_event_log *xvm_event_log_new(void)
{
    return calloc(1, sizeof(struct xvm_event_log));
}

struct xvm_event_log *xvm_event_log_free(struct xvm_event_log *log)
{
    free(log);
    return NULL;
}

void xvm_event_log_add(struct xvm_event_log *log, enum ha_report what, enum ha_severity severity,
                       const char *host, const char *guest, const char *text)
{
    struct entry *e = &log->ring[log->added++ % XVM_EVENTS_MAX];
    struct timespec now;

    clock_gettime(CLOCK_REALTIME, &now);
    e->usec = (int64_t)now.tv_sec * 1000000 + now.tv_nsec / 1000;
    e->what = what;
    e->severity = severity;
    snprintf(e->host, sizeof(e->host), "%s", host != NULL ? host : "");
    snprintf(e->guest, sizeof(e->guest), "%s", guest != NULL ? guest : "");
    snprintf(e->text, sizeof(e->text), "%s", text != NULL ? text : "");
}

const char *xvm_severity_name(enum ha_severity severity)
{
    switch (severity) {
    case HA_SEV_DEBUG:
        return "debug";
    case HA_SEV_INFO:
        return "info";
    case HA_SEV_NOTICE:
        return "notice";
    case HA_SEV_WARNING:
        return "warning";
    case HA_SEV_ERROR:
        return "error";
    case HA_SEV_ALERT:
        return "alert";
    }
    return "unknown";
}

static json_t *entry_json(const struct entry *e)
{
    char date[32], text[48];
    time_t seconds = (time_t)(e->usec / 1000000);
    struct tm tm;

    gmtime_r(&seconds, &tm);
    strftime(date, sizeof(date), "%Y-%m-%dT%H:%M:%S", &tm);
    snprintf(text, sizeof(text), "%s.%03dZ", date, (int)(e->usec / 1000 % 1000));
    return json_pack("{s:s, s:I, s:s, s:s, s:o, s:o, s:o}", "time", text, "usec",
                     (json_int_t)e->usec, "what", ha_report_name(e->what), "severity",
                     xvm_severity_name(e->severity), "host", xvm_json_text(e->host), "guest",
                     xvm_json_text(e->guest), "text", xvm_json_text(e->text));
}

json_t *xvm_event_log_json(const struct xvm_event_log *log, size_t n)
{
    size_t kept = log->added < XVM_EVENTS_MAX ? log->added : XVM_EVENTS_MAX;
    json_t *list = json_array();

    if (n > kept)
        n = kept;
    for (size_t i = log->added - n; list != NULL && i < log->added; i++)
        json_array_append_new(list, entry_json(&log->ring[i % XVM_EVENTS_MAX]));
    return list;
}
