/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The control socket: listening, clients, varlink's framing, and limits on what clients can make
 * the daemon do: one message at a time each, nothing read while an answer is unread. */
#include "ipc.h"

#include <errno.h>
#include <poll.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "ipc_internal.h"

enum { READ_SIZE = 64 * 1024, BACKLOG = 64 };

/* --------------------------------------------------------------------------------- clients */

static void client_drop_output(struct xvm_client *client)
{
    client->ipc->queued -= client->out_len;
    free(client->out);
    client->out = NULL;
    client->out_len = client->out_sent = 0;
}

static void client_free(struct xvm_client *client)
{
    struct xvm_ipc *ipc = client->ipc;

    for (size_t i = 0; i < XVM_CLIENTS_MAX; i++) {
        if (ipc->clients[i] == client)
            ipc->clients[i] = NULL;
    }
    client_drop_output(client);
    sd_event_source_disable_unref(client->source);
    close(client->fd);
    free(client->in);
    free(client);
}

static bool message_ready(const struct xvm_client *client)
{
    return client->in_len > 0 && memchr(client->in, '\0', client->in_len) != NULL;
}

/* What to wait for. A client is read only when it has taken its last answer, so that it cannot make
 * the daemon hold more than one. EPOLLOUT with nothing to send: come back for the next message. */
static int client_watch(struct xvm_client *client)
{
    uint32_t events = 0;

    if (client->out_len > 0 || client->closing)
        events = EPOLLOUT;
    else if (client->waiting == 0)
        events = message_ready(client) ? EPOLLOUT : EPOLLIN;
    return sd_event_source_set_io_events(client->source, events);
}

/* -------------------------------------------------------------------------------- sending */

/* Makes room among the answers that nobody takes: the idlest clients of no greater rights go. Never
 * one whose message is being handled: that has no answer queued yet. */
static bool make_room(struct xvm_client *client, size_t len)
{
    struct xvm_ipc *ipc = client->ipc;

    while (ipc->queued + len > XVM_QUEUED_MAX) {
        struct xvm_client *idlest = NULL;

        for (size_t i = 0; i < XVM_CLIENTS_MAX; i++) {
            struct xvm_client *c = ipc->clients[i];

            if (c != NULL && c != client && c->out_len > 0 && c->access <= client->access &&
                (idlest == NULL || c->activity < idlest->activity))
                idlest = c;
        }
        if (idlest == NULL)
            return false;
        client_free(idlest);
    }
    return true;
}

static void client_queue(struct xvm_client *client, json_t *message)
{
    char *text = message != NULL ? json_dumps(message, JSON_COMPACT) : NULL;
    size_t len = text != NULL ? strlen(text) + 1 : 0; /* the NUL is the end of a message */

    json_decref(message);
    if (text == NULL || client->out != NULL || !make_room(client, len)) {
        free(text);
        client->closing = true;
    } else {
        client->out = text;
        client->out_len = len;
        client->out_sent = 0;
        client->ipc->queued += len;
    }
    client_watch(client);
}

void xvm_client_answer(struct xvm_client *client, json_t *parameters)
{
    if (client->oneway)
        json_decref(parameters);
    else
        client_queue(client, json_pack("{s:o}", "parameters",
                                       parameters != NULL ? parameters : json_object()));
}

void xvm_client_error(struct xvm_client *client, const char *error, json_t *parameters)
{
    if (client->oneway)
        json_decref(parameters);
    else
        client_queue(client, json_pack("{s:s, s:o}", "error", error, "parameters",
                                       parameters != NULL ? parameters : json_object()));
}

void xvm_client_error_text(struct xvm_client *client, const char *error, const char *format, ...)
{
    char text[HA_TEXT_MAX * 2];
    va_list args;

    va_start(args, format);
    vsnprintf(text, sizeof(text), format, args);
    va_end(args);
    xvm_client_error(client, error, json_pack("{s:s}", "text", text));
}

/* 0, or a negative errno: the client is gone. */
static int client_send(struct xvm_client *client)
{
    ssize_t n;

    if (client->out_len == 0)
        return 0;
    n = send(client->fd, client->out + client->out_sent, client->out_len - client->out_sent,
             MSG_NOSIGNAL | MSG_DONTWAIT);
    if (n < 0)
        return errno == EAGAIN || errno == EINTR ? 0 : -errno;
    client->out_sent += (size_t)n;
    if (client->out_sent == client->out_len)
        client_drop_output(client);
    return 0;
}

/* ------------------------------------------------------------------------------- receiving */

