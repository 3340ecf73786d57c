/* SPDX-License-Identifier: GPL-2.0-or-later */
/* xvmha-sim: runs many seeds, tells what was violated, and shrinks the first schedule that failed.
 */
#include <assert.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "make.h"
#include "shrink.h"

enum { KINDS_MAX = 32, JOBS_MAX = 64 };

struct options {
    uint64_t seed, runs;
    unsigned jobs, shrink_secs;
    bool trace, hash, twice, keep_going, quiet;
    enum ha_mutant mutant;
    struct sim_options o;
};

/* A kind of violation, and the first seed that showed it. */
struct kind {
    int class, invariant;
    uint64_t count, seed;
    char text[600];
};

/* What a worker tells, in shared memory. */
struct worker {
    uint64_t seed, runs, events, virtual_ms;
    unsigned nkinds;
    struct kind kinds[KINDS_MAX];
    bool unsteady;
};

static const struct {
    const char *name;
    const char *text;
} mutants[] = {
#define X(name, text) [HA_MUTANT_##name] = {#name, text},
    HA_MUTANTS(X)
#undef X
};

static volatile bool *stop_all;

static void print_line(void *user, const char *line)
{
    (void)user;
    puts(line);
}

static bool make_run(const struct options *opt, uint64_t seed, struct sim_run *ret_run)
{
    if (!sim_run_make(seed, &opt->o, ret_run))
        return false;
    ret_run->setup.mutant = opt->mutant;
    ret_run->setup.log = opt->trace && opt->runs == 1;
    ret_run->setup.on_log = ret_run->setup.log ? print_line : NULL;
    return true;
}

static void note(struct worker *me, uint64_t seed, const struct sim_verdict *v)
{
    struct kind *k = NULL;
    for (unsigned i = 0; i < me->nkinds; i++)
        if (me->kinds[i].class == (int)v->class && me->kinds[i].invariant == v->invariant)
            k = &me->kinds[i];
    if (!k) {
        if (me->nkinds == KINDS_MAX)
            return;
        k = &me->kinds[me->nkinds++];
        *k = (struct kind){.class = (int)v->class, .invariant = v->invariant, .seed = seed};
        memcpy(k->text, v->text, sizeof(k->text));
    }
    k->count++;
}

static void run_seed(const struct options *opt, struct worker *me, uint64_t seed)
{
    struct sim_run run;
    struct sim_result result, again;
    me->seed = seed;
    if (!make_run(opt, seed, &run))
        exit(2);
    sim_run_once(&run, &result);
    if (opt->twice) {
        sim_run_once(&run, &again);
        if (again.hash != result.hash || again.events != result.events) {
            printf("seed %llu is not deterministic\n", (unsigned long long)seed);
            me->unsteady = true;
        }
    }
    sim_run_done(&run);
    if (opt->hash)
        printf("%llu %016llx\n", (unsigned long long)seed, (unsigned long long)result.hash);
    me->runs++;
    me->events += result.events;
    me->virtual_ms += (uint64_t)result.virtual_ms;
    if (result.verdict.class != SIM_FINE) {
        note(me, seed, &result.verdict);
        if (!opt->keep_going)
            *stop_all = true;
    }
}

/* Every jobs-th seed from `first`. A worker that dies is replaced, after its seed was noted. */
static void work(const struct options *opt, struct worker *me, uint64_t first)
{
    for (uint64_t s = first; s < opt->seed + opt->runs && !*stop_all; s += opt->jobs)
        run_seed(opt, me, s);
    fflush(NULL);
    _exit(0);
}

static void run_all(const struct options *opt, struct worker *workers)
{
    pid_t pids[JOBS_MAX];
    unsigned alive = 0;
    for (unsigned j = 0; j < opt->jobs; j++, alive++) {
        fflush(NULL);
        pids[j] = fork();
        assert(pids[j] >= 0);
        if (pids[j] == 0)
            work(opt, &workers[j], opt->seed + j);
    }
    while (alive) {
        int status;
        pid_t pid = wait(&status);
        unsigned j = 0;
        while (j < opt->jobs && pids[j] != pid)
            j++;
        if (j == opt->jobs)
            continue;
        alive--;
        if (WIFEXITED(status) && WEXITSTATUS(status) == 2)
            exit(2);
        if (!WIFSIGNALED(status))
            continue;
        struct sim_verdict v = {.class = SIM_CRASH};
        snprintf(v.text, sizeof(v.text), "%s", strsignal(WTERMSIG(status)));
        note(&workers[j], workers[j].seed, &v);
        if (!opt->keep_going) {
            *stop_all = true;
            continue;
        }
        pids[j] = fork();
        if (pids[j] == 0)
            work(opt, &workers[j], workers[j].seed + opt->jobs);
        alive++;
    }
}

/* ------------------------------------------------------------------------------------ results */

static const char *class_name(int class)
{
    return class == SIM_SAFETY ? "safety" : class == SIM_LIVENESS ? "liveness" : "crash";
}

