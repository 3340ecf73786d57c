/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The history of fencing: a list in memory, and its file. */
#include "fence_history.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "log.h"
#include "status_json.h"

enum {
    KEPT = 1000,      /* lines */
    FILE_MOST = 4000, /* lines until the file is written anew */
    LINE_MOST = 4096,
};

struct xvm_history {
    char *path;
    json_t *list;
    size_t lines; /* in the file */
    int fd;
    bool complained;
};

bool xvm_history_wants(enum ha_report what)
{
    switch ((int)what) {
    case HA_REPORT_HOST_LOST:
    case HA_REPORT_HOST_FENCING:
    case HA_REPORT_HOST_FENCE_FAIL:
    case HA_REPORT_HOST_CONFIRMED:
    case HA_REPORT_DISTRUST:
    case HA_REPORT_QUARANTINE:
    case HA_REPORT_FENCE_HELD:
    case HA_REPORT_DEVICE:
        return true;
    default:
        return false;
    }
}

static void complain(struct xvm_history *history, int e)
{
    if (!history->complained)
        xvm_log(HA_SEV_WARNING,
                "%s cannot be written: %s; the history of fencing is kept in memory", history->path,
                strerror(e));
    history->complained = true;
}

static bool put_line(int fd, const json_t *entry)
{
    char *text = json_dumps(entry, JSON_COMPACT), *line = NULL;
    int n = text != NULL ? asprintf(&line, "%s\n", text) : -1;
    bool ok = n > 0 && write(fd, line, (size_t)n) == n;

    free(text);
    if (n > 0)
        free(line);
    return ok;
}

static void drop_old(struct xvm_history *history)
{
    while (json_array_size(history->list) > KEPT)
        json_array_remove(history->list, 0);
}

/* All or nothing. */
static int write_anew(struct xvm_history *history)
{
    char fresh[4096];
    const json_t *entry;
    size_t i;
    bool ok = true;
    int fd;

    snprintf(fresh, sizeof(fresh), "%s.new", history->path);
    fd = open(fresh, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_APPEND, 0600);
    if (fd < 0)
        return -errno;
    json_array_foreach(history->list, i, entry) ok = ok && put_line(fd, entry);
    if (!ok || rename(fresh, history->path) < 0) {
        close(fd);
        unlink(fresh);
        return -EIO;
    }
    if (history->fd >= 0)
        close(history->fd);
    history->fd = fd;
    history->lines = json_array_size(history->list);
    return 0;
}

static void read_file(struct xvm_history *history)
{
    FILE *f = fopen(history->path, "re");
    char line[LINE_MOST];

    while (f != NULL && fgets(line, sizeof(line), f) != NULL) {
        json_t *entry = json_loads(line, 0, NULL);

        if (json_is_string(json_object_get(entry, "text")))
            json_array_append(history->list, entry);
        json_decref(entry);
        drop_old(history);
    }
    if (f != NULL)
        fclose(f);
}

int xvm_history_open(const char *state_dir, struct xvm_history **ret_history)
{
    struct xvm_history *history = calloc(1, sizeof(*history));
    int r;

    if (history == NULL)
        return -ENOMEM;
    history->fd = -1;
    history->list = json_array();
    if (history->list == NULL || asprintf(&history->path, "%s/fence-history", state_dir) < 0) {
        history->path = NULL;
        xvm_history_free(history);
        return -ENOMEM;
    }
    read_file(history);
    r = write_anew(history);
    if (r < 0)
        complain(history, -r);
    *ret_history = history;
    return 0;
}

struct xvm_history *xvm_history_free(struct xvm_history *history)
{
    if (history == NULL)
        return NULL;
    if (history->fd >= 0)
        close(history->fd);
    json_decref(history->list);
    free(history->path);
    free(history);
    return NULL;
}

void xvm_history_add(struct xvm_history *history, enum ha_report what, enum ha_severity severity,
                     const char *host, const char *text)
{
    struct timespec now;
    char time[32];
    struct tm tm;
    json_t *entry;

    clock_gettime(CLOCK_REALTIME, &now);
    gmtime_r(&now.tv_sec, &tm);
    strftime(time, sizeof(time), "%Y-%m-%dT%H:%M:%SZ", &tm);
    entry = json_pack("{s:s, s:I, s:s, s:s, s:o, s:o}", "time", time, "usec",
                      (json_int_t)now.tv_sec * 1000000 + now.tv_nsec / 1000, "what",
                      ha_report_name(what), "severity", xvm_severity_name(severity), "host",
                      xvm_json_text(host ? host : ""), "text", xvm_json_text(text));
    if (entry == NULL)
        return;
    json_array_append(history->list, entry);
    drop_old(history);
    if (history->lines >= FILE_MOST && write_anew(history) < 0)
        complain(history, EIO);
    else if (history->fd >= 0 && !put_line(history->fd, entry))
        complain(history, errno);
    else
        history->lines++;
    json_decref(entry);
}

json_t *xvm_history_json(const struct xvm_history *history, const char *host, size_t n)
{
    json_t *list = json_array();
    size_t all = json_array_size(history->list), i = all;

    if (list == NULL)
        return NULL;
    while (i > 0 && json_array_size(list) < n) {
        json_t *entry = json_array_get(history->list, --i);
        const char *of = json_string_value(json_object_get(entry, "host"));

        if (host == NULL || host[0] == '\0' || (of != NULL && strcmp(of, host) == 0))
            json_array_insert(list, 0, entry);
    }
    return list;
}
