/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Owns the way of a log line to the journal's socket or the console, and the table of message ids.
 */
#include "log.h"

#include <errno.h>
#include <poll.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

enum { LINE_SIZE = 2048 };

static struct {
    enum xvm_log_target target;
    const char *ident;
    int socket;
} sink = {XVM_LOG_CONSOLE, "xvm-had", -1};

/* One id for each kind of report, for ever: `journalctl MESSAGE_ID=...`. Never reuse, never change.
 */
/* clang-format off */
static const char *const message_ids[HA_REPORT_COUNT] = {
    [HA_REPORT_VIEW] = "c400861306a24bc0aaf662677dea11e3",
    [HA_REPORT_OPEN] = "feaee61085d2421fa3d98af69c958081",
    [HA_REPORT_QUORUM] = "9eeab31c5fe1454989b885746144a2c0",
    [HA_REPORT_SYNC] = "8332d41c037347ebab125c810aad03b2",
    [HA_REPORT_HOST_IN] = "73ef2c4648864bd895908a216a2b0e0f",
    [HA_REPORT_HOST_LOST] = "c0f9208b1af540209899ba6db4ed0d0e",
    [HA_REPORT_HOST_FENCING] = "b94afdc1fc3d47e1bd3a0b9cbbad2801",
    [HA_REPORT_HOST_FENCE_FAIL] = "21d38930afb0452e9c0fb8c4be1caf36",
    [HA_REPORT_HOST_CONFIRMED] = "f426885bda56441faa02327e6415c1e2",
    [HA_REPORT_HOST_OUT] = "75cf53f01ae64bde8ff5993ef0ca8a56",
    [HA_REPORT_GUEST_REGISTER] = "b55dfdbb53b14fb4b8c9c1a5b7101992",
    [HA_REPORT_GUEST_WANT] = "ec3cc834dfbe4d7b9225d9f0db578b11",
    [HA_REPORT_GUEST_ASSIGN] = "936beb4f23bf4b4c96727d9eae89e800",
    [HA_REPORT_GUEST_RUNNING] = "64a819b3bfc345e3a471e010c90b2560",
    [HA_REPORT_GUEST_RELEASED] = "76437da79ca44829affe59ba97cddfcd",
    [HA_REPORT_GUEST_ADOPT] = "c1f9f62c5cd74f6f935b72eb5c1133b9",
    [HA_REPORT_GUEST_FAILED] = "a89059128a174bf2a266d9499ff98015",
    [HA_REPORT_GUEST_BLOCKED] = "8dcf3b282c71450dbc134065b3373469",
    [HA_REPORT_GUEST_ACT] = "e2c7b6123d8147faba1e42dcd1835f1e",
    [HA_REPORT_GUEST_EXIT] = "c21d26ac99bf40d9868be026c8b40191",
    [HA_REPORT_MIGRATE] = "9ee50e0b59194c82baff6364b0184de5",
    [HA_REPORT_COMMIT] = "b6eb2d67c3dd4a76b91a4cc8c4f1a101",
    [HA_REPORT_ABORT] = "7e0e765c4a1349efb828f10c48931453",
    [HA_REPORT_LEASE] = "91be38c398544fffa8abdd45c7c24c8e",
    [HA_REPORT_KEEPER] = "9e70c1ebd7164cbfbb248392fbb2ba5e",
    [HA_REPORT_JOURNAL] = "9772622b189848948faa9050d787db1a",
    [HA_REPORT_DRIFT] = "643f7d3b48b4428e8f766c4e1c49c5bc",
    [HA_REPORT_DISTRUST] = "4ac505a4c31141649b0c7612f923d5d5",
    [HA_REPORT_FOREIGN] = "b4124b81a3304750ad87d214484d60cd",
    [HA_REPORT_COMMAND] = "2c7f3538eb8f473794b81e5f8cc6d628",
    [HA_REPORT_QUARANTINE] = "73b7821314624ff487c31ae704cb58e6",
    [HA_REPORT_FENCE_HELD] = "24c391ec96d3444aa1f8fed0cb710cbf",
    [HA_REPORT_DEVICE] = "5fd6329f23bf4bd7b34b0953bf9e02c0",
    [HA_REPORT_SURVIVOR] = "0230168c87484f81a425e9978902a9a6",
    [HA_REPORT_GUEST_PREEMPT] = "8d6c8bad3dab4e58a0176657c5f4566f",
    [HA_REPORT_HOST_MAINT] = "f3c2f709c44542b9a12c9635888bb58f",
    [HA_REPORT_FREEZE] = "d7ad32e82eb34035879581c615681395",
};
/* clang-format on */

static const char *const report_names[HA_REPORT_COUNT] = {
#define X(name, text) [HA_REPORT_##name] = text,
    HA_REPORTS(X)
#undef X
};

