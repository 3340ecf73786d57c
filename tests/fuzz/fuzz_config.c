/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Fuzzes the loader of /etc/xvm-ha.yaml: whatever is in the file, it gives a configuration or
 * complaints that can be printed, and keeps nothing. Inputs are the example that ships and the unit
 * tests' bad files, with words, lines and bytes changed, exchanged and repeated. */
#include "fuzz.h"

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "../../daemon/config.h"

enum { SAMPLES_MAX = 128, SAMPLE_BYTES = 16 * 1024 };

static struct {
    char *text[SAMPLES_MAX];
    size_t len[SAMPLES_MAX], n;
} samples;

static void add_sample(const char *folder, const char *name)
{
    char path[512];
    FILE *file;

    if (samples.n == SAMPLES_MAX)
        return;
    snprintf(path, sizeof(path), "%s/%s", folder, name);
    file = fopen(path, "r");
    if (file == NULL)
        return;
    samples.text[samples.n] = malloc(SAMPLE_BYTES);
    if (samples.text[samples.n] == NULL)
        abort();
    samples.len[samples.n] = fread(samples.text[samples.n], 1, SAMPLE_BYTES, file);
    samples.n += samples.len[samples.n] > 0;
    fclose(file);
}

static int by_name(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

/* Sorted: the same seed must give the same input on every machine. */
static void load_samples(void)
{
    static const char folder[] = XVM_SOURCE_DIR "/tests/unit/config-bad";
    char *names[SAMPLES_MAX];
    size_t n = 0;
    DIR *dir = opendir(folder);

    add_sample(XVM_SOURCE_DIR "/conf", "xvm-ha.yaml");
    for (struct dirent *d = dir ? readdir(dir) : NULL; d && n < SAMPLES_MAX; d = readdir(dir))
        if (d->d_name[0] != '.' && (names[n] = strdup(d->d_name)) != NULL)
            n++;
    if (dir != NULL)
        closedir(dir);
    qsort(names, n, sizeof(*names), by_name);
    for (size_t i = 0; i < n; i++) {
        add_sample(folder, names[i]);
        free(names[i]);
    }
    if (samples.n == 0)
        abort();
}

static void load(const char *path, const struct xvm_ring_facts *ring)
{
    struct xvm_config_errors errors = {0};
    struct ha_config *config = NULL;
    int r = xvm_config_load(path, ring, &config, &errors);
    FILE *nowhere = fopen("/dev/null", "w");

    if ((r == 0) != (config != NULL) || (r < 0 && errors.n == 0) || nowhere == NULL)
        abort();
    for (size_t i = 0; i < errors.n; i++)
        if (memchr(errors.v[i].text, 0, sizeof(errors.v[i].text)) == NULL || !errors.v[i].text[0])
            abort();
    xvm_config_errors_print(&errors, nowhere);
    fclose(nowhere);
    xvm_config_errors_done(&errors);
    xvm_config_free(config);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const struct xvm_ring_facts rings[] = {
        {.token_ms = 3650, .consensus_ms = 4380},
        {.token_ms = 3000, .consensus_ms = 3600, .two_node = true},
    };
    int fd = memfd_create("xvm-ha.yaml", MFD_CLOEXEC);
    char path[64];

    if (fd < 0 || write(fd, data, size) != (ssize_t)size)
        abort();
    snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
    load(path, NULL);
    load(path, &rings[0]);
    load(path, &rings[1]);
    close(fd);
    return 0;
}

/* One change of a text: a word of another sample, a line twice, a line away, odd bytes. */
static size_t change(uint64_t *seed, char *text, size_t len, size_t size)
{
    static const char *const words[] = {"*a",        "&a ",
                                        "- ",        "{",
                                        "}",         "[",
                                        "]",         ": ",
                                        "\t",        "~",
                                        "null",      "yes",
                                        "-1",        "1e9",
                                        "\"",        "'",
                                        "---",       "...",
                                        "!!binary ", "%",
                                        "0x",        "99999999999999999999",
                                        "24h",       "\xff",
                                        "\xc3\x28",  "|\n",
                                        ">\n",       "? ",
                                        "<<: ",      "\\0"};
    size_t at = len ? (size_t)(fuzz_next(seed) % len) : 0;
    const char *word = words[fuzz_next(seed) % (sizeof(words) / sizeof(*words))];
    size_t n = strlen(word), end = at;

    while (end < len && text[end] != '\n')
        end++;
    switch (fuzz_next(seed) % 4) {
    case 0: /* the rest of the line goes */
        memmove(text + at, text + end, len - end);
        return len - (end - at);
    case 1: /* something else is there */
        for (size_t i = 0; i < n && at + i < len; i++)
            text[at + i] = word[i];
        return len;
    case 2: /* more is there */
        if (len + n > size)
            return len;
        memmove(text + at + n, text + at, len - at);
        memcpy(text + at, word, n);
        return len + n;
    default: /* the rest of the line twice */
        n = end - at;
        if (len + n > size)
            return len;
        memmove(text + at + n, text + at, len - at);
        return len + n;
    }
}

size_t fuzz_make(uint64_t *seed, uint8_t *data, size_t size)
{
    size_t len, i, from;

    if (samples.n == 0)
        load_samples();
    if (fuzz_next(seed) % 16 == 0)
        return fuzz_random_bytes(seed, data, size);
    i = (size_t)(fuzz_next(seed) % samples.n);
    from = samples.len[i] > size ? (size_t)(fuzz_next(seed) % (samples.len[i] - size)) : 0;
    if (fuzz_next(seed) % 2)
        from = 0;
    len = samples.len[i] - from < size ? samples.len[i] - from : size;
    memcpy(data, samples.text[i] + from, len);
    for (uint64_t n = fuzz_next(seed) % 8; n > 0; n--)
        len = change(seed, (char *)data, len, size);
    return len;
}
