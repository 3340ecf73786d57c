/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Runs one schedule, and finds a shorter one that fails in the same way. */
#include "shrink.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

void sim_run_once(const struct sim_run *run, struct sim_result *ret_result)
{
    struct sim_world *w = sim_world_new(&run->setup, &run->plan);
    sim_world_run(w);
    *ret_result = (struct sim_result){
        .verdict = w->verdict, .hash = w->hash, .events = w->events, .virtual_ms = w->now / 1000};
    sim_world_free(w);
}

void sim_run_apart(const struct sim_run *run, struct sim_result *ret_result)
{
    struct sim_result *shared =
        mmap(NULL, sizeof(*shared), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    assert(shared != MAP_FAILED);
    fflush(NULL);
    pid_t pid = fork();
    assert(pid >= 0);
    if (pid == 0) {
        sim_run_once(run, shared);
        _exit(0);
    }
    int status = 0;
    waitpid(pid, &status, 0);
    if (WIFSIGNALED(status)) {
        memset(shared, 0, sizeof(*shared));
        shared->verdict.class = SIM_CRASH;
        snprintf(shared->verdict.text, sizeof(shared->verdict.text), "%s",
                 strsignal(WTERMSIG(status)));
    }
    *ret_result = *shared;
    munmap(shared, sizeof(*shared));
}

static bool same_failure(const struct sim_run *run, const struct sim_plan *plan,
                         const struct sim_verdict *verdict)
{
    struct sim_run copy = *run;
    struct sim_result result;
    copy.plan = *plan;
    copy.setup.log = false;
    sim_run_apart(&copy, &result);
    return result.verdict.class == verdict->class && result.verdict.invariant == verdict->invariant;
}

/* The plan without ops from..to. */
static struct sim_plan without(const struct sim_plan *plan, size_t from, size_t to)
{
    struct sim_plan p = {0};
    for (size_t i = 0; i < plan->n; i++)
        if (i < from || i >= to)
            sim_plan_add(&p, &plan->v[i]);
    return p;
}

void sim_shrink(struct sim_run *run, const struct sim_verdict *verdict, unsigned secs)
{
    time_t end = time(NULL) + (time_t)secs;
    size_t chunk = run->plan.n / 2 + 1;
    while (run->plan.n && time(NULL) < end) {
        bool shorter = false;
        for (size_t at = 0; at < run->plan.n && time(NULL) < end;) {
            size_t to = at + chunk < run->plan.n ? at + chunk : run->plan.n;
            struct sim_plan p = without(&run->plan, at, to);
            if (same_failure(run, &p, verdict)) {
                sim_plan_done(&run->plan);
                run->plan = p;
                shorter = true;
            } else {
                sim_plan_done(&p);
                at += chunk;
            }
        }
        if (chunk == 1 && !shorter)
            break;
        chunk = chunk > 1 ? (chunk + 1) / 2 : 1;
    }
}
