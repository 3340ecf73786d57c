/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A YAML map in braces as lines of `key: value`: the same text, piece by piece. */
#ifndef XVM_CONFIG_BRACES_H
#define XVM_CONFIG_BRACES_H

#include <stddef.h>
#include <stdio.h>

/* Writes the map whose `{` is text[from], one item a line, indented by `indent`. What goes on over
 * several lines keeps them, indented deeper than it was. Returns the place behind its `}`, or 0 if
 * that cannot be done: no end, or a comment between two items, which would get lost. Knows of YAML
 * what is needed to find the commas, no more: the caller reads the result and compares. */
size_t xvm_braces_open(FILE *to, const char *text, size_t len, size_t from, unsigned indent);

#endif
