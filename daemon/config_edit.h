/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Changes the text of a configuration file: a guest in, a guest out; all else stays as it is,
 * byte for byte. Each result is read again and compared, value by value, with what it should say: a
 * file that is written in a way that this does not understand is refused, never damaged. */
#ifndef XVM_CONFIG_EDIT_H
#define XVM_CONFIG_EDIT_H

#include <stddef.h>

#include "../libha/types.h"

struct xvm_edit {
    char *text; /* malloc'd, with a NUL behind it */
    size_t len;
    unsigned first, n;        /* ADD: the lines of `text` that came from the fragment, from 1 */
    unsigned from;            /* and the fragment's line that became the first of them */
    char guest[HA_NAME_MAX];  /* the (first) one that is added, removed, exported */
    size_t nguests;
};

void xvm_edit_done(struct xvm_edit *edit);

/* Each: 0 and *ret_edit, or -EINVAL, -EEXIST, -ENOENT or -ENOMEM with a sentence in ret_error; line
 * and column, if not 0, are those of the text that cannot be read, and ret_error->code is 1 if that
 * is the fragment. */

/* Puts the guests of a fragment (`name: {...}` of one or more guests, or the same under `guests:`)
 * behind the others. */
int xvm_edit_add(const char *file, size_t len, const char *fragment, size_t fragment_len,
                 struct xvm_edit *ret_edit, struct ha_error *ret_error);
/* Cuts a guest out, with the comment lines right above it that are indented as its name is. */
int xvm_edit_remove(const char *file, size_t len, const char *guest, struct xvm_edit *ret_edit,
                    struct ha_error *ret_error);
/* The same lines as a fragment. */
int xvm_edit_export(const char *file, size_t len, const char *guest, struct xvm_edit *ret_edit,
                    struct ha_error *ret_error);

#endif
