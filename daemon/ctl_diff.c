/* SPDX-License-Identifier: GPL-2.0-or-later */
/* `xvmhactl config show`, `config diff`: hosts' configuration files, and where they differ. */
#include <errno.h>
#include <spawn.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "ctl.h"

/* ------------------------------------------------------------------------------------ programs */

static char *text_of(int fd)
{
    off_t size = lseek(fd, 0, SEEK_END);
    char *text = size >= 0 ? malloc((size_t)size + 1) : NULL;
    ssize_t n = text != NULL ? pread(fd, text, (size_t)size, 0) : -1;

    if (text != NULL)
        text[n > 0 ? n : 0] = '\0';
    return text;
}

static int spawn(const char *const *argv, const int *fds, size_t nfds, int out, pid_t *ret_pid)
{
    posix_spawn_file_actions_t actions;
    int e;

    if (posix_spawn_file_actions_init(&actions) != 0)
        return -ENOMEM;
    e = posix_spawn_file_actions_adddup2(&actions, out, STDOUT_FILENO);
    for (size_t i = 0; i < nfds && e == 0; i++)
        e = posix_spawn_file_actions_adddup2(&actions, fds[i], (int)i + 3);
    if (e == 0)
        e = posix_spawnp(ret_pid, argv[0], &actions, NULL, (char *const *)argv, environ);
    posix_spawn_file_actions_destroy(&actions);
    return -e;
}

int ctl_run(const char *const *argv, const int *fds, size_t nfds, char **ret_text, int *ret_status)
{
    int out = memfd_create("out", MFD_CLOEXEC), status = 0, r;
    pid_t pid = 0;

    if (out < 0)
        return -errno;
    r = spawn(argv, fds, nfds, out, &pid);
    while (r == 0 && waitpid(pid, &status, 0) < 0)
        r = errno == EINTR ? 0 : -errno;
    if (r == 0) {
        *ret_text = text_of(out);
        r = *ret_text != NULL ? 0 : -ENOMEM;
        *ret_status = WIFEXITED(status) ? WEXITSTATUS(status) : 128;
    }
    close(out);
    return r;
}

/* --------------------------------------------------------------------------------------- files */

/* A host's file; host "": this one's. */
static int fetch(const struct ctl *ctl, const char *host, json_t **ret_file)
{
    return ctl_call(ctl, "org.xvmha.ConfigFile",
                    host[0] != '\0' ? json_pack("{s:s}", "host", host) : NULL, ret_file);
}

int ctl_config_show(struct ctl *ctl, const struct ctl_command *command, char **args, int nargs)
{
    json_t *file = NULL;
    int r = fetch(ctl, nargs > 0 ? args[0] : "", &file);

    (void)command;
    if (r != CTL_OK)
        return r;
    if (ctl->json)
        ctl_print_json(file);
    else
        fputs(ctl_string(file, "text"), stdout);
    json_decref(file);
    return CTL_OK;
}

/* A text as a file without a name. */
static int memory_file(const char *text)
{
    int fd = memfd_create("config", 0);
    size_t len = strlen(text);

    while (fd >= 0 && len > 0) {
        ssize_t n = write(fd, text, len);

        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0) {
            close(fd);
            return -EIO;
        }
        text += n;
        len -= (size_t)n;
    }
    return fd < 0 ? -errno : fd;
}

/* The difference as text; NULL: diff(1) cannot be run. */
static char *diff_of(const json_t *a, const json_t *b)
{
    char label_a[512], label_b[512], *text = NULL;
    const char *const argv[] = {"diff",       "-u",      "--label",      label_a,
                                "--label",    label_b,   "/dev/fd/3",    "/dev/fd/4",
                                NULL};
    int fds[2] = {memory_file(ctl_string(a, "text")), memory_file(ctl_string(b, "text"))};
    int status = 0;

    snprintf(label_a, sizeof(label_a), "%s:%s", ctl_string(a, "host"), ctl_string(a, "path"));
    snprintf(label_b, sizeof(label_b), "%s:%s", ctl_string(b, "host"), ctl_string(b, "path"));
    if (fds[0] < 0 || fds[1] < 0 || ctl_run(argv, fds, 2, &text, &status) < 0 || status > 1) {
        free(text);
        text = NULL;
    }
    for (size_t i = 0; i < 2; i++)
        if (fds[i] >= 0)
            close(fds[i]);
    return text;
}

