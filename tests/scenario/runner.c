/* SPDX-License-Identifier: GPL-2.0-or-later */
/* scenario [--log|--rows] DIR...: runs scenarios in the simulator's world, without chance, and compares
 * what happened with what was expected. All invariants are checked, too; afterwards everything is
 * repaired and has to get well. Exit: 0 all as expected, 1 not, 2 usage. */
#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "runner.h"
#include "tests/sim/shrink.h"
#include "tests/sim/script.h"

static bool show_log;

char *scenario_read(const char *dir, const char *name)
{
    char path[1000];
    snprintf(path, sizeof(path), "%s/%s", dir, name);
    FILE *f = fopen(path, "re");
    if (!f) {
        perror(path);
        return NULL;
    }
    size_t size = 1 << 16;
    char *text = malloc(size);
    assert(text);
    size_t n = fread(text, 1, size - 1, f);
    text[n] = '\0';
    fclose(f);
    return text;
}

static void keep_line(void *user, const char *line)
{
    struct scenario *s = user;
    if (show_log)
        puts(line);
    if (s->nlog == s->sizelog) {
        s->sizelog = s->sizelog ? s->sizelog * 2 : 256;
        s->log = realloc(s->log, s->sizelog * sizeof(*s->log));
        assert(s->log);
    }
    s->log[s->nlog] = strdup(line);
    assert(s->log[s->nlog]);
    s->nlog++;
}

static bool load(struct scenario *s)
{
    char *cluster = scenario_read(s->dir, "cluster.yaml");
    char *script = scenario_read(s->dir, "script");
    char error[300];
    bool ok = cluster && script && scenario_load_cluster(s, cluster) == 0;
    s->run.setup.calm = true;
    s->run.setup.seed = 1;
    s->run.setup.faults_ms = 60000;
    if (ok && sim_script_parse(script, s->run.setup.config, &s->run.plan, &s->run.setup.faults_ms,
                               error, sizeof(error)) < 0) {
        fprintf(stderr, "%s/script: %s\n", s->dir, error);
        ok = false;
    }
    free(cluster);
    free(script);
    return ok;
}

/* As far as the script goes. */
static bool run_script(struct scenario *s)
{
    char *expect = scenario_read(s->dir, "expect");
    bool ok = expect != NULL;
    s->run.setup.log = true;
    s->run.setup.on_log = keep_line;
    s->run.setup.user = s;
    s->run.setup.settle_ms = 0;
    struct sim_world *w = sim_world_new(&s->run.setup, &s->run.plan);
    sim_world_run(w);
    if (w->verdict.class != SIM_FINE) {
        printf("  invariant %d at %lld.%03lld s: %s\n", w->verdict.invariant,
               (long long)w->verdict.at / 1000, (long long)w->verdict.at % 1000, w->verdict.text);
        ok = false;
    }
    if (expect)
        ok &= scenario_expect(s, w, expect) == 0;
    sim_world_free(w);
    free(expect);
    return ok;
}

/* And on from there, everything repaired. */
static bool run_on(struct scenario *s)
{
    struct sim_result result;
    s->run.setup.log = false;
    s->run.setup.on_log = NULL;
    s->run.setup.settle_ms = 300000;
    sim_run_once(&s->run, &result);
    if (result.verdict.class == SIM_FINE)
        return true;
    printf("  afterwards, invariant %d: %s\n", result.verdict.invariant, result.verdict.text);
    return false;
}

static bool run_scenario(const char *dir)
{
    struct scenario s = {.dir = dir};
    bool ok = load(&s);
    if (ok) {
        ok = run_script(&s);
        if (ok && s.liveness)
            ok = run_on(&s);
    }
    const char *name = strrchr(dir, '/');
    printf("%s %s\n", ok ? "ok    " : "FAILED", name && name[1] ? name + 1 : dir);
    for (size_t i = 0; i < s.nlog; i++)
        free(s.log[i]);
    free(s.log);
    sim_run_done(&s.run);
    return ok;
}

int main(int argc, char **argv)
{
    unsigned failed = 0;
    bool rows = false;
    int first = 1;
    setvbuf(stdout, NULL, _IOLBF, 0);
    if (argc > 1 && strcmp(argv[1], "--log") == 0) {
        show_log = true;
        first = 2;
    }
    if (argc > 1 && strcmp(argv[1], "--rows") == 0) {
        rows = true;
        first = 2;
    }
    if (first >= argc) {
        fputs("scenario [--log|--rows] DIR...\n", stderr);
        return 2;
    }
    for (int i = first; i < argc; i++)
        failed += !run_scenario(argv[i]);
    if (failed)
        printf("%u of %d scenarios failed\n", failed, argc - first);
    if (rows)
        failed += scenario_rows_missing();
    return failed ? 1 : 0;
}
