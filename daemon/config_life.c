/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What a guest's life is made of: probes, what follows its end, what it is started after. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "config_internal.h"
#include "config_nearest.h"

enum {
    DAY_MS = 24 * 3600 * 1000,
    WORDS_MAX = 32,
    COMMAND_MAX = 4096,
    UNKNOWNS_UNSET = 1000000,
};

/* ---------------------------------------------------------------------------------- command */

static void free_words(char **words)
{
    for (size_t i = 0; words != NULL && words[i] != NULL; i++)
        free(words[i]);
    free(words);
}

static int add_word(struct xvm_loader *l, const struct xvm_node *at, char ***words, size_t *n,
                    const char *text, size_t len)
{
    char *word;

    if (*n >= WORDS_MAX)
        return xvm_config_fail_node(l, at, "too many words in `command`, expected at most %d",
                                    WORDS_MAX);
    if (*words == NULL)
        *words = calloc(WORDS_MAX + 1, sizeof(**words));
    word = *words == NULL ? NULL : strndup(text, len);
    if (word == NULL)
        return xvm_config_no_room(l);
    (*words)[(*n)++] = word;
    return 0;
}

/* A list of words, or one text that is cut at blanks. No shell has a look at it. */
static int read_command(struct xvm_loader *l, const struct xvm_field *f, const struct xvm_node *v,
                        void *out)
{
    static const char blanks[] = " \t\r\n";
    char ***words = out;
    size_t n = 0;
    int r = 0;

    free_words(*words);
    *words = NULL;
    if (v->kind == XVM_NODE_LIST) {
        for (size_t i = 0; r == 0 && i < v->nitems; i++) {
            if (v->items[i]->kind != XVM_NODE_SCALAR)
                return xvm_config_fail_node(l, v->items[i], "%s in `command`, expected a word",
                                            xvm_node_kind_name(v->items[i]));
            r = add_word(l, v, words, &n, v->items[i]->text, strlen(v->items[i]->text));
        }
    } else if (v->kind == XVM_NODE_SCALAR && !xvm_node_null(v) && strlen(v->text) < COMMAND_MAX) {
        for (const char *p = v->text + strspn(v->text, blanks); r == 0 && *p != '\0';) {
            size_t len = strcspn(p, blanks);

            r = add_word(l, v, words, &n, p, len);
            p += len;
            p += strspn(p, blanks);
        }
    }
    if (r == 0 && n == 0)
        return xvm_config_fail_node(l, v, "`%s` is empty, expected a program and its arguments",
                                    f->key);
    if (r == 0 && (*words)[0][0] != '/' && strchr((*words)[0], '/') != NULL)
        return xvm_config_fail_node(l, v,
                                    "`%.80s`, expected an absolute path, or the name of a program "
                                    "in the folder of probes",
                                    (*words)[0]);
    return r;
}

/* ----------------------------------------------------------------------------------- probes */

#define FIELD(name) offsetof(struct ha_probe_config, name)
static const struct xvm_field probe_fields[] = {
    {.key = "name", .read = xvm_read_name, .offset = FIELD(name)},
    {.key = "command", .read = read_command, .offset = FIELD(argv), .required = true},
    {.key = "interval",
     .read = xvm_read_duration,
     .offset = FIELD(interval_ms),
     .min = 1000,
     .max = DAY_MS},
    {.key = "timeout",
     .read = xvm_read_duration,
     .offset = FIELD(timeout_ms),
     .min = 100,
     .max = 3600 * 1000},
    {.key = "start_grace",
     .read = xvm_read_duration,
     .offset = FIELD(grace_ms),
     .max = DAY_MS},
    {.key = "failures", .read = xvm_read_int, .offset = FIELD(failures), .min = 1, .max = 1000},
    {.key = "unknowns", .read = xvm_read_int, .offset = FIELD(unknowns), .max = 1000},
};

