/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The highest incarnation of each guest that this host created in this boot, kept in the run
 * folder. */
#ifndef XVM_MARKS_H
#define XVM_MARKS_H

#include "../libha/ha.h"

struct xvm_marks {
    int fd;
    char *path;
    char *boot; /* first line of the file; a file of another boot says nothing */
    struct ha_mark *v;
    size_t n, size;
    size_t lines; /* in the file */
};

/* Reads RUN_DIR/marks. 0 or a negative errno. */
int xvm_marks_open(struct xvm_marks *marks, const char *run_dir, const struct ha_uuid *boot);
/* In the file when it returns. 0 or a negative errno: then nothing may be created. */
int xvm_marks_set(struct xvm_marks *marks, const struct ha_mark *mark);

#endif