static void put_diff(const struct ctl *ctl, const json_t *other, bool same, const char *text)
{
    const char *host = ctl_string(other, "host");
    char line[300];

    if (same) {
        printf("%s: the same\n", host);
    } else if (text == NULL) {
        printf("%s: differs (there is no diff(1) here to show how)\n", host);
    } else {
        for (const char *at = text; *at != '\0'; at += strcspn(at, "\n"), at += *at == '\n') {
            snprintf(line, sizeof(line), "%.*s", (int)strcspn(at, "\n"), at);
            ctl_put(ctl, *at == '+'   ? STYLE_GOOD
                         : *at == '-' ? STYLE_BAD
                                      : STYLE_PLAIN,
                    line);
            putchar('\n');
        }
    }
    if (!ctl_bool(other, "used")) {
        snprintf(line, sizeof(line),
                 "%.64s works by another configuration than is in its file: `xvmhactl reload` "
                 "there",
                 host);
        ctl_put_wrapped(ctl, STYLE_BUSY, line, 0, 2);
    }
}

/* Compares with one host. *ret_same; adds to `list`. */
static int compare(const struct ctl *ctl, const json_t *own, const char *host, json_t *list,
                   bool *ret_same)
{
    json_t *other = NULL;
    char *text = NULL;
    bool same;
    int r = fetch(ctl, host, &other);

    if (r != CTL_OK)
        return r;
    same = strcmp(ctl_string(own, "text"), ctl_string(other, "text")) == 0;
    if (!same)
        text = diff_of(own, other);
    *ret_same = same && ctl_bool(other, "used");
    if (ctl->json)
        json_array_append_new(list,
                              json_pack("{s:s, s:b, s:b, s:s}", "host", host, "same", same, "used",
                                        ctl_bool(other, "used"), "diff", text != NULL ? text : ""));
    else
        put_diff(ctl, other, same, text);
    free(text);
    json_decref(other);
    return CTL_OK;
}

/* All other hosts that are here. */
static int compare_all(const struct ctl *ctl, const json_t *own, json_t *list, bool *ret_same)
{
    json_t *status = NULL;
    const json_t *host;
    size_t i;
    int r = ctl_call(ctl, "org.xvmha.Status", NULL, &status);

    if (r != CTL_OK)
        return r;
    json_array_foreach(json_object_get(status, "hosts"), i, host)
    {
        const char *name = ctl_string(host, "name");
        bool same = false;

        if (strcmp(name, ctl_string(status, "self")) == 0)
            continue;
        if (!ctl_bool(host, "daemon")) {
            if (!ctl->json)
                printf("%s: not here\n", name);
            continue;
        }
        if (compare(ctl, own, name, list, &same) != CTL_OK)
            r = CTL_FAILED;
        *ret_same = *ret_same && same;
    }
    json_decref(status);
    return r;
}

int ctl_config_diff(struct ctl *ctl, const struct ctl_command *command, char **args, int nargs)
{
    json_t *own = NULL, *list = json_array(), *all;
    bool same = true;
    int r = fetch(ctl, "", &own);

    (void)command;
    if (r == CTL_OK && nargs > 0)
        r = compare(ctl, own, args[0], list, &same);
    else if (r == CTL_OK)
        r = compare_all(ctl, own, list, &same);
    if (r == CTL_OK && ctl->json) {
        all = json_pack("{s:b, s:O}", "same", same, "hosts", list);
        ctl_print_json(all);
        json_decref(all);
    }
    json_decref(list);
    json_decref(own);
    return r == CTL_OK && !same ? CTL_FAILED : r;
}
