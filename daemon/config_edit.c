/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The text is edited by lines; the tree that the loader makes of it says which. */
#include "config_edit.h"

#include <assert.h>
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "config_braces.h"
#include "config_internal.h"

enum { COMPARE_MOST = 1000 * 1000 }; /* aliases of aliases must not multiply work */

void xvm_edit_done(struct xvm_edit *edit)
{
    free(edit->text);
    *edit = (struct xvm_edit){0};
}

static int refuse(struct ha_error *error, int code, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

static int refuse(struct ha_error *error, int code, const char *format, ...)
{
    va_list args;

    *error = (struct ha_error){.code = code};
    va_start(args, format);
    vsnprintf(error->text, sizeof(error->text), format, args);
    va_end(args);
    return code;
}

/* ---------------------------------------------------------------------------------- the text */

/* A text, its lines, and its tree. */
struct doc {
    const char *text;
    size_t len;
    size_t *at; /* of each line's first byte, and behind the last one; line n is at[n - 1] */
    unsigned nlines;
    struct xvm_tree tree;
    char *own; /* `text`, where it is another one than the file's */
};

static void doc_done(struct doc *doc)
{
    free(doc->at);
    xvm_tree_done(&doc->tree);
    free(doc->own);
}

static int find_lines(struct doc *doc)
{
    unsigned n = 0;

    for (size_t i = 0; i < doc->len; i++)
        n += doc->text[i] == '\n' || i + 1 == doc->len;
    doc->at = calloc((size_t)n + 2, sizeof(*doc->at));
    if (doc->at == NULL)
        return -ENOMEM;
    for (size_t i = 0; i < doc->len; i++)
        if (doc->text[i] == '\n' || i + 1 == doc->len)
            doc->at[++doc->nlines] = i + 1;
    return 0;
}

/* 0, or -EINVAL or -ENOMEM. `doc` is to be done in each case. */
static int doc_read(struct doc *doc, const char *text, size_t len, struct ha_error *ret_error)
{
    struct xvm_config_errors errors = {0};
    struct xvm_loader loader = {.errors = &errors, .path = strdup("")};
    int r = -ENOMEM;

    *doc = (struct doc){.text = text, .len = len};
    if (loader.path != NULL && find_lines(doc) == 0)
        r = xvm_tree_parse(&loader, text, len, &doc->tree);
    if (r < 0 && errors.n > 0) {
        *ret_error = errors.v[0];
        ret_error->file = NULL;
        ret_error->code = r;
    } else if (r < 0) {
        r = refuse(ret_error, r, "%s", strerror(-r));
    }
    if (errors.n == 0)
        free(loader.path);
    xvm_config_errors_done(&errors);
    return r < 0 ? r : doc->at != NULL ? 0 : -ENOMEM;
}

static const char *line_of(const struct doc *doc, unsigned line)
{
    return doc->text + doc->at[line - 1];
}

static size_t line_len(const struct doc *doc, unsigned line)
{
    return doc->at[line] - doc->at[line - 1];
}

/* Leading spaces. */
static unsigned indent_of(const struct doc *doc, unsigned line)
{
    unsigned n = 0;

    while (n < line_len(doc, line) && line_of(doc, line)[n] == ' ')
        n++;
    return n;
}

/* The first byte that is no white space; '\0': there is none. */
static char first_of(const struct doc *doc, unsigned line)
{
    const char *p = line_of(doc, line);
    size_t n = line_len(doc, line);

    while (n > 0 && (*p == ' ' || *p == '\t' || *p == '\r' || *p == '\n')) {
        p++;
        n--;
    }
    return n > 0 ? *p : '\0';
}

/* The lines of one key and its value: comments right above it, and those below that are indented
 * more. */
struct region {
    unsigned first, key, last, indent;
};

static struct region region_of(const struct doc *doc, const struct xvm_node *key,
                               const struct xvm_node *value)
{
    struct region r = {.key = key->line, .indent = key->column - 1};

    r.last =
        value->line >= key->line && value->last_line > key->line ? value->last_line : key->line;
    r.first = key->line;
    while (r.first > 1 && first_of(doc, r.first - 1) == '#' &&
           indent_of(doc, r.first - 1) == r.indent && r.indent > 0)
        r.first--;
    for (unsigned i = r.last + 1; i <= doc->nlines; i++) {
        if (first_of(doc, i) == '\0')
            continue;
        if (indent_of(doc, i) <= r.indent)
            break;
        r.last = i;
    }
    return r;
}

/* ---------------------------------------------------------------------------------- the tree */

static bool same(const struct xvm_node *a, const struct xvm_node *b, unsigned *budget)
{
    if (*budget == 0 || a->kind != b->kind || a->nitems != b->nitems)
        return false;
    --*budget;
    if (a->kind == XVM_NODE_SCALAR)
        return a->plain == b->plain && strcmp(a->text, b->text) == 0;
    for (size_t i = 0; i < a->nitems; i++)
        if (!same(a->items[i], b->items[i], budget))
            return false;
    return true;
}

/* Place of a key among a map's items, or the number of them. */
static size_t find_key(const struct xvm_node *map, const char *key)
{
    size_t i = 0;

    while (map != NULL && i + 1 < map->nitems && strcmp(map->items[i]->text, key) != 0)
        i += 2;
    return i;
}

static const struct xvm_node *value_of(const struct xvm_node *map, const char *key)
{
    size_t i = find_key(map, key);

    return map != NULL && i + 1 < map->nitems ? map->items[i + 1] : NULL;
}

/* The section; NULL: there is none, or nothing in it. */
static const struct xvm_node *guests_of(const struct doc *doc)
{
    const struct xvm_node *guests = value_of(doc->tree.root, "guests");

    return guests != NULL && guests->kind == XVM_NODE_MAP ? guests : NULL;
}

/* All but the guests is the same, and the guests are those of `before` without one (NULL: with
 * all), then those of `more` (NULL: none). */
static bool is_right(const struct doc *before, const char *without, const struct xvm_node *more,
                     const struct doc *after)
{
    const struct xvm_node *old = before->tree.root, *new = after->tree.root;
    const struct xvm_node *from = guests_of(before), *to = guests_of(after);
    unsigned budget = COMPARE_MOST;
    size_t k = 0;

    if (new == NULL || new->kind != XVM_NODE_MAP)
        return false;
    for (size_t i = 0; i < old->nitems; i += 2)
        if (strcmp(old->items[i]->text, "guests") != 0 &&
            (value_of(new, old->items[i]->text) == NULL ||
             !same(old->items[i + 1], value_of(new, old->items[i]->text), &budget)))
            return false;
    if (new->nitems != old->nitems + (find_key(old, "guests") == old->nitems ? 2 : 0))
        return false;
    for (size_t i = 0; from != NULL && i + 1 < from->nitems; i += 2) {
        if (without != NULL && strcmp(from->items[i]->text, without) == 0)
            continue;
        if (to == NULL || k + 1 >= to->nitems || !same(from->items[i], to->items[k], &budget) ||
            !same(from->items[i + 1], to->items[k + 1], &budget))
            return false;
        k += 2;
    }
    for (size_t i = 0; more != NULL && i + 1 < more->nitems; i += 2, k += 2)
        if (to == NULL || k + 1 >= to->nitems || !same(more->items[i], to->items[k], &budget) ||
            !same(more->items[i + 1], to->items[k + 1], &budget))
            return false;
    return k == (to != NULL ? to->nitems : 0);
}

static int take(FILE *to, struct xvm_edit *edit, struct ha_error *ret_error)
{
    bool bad = ferror(to) != 0;

    if (fclose(to) != 0 || bad || edit->text == NULL)
        return refuse(ret_error, -ENOMEM, "out of memory");
    return 0;
}

/* The text with guests that are in braces on lines of their own; false: they cannot be. */
static bool put_opened(FILE *to, const struct doc *doc, const struct xvm_node *guests)
{
    const struct xvm_node *root = doc->tree.root,
                          *key = root->items[find_key(root, "guests")];
    size_t from = doc->at[guests->line - 1] + guests->column - 1, head = from, end, tail;
    char *lines = NULL;
    size_t nlines = 0;
    FILE *items = open_memstream(&lines, &nlines);

    if (items == NULL)
        return false;
    end = xvm_braces_open(items, doc->text, doc->len, from, root->column - 1 + 2);
    fclose(items);
    while (head > 0 && strchr(" \t\r\n", doc->text[head - 1]) != NULL)
        head--;
    if (end == 0 || head <= doc->at[key->line - 1] || doc->text[head - 1] != ':') {
        free(lines);
        return false; /* a comment between, an anchor, ... */
    }
    for (tail = end; tail < doc->len && doc->text[tail] != '\n';)
        tail++;
    fwrite(doc->text, 1, head, to);
    fwrite(doc->text + end, 1, tail - end, to); /* a comment behind */
    fputc('\n', to);
    fwrite(lines, 1, nlines, to);
    tail += tail < doc->len;
    fwrite(doc->text + tail, 1, doc->len - tail, to);
    free(lines);
    return true;
}

/* The same file with the guests on lines of their own, in place of `doc`. */
static int open_braces(struct doc *doc, struct ha_error *ret_error)
{
    struct xvm_edit edit = {0};
    struct doc opened = {0};
    FILE *to = open_memstream(&edit.text, &edit.len);
    bool good = to != NULL && put_opened(to, doc, guests_of(doc));
    int r = to != NULL ? take(to, &edit, ret_error) : -ENOMEM;

    good = good && r == 0 && doc_read(&opened, edit.text, edit.len, ret_error) == 0 &&
           is_right(doc, NULL, NULL, &opened);
    if (!good) {
        doc_done(&opened);
        free(edit.text);
        return refuse(ret_error, -EINVAL,
                      "`guests` is written in braces, in a way that cannot be edited by command: "
                      "write each guest on a line of its own below `guests:`, as in `  web1: "
                      "{memory: 2G}`, and repeat");
    }
    doc_done(doc);
    *doc = opened;
    doc->own = edit.text;
    return 0;
}

/* A file with a map in it, whose guests are written in a way that can be edited. */
static int read_file(struct doc *doc, const char *text, size_t len, struct ha_error *ret_error)
{
    const struct xvm_node *root, *guests;
    int r = doc_read(doc, text, len, ret_error);

    if (r < 0)
        return r;
    root = doc->tree.root;
    guests = guests_of(doc);
    if (root == NULL || root->kind != XVM_NODE_MAP || root->flow)
        return refuse(ret_error, -EINVAL,
                      "the configuration is not written as `key: value` lines: "
                      "edit it by hand, then `xvmhactl reload`");
    return guests != NULL && guests->flow && guests->nitems > 0 ? open_braces(doc, ret_error) : 0;
}

/* ------------------------------------------------------------------------------------ writing */

static void put_lines(FILE *to, const struct doc *doc, unsigned first, unsigned last)
{
    if (first <= last && last <= doc->nlines)
        fwrite(line_of(doc, first), 1, doc->at[last] - doc->at[first - 1], to);
}

/* Moves lines to the right, or to the left as far as there are spaces. */
static void put_shifted(FILE *to, const struct doc *doc, unsigned first, unsigned last, int shift)
{
    for (unsigned i = first; i <= last; i++) {
        size_t skip = shift < 0 ? (size_t)-shift : 0, len = line_len(doc, i);

        if (skip > indent_of(doc, i))
            skip = indent_of(doc, i);
        if (shift > 0 && first_of(doc, i) != '\0')
            fprintf(to, "%*s", shift, "");
        fwrite(line_of(doc, i) + skip, 1, len - skip, to);
        if (len == 0 || line_of(doc, i)[len - 1] != '\n')
            fputc('\n', to);
    }
}

/* Reads what was written, and compares. Frees `edit` if it is not right. */
static int check(const struct doc *before, const char *without, const struct xvm_node *more,
                 struct xvm_edit *edit, struct ha_error *ret_error)
{
    struct doc after;
    int r = doc_read(&after, edit->text, edit->len, ret_error);

    if (r == 0 && !is_right(before, without, more, &after))
        r = refuse(ret_error, -EINVAL,
                   "the configuration is written in a way that cannot be edited by command: edit "
                   "it by hand, then `xvmhactl reload`");
    doc_done(&after);
    if (r < 0)
        xvm_edit_done(edit);
    return r;
}

/* ---------------------------------------------------------------------------------------- add */

/* The guests of a fragment, and the lines that hold them. */
static int read_fragment(struct doc *doc, const char *text, size_t len,
                         const struct xvm_node **ret_guests, struct region *ret_lines,
                         struct ha_error *ret_error)
{
    const struct xvm_node *map;
    int r = doc_read(doc, text, len, ret_error);

    if (r < 0) {
        ret_error->code = 1;
        return r;
    }
    map = doc->tree.root;
    if (map != NULL && map->kind == XVM_NODE_MAP && map->nitems == 2 &&
        strcmp(map->items[0]->text, "guests") == 0)
        map = map->items[1];
    if (map == NULL || map->kind != XVM_NODE_MAP || map->flow || map->nitems == 0)
        return refuse(ret_error, -EINVAL,
                      "not a guest, expected lines such as `web1:` and, indented below it, "
                      "`memory: 2G`");
    *ret_lines = region_of(doc, map->items[0], map->items[1]);
    while (ret_lines->first > 1 && first_of(doc, ret_lines->first - 1) == '#')
        ret_lines->first--;
    ret_lines->last = region_of(doc, map->items[map->nitems - 2], map->items[map->nitems - 1]).last;
    *ret_guests = map;
    return 0;
}

static int check_new(const struct doc *doc, const struct xvm_node *more, struct ha_error *ret_error)
{
    const struct xvm_node *guests = guests_of(doc);

    for (size_t i = 0; i + 1 < more->nitems; i += 2) {
        const char *name = more->items[i]->text;

        if (guests != NULL && find_key(guests, name) < guests->nitems)
            return refuse(ret_error, -EEXIST, "guest %.63s is in the configuration already", name);
        if (find_key(more, name) != i)
            return refuse(ret_error, -EEXIST, "guest %.63s twice", name);
    }
    return 0;
}

/* The line of an empty section without what stands for nothing: {}, ~ or null. */
static void put_empty_section(FILE *to, const struct doc *doc, const struct xvm_node *key,
                              const struct xvm_node *value)
{
    const char *line = line_of(doc, key->line), *end = line + line_len(doc, key->line);
    const char *from = line + value->column - 1, *until = from;

    if (value->line != key->line || from >= end) {
        put_lines(to, doc, key->line, key->line);
        return;
    }
    if (value->kind == XVM_NODE_MAP) {
        while (until < end && *until != '}')
            until++;
        until += until < end;
    } else {
        until += strlen(value->text);
    }
    while (until > from && from > line && from[-1] == ' ')
        from--;
    fwrite(line, 1, (size_t)(from - line), to);
    fwrite(until, 1, (size_t)(end - until), to);
}

/* Up to where the new guests go. Returns their indentation; *ret_last: the last line that is
 * written. */
static unsigned put_head(FILE *to, const struct doc *doc, unsigned *ret_last)
{
    const struct xvm_node *root = doc->tree.root, *guests = guests_of(doc);
    size_t k = find_key(root, "guests");
    unsigned indent = root->column - 1;

    if (guests != NULL && guests->nitems > 0) {
        struct region r =
            region_of(doc, guests->items[guests->nitems - 2], guests->items[guests->nitems - 1]);

        put_lines(to, doc, 1, r.last);
        *ret_last = r.last;
        indent = guests->items[0]->column - 1;
    } else if (k + 1 < root->nitems) {
        *ret_last = root->items[k]->line;
        put_lines(to, doc, 1, *ret_last - 1);
        put_empty_section(to, doc, root->items[k], root->items[k + 1]);
        indent += 2;
    } else {
        *ret_last = doc->nlines;
        put_lines(to, doc, 1, doc->nlines);
    }
    if (*ret_last > 0 && line_of(doc, *ret_last)[line_len(doc, *ret_last) - 1] != '\n')
        fputc('\n', to);
    if (k + 1 >= root->nitems) {
        fprintf(to, "%*sguests:\n", (int)indent, "");
        indent += 2;
    }
    return indent;
}

static unsigned count_lines(const char *text, size_t len)
{
    unsigned n = 0;

    for (size_t i = 0; i < len; i++)
        n += text[i] == '\n';
    return n;
}

int xvm_edit_add(const char *file, size_t len, const char *fragment, size_t fragment_len,
                 struct xvm_edit *ret_edit, struct ha_error *ret_error)
{
    const struct xvm_node *more = NULL;
    struct xvm_edit edit = {0};
    struct region lines = {0};
    struct doc doc, part;
    unsigned last = 0;
    FILE *to = NULL;
    int r;

    *ret_error = (struct ha_error){0};
    r = read_file(&doc, file, len, ret_error);
    part = (struct doc){0};
    if (r == 0)
        r = read_fragment(&part, fragment, fragment_len, &more, &lines, ret_error);
    assert(r != 0 || more != NULL);
    if (r == 0)
        r = check_new(&doc, more, ret_error);
    if (r == 0 && (to = open_memstream(&edit.text, &edit.len)) == NULL)
        r = refuse(ret_error, -ENOMEM, "out of memory");
    if (r == 0) {
        int indent = (int)put_head(to, &doc, &last);

        fflush(to);
        edit.first = count_lines(edit.text, edit.len) + 1;
        edit.from = lines.first;
        edit.n = lines.last - lines.first + 1;
        put_shifted(to, &part, lines.first, lines.last, indent - (int)lines.indent);
        put_lines(to, &doc, last + 1, doc.nlines);
        r = take(to, &edit, ret_error);
        snprintf(edit.guest, sizeof(edit.guest), "%s", more->items[0]->text);
        edit.nguests = more->nitems / 2;
    }
    if (r == 0)
        r = check(&doc, NULL, more, &edit, ret_error);
    doc_done(&part);
    doc_done(&doc);
    if (r == 0)
        *ret_edit = edit;
    else
        free(edit.text);
    return r;
}

/* --------------------------------------------------------------------------- remove and export */

static int find_guest(struct doc *doc, const char *file, size_t len, const char *guest,
                      struct region *ret_lines, struct ha_error *ret_error)
{
    const struct xvm_node *guests;
    int r = read_file(doc, file, len, ret_error);
    size_t i;

    if (r < 0)
        return r;
    guests = guests_of(doc);
    i = find_key(guests, guest);
    if (guests == NULL || i >= guests->nitems)
        return refuse(ret_error, -ENOENT, "no guest %.63s in the configuration", guest);
    *ret_lines = region_of(doc, guests->items[i], guests->items[i + 1]);
    return 0;
}

/* A text made from what the file says of one guest. */
static int edit_guest(const char *file, size_t len, const char *guest,
                      void (*put)(FILE *to, const struct doc *doc, const struct region *lines),
                      int (*right)(const struct doc *doc, const char *guest, struct xvm_edit *edit,
                                   struct ha_error *ret_error),
                      struct xvm_edit *ret_edit, struct ha_error *ret_error)
{
    struct xvm_edit edit = {.nguests = 1};
    struct region lines = {0};
    struct doc doc;
    FILE *to = NULL;
    int r;

    *ret_error = (struct ha_error){0};
    r = find_guest(&doc, file, len, guest, &lines, ret_error);
    if (r == 0 && (to = open_memstream(&edit.text, &edit.len)) == NULL)
        r = refuse(ret_error, -ENOMEM, "out of memory");
    if (r == 0) {
        put(to, &doc, &lines);
        r = take(to, &edit, ret_error);
        snprintf(edit.guest, sizeof(edit.guest), "%s", guest);
    }
    if (r == 0)
        r = right(&doc, guest, &edit, ret_error);
    doc_done(&doc);
    if (r == 0)
        *ret_edit = edit;
    else
        free(edit.text);
    return r;
}

static void put_others(FILE *to, const struct doc *doc, const struct region *lines)
{
    put_lines(to, doc, 1, lines->first - 1);
    put_lines(to, doc, lines->last + 1, doc->nlines);
}

static int check_without(const struct doc *doc, const char *guest, struct xvm_edit *edit,
                         struct ha_error *ret_error)
{
    return check(doc, guest, NULL, edit, ret_error);
}

int xvm_edit_remove(const char *file, size_t len, const char *guest, struct xvm_edit *ret_edit,
                    struct ha_error *ret_error)
{
    return edit_guest(file, len, guest, put_others, check_without, ret_edit, ret_error);
}

/* Alone it must say what it says in the file. */
static int check_export(const struct doc *doc, const char *guest, struct xvm_edit *edit,
                        struct ha_error *ret_error)
{
    const struct xvm_node *value = value_of(guests_of(doc), guest);
    unsigned budget = COMPARE_MOST;
    struct doc alone;
    int r = doc_read(&alone, edit->text, edit->len, ret_error);

    if (r < 0 || alone.tree.root == NULL || alone.tree.root->kind != XVM_NODE_MAP ||
        alone.tree.root->nitems != 2 || value_of(alone.tree.root, guest) == NULL ||
        !same(value, value_of(alone.tree.root, guest), &budget))
        r = refuse(ret_error, -EINVAL,
                   "guest %.63s is written in a way that cannot be exported (an alias?)", guest);
    doc_done(&alone);
    return r;
}

static void put_guest(FILE *to, const struct doc *doc, const struct region *lines)
{
    put_shifted(to, doc, lines->first, lines->last, -(int)lines->indent);
}

int xvm_edit_export(const char *file, size_t len, const char *guest, struct xvm_edit *ret_edit,
                    struct ha_error *ret_error)
{
    return edit_guest(file, len, guest, put_guest, check_export, ret_edit, ret_error);
}