static void check_probe(struct xvm_loader *l, const struct xvm_node *at,
                        const struct ha_guest_config *guest, struct ha_probe_config *p)
{
    const char *slash;

    if (p->name[0] == '\0') {
        slash = strrchr(p->argv[0], '/');
        snprintf(p->name, sizeof(p->name), "%.*s", HA_NAME_MAX - 1,
                 slash != NULL ? slash + 1 : p->argv[0]);
    }
    for (size_t i = 0; i < guest->nprobes; i++) {
        if (strcmp(guest->probes[i].name, p->name) == 0)
            xvm_config_fail_node(l, at, "two probes are called `%s`, expected a `name` of its own",
                                 p->name);
    }
    if (p->unknowns == UNKNOWNS_UNSET)
        p->unknowns = 2 * p->failures;
    if (p->unknowns > 0 && p->unknowns < p->failures)
        xvm_config_fail_node(l, at,
                             "`unknowns` is %u, expected at least `failures`, %u: nobody knows "
                             "what a probe that hangs would have said",
                             p->unknowns, p->failures);
}

void xvm_free_probes(struct ha_guest_config *guest)
{
    for (size_t i = 0; i < guest->nprobes; i++)
        free_words(guest->probes[i].argv);
    free(guest->probes);
    guest->probes = NULL;
    guest->nprobes = 0;
}

int xvm_read_probes(struct xvm_loader *l, const struct xvm_field *f, const struct xvm_node *v,
                    void *out)
{
    struct ha_guest_config *guest = out;
    int r = 0;

    guest->probes = NULL;
    guest->nprobes = 0;
    if (xvm_check_list(l, v, f->key) < 0)
        return -EINVAL;
    if (v->nitems > HA_PROBES_MAX)
        return xvm_config_fail_node(l, v, "%zu probes, expected at most %d", v->nitems,
                                    HA_PROBES_MAX);
    guest->probes = calloc(v->nitems + 1, sizeof(*guest->probes));
    if (guest->probes == NULL)
        return xvm_config_no_room(l);
    for (size_t i = 0; i < v->nitems; i++) {
        struct ha_probe_config *p = &guest->probes[guest->nprobes];

        *p = (struct ha_probe_config){.interval_ms = 30 * 1000,
                                      .timeout_ms = 10 * 1000,
                                      .grace_ms = 120 * 1000,
                                      .failures = 3,
                                      .unknowns = UNKNOWNS_UNSET};
        if (xvm_read_map(l, v->items[i], "probe", probe_fields,
                         sizeof(probe_fields) / sizeof(probe_fields[0]), p) < 0) {
            free_words(p->argv);
            r = -EINVAL;
            continue;
        }
        check_probe(l, v->items[i], guest, p);
        guest->nprobes++;
    }
    return r;
}

void xvm_copy_probes(struct xvm_loader *l, const struct ha_guest_config *from,
                     struct ha_guest_config *to)
{
    to->probes = NULL;
    to->nprobes = 0;
    if (from->nprobes == 0)
        return;
    to->probes = calloc(from->nprobes, sizeof(*to->probes));
    if (to->probes == NULL) {
        xvm_config_no_room(l);
        return;
    }
    for (size_t i = 0; i < from->nprobes; i++) {
        size_t n = 0;

        to->probes[i] = from->probes[i];
        to->probes[i].argv = NULL;
        to->nprobes++;
        to->probes[i].argv = calloc(WORDS_MAX + 1, sizeof(*to->probes[i].argv));
        for (char **word = from->probes[i].argv; to->probes[i].argv != NULL && *word != NULL; word++) {
            to->probes[i].argv[n] = strdup(*word);
            if (to->probes[i].argv[n++] == NULL)
                break;
        }
        if (n == 0 || to->probes[i].argv[n - 1] == NULL) {
            xvm_config_no_room(l);
            return;
        }
    }
}

/* --------------------------------------------------------------------------------- its end */

