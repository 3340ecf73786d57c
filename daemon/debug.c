/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Owns the list of names that are debugged. */
#include "debug.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "log.h"

enum { NAMES_MAX = 64, BEGUN_MAX = 128, LINE_MAX_BYTES = 1024 };

static struct {
    char names[NAMES_MAX][HA_NAME_MAX];
    size_t n;
    struct {
        char kind; /* 0: free */
        uint64_t id;
        char guest[HA_NAME_MAX];
    } begun[BEGUN_MAX]; /* the latest */
    size_t next;
} debugged;

static size_t find(const char *name)
{
    size_t i = 0;

    while (i < debugged.n && strcmp(debugged.names[i], name) != 0)
        i++;
    return i;
}

int xvm_debug_set(const char *name, bool on)
{
    size_t i = find(name);

    if (on && i < debugged.n)
        return 0;
    if (on && debugged.n == NAMES_MAX)
        return -ENOSPC;
    if (on)
        snprintf(debugged.names[debugged.n++], HA_NAME_MAX, "%s", name);
    else if (name[0] == '\0')
        debugged.n = 0; /* off is off: the host, and all guests */
    else if (i < debugged.n)
        memmove(debugged.names[i], debugged.names[i + 1],
                (--debugged.n - i) * sizeof(debugged.names[0]));
    return 0;
}

bool xvm_debug_on(const char *guest)
{
    return debugged.n > 0 &&
           (find("") < debugged.n || (guest != NULL && guest[0] && find(guest) < debugged.n));
}

void xvm_debug(const char *guest, const char *format, ...)
{
    char text[LINE_MAX_BYTES];
    va_list args;

    if (!xvm_debug_on(guest))
        return;
    va_start(args, format);
    vsnprintf(text, sizeof(text), format, args);
    va_end(args);
    xvm_log(HA_SEV_DEBUG, "%s%s%s", guest != NULL ? guest : "", guest != NULL ? ": " : "", text);
}

void xvm_debug_begun(char kind, uint64_t id, const char *guest)
{
    size_t i = debugged.next++ % BEGUN_MAX;

    debugged.begun[i].kind = kind;
    debugged.begun[i].id = id;
    snprintf(debugged.begun[i].guest, HA_NAME_MAX, "%s", guest);
}

const char *xvm_debug_whose(char kind, uint64_t id)
{
    for (size_t i = 0; i < BEGUN_MAX; i++)
        if (debugged.begun[i].kind == kind && debugged.begun[i].id == id)
            return debugged.begun[i].guest;
    return NULL;
}

const char *xvm_debug_name(size_t i)
{
    return i < debugged.n ? debugged.names[i] : NULL;
}
