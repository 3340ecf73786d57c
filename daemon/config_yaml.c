/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Turns libyaml's events into a tree of nodes with marks, within limits. */
#include "config_yaml.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <yaml.h>

#include "config_internal.h"

enum {
    DEPTH_MAX = 16,
    NODES_MAX = 500 * 1000,
    ANCHORS_MAX = 256,
    ANCHOR_NAME_MAX = 64,
};

struct anchor {
    char name[ANCHOR_NAME_MAX];
    struct xvm_node *node;
};

struct builder {
    struct xvm_loader *loader;
    struct xvm_tree *tree;
    struct xvm_node *stack[DEPTH_MAX];
    size_t depth;
    struct anchor anchors[ANCHORS_MAX];
    size_t nanchors;
    bool document, ended;
};

static int fail_at(struct builder *b, yaml_mark_t mark, const char *what)
{
    return xvm_config_fail(b->loader, (unsigned)mark.line + 1, (unsigned)mark.column + 1, "%s",
                           what);
}

/* ---------------------------------------------------------------------------------- memory */

static int grow(struct xvm_node ***v, size_t n, size_t *size)
{
    struct xvm_node **grown;
    size_t wanted = *size == 0 ? 4 : *size * 2;

    if (n < *size)
        return 0;
    grown = reallocarray(*v, wanted, sizeof(struct xvm_node *));
    if (grown == NULL)
        return -ENOMEM;
    *v = grown;
    *size = wanted;
    return 0;
}

static int node_new(struct builder *b, enum xvm_node_kind kind, yaml_mark_t mark,
                    struct xvm_node **ret_node)
{
    struct xvm_tree *tree = b->tree;
    struct xvm_node *node;

    if (tree->n >= NODES_MAX)
        return fail_at(b, mark, "too many values, expected at most 500000");
    if (grow(&tree->nodes, tree->n, &tree->size) < 0)
        return -ENOMEM;
    node = calloc(1, sizeof(*node));
    if (node == NULL)
        return -ENOMEM;
    node->kind = kind;
    node->line = (unsigned)mark.line + 1;
    node->column = (unsigned)mark.column + 1;
    node->last_line = node->line;
    tree->nodes[tree->n++] = node;
    *ret_node = node;
    return 0;
}

void xvm_tree_done(struct xvm_tree *tree)
{
    for (size_t i = 0; i < tree->n; i++) {
        free(tree->nodes[i]->text);
        free(tree->nodes[i]->items);
        free(tree->nodes[i]);
    }
    free(tree->nodes);
    *tree = (struct xvm_tree){0};
}

/* -------------------------------------------------------------------------------- building */

static void reach(struct xvm_node *node, unsigned line)
{
    node->last_line = line > node->last_line ? line : node->last_line;
}

/* The line of the last character before an end mark. */
static unsigned line_before(const yaml_event_t *event)
{
    yaml_mark_t start = event->start_mark, end = event->end_mark;

    return (unsigned)(end.column == 0 && end.line > start.line ? end.line : end.line + 1);
}

/* Puts a complete or opening node where the text has it: into its list or map, or as the root. */
static int attach(struct builder *b, struct xvm_node *node, yaml_mark_t mark)
{
    struct xvm_node *in;

    if (b->depth == 0) {
        b->tree->root = node;
        return 0;
    }
    in = b->stack[b->depth - 1];
    reach(in, (unsigned)mark.line + 1); /* of an alias; the node may be far above */
    if (node->line > mark.line)
        reach(in, node->last_line);
    if (in->kind == XVM_NODE_MAP && in->nitems % 2 == 0 && node->kind != XVM_NODE_SCALAR)
        return fail_at(b, mark, "a list or map as a key, expected a name");
    if (grow(&in->items, in->nitems, &in->size) < 0)
        return -ENOMEM;
    in->items[in->nitems++] = node;
    return 0;
}

static int remember_anchor(struct builder *b, const yaml_char_t *name, struct xvm_node *node,
                           yaml_mark_t mark)
{
    const char *text = (const char *)name;

    if (text == NULL)
        return 0;
    if (strlen(text) >= ANCHOR_NAME_MAX)
        return fail_at(b, mark, "name of an anchor (&name) too long, expected at most 63 bytes");
    for (size_t i = 0; i < b->nanchors; i++) {
        if (strcmp(b->anchors[i].name, text) == 0) {
            b->anchors[i].node = node;
            return 0;
        }
    }
    if (b->nanchors == ANCHORS_MAX)
        return fail_at(b, mark, "too many anchors (&name), expected at most 256");
    strcpy(b->anchors[b->nanchors].name, text);
    b->anchors[b->nanchors++].node = node;
    return 0;
}

static int on_alias(struct builder *b, const yaml_event_t *event)
{
    const char *name = (const char *)event->data.alias.anchor;

    for (size_t i = 0; i < b->nanchors; i++) {
        if (strcmp(b->anchors[i].name, name) != 0)
            continue;
        if (b->anchors[i].node->open)
            return fail_at(b, event->start_mark, "an alias (*name) to what it is a part of");
        return attach(b, b->anchors[i].node, event->start_mark);
    }
    return xvm_config_fail(b->loader, (unsigned)event->start_mark.line + 1,
                           (unsigned)event->start_mark.column + 1,
                           "alias *%.40s, expected an anchor &%.40s before it", name, name);
}