int xvm_read_on_end(struct xvm_loader *l, const struct xvm_field *f, const struct xvm_node *v,
                    void *out)
{
    static const char *const words[] = {[HA_ON_RESTART] = "restart",
                                        [HA_ON_STOP] = "stop",
                                        [HA_ON_DUMP_RESTART] = "dump-restart",
                                        [HA_ON_DUMP_STOP] = "dump-stop"};

    for (int64_t i = 0; v->kind == XVM_NODE_SCALAR && i <= f->max; i++) {
        if (strcmp(v->text, words[i]) == 0) {
            *(uint8_t *)out = (uint8_t)i;
            return 0;
        }
    }
    return xvm_config_fail_node(l, v, "`%s` is `%.80s`, expected restart%s", f->key,
                                v->kind == XVM_NODE_SCALAR ? v->text : xvm_node_kind_name(v),
                                f->max > HA_ON_STOP ? ", stop, dump-restart or dump-stop"
                                                    : " or stop");
}

/* ------------------------------------------------------------------------------------ order */

#undef FIELD
#define FIELD(name) offsetof(struct ha_after, name)
static const struct xvm_field after_fields[] = {
    {.key = "guest", .read = xvm_read_name, .offset = FIELD(name), .required = true},
    {.key = "healthy", .read = xvm_read_bool, .offset = FIELD(healthy)},
    {.key = "delay", .read = xvm_read_duration, .offset = FIELD(delay_ms), .max = DAY_MS},
};

static int read_one_after(struct xvm_loader *l, const struct xvm_node *v, struct ha_after *after)
{
    if (v->kind == XVM_NODE_MAP)
        return xvm_read_map(l, v, "`start_after`", after_fields, 3, after);
    if (v->kind != XVM_NODE_SCALAR)
        return xvm_config_fail_node(l, v, "%s in `start_after`, expected a guest's name",
                                    xvm_node_kind_name(v));
    if (xvm_check_name(l, v, "guest") < 0)
        return -EINVAL;
    strcpy(after->name, v->text);
    return 0;
}

int xvm_read_after(struct xvm_loader *l, const struct xvm_field *f, const struct xvm_node *v,
                   void *out)
{
    struct ha_guest_config *guest = out;
    int r = 0;

    free(guest->after);
    guest->after = NULL;
    guest->nafter = 0;
    if (xvm_check_list(l, v, f->key) < 0)
        return -EINVAL;
    if (v->nitems > HA_AFTER_MAX)
        return xvm_config_fail_node(l, v, "%zu guests in `start_after`, expected at most %d",
                                    v->nitems, HA_AFTER_MAX);
    guest->after = calloc(v->nitems + 1, sizeof(*guest->after));
    if (guest->after == NULL)
        return xvm_config_no_room(l);
    for (size_t i = 0; i < v->nitems; i++) {
        if (read_one_after(l, v->items[i], &guest->after[guest->nafter]) < 0)
            r = -EINVAL;
        else
            guest->nafter++;
    }
    return r;
}

/* Where in the section a guest's `start_after` is. */
static const struct xvm_node *after_node(const struct xvm_node *section, size_t guest)
{
    const struct xvm_node *map = section->items[2 * guest + 1];

    for (size_t i = 0; i + 1 < map->nitems; i += 2) {
        if (strcmp(map->items[i]->text, "start_after") == 0)
            return map->items[i + 1];
    }
    return section;
}

static int index_of(struct xvm_loader *l, const struct xvm_node *at, const char *name)
{
    struct xvm_nearest nearest = {.wanted = name};

    for (size_t i = 0; i < l->config->nguests; i++) {
        if (strcmp(l->config->guests[i].name, name) == 0)
            return (int)i;
        xvm_nearest_try(&nearest, l->config->guests[i].name);
    }
    if (nearest.best != NULL)
        xvm_config_fail_node(l, at, "no guest `%.80s` to start after, expected `%s`?", name,
                             nearest.best);
    else
        xvm_config_fail_node(l, at, "no guest `%.80s` to start after, expected one of `guests`",
                             name);
    return -1;
}

