/* SPDX-License-Identifier: GPL-2.0-or-later */
/* An instance for the planner, read from JSON (see PLANS in xvmhactl(8) for the form). */
#ifndef XVM_CTL_PLAN_H
#define XVM_CTL_PLAN_H

#include <jansson.h>

#include "../libha/plan.h"
#include "ctl.h"

struct plan_file {
    struct ha_plan_instance in;
    json_t *root;                                   /* holds all the strings */
    json_t *host_index, *guest_index, *label_index; /* name -> number */
    /* what `in` points to */
    struct ha_plan_host *hosts;
    struct ha_plan_guest *guests;
    struct ha_plan_label *labels;
    struct ha_plan_rule *rules;
    size_t labels_size;
};

/* The same of what was read already; takes over `root` in any case. */
int plan_file_take(struct plan_file *file, json_t *root, char *error, size_t size);
/* Reads `path` ("-": standard input). 0, or a negative errno with a text that names the element in
 * `error`. Done with plan_file_done() in either case. */
int plan_file_read(struct plan_file *file, const char *path, char *error, size_t size);
void plan_file_done(struct plan_file *file);
/* The number of a host or guest; -1: none of that name. */
int plan_file_host(const struct plan_file *file, const char *name);
int plan_file_guest(const struct plan_file *file, const char *name);

/* The instance of the file that --file names, or of the live cluster. CTL_OK, or an exit code after
 * a complaint. To be plan_file_done() in any case. */
int ctl_plan_instance(const struct ctl *ctl, struct plan_file *file);
/* Say what is wrong, with --json as an object, too; return the exit code. `what`: host or guest. */
int ctl_plan_bad(const struct ctl *ctl, int code, const char *text);
int ctl_plan_unknown(const struct ctl *ctl, const char *what, const char *name);

#endif
