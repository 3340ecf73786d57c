/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A service with mistakes in its configuration. */
#ifndef XVM_CONFIG_WAIT_H
#define XVM_CONFIG_WAIT_H

#include <stdbool.h>

/* Started again each second it would read the same mistakes again: it waits (blocking) until the
 * file changes, or SIGHUP comes, for a minute at most: what the file names may change, too.
 * False: SIGTERM came, or it was started by hand, and whoever did that wants to see the mistakes
 * now. */
bool xvm_config_wait(const char *path);

/* For what blocks the loop for longer than the unit's WatchdogSec: from now on systemd is patient for
 * so many seconds; 0: as its unit says. Nothing if it does not watch this process. */
void xvm_watchdog_limit(unsigned seconds);

#endif
