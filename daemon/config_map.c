/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Maps of the configuration read by tables of fields, and the list of complaints that reading
 * leaves. */
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "config_internal.h"
#include "config_nearest.h"

enum {
    ERRORS_MAX = 100,          /* nobody reads more at once */
    WARNINGS_MAX = 40,         /* of these: warnings must not crowd out errors */
    VISITED_MAX = 1000 * 1000, /* items; a file without aliases cannot reach it */
};

/* ------------------------------------------------------------------------------ complaints */

static struct ha_error *error_add(struct xvm_loader *l)
{
    struct xvm_config_errors *errors = l->errors;
    struct ha_error *grown;

    if (errors->n >= ERRORS_MAX) {
        l->hidden++;
        return NULL;
    }
    grown = reallocarray(errors->v, errors->n + 1, sizeof(*grown));
    if (grown == NULL) {
        l->no_room = true;
        return NULL;
    }
    errors->v = grown;
    errors->v[errors->n] = (struct ha_error){.file = l->path};
    return &errors->v[errors->n++];
}

static void complain(struct xvm_loader *l, int code, unsigned line, unsigned column,
                     const char *format, va_list args)
{
    struct ha_error *error = error_add(l);

    if (error == NULL)
        return;
    error->code = code;
    error->line = line;
    error->column = column;
    vsnprintf(error->text, sizeof(error->text), format, args);
    /* Whatever the file held must not reach a terminal as control characters. */
    for (char *c = error->text; *c != '\0'; c++) {
        if ((unsigned char)*c < ' ' || *c == 0x7f)
            *c = '?';
    }
}

int xvm_config_fail(struct xvm_loader *l, unsigned line, unsigned column, const char *format, ...)
{
    va_list args;

    l->failed = true;
    va_start(args, format);
    complain(l, -EINVAL, line, column, format, args);
    va_end(args);
    return -EINVAL;
}

int xvm_config_fail_node(struct xvm_loader *l, const struct xvm_node *at, const char *format, ...)
{
    va_list args;

    l->failed = true;
    va_start(args, format);
    complain(l, -EINVAL, at->line, at->column, format, args);
    va_end(args);
    return -EINVAL;
}

void xvm_config_warn_node(struct xvm_loader *l, const struct xvm_node *at, const char *format, ...)
{
    va_list args;

    if (l->warnings++ >= WARNINGS_MAX)
        return;
    va_start(args, format);
    complain(l, 0, at->line, at->column, format, args);
    va_end(args);
}

int xvm_config_no_room(struct xvm_loader *l)
{
    l->no_room = true;
    return -ENOMEM;
}

/* ------------------------------------------------------------------------------------ maps */

static int by_text_then_place(const void *a, const void *b)
{
    const struct xvm_node *na = *(struct xvm_node *const *)a, *nb = *(struct xvm_node *const *)b;
    int r = strcmp(na->text, nb->text);

    if (r != 0)
        return r;
    if (na->line != nb->line)
        return na->line < nb->line ? -1 : 1;
    return na->column < nb->column ? -1 : na->column > nb->column;
}

static void check_duplicates(struct xvm_loader *l, const struct xvm_node *map)
{
    size_t n = map->nitems / 2;
    const struct xvm_node **keys;

    if (n < 2)
        return;
    keys = calloc(n, sizeof(*keys));
    if (keys == NULL) {
        xvm_config_no_room(l);
        return;
    }
    for (size_t i = 0; i < n; i++)
        keys[i] = map->items[2 * i];
    qsort(keys, n, sizeof(*keys), by_text_then_place);
    for (size_t i = 1; i < n; i++) {
        if (strcmp(keys[i - 1]->text, keys[i]->text) == 0)
            xvm_config_fail_node(l, keys[i],
                                 "`%.80s` a second time, expected once (it is on "
                                 "line %u already)",
                                 keys[i]->text, keys[i - 1]->line);
    }
    free(keys);
}