/* Takes away, again and again, who waits for nobody that is left: who cannot be taken is in a
 * circle, or waits for one. */
static void find_circle(struct xvm_loader *l, const struct xvm_node *section, int *const *waits)
{
    size_t n = l->config->nguests, left = n, before;
    bool *gone = calloc(n + 1, sizeof(*gone));

    if (gone == NULL) {
        xvm_config_no_room(l);
        return;
    }
    do {
        before = left;
        for (size_t i = 0; i < n; i++) {
            bool free_to_go = !gone[i];

            for (size_t k = 0; free_to_go && k < l->config->guests[i].nafter; k++)
                free_to_go = gone[waits[i][k]];
            gone[i] |= free_to_go;
            left -= free_to_go;
        }
    } while (left > 0 && left < before);
    for (size_t i = 0; i < n && left > 0; i++) {
        if (gone[i])
            continue;
        xvm_config_fail_node(l, after_node(section, i),
                             "%s waits for itself, by way of others: expected no circle in "
                             "`start_after`",
                             l->config->guests[i].name);
        break;
    }
    free(gone);
}

void xvm_check_order(struct xvm_loader *l, const struct xvm_node *section)
{
    size_t n = l->config->nguests;
    int **waits = calloc(n + 1, sizeof(*waits));
    bool good = waits != NULL && !l->failed;

    for (size_t i = 0; good && i < n; i++) {
        const struct ha_guest_config *g = &l->config->guests[i];

        waits[i] = g->nafter > 0 ? calloc(g->nafter, sizeof(**waits)) : NULL;
        good = g->nafter == 0 || waits[i] != NULL;
        for (size_t k = 0; good && k < g->nafter; k++) {
            waits[i][k] = index_of(l, after_node(section, i), g->after[k].name);
            good = waits[i][k] >= 0;
        }
    }
    if (good)
        find_circle(l, section, waits);
    for (size_t i = 0; waits != NULL && i < n; i++)
        free(waits[i]);
    free(waits);
}

void xvm_read_starts(struct xvm_loader *l, const struct xvm_node *node)
{
    static const struct xvm_field fields[] = {
        {.key = "per_host",
         .read = xvm_read_int,
         .offset = offsetof(struct ha_starts, per_host),
         .max = HA_GUESTS_MAX},
        {.key = "cluster",
         .read = xvm_read_int,
         .offset = offsetof(struct ha_starts, cluster),
         .max = HA_GUESTS_MAX},
        {.key = "boot_time",
         .read = xvm_read_duration,
         .offset = offsetof(struct ha_starts, boot_ms),
         .max = 3600 * 1000},
    };

    if (node != NULL)
        xvm_read_map(l, node, "`starts`", fields, 3, &l->config->starts);
}

void xvm_read_shutdown(struct xvm_loader *l, const struct xvm_node *node)
{
    /* reboot.target and poweroff.target of systemd end everything by force after half an hour */
    enum { LEAST = 10 * 1000, DEFAULT = 10 * 60 * 1000, MOST = 25 * 60 * 1000 };
    static const struct xvm_field fields[] = {
        {.key = "evacuate",
         .read = xvm_read_bool,
         .offset = offsetof(struct ha_shutdown, evacuate)},
        {.key = "timeout",
         .read = xvm_read_duration,
         .offset = offsetof(struct ha_shutdown, timeout_ms),
         .min = LEAST,
         .max = MOST},
    };

    l->config->shutdown = (struct ha_shutdown){.evacuate = true, .timeout_ms = DEFAULT};
    if (node != NULL)
        xvm_read_map(l, node, "`shutdown`", fields, 2, &l->config->shutdown);
}
