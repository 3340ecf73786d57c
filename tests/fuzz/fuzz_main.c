/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Runs a fuzzer's target without libFuzzer: inputs from a seed, the same on every machine, so that
 * the seed it prints when something breaks is all that is needed to see it again.
 *
 *   fuzz_x [--seed S] [--runs N | --seconds N] [FILE...]     FILE: one input each, as libFuzzer
 * keeps them
 */
#include <getopt.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

#include "fuzz.h"

enum { INPUT_MAX = 4096, HANG_S = 120, MEMORY_MIB = 1024, RUNS = 100 };

static char whereabouts[100]; /* for the last words */

/* So that a sanitizer's finding ends in last_words(), and what eats memory is a finding. */
const char *__asan_default_options(void);
const char *__asan_default_options(void)
{
    return "abort_on_error=1:hard_rss_limit_mb=2048:detect_leaks=1";
}

const char *__ubsan_default_options(void);
const char *__ubsan_default_options(void)
{
    return "halt_on_error=1:abort_on_error=1:print_stacktrace=1";
}

static void last_words(int signal)
{
    ssize_t r = write(STDERR_FILENO, whereabouts, strlen(whereabouts));

    (void)r;
    if (signal == SIGALRM) {
        static const char hang[] = "it hangs\n";

        r = write(STDERR_FILENO, hang, sizeof(hang) - 1);
        (void)r;
        abort();
    }
}

static void limits(void)
{
    struct rlimit data = {(rlim_t)MEMORY_MIB << 20, (rlim_t)MEMORY_MIB << 20};
    struct sigaction action = {.sa_handler = last_words, .sa_flags = (int)SA_RESETHAND};

    sigaction(SIGABRT, &action, NULL);
    sigaction(SIGALRM, &action, NULL);
#ifndef __SANITIZE_ADDRESS__ /* whose shadow is not memory; it has a limit of its own, above */
    sigaction(SIGSEGV, &action, NULL);
    setrlimit(RLIMIT_DATA, &data);
#else
    (void)data;
#endif
}

static void one_seed(uint64_t seed)
{
    static uint8_t data[INPUT_MAX];
    uint64_t random = seed;

    snprintf(whereabouts, sizeof(whereabouts), "\nto repeat: --seed %" PRIu64 " --runs 1\n", seed);
    alarm(HANG_S);
    LLVMFuzzerTestOneInput(data, fuzz_make(&random, data, sizeof(data)));
    alarm(0);
}

static int one_file(const char *path)
{
    static uint8_t data[1 << 20];
    FILE *file = fopen(path, "r");
    size_t len;

    if (file == NULL) {
        perror(path);
        return 1;
    }
    len = fread(data, 1, sizeof(data), file);
    fclose(file);
    snprintf(whereabouts, sizeof(whereabouts), "\nto repeat: %.80s\n", path);
    LLVMFuzzerTestOneInput(data, len);
    return 0;
}

int main(int argc, char **argv)
{
    static const struct option options[] = {{"seed", required_argument, NULL, 's'},
                                            {"runs", required_argument, NULL, 'r'},
                                            {"seconds", required_argument, NULL, 't'},
                                            {0}};
    uint64_t seed = 1, runs = RUNS, done = 0;
    time_t end = 0;
    int c, r = 0;

    while ((c = getopt_long(argc, argv, "", options, NULL)) != -1) {
        if (c == 's')
            seed = strtoull(optarg, NULL, 0);
        else if (c == 'r')
            runs = strtoull(optarg, NULL, 0);
        else if (c == 't')
            end = time(NULL) + (time_t)strtoull(optarg, NULL, 0);
        else
            return 2;
    }
    limits();
    if (optind < argc) {
        for (; optind < argc; optind++)
            r |= one_file(argv[optind]);
        return r;
    }
    for (; end ? time(NULL) < end : done < runs; done++)
        one_seed(seed + done);
    printf("%" PRIu64 " inputs from seed %" PRIu64 "\n", done, seed);
    return 0;
}
