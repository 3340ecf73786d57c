/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Properties of plans of random instances. Each instance has a number; a failure prints it.
 *
 *   plan_prop --runs 1000000 --jobs 2      many
 *   plan_prop --seed 4711 --runs 1 --print one, as JSON for `xvmhactl plan --file -`
 */
#include <getopt.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "check.h"
#include "make.h"

struct tally {
    unsigned long runs, actions, migrations, preempted, restarted, unplaced, looked, exact, bad;
};

static uint64_t current; /* for the last words */

/* It is dying anyway: the worst is that it does so without words. */
static void crashed(int signal)
{
    char text[64];
    /* NOLINTNEXTLINE(bugprone-signal-handler) */
    int n = snprintf(text, sizeof text, "seed %lu: signal %d\n", (unsigned long)current, signal);
    if (n > 0 && write(STDOUT_FILENO, text, (size_t)n) != n)
        _exit(2);
    _exit(1);
}

static bool same(const struct ha_plan *a, const struct ha_plan *b)
{
    return a->nactions == b->nactions && a->tolerates == b->tolerates &&
           memcmp(a->place, b->place, a->in->nguests * sizeof *a->place) == 0 &&
           memcmp(a->actions, b->actions, a->nactions * sizeof *a->actions) == 0;
}

static const char *judge(const struct ha_plan *plan, uint64_t seed, struct tally *tally)
{
    bool looked = false;
    const char *bad = check_placement(plan);
    if (!bad)
        bad = check_steps(plan, seed);
    if (!bad)
        bad = check_freedom(plan);
    if (!bad)
        bad = check_first_fit(plan);
    if (!bad && seed % 4 == 0)
        bad = check_tolerates(plan, &looked);
    if (!bad && seed % 16 == 0)
        bad = check_texts(plan);
    tally->looked += looked;
    tally->exact += looked && plan->tolerates_exact;
    return bad;
}

static void one(uint64_t seed, struct tally *tally)
{
    static struct made_instance made;
    struct ha_plan *plan = NULL, *again = NULL;
    struct ha_error error;
    const char *bad = NULL;
    current = seed;
    make_instance(&made, seed);
    if (ha_plan_check(&made.in, &error) < 0)
        bad = error.text;
    else if (ha_plan_make(&made.in, &plan) < 0)
        bad = "out of memory";
    else
        bad = judge(plan, seed, tally);
    if (!bad && seed % 64 == 0 && (ha_plan_make(&made.in, &again) < 0 || !same(plan, again)))
        bad = "the same instance, another plan";
    if (plan) {
        tally->actions += plan->nactions;
        tally->migrations += plan->score.migrated;
        tally->preempted += plan->score.preempted;
        tally->restarted += plan->score.restarted;
        tally->unplaced += plan->nunplaced;
    }
    tally->runs++;
    if (bad) {
        tally->bad++;
        printf("seed %lu: %s\n", (unsigned long)seed, bad);
        fflush(stdout);
    }
    ha_plan_free(plan);
    ha_plan_free(again);
}

static void many(uint64_t first, unsigned long runs, unsigned step, struct tally *tally)
{
    for (unsigned long i = 0; i < runs && tally->bad < 10; i += step)
        one(first + i, tally);
}

/* Shares the runs among processes; each sends its tally through a pipe. */
static int shared(uint64_t first, unsigned long runs, unsigned jobs, struct tally *sum)
{
    int fds[2];
    if (pipe(fds) < 0)
        return -1;
    for (unsigned k = 0; k < jobs; k++) {
        pid_t pid = fork();
        if (pid < 0)
            return -1;
        if (pid == 0) {
            struct tally mine = {0};
            many(first + k, runs - k, jobs, &mine);
            _exit(write(fds[1], &mine, sizeof mine) != sizeof mine);
        }
    }
    close(fds[1]);
    for (unsigned k = 0; k < jobs; k++) {
        struct tally mine = {0};
        unsigned long *to = (unsigned long *)sum, *from = (unsigned long *)&mine;
        if (read(fds[0], &mine, sizeof mine) != sizeof mine)
            return -1; /* it crashed */
        for (size_t i = 0; i < sizeof mine / sizeof *to; i++)
            to[i] += from[i];
    }
    close(fds[0]);
    while (wait(NULL) > 0)
        ;
    return 0;
}

int main(int argc, char **argv)
{
    static const struct option options[] = {{"seed", required_argument, NULL, 's'},
                                            {"runs", required_argument, NULL, 'r'},
                                            {"jobs", required_argument, NULL, 'j'},
                                            {"print", no_argument, NULL, 'p'},
                                            {0}};
    unsigned long runs = 2000, jobs = 1;
    uint64_t seed = 1;
    bool print = false;
    struct tally tally = {0};
    signal(SIGABRT, crashed); /* an assertion of the planner */
    signal(SIGSEGV, crashed);
    for (int o; (o = getopt_long(argc, argv, "s:r:j:p", options, NULL)) != -1;) {
        if (o == 's')
            seed = strtoull(optarg, NULL, 10);
        else if (o == 'r')
            runs = strtoul(optarg, NULL, 10);
        else if (o == 'j')
            jobs = strtoul(optarg, NULL, 10);
        else if (o == 'p')
            print = true;
        else
            return 2;
    }
    if (print) {
        static struct made_instance made;
        make_instance(&made, seed);
        make_print(&made);
        return 0;
    }
    if (jobs <= 1 || jobs > 64)
        many(seed, runs, 1, &tally);
    else if (shared(seed, runs, (unsigned)jobs, &tally) < 0) {
        puts("a process of the test has crashed");
        return 1;
    }
    printf("%lu instances: %lu steps (%lu live migrations, %lu stopped for room, %lu restarted), "
           "%lu guests without a place; tolerates compared %lu times, %lu exact; %lu bad\n",
           tally.runs, tally.actions, tally.migrations, tally.preempted, tally.restarted,
           tally.unplaced, tally.looked, tally.exact, tally.bad);
    return tally.bad || tally.runs < runs;
}