static int on_scalar(struct builder *b, const yaml_event_t *event)
{
    const char *value = (const char *)event->data.scalar.value;
    size_t len = event->data.scalar.length;
    struct xvm_node *node;
    int r;

    if (memchr(value, '\0', len) != NULL)
        return fail_at(b, event->start_mark, "a NUL character, expected text");
    r = node_new(b, XVM_NODE_SCALAR, event->start_mark, &node);
    if (r < 0)
        return r;
    /* clang-tidy does not see that r < 0 whenever a complaint was made. */
    node->plain = /* NOLINT(clang-analyzer-core.NullDereference) */
        event->data.scalar.style == YAML_PLAIN_SCALAR_STYLE;
    node->last_line = line_before(event);
    node->text = strndup(value, len);
    if (node->text == NULL)
        return -ENOMEM;
    r = remember_anchor(b, event->data.scalar.anchor, node, event->start_mark);
    return r < 0 ? r : attach(b, node, event->start_mark);
}

static int on_open(struct builder *b, enum xvm_node_kind kind, const yaml_char_t *anchor,
                   yaml_mark_t mark, bool flow)
{
    struct xvm_node *node;
    int r;

    if (b->depth == DEPTH_MAX)
        return fail_at(b, mark, "nested too deeply, expected at most 16 levels");
    r = node_new(b, kind, mark, &node);
    if (r < 0)
        return r;
    node->open = true; /* NOLINT(clang-analyzer-core.NullDereference) */
    node->flow = flow;
    r = remember_anchor(b, anchor, node, mark);
    if (r == 0)
        r = attach(b, node, mark);
    if (r == 0)
        b->stack[b->depth++] = node;
    return r;
}

static void on_close(struct builder *b, const yaml_event_t *event)
{
    struct xvm_node *node = b->depth > 0 ? b->stack[--b->depth] : NULL;
    struct xvm_node *in = b->depth > 0 ? b->stack[b->depth - 1] : NULL;

    if (node == NULL)
        return; /* libyaml has an opening event for each closing one */
    node->open = false;
    if (node->flow)
        reach(node, line_before(event));
    if (in != NULL)
        reach(in, node->last_line);
}

static int on_event(struct builder *b, const yaml_event_t *event)
{
    switch (event->type) {
    case YAML_DOCUMENT_START_EVENT:
        if (b->document)
            return fail_at(b, event->start_mark, "a second document (---), expected one");
        b->document = true;
        return 0;
    case YAML_ALIAS_EVENT:
        return on_alias(b, event);
    case YAML_SCALAR_EVENT:
        return on_scalar(b, event);
    case YAML_SEQUENCE_START_EVENT:
        return on_open(b, XVM_NODE_LIST, event->data.sequence_start.anchor, event->start_mark,
                       event->data.sequence_start.style == YAML_FLOW_SEQUENCE_STYLE);
    case YAML_MAPPING_START_EVENT:
        return on_open(b, XVM_NODE_MAP, event->data.mapping_start.anchor, event->start_mark,
                       event->data.mapping_start.style == YAML_FLOW_MAPPING_STYLE);
    case YAML_SEQUENCE_END_EVENT:
    case YAML_MAPPING_END_EVENT:
        on_close(b, event);
        return 0;
    case YAML_STREAM_END_EVENT:
        b->ended = true;
        return 0;
    case YAML_NO_EVENT:
    case YAML_STREAM_START_EVENT:
    case YAML_DOCUMENT_END_EVENT:
        return 0;
    }
    return 0;
}

/* What libyaml found wrong, in words that help: tabs are the usual reason. */
static int on_syntax_error(struct builder *b, const yaml_parser_t *parser, const char *data,
                           size_t len)
{
    yaml_mark_t mark = parser->problem_mark;
    const char *problem = parser->problem != NULL ? parser->problem : "unreadable";
    const char *hint = "";

    if (parser->error == YAML_MEMORY_ERROR)
        return -ENOMEM;
    if (parser->error == YAML_READER_ERROR) {
        for (size_t i = 0; i < parser->problem_offset && i < len; i++) {
            mark.line += data[i] == '\n';
            mark.column = data[i] == '\n' ? 0 : mark.column + 1;
        }
        hint = ", expected text in UTF-8";
    } else if (mark.index < len && data[mark.index] == '\t') {
        hint = ": a tab, expected spaces";
    }
    return xvm_config_fail(b->loader, (unsigned)mark.line + 1, (unsigned)mark.column + 1,
                           "%s%s%s%s", problem, parser->context != NULL ? " " : "",
                           parser->context != NULL ? parser->context : "", hint);
}

int xvm_tree_parse(struct xvm_loader *loader, const void *data, size_t len,
                   struct xvm_tree *ret_tree)
{
    struct builder *b = calloc(1, sizeof(*b));
    yaml_parser_t parser;
    yaml_event_t event;
    int r = 0;

    *ret_tree = (struct xvm_tree){0};
    if (b == NULL)
        return -ENOMEM;
    if (!yaml_parser_initialize(&parser)) {
        free(b);
        return -ENOMEM;
    }
    b->loader = loader;
    b->tree = ret_tree;
    yaml_parser_set_input_string(&parser, data, len);
    while (r == 0 && !b->ended) {
        if (!yaml_parser_parse(&parser, &event)) {
            r = on_syntax_error(b, &parser, data, len);
            break;
        }
        r = on_event(b, &event);
        yaml_event_delete(&event);
    }
    yaml_parser_delete(&parser);
    free(b);
    return r;
}

const char *xvm_node_kind_name(const struct xvm_node *node)
{
    switch (node->kind) {
    case XVM_NODE_SCALAR:
        return xvm_node_null(node) ? "nothing" : "text";
    case XVM_NODE_LIST:
        return "a list";
    case XVM_NODE_MAP:
        return "a map";
    }
    return "nothing";
}

bool xvm_node_null(const struct xvm_node *node)
{
    return node->kind == XVM_NODE_SCALAR && node->plain &&
           (node->text[0] == '\0' || strcmp(node->text, "~") == 0 ||
            strcmp(node->text, "null") == 0);
}
