/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The little language in which schedules are written: one op a line.
 *
 *   TIME VERB ARGS [for TIME]                        12s cut host1 for 10s
 *   TIME when "PATTERN" [xN] [+TIME] VERB ARGS ...   5s when "host2 op create g1 * begin" cut host2
 *   TIME end                                         60s end
 *
 * TIME is like 1500ms or 2.5s. PATTERN is a shell pattern for a line of the log (without its time);
 * the op is done when the N-th line after TIME matches. */
#ifndef SIM_SCRIPT_H
#define SIM_SCRIPT_H

#include "world.h"

/* Reads all lines; comments begin with '#'. 0, or -1 with a text in ret_error. *ret_end_ms is
 * touched only by an `end`. */
int sim_script_parse(const char *text, const struct ha_config *config, struct sim_plan *plan,
                     ha_ms *ret_end_ms, char *ret_error, size_t size);
/* -1: not a time. */
ha_ms sim_script_time(const char *word);

#endif
