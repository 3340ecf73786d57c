/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Compares what happened with a scenario's `expect`.
 *
 *   map GUEST HOST|none     where it runs when the script ends
 *   state HOST STATE        as the coordinator has it
 *   why GUEST|HOST PATTERN  the coordinator's reason; why-not: that must not match
 *   fenced HOST, not-fenced HOST
 *   event PATTERN [before TIME] [after TIME]   in this order
 *   never PATTERN
 *   count N PATTERN         exactly so many lines
 *
 * Patterns are those of the shell, and match anywhere in a line of the log. */
#include <fnmatch.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "runner.h"
#include "tests/sim/script.h"

struct check {
    const struct scenario *s;
    struct sim_world *w;
    unsigned number;
    size_t seen; /* lines of the log up to the last event that was met */
    int unmet;
};

static ha_ms line_time(const char *line)
{
    return (ha_ms)(strtod(line, NULL) * 1000 + 0.5);
}

static bool text_matches(const char *text, const char *pattern)
{
    char anywhere[400];
    snprintf(anywhere, sizeof(anywhere), "*%s*", pattern);
    return fnmatch(anywhere, text, 0) == 0;
}

/* A line of the log, without its time. */
static bool matches(const char *line, const char *pattern)
{
    const char *text = strstr(line, "s ");
    return text_matches(text ? text + 2 : line, pattern);
}

static void unmet(struct check *c, const char *expected, const char *got)
{
    printf("  expect:%u: %s\n", c->number, expected);
    printf("        but: %s\n", got);
    c->unmet++;
}

/* Cuts " WORD TIME" off the end of a pattern. -1: it is not there. */
static ha_ms cut_time(char *pattern, const char *word)
{
    char *at = strstr(pattern, word);
    if (!at)
        return -1;
    *at = '\0';
    at += strlen(word);
    at[strcspn(at, " ")] = '\0';
    return sim_script_time(at);
}

static void expect_event(struct check *c, const char *line, const char *rest)
{
    char pattern[300], got[700] = "no such line after those above";
    snprintf(pattern, sizeof(pattern), "%s", rest);
    ha_ms before = cut_time(pattern, " before "), after = cut_time(pattern, " after ");
    for (size_t i = c->seen; i < c->s->nlog; i++) {
        ha_ms at = line_time(c->s->log[i]);
        if (!matches(c->s->log[i], pattern) || (after >= 0 && at < after))
            continue;
        if (before >= 0 && at > before) {
            snprintf(got, sizeof(got), "too late: %.600s", c->s->log[i]);
            break;
        }
        c->seen = i + 1;
        return;
    }
    unmet(c, line, got);
}

static void expect_never(struct check *c, const char *line, const char *pattern)
{
    for (size_t i = 0; i < c->s->nlog; i++)
        if (matches(c->s->log[i], pattern)) {
            unmet(c, line, c->s->log[i]);
            return;
        }
}

static void expect_count(struct check *c, const char *line, const char *rest)
{
    char *pattern, got[40];
    unsigned long want = strtoul(rest, &pattern, 10), n = 0;
    pattern += strspn(pattern, " ");
    for (size_t i = 0; i < c->s->nlog; i++)
        n += matches(c->s->log[i], pattern);
    snprintf(got, sizeof(got), "%lu lines", n);
    if (n != want)
        unmet(c, line, got);
}

static void expect_fenced(struct check *c, const char *line, const char *host, bool fenced)
{
    char pattern[100];
    snprintf(pattern, sizeof(pattern), "%s power off: fenced", host);
    for (size_t i = 0; i < c->s->nlog; i++)
        if (matches(c->s->log[i], pattern)) {
            if (!fenced)
                unmet(c, line, c->s->log[i]);
            return;
        }
    if (fenced)
        unmet(c, line, "it was not");
}

static void expect_map(struct check *c, const char *line, const char *guest, const char *host)
{
    char got[200] = "none";
    int g = sim_guest_index(c->w, guest);
    for (unsigned i = 0; i < c->w->nhosts; i++)
        for (unsigned k = 0; k < SIM_COPIES_MAX; k++) {
            const struct sim_copy *copy = &c->w->hosts[i].copies[k];
            if (copy->id && copy->guest == g && copy->state == HA_COPY_RUNNING)
                snprintf(got, sizeof(got), "%s", c->w->hosts[i].name);
        }
    if (g < 0 || (strcmp(host, got) != 0 && !(strcmp(host, "any") == 0 && got[0] == 'h')))
        unmet(c, line, got);
}