static void merge(struct worker *all, const struct worker *w)
{
    all->runs += w->runs;
    all->events += w->events;
    all->virtual_ms += w->virtual_ms;
    all->unsteady |= w->unsteady;
    for (unsigned i = 0; i < w->nkinds; i++) {
        struct kind *k = NULL;
        for (unsigned j = 0; j < all->nkinds; j++)
            if (all->kinds[j].class == w->kinds[i].class &&
                all->kinds[j].invariant == w->kinds[i].invariant)
                k = &all->kinds[j];
        if (!k) {
            if (all->nkinds < KINDS_MAX)
                all->kinds[all->nkinds++] = w->kinds[i];
            continue;
        }
        k->count += w->kinds[i].count;
        if (w->kinds[i].seed < k->seed) {
            k->seed = w->kinds[i].seed;
            memcpy(k->text, w->kinds[i].text, sizeof(k->text));
        }
    }
}

static void show_shortest(const struct options *opt, const struct kind *k)
{
    struct sim_run run;
    struct sim_verdict v = {.class = (enum sim_class)k->class, .invariant = k->invariant};
    if (!make_run(opt, k->seed, &run))
        return;
    size_t before = run.plan.n;
    sim_shrink(&run, &v, opt->shrink_secs);
    printf("seed %llu, %u hosts, %u guests, %s, %zu of %zu ops:\n", (unsigned long long)k->seed,
           run.hosts, run.guests,
           run.setup.config->mode == HA_MODE_FENCE_ONLY ? "fence only" : "majority", run.plan.n,
           before);
    for (size_t i = 0; i < run.plan.n; i++) {
        char text[200];
        sim_op_format(&run.plan.v[i], run.setup.config, text, sizeof(text));
        printf("    %s\n", text);
    }
    struct sim_result result;
    run.setup.log = opt->trace;
    run.setup.on_log = opt->trace ? print_line : NULL;
    sim_run_apart(&run, &result);
    printf("-> %lld.%03lld s: %s\n", (long long)result.verdict.at / 1000,
           (long long)result.verdict.at % 1000, result.verdict.text);
    sim_run_done(&run);
}

static int show(const struct options *opt, const struct worker *all, double secs)
{
    int code = 0;
    if (!opt->quiet)
        printf("runs %llu, %.1f virtual hours, %.1f million events, %.1f s (%.1f ms a run)\n",
               (unsigned long long)all->runs, (double)all->virtual_ms / 3.6e6,
               (double)all->events / 1e6, secs,
               all->runs ? secs * 1000 * opt->jobs / (double)all->runs : 0.0);
    for (unsigned i = 0; i < all->nkinds; i++) {
        const struct kind *k = &all->kinds[i];
        printf("VIOLATION %s invariant %d, %llu runs, first seed %llu: %s\n", class_name(k->class),
               k->invariant, (unsigned long long)k->count, (unsigned long long)k->seed, k->text);
        if (code == 0 || k->class == SIM_CRASH || (k->class == SIM_SAFETY && code != SIM_CRASH))
            code = k->class;
    }
    for (unsigned i = 0; i < all->nkinds && opt->shrink_secs; i++)
        show_shortest(opt, &all->kinds[i]);
    if (all->nkinds == 0 && !opt->quiet)
        puts("no violation");
    return code ? code : all->unsteady ? SIM_CRASH : 0;
}

/* ------------------------------------------------------------------------------------ options */

static int usage(void)
{
    fputs("xvmha-sim [--seed N] [--runs M] [--jobs J] [--hosts H|A..B] [--guests G] [--secs S]\n"
          "          [--faults all|none|LIST] [--bias NAME|'*'|none] [--lies] [--mutant NAME]\n"
          "          [--trace] [--hash] [--twice] [--keep-going] [--shrink SECS] [--quiet]\n"
          "xvmha-sim --list-mutants | --list-biases | --show-bias NAME\n"
          "Exit: 0 no violation, 2 usage, 10 safety, 20 liveness, 30 crash.\n",
          stderr);
    return 2;
}

static int mutant_of(const char *name)
{
    for (int m = 1; m < HA_MUTANT_COUNT; m++)
        if (strcmp(mutants[m].name, name) == 0)
            return m;
    return -1;
}

static int list(const char *what)
{
    if (strcmp(what, "list-mutants") == 0)
        for (int m = 1; m < HA_MUTANT_COUNT; m++)
            printf("%-18s %s\n", mutants[m].name, mutants[m].text);
    else
        for (size_t i = 0; i < sim_ndirected; i++)
            printf("%-24s %s\n", sim_directed[i].name, sim_directed[i].mutants);
    return 0;
}

static int show_bias(const char *name)
{
    const struct sim_directed *d = sim_directed_find(name);
    if (!d)
        return usage();
    printf("# %u hosts, %u guests, %s, levels %s%s\n%s", d->hosts, d->guests,
           d->fence_only ? "fence only" : "majority", d->levels, d->calm ? ", calm" : "",
           d->script);
    return 0;
}

