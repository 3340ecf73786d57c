/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What operators ask of the register here: a change is made to a copy of this host's file, checked
 * by a process of its own, kept where other hosts find it, and put to the cluster; another host's
 * file is fetched and shown. */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "blobs.h"
#include "config_file.h"
#include "register_internal.h"
#include "util.h"

#define PROPOSAL_NAME "proposal.yaml"

enum { PATIENCE_MS = 10 * 1000 };

static int sentence(char **ret_text, int r, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

static int sentence(char **ret_text, int r, const char *format, ...)
{
    va_list args;

    va_start(args, format);
    if (vasprintf(ret_text, format, args) < 0)
        *ret_text = NULL;
    va_end(args);
    return r;
}

/* ------------------------------------------------------------------------------------- a change */

static void drop_proposal(struct xvm_register *reg)
{
    reg->proposal = xvm_child_free(reg->proposal);
    if (reg->proposal_path)
        (void)unlink(reg->proposal_path);
    free(reg->proposal_path);
    reg->proposal_path = NULL;
    xvm_edit_done(&reg->edit);
}

/* To the core, which answers the client. */
static void propose(struct xvm_register *reg)
{
    char name[33], text[HA_TEXT_MAX];
    struct ha_uuid hash;
    int r = xvm_supply_keep(reg->d->supply, reg->edit.text, reg->edit.len, &hash);

    drop_proposal(reg);
    if (r < 0) {
        snprintf(text, sizeof(text), "the new configuration cannot be kept: %s",
                 r == -EFBIG ? "it is larger than 512 KiB" : strerror(-r));
        xvm_ipc_reply(reg->d->ipc, reg->request.client, r, text);
        return;
    }
    xvm_blob_name(&hash, name);
    snprintf(reg->request.text, sizeof(reg->request.text), "%s %016" PRIx64 " %s", reg->what,
             reg->base, name);
    xvm_daemon_command(reg->d, &reg->request);
}

/* Mistakes are named by the place where the operator wrote them. */
static char *translate(const struct xvm_register *reg, const char *errors)
{
    const char *path = reg->proposal_path;
    size_t n = strlen(path), len = 0;
    char *text = NULL;
    FILE *to = open_memstream(&text, &len);

    while (to && *errors) {
        size_t length = strcspn(errors, "\n");
        char *end = NULL;
        unsigned long line = 0;

        if (strncmp(errors, path, n) == 0 && errors[n] == ':')
            line = strtoul(errors + n + 1, &end, 10);
        if (!end || end == errors + n + 1 || *end != ':')
            fprintf(to, "%.*s\n", (int)length, errors);
        else if (line >= reg->edit.first && line < reg->edit.first + reg->edit.n)
            fprintf(to, "line %lu of the guest's text, column %.*s\n",
                    line - reg->edit.first + reg->edit.from, (int)(errors + length - end - 1),
                    end + 1);
        else
            fprintf(to, "%s, as it would be, line %lu, column %.*s\n", reg->d->options.config_path,
                    line, (int)(errors + length - end - 1), end + 1);
        errors += length + (errors[length] == '\n');
    }
    if (to && fclose(to) != 0) {
        free(text);
        text = NULL;
    }
    return text;
}

static void on_proposal_checked(void *user, const struct xvm_child_end *end)
{
    struct xvm_register *reg = user;
    char *text = NULL;

    reg->proposal = NULL;
    if (end->how == XVM_CHILD_EXITED && end->code == 0) {
        propose(reg);
        return;
    }
    if (end->how == XVM_CHILD_EXITED && end->err[0])
        text = translate(reg, end->err);
    xvm_ipc_reply(reg->d->ipc, reg->request.client, -EINVAL,
                  text ? text : "the new configuration could not be checked");
    free(text);
    drop_proposal(reg);
}

static int write_proposal(struct xvm_register *reg)
{
    const char *text = reg->edit.text;
    size_t len = reg->edit.len;
    int fd, r = 0;

    if (asprintf(&reg->proposal_path, "%s/%s", reg->d->options.run_dir, PROPOSAL_NAME) < 0) {
        reg->proposal_path = NULL;
        return -ENOMEM;
    }
    (void)unlink(reg->proposal_path);
    fd = open(reg->proposal_path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (fd < 0)
        return -errno;
    while (r == 0 && len > 0) {
        ssize_t n = write(fd, text, len);

        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            r = n < 0 ? -errno : -EIO;
        else {
            text += n;
            len -= (size_t)n;
        }
    }
    close(fd);
    return r;
}

/* The file, which must be what is in use. */
static int read_base(struct xvm_register *reg, char **ret_file, size_t *ret_len, char **ret_text)
{
    const char *path = reg->d->options.config_path;
    int r = xvm_config_file_read(path, ret_file, ret_len);

    if (r < 0)
        return sentence(ret_text, r, "cannot read %s: %s", path, strerror(-r));
    reg->base = xvm_config_hash(*ret_file, *ret_len);
    if (reg->base == reg->d->config->hash)
        return 0;
    free(*ret_file);
    *ret_file = NULL;
    return sentence(ret_text, -EBUSY,
                    "%s was edited and is not in use yet: `xvmhactl reload` first", path);
}

static int make(struct xvm_register *reg, const struct xvm_register_request *request, char *file,
                size_t len, char **ret_text)
{
    struct ha_error error = {0};
    int r = 0;

    switch (request->what) {
    case XVM_REGISTER_ADD:
        strcpy(reg->what, "add");
        r = xvm_edit_add(file, len, request->fragment, strlen(request->fragment), &reg->edit,
                         &error);
        break;
    case XVM_REGISTER_REMOVE:
        strcpy(reg->what, request->force ? "drop" : "remove");
        r = xvm_edit_remove(file, len, request->guest, &reg->edit, &error);
        break;
    case XVM_REGISTER_PUSH:
        strcpy(reg->what, "push");
        reg->edit = (struct xvm_edit){.text = malloc(len + 1), .len = len};
        if (!reg->edit.text)
            return -ENOMEM;
        memcpy(reg->edit.text, file, len + 1);
        break;
    }
    if (r == 0)
        return 0;
    if (error.line > 0)
        return sentence(ret_text, r, "%s line %u, column %u: %s",
                        error.code == 1 ? "the guest's text," : reg->d->options.config_path,
                        error.line, error.column, error.text);
    return sentence(ret_text, r, "%s", error.text);
}

int xvm_register_ask(struct xvm_register *reg, const struct xvm_register_request *request,
                     char **ret_text)
{
    char *file = NULL;
    size_t len = 0;
    int r;

    *ret_text = NULL;
    if (reg->proposal)
        return sentence(ret_text, -EBUSY,
                        "another change is being checked here: repeat in a moment");
    r = read_base(reg, &file, &len, ret_text);
    if (r < 0 || !file)
        return r;
    r = make(reg, request, file, len, ret_text);
    free(file);
    if (r < 0)
        return r;
    reg->request = (struct ha_request){.client = request->client, .command = HA_CMD_CONFIG};
    if (reg->edit.nguests <= 1)
        snprintf(reg->request.guest, sizeof(reg->request.guest), "%s", reg->edit.guest);
    else
        snprintf(reg->request.guest, sizeof(reg->request.guest), "%zu guests", reg->edit.nguests);
    snprintf(reg->request.who, sizeof(reg->request.who), "%s", request->who);
    if (request->what == XVM_REGISTER_PUSH) { /* it is in use: there is no mistake in it */
        propose(reg);
        return 0;
    }
    r = write_proposal(reg);
    if (r == 0)
        r = xvm_daemon_check_file(reg->d, reg->proposal_path, on_proposal_checked, reg,
                                  &reg->proposal);
    if (r < 0)
        drop_proposal(reg);
    return r;
}

int xvm_register_export(struct xvm_register *reg, const char *guest, json_t **ret_answer,
                        char **ret_text)
{
    struct ha_error error = {0};
    struct xvm_edit edit = {0};
    char *file = NULL;
    size_t len = 0;
    int r;

    *ret_text = NULL;
    r = xvm_config_file_read(reg->d->options.config_path, &file, &len);
    if (r < 0)
        return sentence(ret_text, r, "cannot read %s: %s", reg->d->options.config_path,
                        strerror(-r));
    r = xvm_edit_export(file, len, guest, &edit, &error);
    free(file);
    if (r < 0)
        return sentence(ret_text, r, "%s", error.text);
    *ret_answer = json_pack("{s:s, s:s}", "guest", guest, "text", edit.text);
    xvm_edit_done(&edit);
    return *ret_answer ? 0 : -EINVAL;
}

/* ------------------------------------------------------------------------------------ the files */

static void drop_question(struct xvm_question *q)
{
    sd_event_source_disable_unref(q->timer);
    *q = (struct xvm_question){0};
}

static json_t *file_json(const struct xvm_register *reg, ha_node host, const char *path,
                         const char *text, size_t len, bool used)
{
    const char *name = xvm_daemon_host_name(reg->d, host);
    char hash[17];

    snprintf(hash, sizeof(hash), "%016" PRIx64, xvm_config_hash(text, len));
    return json_pack("{s:s, s:s, s:s%, s:s, s:b}", "host", name ? name : "", "path", path, "text",
                     text, len, "hash", hash, "used", used);
}

static void answer_question(struct xvm_question *q)
{
    struct xvm_register *reg = q->reg;
    json_t *answer = NULL;
    void *bytes = NULL;
    size_t len = 0;

    if (xvm_supply_get(reg->d->supply, &q->hash, &bytes, &len) < 0) {
        xvm_supply_want(reg->d->supply, &q->hash);
        return;
    }
    answer = file_json(reg, q->host, q->path, bytes, len, q->used);
    free(bytes);
    if (answer)
        xvm_ipc_answer(reg->d->ipc, q->client, answer);
    else
        xvm_ipc_reply(reg->d->ipc, q->client, -EINVAL, "that file is no text in UTF-8");
    drop_question(q);
}

void xvm_register_file_arrived(struct xvm_register *reg)
{
    for (size_t i = 0; i < XVM_QUESTIONS; i++)
        if (reg->questions[i].reg && reg->questions[i].told)
            answer_question(&reg->questions[i]);
}

static int on_time(sd_event_source *source, uint64_t at, void *user)
{
    struct xvm_question *q = user;
    const char *name = xvm_daemon_host_name(q->reg->d, q->host);
    char text[HA_TEXT_MAX];

    (void)source;
    (void)at;
    snprintf(text, sizeof(text), "%s does not answer: is xvm-had running there?", name ? name : "");
    xvm_ipc_reply(q->reg->d->ipc, q->client, -ETIMEDOUT, text);
    drop_question(q);
    return 0;
}

static int own_file(struct xvm_register *reg, uint64_t client, char **ret_text)
{
    const char *path = reg->d->options.config_path;
    size_t len = 0;
    char *text = NULL;
    json_t *answer;
    int r = xvm_config_file_read(path, &text, &len);

    if (r < 0)
        return sentence(ret_text, r, "cannot read %s: %s", path, strerror(-r));
    answer = file_json(reg, reg->d->facts.self, path, text, len,
                       xvm_config_hash(text, len) == reg->d->config->hash);
    free(text);
    if (!answer)
        return sentence(ret_text, -EINVAL, "%s is no text in UTF-8", path);
    xvm_ipc_answer(reg->d->ipc, client, answer);
    return 0;
}

int xvm_register_file(struct xvm_register *reg, uint64_t client, ha_node host, char **ret_text)
{
    struct xvm_question *q = NULL;
    int r;

    *ret_text = NULL;
    if (host == 0 || host == reg->d->facts.self)
        return own_file(reg, client, ret_text);
    for (size_t i = 0; i < XVM_QUESTIONS && !q; i++)
        q = reg->questions[i].reg ? NULL : &reg->questions[i];
    if (!q || !reg->d->talk)
        return -EBUSY;
    *q = (struct xvm_question){.reg = reg, .client = client, .host = host};
    q->id = (uint64_t)reg->d->facts.self << 32 | (++reg->next_id & 0xffffffff);
    r = xvm_talk_say(reg->d->talk, "config-wanted",
                     json_pack("{s:I, s:I}", "id", (json_int_t)q->id, "host", (json_int_t)host));
    if (r == 0)
        r = sd_event_add_time_relative(reg->d->loop, &q->timer, CLOCK_BOOTTIME,
                                       (uint64_t)PATIENCE_MS * 1000, 0, on_time, q);
    if (r < 0)
        drop_question(q);
    return r;
}

/* Somebody elsewhere wants to see this host's file. */
static void show_file(struct xvm_register *reg, json_int_t id)
{
    const char *path = reg->d->options.config_path;
    struct ha_uuid hash = {{0}};
    char name[33] = "", *text = NULL;
    size_t len = 0;
    bool used = false;
    int r = xvm_config_file_read(path, &text, &len);

    if (r == 0) {
        used = xvm_config_hash(text, len) == reg->d->config->hash;
        r = xvm_supply_keep(reg->d->supply, text, len, &hash);
    }
    free(text);
    if (r == 0)
        xvm_blob_name(&hash, name);
    xvm_talk_say(reg->d->talk, "config-is",
                 json_pack("{s:I, s:s, s:s, s:b, s:s}", "id", id, "hash", name, "path", path,
                           "used", used, "error", r < 0 ? strerror(-r) : ""));
}

static void take_answer(struct xvm_question *q, const json_t *body)
{
    const char *hash = json_string_value(json_object_get(body, "hash")),
               *path = json_string_value(json_object_get(body, "path")),
               *error = json_string_value(json_object_get(body, "error"));
    const char *host = xvm_daemon_host_name(q->reg->d, q->host);
    char text[HA_TEXT_MAX];

    if (!hash || !path || !error || q->told)
        return;
    if (error[0] || xvm_uuid_parse(hash, &q->hash) < 0) {
        snprintf(text, sizeof(text), "%s cannot read its configuration: %.100s", host ? host : "",
                 error);
        xvm_ipc_reply(q->reg->d->ipc, q->client, -EIO, text);
        drop_question(q);
        return;
    }
    q->told = true;
    q->used = json_is_true(json_object_get(body, "used"));
    snprintf(q->path, sizeof(q->path), "%s", path);
    answer_question(q);
}

void xvm_register_heard(struct xvm_register *reg, ha_node from, const char *kind,
                        const json_t *body)
{
    json_int_t id = json_integer_value(json_object_get(body, "id"));

    if (strcmp(kind, "config-wanted") == 0 &&
        json_integer_value(json_object_get(body, "host")) == (json_int_t)reg->d->facts.self)
        show_file(reg, id);
    if (strcmp(kind, "config-is") != 0)
        return;
    for (size_t i = 0; i < XVM_QUESTIONS; i++) {
        struct xvm_question *q = &reg->questions[i];

        if (q->reg && q->host == from && q->id == (uint64_t)id)
            take_answer(q, body);
    }
}

void xvm_register_ask_done(struct xvm_register *reg)
{
    drop_proposal(reg);
    for (size_t i = 0; i < XVM_QUESTIONS; i++)
        drop_question(&reg->questions[i]);
}
