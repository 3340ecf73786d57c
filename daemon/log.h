/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Log lines of the programs: to the journal, with a fixed MESSAGE_ID for each kind of report, or to
 * the console. Never waits for a reader: a line that cannot be written at once is dropped. */
#ifndef XVM_LOG_H
#define XVM_LOG_H

#include "../libha/ha.h"

enum xvm_log_target {
    XVM_LOG_JOURNAL,
    XVM_LOG_CONSOLE,
};

/* "journal" or "console"; -EINVAL otherwise. */
int xvm_log_target_parse(const char *text, enum xvm_log_target *ret_target);
/* Until it is called, lines go to the console. ident is borrowed for good. */
void xvm_log_open(enum xvm_log_target target, const char *ident);
void xvm_log(enum ha_severity severity, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
/* A report of the core. host and guest may be NULL. */
void xvm_log_report(enum ha_report what, enum ha_severity severity, const char *host,
                    const char *guest, const char *text);

#endif