/* 0; or a negative errno: the client is gone. */
static int client_read(struct xvm_client *client)
{
    ssize_t n;

    if (client->in_size - client->in_len < READ_SIZE) {
        char *grown = realloc(client->in, client->in_len + READ_SIZE);

        if (grown == NULL)
            return -ENOMEM;
        client->in = grown;
        client->in_size = client->in_len + READ_SIZE;
    }
    n = recv(client->fd, client->in + client->in_len, READ_SIZE, MSG_DONTWAIT);
    if (n == 0)
        return -EPIPE;
    if (n < 0)
        return errno == EAGAIN || errno == EINTR ? 0 : -errno;
    client->in_len += (size_t)n;
    return 0;
}

static void client_next_message(struct xvm_client *client)
{
    char *end = client->in_len > 0 ? memchr(client->in, '\0', client->in_len) : NULL;
    size_t len;

    client->oneway = false;
    if (end == NULL && client->in_len <= XVM_MESSAGE_MAX)
        return;
    if (end == NULL || (size_t)(end - client->in) > XVM_MESSAGE_MAX) {
        client->closing = true;
        xvm_client_error_text(client, "org.xvmha.BadMessage",
                              "message too long, expected at most %d bytes", XVM_MESSAGE_MAX);
        return;
    }
    client->activity = ++client->ipc->clock;
    len = (size_t)(end - client->in);
    xvm_client_call(client, client->in, len);
    client->in_len -= len + 1;
    memmove(client->in, end + 1, client->in_len);
    if (client->in_len == 0) {
        free(client->in);
        client->in = NULL;
        client->in_size = 0;
    }
}

/* A daemon that was stopped for a while finds messages of clients that have given up since. Closing
 * only the sending side, as some programs do, is not giving up. */
bool xvm_client_gone(const struct xvm_client *client)
{
    struct pollfd poll_fd = {.fd = client->fd};

    return poll(&poll_fd, 1, 0) == 1 && (poll_fd.revents & (POLLHUP | POLLERR)) != 0;
}

static int on_client(sd_event_source *source, int fd, uint32_t revents, void *user)
{
    struct xvm_client *client = user;
    int r = 0;

    (void)source;
    (void)fd;
    if ((revents & EPOLLOUT) != 0)
        r = client_send(client);
    else if ((revents & EPOLLIN) != 0)
        r = client_read(client);
    else if ((revents & (EPOLLHUP | EPOLLERR)) != 0)
        r = -EPIPE;
    if (r == 0 && client->out_len == 0 && client->waiting == 0 && !client->closing)
        client_next_message(client);
    if (r == 0)
        r = client_watch(client);
    if (r < 0 || (client->closing && client->out_len == 0))
        client_free(client);
    return 0; /* a client's failure is never the daemon's */
}

/* ------------------------------------------------------------------------------- accepting */

/* A free place; when there is none, that of the idlest client with no greater rights: nobody who
 * may only look can keep those out who may act. -1: all are busy. */
static int find_place(struct xvm_ipc *ipc, enum xvm_access access)
{
    struct xvm_client *idlest = NULL;
    int place = -1;

    for (int i = 0; i < XVM_CLIENTS_MAX; i++) {
        struct xvm_client *c = ipc->clients[i];

        if (c == NULL)
            return i;
        if (c->waiting == 0 && c->access <= access &&
            (idlest == NULL || c->activity < idlest->activity)) {
            idlest = c;
            place = i;
        }
    }
    if (idlest != NULL)
        client_free(idlest);
    return place;
}

static int client_new(struct xvm_ipc *ipc, int fd, enum xvm_access access, uid_t uid)
{
    int r, place = find_place(ipc, access);
    struct xvm_client *client;

    if (place < 0)
        return -EBUSY;
    client = calloc(1, sizeof(*client));
    if (client == NULL)
        return -ENOMEM;
    *client = (struct xvm_client){
        .ipc = ipc, .fd = fd, .access = access, .uid = uid, .activity = ++ipc->clock};
    r = sd_event_add_io(ipc->env.loop, &client->source, fd, EPOLLIN, on_client, client);
    if (r < 0) {
        free(client);
        return r;
    }
    /* The cluster's own traffic goes first. */
    sd_event_source_set_priority(client->source, SD_EVENT_PRIORITY_NORMAL + 50);
    ipc->clients[place] = client;
    return 0;
}

static int on_accept(sd_event_source *source, int listen_fd, uint32_t revents, void *user)
{
    struct xvm_ipc *ipc = user;
    enum xvm_access access;
    uid_t uid;
    int fd = accept4(listen_fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);

    (void)source;
    (void)revents;
    if (fd < 0)
        return 0;
    if (xvm_access_of_peer(&ipc->groups, fd, &access, &uid) < 0 ||
        client_new(ipc, fd, access, uid) < 0)
        close(fd);
    return 0;
}

/* ------------------------------------------------------------------------------ life cycle */

