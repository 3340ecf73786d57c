/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Reads single values of the configuration: names, numbers, durations, sizes, each with what was
 * expected when it is not one. */
#include <ctype.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "config_internal.h"

struct unit {
    const char *name;
    int64_t factor;
};

static const struct unit durations[] = {
    {"ms", 1}, {"s", 1000}, {"m", 60 * 1000}, {"h", 3600 * 1000}, {"d", 24 * 3600 * 1000}, {0},
};

static const struct unit sizes[] = {
    {"K", 1},         {"M", 1 << 10},   {"G", 1 << 20},
    {"T", 1 << 30},   {"KiB", 1},       {"MiB", 1 << 10},
    {"GiB", 1 << 20}, {"TiB", 1 << 30}, {0},
};

/* "12" and one of `units`. Returns false for anything else, or more than 2^62. */
static bool parse_with_unit(const char *text, const struct unit *units, int64_t *ret_value)
{
    char *end;
    long long n;

    if (!isdigit((unsigned char)text[0]))
        return false;
    errno = 0;
    n = strtoll(text, &end, 10);
    if (errno != 0)
        return false;
    for (; units->name != NULL; units++) {
        if (strcmp(end, units->name) == 0)
            return !__builtin_mul_overflow(n, units->factor, ret_value);
    }
    if (n != 0 || *end != '\0')
        return false;
    *ret_value = 0; /* nought needs no unit */
    return true;
}

static int want_text(struct xvm_loader *l, const struct xvm_node *v, const char *key,
                     const char *expected)
{
    if (v->kind == XVM_NODE_SCALAR && !xvm_node_null(v))
        return 0;
    return xvm_config_fail_node(l, v, "`%s` is %s, expected %s", key, xvm_node_kind_name(v),
                                expected);
}

static const char *duration_text(int64_t ms, char *buf, size_t size)
{
    if (ms % 1000 != 0)
        snprintf(buf, size, "%" PRId64 "ms", ms);
    else if (ms % (3600 * 1000) == 0 && ms > 0)
        snprintf(buf, size, "%" PRId64 "h", ms / (3600 * 1000));
    else
        snprintf(buf, size, "%" PRId64 "s", ms / 1000);
    return buf;
}

static const char *size_text(int64_t kib, char *buf, size_t size)
{
    if (kib % (1 << 30) == 0)
        snprintf(buf, size, "%" PRId64 "T", kib >> 30);
    else if (kib % (1 << 10) == 0)
        snprintf(buf, size, "%" PRId64 "M", kib >> 10);
    else
        snprintf(buf, size, "%" PRId64 "K", kib);
    return buf;
}

/* --------------------------------------------------------------------------------- readers */

int xvm_read_node(struct xvm_loader *l, const struct xvm_field *f, const struct xvm_node *v,
                  void *out)
{
    (void)l;
    (void)f;
    *(const struct xvm_node **)out = v;
    return 0;
}

int xvm_read_string(struct xvm_loader *l, const struct xvm_field *f, const struct xvm_node *v,
                    void *out)
{
    char *copy;

    if (want_text(l, v, f->key, "text") < 0)
        return -EINVAL;
    if (v->text[0] == '\0')
        return xvm_config_fail_node(l, v, "`%s` is empty, expected text", f->key);
    for (const char *c = v->text; *c != '\0'; c++) {
        if (iscntrl((unsigned char)*c))
            return xvm_config_fail_node(l, v,
                                        "`%s` holds a line break or control character, "
                                        "expected one line of text",
                                        f->key);
    }
    copy = strdup(v->text);
    if (copy == NULL)
        return xvm_config_no_room(l);
    free(*(char **)out);
    *(char **)out = copy;
    return 0;
}

int xvm_read_path(struct xvm_loader *l, const struct xvm_field *f, const struct xvm_node *v,
                  void *out)
{
    if (want_text(l, v, f->key, "an absolute path") < 0)
        return -EINVAL;
    if (v->text[0] != '/')
        return xvm_config_fail_node(l, v, "`%s` is `%.80s`, expected an absolute path", f->key,
                                    v->text);
    return xvm_read_string(l, f, v, out);
}