static const struct option long_options[] = {{"seed", required_argument, NULL, 's'},
                                             {"runs", required_argument, NULL, 'r'},
                                             {"jobs", required_argument, NULL, 'j'},
                                             {"hosts", required_argument, NULL, 'H'},
                                             {"guests", required_argument, NULL, 'g'},
                                             {"secs", required_argument, NULL, 't'},
                                             {"faults", required_argument, NULL, 'f'},
                                             {"bias", required_argument, NULL, 'b'},
                                             {"mutant", required_argument, NULL, 'm'},
                                             {"shrink", required_argument, NULL, 'S'},
                                             {"trace", no_argument, NULL, 'T'},
                                             {"hash", no_argument, NULL, 'h'},
                                             {"twice", no_argument, NULL, '2'},
                                             {"keep-going", no_argument, NULL, 'k'},
                                             {"lies", no_argument, NULL, 'l'},
                                             {"quiet", no_argument, NULL, 'q'},
                                             {"list-mutants", no_argument, NULL, 'M'},
                                             {"list-biases", no_argument, NULL, 'B'},
                                             {"show-bias", required_argument, NULL, 'i'},
                                             {NULL, 0, NULL, 0}};

static bool parse_hosts(const char *text, struct sim_options *o)
{
    char *end;
    o->hosts_lo = o->hosts_hi = (unsigned)strtoul(text, &end, 10);
    if (strncmp(end, "..", 2) == 0)
        o->hosts_hi = (unsigned)strtoul(end + 2, &end, 10);
    return *end == '\0' && o->hosts_lo >= 2 && o->hosts_hi <= SIM_HOSTS_MAX &&
           o->hosts_lo <= o->hosts_hi;
}

/* 0, or the code to exit with; -1: exit with 0. */
static int parse(int argc, char **argv, struct options *opt)
{
    for (int c, m; (c = getopt_long(argc, argv, "", long_options, NULL)) != -1;) {
        switch (c) {
        case 's':
            opt->seed = strtoull(optarg, NULL, 10);
            break;
        case 'r':
            opt->runs = strtoull(optarg, NULL, 10);
            break;
        case 'j':
            opt->jobs = (unsigned)strtoul(optarg, NULL, 10);
            break;
        case 'H':
            if (!parse_hosts(optarg, &opt->o))
                return usage();
            break;
        case 'g':
            opt->o.guests = (unsigned)strtoul(optarg, NULL, 10);
            break;
        case 't':
            opt->o.secs = strtoll(optarg, NULL, 10) * 1000;
            break;
        case 'f':
            if (sim_faults_parse(optarg, &opt->o.faults) < 0)
                return usage();
            break;
        case 'b':
            opt->o.bias = strcmp(optarg, "none") == 0 ? NULL : optarg;
            break;
        case 'm':
            m = mutant_of(optarg);
            if (m < 0)
                return usage();
            opt->mutant = (enum ha_mutant)m;
            break;
        case 'S':
            opt->shrink_secs = (unsigned)strtoul(optarg, NULL, 10);
            break;
        case 'T':
            opt->trace = true;
            break;
        case 'h':
            opt->hash = true;
            break;
        case '2':
            opt->twice = true;
            break;
        case 'k':
            opt->keep_going = true;
            break;
        case 'l':
            opt->o.lies = true;
            break;
        case 'q':
            opt->quiet = true;
            break;
        case 'M':
            list("list-mutants");
            return -1;
        case 'B':
            list("list-biases");
            return -1;
        case 'i':
            return show_bias(optarg) ? 2 : -1;
        default:
            return usage();
        }
    }
    bool bad = optind != argc || opt->jobs < 1 || opt->jobs > JOBS_MAX || opt->runs < 1 ||
               opt->o.guests > SIM_GUESTS_MAX;
#ifndef HA_MUTABLE
    bad |= opt->mutant != HA_MUTANT_NONE; /* only xvmha-sim-mutable can do that */
#endif
    return bad ? usage() : 0;
}

int main(int argc, char **argv)
{
    struct options opt = {
        .seed = 1,
        .runs = 100,
        .jobs = 1,
        .shrink_secs = 15,
        .o = {.hosts_lo = 2, .hosts_hi = 7, .bias = "*", .faults = {.kinds = ~0ull, .rates = ~0u}}};
    setvbuf(stdout, NULL, _IOLBF, 0);
    int r = parse(argc, argv, &opt);
    if (r)
        return r < 0 ? 0 : r;
    size_t size = sizeof(struct worker) * (opt.jobs + 1) + sizeof(bool);
    struct worker *workers =
        mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (workers == MAP_FAILED) {
        perror("mmap");
        return SIM_CRASH;
    }
    stop_all = (volatile bool *)&workers[opt.jobs + 1];
    struct timespec from, to;
    clock_gettime(CLOCK_MONOTONIC, &from);
    run_all(&opt, workers);
    clock_gettime(CLOCK_MONOTONIC, &to);
    struct worker all = {0};
    for (unsigned j = 0; j < opt.jobs; j++)
        merge(&all, &workers[j]);
    double secs = (double)(to.tv_sec - from.tv_sec) + (double)(to.tv_nsec - from.tv_nsec) / 1e9;
    r = show(&opt, &all, secs);
    munmap(workers, size);
    return r;
}