static int fail(struct ha_error *ret_error, int code, const char *what, const char *path)
{
    struct ha_error error = {.code = code};

    snprintf(error.text, sizeof(error.text), "control socket %.150s: %s: %s", path, what,
             strerror(-code));
    *ret_error = error;
    return code;
}

/* A socket file may be left over from an earlier daemon; one that answers is not. */
static int clear_path(const struct sockaddr_un *address)
{
    int r = 0, fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

    if (fd < 0)
        return -errno;
    if (connect(fd, (const struct sockaddr *)address, sizeof(*address)) == 0 || errno == EAGAIN)
        r = -EADDRINUSE;
    else if (errno == ECONNREFUSED && unlink(address->sun_path) < 0)
        r = -errno;
    close(fd);
    return r;
}

static int listen_at(const char *path, int *ret_fd, struct ha_error *ret_error)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    int fd, r;

    if (strlen(path) >= sizeof(address.sun_path))
        return fail(ret_error, -ENAMETOOLONG, "path", path);
    strcpy(address.sun_path, path);
    r = clear_path(&address);
    if (r < 0)
        return fail(ret_error, r, "another daemon or file is there", path);
    fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0)
        return fail(ret_error, -errno, "socket", path);
    /* Anyone may connect; who may do what is answered in words, by the peer's credentials. */
    if (bind(fd, (const struct sockaddr *)&address, sizeof(address)) < 0 || chmod(path, 0666) < 0 ||
        listen(fd, BACKLOG) < 0) {
        r = fail(ret_error, -errno, "bind", path);
        close(fd);
        return r;
    }
    *ret_fd = fd;
    return 0;
}

int xvm_ipc_new(const struct xvm_ipc_env *env, struct xvm_ipc **ret_ipc, struct ha_error *ret_error)
{
    struct xvm_ipc *ipc = calloc(1, sizeof(*ipc));
    int r;

    if (ipc == NULL)
        return fail(ret_error, -ENOMEM, "memory", env->socket_path);
    ipc->env = *env;
    ipc->fd = -1;
    ipc->events = xvm_event_log_new();
    xvm_groups_find(&ipc->groups);
    if (ipc->events == NULL) {
        r = fail(ret_error, -ENOMEM, "memory", env->socket_path);
        goto out;
    }
    r = listen_at(env->socket_path, &ipc->fd, ret_error);
    if (r < 0)
        goto out;
    ipc->path = strdup(env->socket_path);
    r = ipc->path == NULL
            ? -ENOMEM
            : sd_event_add_io(env->loop, &ipc->source, ipc->fd, EPOLLIN, on_accept, ipc);
    if (r < 0) {
        fail(ret_error, r, "event loop", env->socket_path);
        goto out;
    }
    sd_event_source_set_priority(ipc->source, SD_EVENT_PRIORITY_NORMAL + 50);
    *ret_ipc = ipc;
    return 0;
out:
    xvm_ipc_free(ipc);
    return r;
}

struct xvm_ipc *xvm_ipc_free(struct xvm_ipc *ipc)
{
    if (ipc == NULL)
        return NULL;
    for (size_t i = 0; i < XVM_CLIENTS_MAX; i++) {
        if (ipc->clients[i] != NULL)
            client_free(ipc->clients[i]);
    }
    sd_event_source_disable_unref(ipc->source);
    if (ipc->fd >= 0)
        close(ipc->fd);
    if (ipc->path != NULL)
        unlink(ipc->path);
    xvm_event_log_free(ipc->events);
    free(ipc->path);
    free(ipc);
    return NULL;
}

void xvm_ipc_reply(struct xvm_ipc *ipc, uint64_t id, int code, const char *text)
{
    for (size_t i = 0; id != 0 && i < XVM_CLIENTS_MAX; i++) {
        struct xvm_client *client = ipc->clients[i];

        if (client == NULL || client->waiting != id)
            continue;
        client->waiting = 0;
        xvm_client_command_done(client, code, text);
        client_watch(client);
        return;
    }
}

void xvm_ipc_answer(struct xvm_ipc *ipc, uint64_t id, json_t *parameters)
{
    for (size_t i = 0; id != 0 && i < XVM_CLIENTS_MAX; i++) {
        struct xvm_client *client = ipc->clients[i];

        if (client == NULL || client->waiting != id)
            continue;
        client->waiting = 0;
        xvm_client_answer(client, parameters);
        client_watch(client);
        return;
    }
    json_decref(parameters);
}

void xvm_ipc_report(struct xvm_ipc *ipc, enum ha_report what, enum ha_severity severity,
                    const char *host, const char *guest, const char *text)
{
    xvm_event_log_add(ipc->events, what, severity, host, guest, text);
}