static int visit(struct xvm_loader *l, const struct xvm_node *node)
{
    l->visited += node->nitems;
    if (l->visited <= VISITED_MAX)
        return 0;
    return xvm_config_fail_node(l, node, "aliases repeat too much, expected fewer than %d values",
                                VISITED_MAX);
}

int xvm_check_map(struct xvm_loader *l, const struct xvm_node *node, const char *what)
{
    if (xvm_node_null(node))
        return 0;
    if (node->kind != XVM_NODE_MAP)
        return xvm_config_fail_node(l, node, "%s is %s, expected a map (`key: value`)", what,
                                    xvm_node_kind_name(node));
    if (visit(l, node) < 0)
        return -EINVAL;
    check_duplicates(l, node);
    return 0;
}

int xvm_check_list(struct xvm_loader *l, const struct xvm_node *node, const char *what)
{
    if (node->kind != XVM_NODE_LIST)
        return xvm_config_fail_node(l, node, "%s is %s, expected a list (`[a, b]`)", what,
                                    xvm_node_kind_name(node));
    return visit(l, node);
}

static const struct xvm_field *find_field(const struct xvm_field *fields, size_t nfields,
                                          const char *key)
{
    for (size_t i = 0; i < nfields; i++) {
        if (strcmp(fields[i].key, key) == 0)
            return &fields[i];
    }
    return NULL;
}

static int unknown_key(struct xvm_loader *l, const struct xvm_node *key, const char *what,
                       const struct xvm_field *fields, size_t nfields)
{
    struct xvm_nearest nearest = {.wanted = key->text};
    char known[HA_TEXT_MAX] = "";
    size_t n = 0;

    if (l->hidden > 0) /* nobody will read it: spare the search for a suggestion */
        return xvm_config_fail_node(l, key, "unknown key");
    if (strcmp(key->text, "<<") == 0)
        return xvm_config_fail_node(l, key,
                                    "merge key `<<` in %s, expected plain keys (aliases "
                                    "are fine, and `guest_defaults` for guests)",
                                    what);
    for (size_t i = 0; i < nfields; i++)
        xvm_nearest_try(&nearest, fields[i].key);
    if (nearest.best != NULL)
        return xvm_config_fail_node(l, key, "unknown key `%.80s` in %s, expected `%s`?", key->text,
                                    what, nearest.best);
    for (size_t i = 0; i < nfields && n < sizeof(known); i++) {
        int len = snprintf(known + n, sizeof(known) - n, "%s%s", i > 0 ? ", " : "", fields[i].key);

        n += (size_t)len;
    }
    return xvm_config_fail_node(l, key, "unknown key `%.80s` in %s, expected one of: %s", key->text,
                                what, known);
}

static bool has_key(const struct xvm_node *map, const char *key)
{
    for (size_t i = 0; i + 1 < map->nitems; i += 2) {
        if (strcmp(map->items[i]->text, key) == 0)
            return true;
    }
    return false;
}

int xvm_read_map(struct xvm_loader *l, const struct xvm_node *node, const char *what,
                 const struct xvm_field *fields, size_t nfields, void *target)
{
    int r = xvm_check_map(l, node, what), s;

    if (r < 0)
        return r;
    for (size_t i = 0; i + 1 < node->nitems; i += 2) {
        const struct xvm_node *key = node->items[i];
        const struct xvm_field *f = find_field(fields, nfields, key->text);

        if (f == NULL)
            s = unknown_key(l, key, what, fields, nfields);
        else
            s = f->read(l, f, node->items[i + 1], (char *)target + f->offset);
        if (s < 0)
            r = s;
    }
    for (size_t i = 0; i < nfields; i++) {
        if (fields[i].required && !has_key(node, fields[i].key))
            r = xvm_config_fail_node(l, node, "%s has no `%s`, expected one", what, fields[i].key);
    }
    return r;
}
