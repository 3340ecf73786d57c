/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What the parts of the scenario runner share. A scenario is a folder with cluster.yaml, script and
 * expect; see README in this folder. */
#ifndef SCENARIO_RUNNER_H
#define SCENARIO_RUNNER_H

#include "tests/sim/make.h"

struct scenario {
    const char *dir;
    struct sim_run run;
    bool liveness; /* after the script everything is repaired, and must get well */
    char **log;    /* lines of the run, with their times */
    size_t nlog, sizelog;
    bool passed;
};

/* cluster.c: fills scenario->run.setup from cluster.yaml. 0, or -1 after a message on stderr. */
int scenario_load_cluster(struct scenario *s, const char *text);

/* expect.c: compares the world as it is at the script's end, and the log, with the file `expect`.
 * Prints what differs and returns how many lines of it were not met; -1: cannot read a line. */
int scenario_expect(const struct scenario *s, struct sim_world *w, const char *text);

/* rows.c: prints the rows of the state machines' tables that no scenario of this run has taken, and
 * returns how many. */
unsigned scenario_rows_missing(void);

/* A file's text, to be freed; NULL if it cannot be read. */
char *scenario_read(const char *dir, const char *name);

#endif
