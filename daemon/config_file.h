/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The configuration file as bytes: read, and replaced durably and in one instant. */
#ifndef XVM_CONFIG_FILE_H
#define XVM_CONFIG_FILE_H

#include <stddef.h>
#include <stdint.h>

/* All of the file, malloc'd, with a NUL behind it. 0, -EFBIG, or another negative errno. */
int xvm_config_file_read(const char *path, char **ret_text, size_t *ret_len);
/* Writes a file for `path` (links followed) beside it, PATH.new, with its permissions, owner and
 * attributes. 0 and *ret_temp (malloc'd), or a negative errno. */
int xvm_config_file_prepare(const char *path, const void *bytes, size_t len, char **ret_temp);
/* The prepared one takes its place; what was there is kept as PATH.before. -ESTALE: what is there
 * has not that hash (xvm_config_hash) any more, and stays; or another negative errno. */
int xvm_config_file_commit(const char *path, const char *temp, uint64_t hash);

#endif