/* The coordinator, or anybody who runs a daemon. */
static const struct sim_host *witness(const struct check *c)
{
    const struct sim_host *any = NULL;
    for (unsigned i = 0; i < c->w->nhosts; i++) {
        const struct sim_host *h = &c->w->hosts[i];
        struct ha_status st;
        if (!h->ha || h->hung || h->stuck)
            continue;
        ha_status(h->ha, sim_clock(c->w, h), &st);
        if (st.phase == HA_PHASE_OPEN && st.coordinator == h->node)
            return h;
        any = h;
    }
    return any;
}

static bool host_status(const struct check *c, const char *name, struct ha_host_status *ret)
{
    const struct sim_host *h = witness(c);
    struct ha_status st;
    if (!h)
        return false;
    ha_status(h->ha, sim_clock(c->w, h), &st);
    for (size_t i = 0; i < st.nhosts; i++) {
        ha_status_host(h->ha, sim_clock(c->w, h), i, ret);
        if (ret->name && strcmp(ret->name, name) == 0)
            return true;
    }
    return false;
}

static void expect_state(struct check *c, const char *line, const char *host, const char *state)
{
    struct ha_host_status hs;
    if (!host_status(c, host, &hs))
        unmet(c, line, "no daemon knows that host");
    else if (strcmp(ha_host_state_name(hs.state), state) != 0)
        unmet(c, line, ha_host_state_name(hs.state));
}

static void expect_why(struct check *c, const char *line, const char *name, const char *pattern,
                       bool match)
{
    const struct sim_host *h = witness(c);
    struct ha_host_status hs;
    struct ha_status st;
    if (host_status(c, name, &hs)) {
        if (text_matches(hs.why, pattern) != match)
            unmet(c, line, hs.why[0] ? hs.why : "no reason");
        return;
    }
    if (!h) {
        unmet(c, line, "no daemon runs");
        return;
    }
    ha_status(h->ha, sim_clock(c->w, h), &st);
    for (size_t i = 0; i < st.nguests; i++) {
        struct ha_guest_status gs;
        ha_status_guest(h->ha, sim_clock(c->w, h), i, &gs);
        if (strcmp(gs.name, name) != 0)
            continue;
        if (text_matches(gs.why, pattern) != match)
            unmet(c, line, gs.why[0] ? gs.why : "no reason");
        return;
    }
    unmet(c, line, "nobody knows that name");
}

static bool expect_line(struct check *c, const char *line)
{
    char word[80] = "", a[80] = "", rest[300] = "";
    sscanf(line, "%79s %299[^\n]", word, rest);
    sscanf(rest, "%79s", a);
    const char *b = rest + strcspn(rest, " ");
    b += strspn(b, " ");
    if (word[0] == '\0' || word[0] == '#')
        return true;
    if (strcmp(word, "event") == 0)
        expect_event(c, line, rest);
    else if (strcmp(word, "never") == 0)
        expect_never(c, line, rest);
    else if (strcmp(word, "count") == 0)
        expect_count(c, line, rest);
    else if (strcmp(word, "fenced") == 0)
        expect_fenced(c, line, a, true);
    else if (strcmp(word, "not-fenced") == 0)
        expect_fenced(c, line, a, false);
    else if (strcmp(word, "map") == 0)
        expect_map(c, line, a, b);
    else if (strcmp(word, "state") == 0)
        expect_state(c, line, a, b);
    else if (strcmp(word, "why") == 0 || strcmp(word, "why-not") == 0)
        expect_why(c, line, a, b, strcmp(word, "why") == 0);
    else
        return false;
    return true;
}

int scenario_expect(const struct scenario *s, struct sim_world *w, const char *text)
{
    struct check c = {.s = s, .w = w};
    while (*text) {
        char line[400];
        size_t len = strcspn(text, "\n");
        snprintf(line, sizeof(line), "%.*s", (int)len, text);
        text += len + (text[len] == '\n');
        c.number++;
        if (!expect_line(&c, line)) {
            printf("  expect:%u: not understood: %s\n", c.number, line);
            return -1;
        }
    }
    return c.unmet;
}