/* In the order of enum ha_severity: the priority of syslog(3), and the word for the console. */
static const struct {
    int priority;
    const char *word;
} severities[] = {
    {7, "debug"}, {6, "info"}, {5, "notice"}, {4, "warning"}, {3, "error"}, {1, "ALERT"},
};

int xvm_log_target_parse(const char *text, enum xvm_log_target *ret_target)
{
    if (strcmp(text, "journal") == 0)
        *ret_target = XVM_LOG_JOURNAL;
    else if (strcmp(text, "console") == 0)
        *ret_target = XVM_LOG_CONSOLE;
    else
        return -EINVAL;
    return 0;
}

void xvm_log_open(enum xvm_log_target target, const char *ident)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX, .sun_path = "/run/systemd/journal/socket"};

    sink.ident = ident;
    sink.target = target;
    if (target != XVM_LOG_JOURNAL)
        return;
    sink.socket = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (sink.socket >= 0 &&
        connect(sink.socket, (const struct sockaddr *)&address, sizeof(address)) < 0) {
        close(sink.socket);
        sink.socket = -1;
    }
    if (sink.socket < 0)
        sink.target = XVM_LOG_CONSOLE; /* better than nowhere */
}

static void to_console(enum ha_severity severity, const char *text)
{
    struct pollfd writable = {.fd = STDERR_FILENO, .events = POLLOUT};
    char line[LINE_SIZE + 100];
    struct timespec now;
    struct tm tm;
    int n;

    clock_gettime(CLOCK_REALTIME, &now);
    localtime_r(&now.tv_sec, &tm);
    n = snprintf(line, sizeof(line), "%04d-%02d-%02d %02d:%02d:%02d.%03ld %s: %s: %s\n",
                 tm.tm_year + 1900, tm.tm_mon + 1, tm.tm_mday, tm.tm_hour, tm.tm_min, tm.tm_sec,
                 now.tv_nsec / 1000000, sink.ident, severities[severity].word, text);
    if (n >= (int)sizeof(line))
        n = (int)sizeof(line) - 1;
    if (poll(&writable, 1, 0) != 1 || write(STDERR_FILENO, line, (size_t)n) < 0)
        return; /* nobody reads: never wait for it */
}

/* Appends NAME=value; the native protocol ends a field at a newline, so there must be none in it.
 */
static void add_field(char *buffer, size_t size, size_t *at, const char *name, const char *value)
{
    int n;

    if (!value || !*value || *at >= size)
        return;
    n = snprintf(buffer + *at, size - *at, "%s=%s\n", name, value);
    if (n < 0 || (size_t)n >= size - *at)
        return;
    for (size_t i = *at; i < *at + (size_t)n - 1; i++) {
        if (buffer[i] == '\n')
            buffer[i] = ' ';
    }
    *at += (size_t)n;
}

static void emit(enum ha_severity severity, const char *text, const char *id, const char *report,
                 const char *host, const char *guest)
{
    char buffer[LINE_SIZE + 600], priority[4];
    size_t len = 0;

    if (sink.target == XVM_LOG_CONSOLE) {
        to_console(severity, text);
        return;
    }
    snprintf(priority, sizeof(priority), "%d", severities[severity].priority);
    add_field(buffer, sizeof(buffer), &len, "PRIORITY", priority);
    add_field(buffer, sizeof(buffer), &len, "SYSLOG_IDENTIFIER", sink.ident);
    add_field(buffer, sizeof(buffer), &len, "MESSAGE_ID", id);
    add_field(buffer, sizeof(buffer), &len, "XVM_REPORT", report);
    add_field(buffer, sizeof(buffer), &len, "XVM_HOST", host);
    add_field(buffer, sizeof(buffer), &len, "XVM_GUEST", guest);
    add_field(buffer, sizeof(buffer), &len, "MESSAGE", text);
    if (send(sink.socket, buffer, len, MSG_DONTWAIT | MSG_NOSIGNAL) < 0 && errno != EAGAIN)
        to_console(severity, text);
}

void xvm_log(enum ha_severity severity, const char *format, ...)
{
    char text[LINE_SIZE];
    va_list args;

    va_start(args, format);
    vsnprintf(text, sizeof(text), format, args);
    va_end(args);
    emit(severity, text, NULL, NULL, NULL, NULL);
}

void xvm_log_report(enum ha_report what, enum ha_severity severity, const char *host,
                    const char *guest, const char *text)
{
    char line[LINE_SIZE];

    if (sink.target == XVM_LOG_CONSOLE) {
        snprintf(line, sizeof(line), "%s%s%s%s%s: %s", report_names[what], host ? " " : "",
                 host ? host : "", guest && *guest ? " " : "", guest ? guest : "", text);
        to_console(severity, line);
        return;
    }
    emit(severity, text, message_ids[what], report_names[what], host, guest);
}
