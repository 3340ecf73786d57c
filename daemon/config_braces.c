/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A YAML map in braces as lines of `key: value`. */
#include "config_braces.h"

#include <stdbool.h>
#include <string.h>

struct scan {
    const char *text;
    size_t len, at;
    unsigned depth; /* of brackets that are open */
    char before;    /* the last byte that was not blank: a quote begins only where a value may */
};

static bool is_blank(char c)
{
    return c == ' ' || c == '\t' || c == '\r' || c == '\n';
}

/* Behind the quoted text that begins at `at`. */
static size_t skip_quoted(const struct scan *s)
{
    char quote = s->text[s->at];
    size_t i = s->at + 1;

    while (i < s->len && s->text[i] != quote)
        i += quote == '"' && s->text[i] == '\\' ? 2 : 1;
    return i < s->len ? i + 1 : s->len; /* '' is two quoted texts, which is as good */
}

static bool is_comment(const struct scan *s)
{
    return s->text[s->at] == '#' && is_blank(s->text[s->at - 1]);
}

/* One step: a byte, a quoted text or a comment, none of whose bytes means anything. */
static void step(struct scan *s)
{
    char c = s->text[s->at];

    if (is_comment(s)) {
        while (s->at < s->len && s->text[s->at] != '\n')
            s->at++;
        return;
    }
    if ((c == '"' || c == '\'') && strchr("{[,:'\"", s->before) != NULL) {
        s->at = skip_quoted(s);
        s->before = c;
        return;
    }
    s->depth += c == '{' || c == '[';
    s->depth -= c == '}' || c == ']';
    if (!is_blank(c))
        s->before = c;
    s->at++;
}

/* The next item: from *ret_from to *ret_to, without blanks around. False: there is none that can
 * be told from a comment. */
static bool next(struct scan *s, size_t *ret_from, size_t *ret_to)
{
    while (s->at < s->len && is_blank(s->text[s->at]))
        s->at++;
    *ret_from = *ret_to = s->at;
    while (s->at < s->len && !(s->depth == 1 && strchr(",}", s->text[s->at]) != NULL)) {
        if (s->depth == 1 && is_comment(s))
            return false; /* whose is it? */
        bool blank = is_blank(s->text[s->at]);
        step(s);
        if (!blank)
            *ret_to = s->at;
    }
    return s->at < s->len;
}

static void put_item(FILE *to, const char *text, size_t len, unsigned indent)
{
    enum { DEEPER = 4 };

    fprintf(to, "%*s", (int)indent, "");
    for (size_t i = 0; i < len; i++) {
        fputc(text[i], to);
        if (text[i] == '\n')
            fprintf(to, "%*s", (int)indent + DEEPER, "");
    }
    fputc('\n', to);
}

size_t xvm_braces_open(FILE *to, const char *text, size_t len, size_t from, unsigned indent)
{
    struct scan s = {.text = text, .len = len, .at = from + 1, .depth = 1, .before = '{'};
    size_t first, last;

    if (from >= len || text[from] != '{')
        return 0;
    while (next(&s, &first, &last)) {
        if (last > first)
            put_item(to, text + first, last - first, indent);
        if (text[s.at] == '}')
            return s.at + 1;
        s.before = ',';
        s.at++;
    }
    return 0;
}