int xvm_check_name(struct xvm_loader *l, const struct xvm_node *at, const char *what)
{
    static const char rest[] = "_.+-";
    const char *c = at->text;

    if (at->kind != XVM_NODE_SCALAR)
        return xvm_config_fail_node(l, at, "%s is %s, expected a name", what,
                                    xvm_node_kind_name(at));
    if (!isalnum((unsigned char)*c) && *c != '_')
        return xvm_config_fail_node(l, at,
                                    "%s `%.80s`, expected a name that begins with a "
                                    "letter or digit",
                                    what, at->text);
    for (; *c != '\0'; c++) {
        if (!isascii(*c) || (!isalnum((unsigned char)*c) && strchr(rest, *c) == NULL))
            return xvm_config_fail_node(l, at,
                                        "%s `%.80s`, expected only letters, digits and "
                                        "_ . + - in a name",
                                        what, at->text);
    }
    if (strlen(at->text) >= HA_NAME_MAX)
        return xvm_config_fail_node(l, at, "%s `%.20s...` is too long, expected at most %d bytes",
                                    what, at->text, HA_NAME_MAX - 1);
    return 0;
}

int xvm_read_name(struct xvm_loader *l, const struct xvm_field *f, const struct xvm_node *v,
                  void *out)
{
    int r = xvm_check_name(l, v, f->key);

    if (r == 0)
        strcpy(out, v->text);
    return r;
}

int xvm_read_bool(struct xvm_loader *l, const struct xvm_field *f, const struct xvm_node *v,
                  void *out)
{
    static const char *const words[] = {"false", "true", "no", "yes", "off", "on"};

    if (want_text(l, v, f->key, "true or false") < 0)
        return -EINVAL;
    for (size_t i = 0; i < 6; i++) {
        if (strcasecmp(v->text, words[i]) == 0) {
            *(bool *)out = i % 2 == 1;
            return 0;
        }
    }
    return xvm_config_fail_node(l, v, "`%s` is `%.80s`, expected true or false", f->key, v->text);
}

int xvm_read_int(struct xvm_loader *l, const struct xvm_field *f, const struct xvm_node *v,
                 void *out)
{
    char *end;
    long long n;

    if (want_text(l, v, f->key, "a whole number") < 0)
        return -EINVAL;
    errno = 0;
    n = strtoll(v->text, &end, 10);
    if (errno != 0 || end == v->text || *end != '\0' || isspace((unsigned char)v->text[0]) ||
        n < f->min || n > f->max)
        return xvm_config_fail_node(
            l, v, "`%s` is `%.80s`, expected a whole number from %" PRId64 " to %" PRId64, f->key,
            v->text, f->min, f->max);
    *(int *)out = (int)n;
    return 0;
}

int xvm_read_duration(struct xvm_loader *l, const struct xvm_field *f, const struct xvm_node *v,
                      void *out)
{
    static const char expected[] = "a time with its unit, such as 500ms, 10s, 2m or 1h";
    char min[32], max[32];
    int64_t ms;

    if (want_text(l, v, f->key, expected) < 0)
        return -EINVAL;
    if (!parse_with_unit(v->text, durations, &ms))
        return xvm_config_fail_node(l, v, "`%s` is `%.80s`, expected %s", f->key, v->text,
                                    expected);
    if (ms < f->min || ms > f->max)
        return xvm_config_fail_node(l, v, "`%s` is `%.80s`, expected %s to %s", f->key, v->text,
                                    duration_text(f->min, min, sizeof(min)),
                                    duration_text(f->max, max, sizeof(max)));
    *(ha_ms *)out = ms;
    return 0;
}

int xvm_read_size(struct xvm_loader *l, const struct xvm_field *f, const struct xvm_node *v,
                  void *out)
{
    static const char expected[] = "a size with its unit, such as 512M or 4G";
    char min[32], max[32];
    int64_t kib;

    if (want_text(l, v, f->key, expected) < 0)
        return -EINVAL;
    if (!parse_with_unit(v->text, sizes, &kib))
        return xvm_config_fail_node(l, v, "`%s` is `%.80s`, expected %s", f->key, v->text,
                                    expected);
    if (kib < f->min || kib > f->max)
        return xvm_config_fail_node(l, v, "`%s` is `%.80s`, expected %s to %s", f->key, v->text,
                                    size_text(f->min, min, sizeof(min)),
                                    size_text(f->max, max, sizeof(max)));
    *(uint64_t *)out = (uint64_t)kib;
    return 0;
}

int xvm_read_word(struct xvm_loader *l, const char *key, const struct xvm_node *v,
                  const char *const *words, const char *expected, uint8_t *ret)
{
    if (v->kind == XVM_NODE_SCALAR) {
        for (uint8_t i = 0; words[i] != NULL; i++) {
            if (strcmp(words[i], v->text) == 0) {
                *ret = i;
                return 0;
            }
        }
        return xvm_config_fail_node(l, v, "`%s` is `%.80s`, expected %s", key, v->text, expected);
    }
    return xvm_config_fail_node(l, v, "`%s` is %s, expected %s", key, xvm_node_kind_name(v),
                                expected);
}
