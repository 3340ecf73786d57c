/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A YAML file as a tree of nodes that know their line and column. Built with limits, so that no
 * input (deep, huge, binary, aliases of aliases) costs more than it is worth. */
#ifndef XVM_CONFIG_YAML_H
#define XVM_CONFIG_YAML_H

#include <stdbool.h>
#include <stddef.h>

struct xvm_loader;

enum xvm_node_kind {
    XVM_NODE_SCALAR = 1,
    XVM_NODE_LIST,
    XVM_NODE_MAP, /* items: key, value, key, value, … ; keys are scalars */
};

struct xvm_node {
    enum xvm_node_kind kind;
    unsigned line, column; /* from 1 */
    unsigned last_line;    /* where the last of it is; comments do not count */
    char *text;            /* scalar; without NUL inside */
    bool plain;            /* scalar without quotes */
    bool flow;             /* list or map in brackets or braces */
    bool open;             /* while it is being built: must not be aliased */
    struct xvm_node **items;
    size_t nitems, size;
};

struct xvm_tree {
    struct xvm_node **nodes; /* all of them; aliases share */
    size_t n, size;
    struct xvm_node *root; /* NULL: an empty file */
};

/* Parses the bytes of one document. Syntax errors and broken limits go to the loader's errors.
 * 0 or a negative errno; ret_tree is to be done in both cases. */
int xvm_tree_parse(struct xvm_loader *loader, const void *data, size_t len,
                   struct xvm_tree *ret_tree);
void xvm_tree_done(struct xvm_tree *tree);

/* "a map", "a list", "text" */
const char *xvm_node_kind_name(const struct xvm_node *node);
/* An empty value, `~` or `null`. */
bool xvm_node_null(const struct xvm_node *node);

#endif
