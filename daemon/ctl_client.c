/* SPDX-License-Identifier: GPL-2.0-or-later */
/* One call to xvm-had over its control socket, and its failures in words. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>
#include <unistd.h>

#include "ctl.h"
#include "version.h"

enum {
    ANSWER_TIMEOUT_S = 30,
    ANSWER_MAX = 64 * 1024 * 1024,
    CHUNK = 64 * 1024,
};

/* -------------------------------------------------------------------------------- failures */

/* Says it on stderr, and with --json as an object on stdout. */
static int fail(const struct ctl *ctl, int exit_code, const char *text)
{
    json_t *object;

    if (ctl->quiet && (exit_code == CTL_NO_DAEMON || exit_code == CTL_TIMEOUT))
        return exit_code;
    if (ctl->json) {
        object = json_pack("{s:s, s:{s:s}}", "error", "org.xvmha.ctl.Failed", "parameters", "text",
                           text);
        ctl_print_json(object);
        json_decref(object);
    }
    ctl_put_error(ctl, text);
    return exit_code;
}

static int fail_connect(const struct ctl *ctl, int error)
{
    char text[512];

    if (error == ENOENT || error == ECONNREFUSED) {
        snprintf(text, sizeof(text), "xvm-had is not running here (%s %s): systemctl start xvm-had",
                 error == ENOENT ? "no" : "nobody listens at", ctl->socket);
        return fail(ctl, CTL_NO_DAEMON, text);
    }
    if (error == EACCES || error == EPERM) {
        snprintf(text, sizeof(text),
                 "no permission to use %s: that is for root and members of the "
                 "groups " XVM_GROUP_CHANGE " (change) and " XVM_GROUP_READ " (look)",
                 ctl->socket);
        return fail(ctl, CTL_DENIED, text);
    }
    snprintf(text, sizeof(text), "cannot connect to %s: %s", ctl->socket, strerror(error));
    return fail(ctl, CTL_NO_DAEMON, text);
}

static int patience(const struct ctl *ctl)
{
    return ctl->patience_s > 0 ? ctl->patience_s : ANSWER_TIMEOUT_S;
}

/* No answer. A call that changes something may have been taken: then the outcome is not known. */
static int fail_talk(const struct ctl *ctl, const char *method, int error)
{
    bool changes =
        strcmp(method, "org.xvmha.Command") == 0 || strcmp(method, "org.xvmha.Reload") == 0 ||
        strcmp(method, "org.xvmha.Leave") == 0;
    char text[400];

    if (error == EAGAIN)
        snprintf(text, sizeof(text),
                 "no answer from xvm-had within %d s%s: is it stuck? `systemctl status xvm-had`",
                 patience(ctl),
                 changes ? ". The command may still be carried out, see `xvmhactl status`" : "");
    else
        snprintf(text, sizeof(text), "connection to xvm-had lost%s%s%s: see `journalctl -u xvm-had`",
                 error != 0 ? ": " : "", error != 0 ? strerror(error) : "",
                 changes ? ". The command may still be carried out, see `xvmhactl status`" : "");
    return fail(ctl, error == EAGAIN || changes ? CTL_TIMEOUT : CTL_NO_DAEMON, text);
}

static int exit_code_of(const char *error, const json_t *params)
{
    if (strcmp(error, "org.xvmha.PermissionDenied") == 0)
        return CTL_DENIED;
    if (strcmp(error, "org.xvmha.UnknownName") == 0)
        return CTL_UNKNOWN;
    if (strcmp(error, "org.xvmha.NotReady") == 0)
        return CTL_NO_DAEMON;
    if (strcmp(error, "org.xvmha.Failed") == 0) {
        const json_t *quorate = json_object_get(params, "quorate");

        /* Nobody knows whether it was done; a wrong file is a wrong file, with quorum or without. */
        if (ctl_int(params, "code") == -ETIMEDOUT)
            return CTL_TIMEOUT;
        if (json_is_false(quorate) && ctl_int(params, "code") != -EINVAL)
            return CTL_NO_QUORUM;
    }
    return CTL_FAILED;
}

/* An error that the daemon answered. */
static int fail_answer(const struct ctl *ctl, const char *error, const json_t *answer)
{
    const json_t *params = json_object_get(answer, "parameters");
    const char *text = ctl_string(params, "text");
    int code = exit_code_of(error, params);

    if (ctl->quiet && code == CTL_NO_DAEMON)
        return code;
    if (ctl->json)
        ctl_print_json(answer);
    if (text[0] == '\0') {
        text = error;
        if (strcmp(error, "org.varlink.service.MethodNotFound") == 0)
            text = "xvm-had is of another version and does not know this command";
        else if (strcmp(error, "org.varlink.service.InvalidParameter") == 0)
            text = "xvm-had does not understand a parameter of this command";
    }
    ctl_put_error(ctl, text);
    if (code == CTL_NO_QUORUM)
        fputs("This host has no quorum; `xvmhactl status` tells who is missing.\n", stderr);
    return code;
}

/* ------------------------------------------------------------------------------------ call */

static int connect_to(const char *path, int patience_s)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    struct timeval limit = {.tv_sec = patience_s};
    int fd, error;

    if (strlen(path) >= sizeof(address.sun_path))
        return -ENAMETOOLONG;
    strcpy(address.sun_path, path);
    fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return -errno;
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit));
    setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof(limit));
    if (connect(fd, (const struct sockaddr *)&address, sizeof(address)) < 0) {
        error = errno;
        close(fd);
        return -error;
    }
    return fd;
}

static int send_all(int fd, const char *data, size_t len)
{
    while (len > 0) {
        ssize_t n = send(fd, data, len, MSG_NOSIGNAL);

        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return -errno;
        data += n;
        len -= (size_t)n;
    }
    return 0;
}

/* Reads up to the NUL. 0 and an allocated text, or a negative errno; -ECONNRESET: closed early. */
static int receive(int fd, char **ret_text)
{
    char *text = NULL, *grown;
    size_t len = 0;
    ssize_t n;
    int r = -ENOMEM;

    while (len < ANSWER_MAX && (grown = realloc(text, len + CHUNK)) != NULL) {
        text = grown;
        n = recv(fd, text + len, CHUNK, 0);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0) {
            r = n < 0 ? -errno : -ECONNRESET;
            break;
        }
        len += (size_t)n;
        if (memchr(text + len - n, '\0', (size_t)n) != NULL) {
            *ret_text = text;
            return 0;
        }
    }
    free(text);
    return r;
}

static int talk(int fd, const char *method, json_t *params, char **ret_text)
{
    json_t *call = json_pack("{s:s, s:o}", "method", method, "parameters",
                             params != NULL ? params : json_object());
    char *message = call != NULL ? json_dumps(call, JSON_COMPACT) : NULL;
    int r = message != NULL ? send_all(fd, message, strlen(message) + 1) : -EINVAL;

    json_decref(call);
    free(message);
    return r < 0 && r != -EPIPE ? r : receive(fd, ret_text);
}

int ctl_call(const struct ctl *ctl, const char *method, json_t *params, json_t **ret_answer)
{
    char *text = NULL;
    const char *error;
    json_t *answer, *values;
    int r, fd = connect_to(ctl->socket, patience(ctl));

    if (fd < 0) {
        json_decref(params);
        return fail_connect(ctl, -fd);
    }
    r = talk(fd, method, params, &text);
    close(fd);
    if (r < 0)
        return fail_talk(ctl, method, r == -ECONNRESET ? 0 : -r);
    answer = json_loads(text, 0, NULL);
    free(text);
    if (!json_is_object(answer)) {
        json_decref(answer);
        return fail(ctl, CTL_FAILED, "xvm-had answered something that is no JSON");
    }
    error = json_string_value(json_object_get(answer, "error"));
    if (error != NULL) {
        r = fail_answer(ctl, error, answer);
    } else {
        values = json_object_get(answer, "parameters");
        *ret_answer = values != NULL ? json_incref(values) : json_object();
        r = CTL_OK;
    }
    json_decref(answer);
    return r;
}

int ctl_request(const struct ctl *ctl, const char *command, const char *guest, const char *host,
                const char *text, json_t **ret_answer)
{
    json_t *params = json_pack("{s:s}", "command", command);

    if (guest[0] != '\0')
        json_object_set_new(params, "guest", json_string(guest));
    if (host[0] != '\0')
        json_object_set_new(params, "host", json_string(host));
    if (text[0] != '\0')
        json_object_set_new(params, "text", json_string(text));
    return ctl_call(ctl, "org.xvmha.Command", params, ret_answer);
}

int ctl_request_print(const struct ctl *ctl, const char *command, const char *guest,
                      const char *host, const char *text)
{
    json_t *answer = NULL;
    int r = ctl_request(ctl, command, guest, host, text, &answer);

    if (r != CTL_OK)
        return r;
    if (ctl->json)
        ctl_print_json(answer);
    else
        ctl_put_wrapped(ctl, STYLE_PLAIN, ctl_string(answer, "text"), 0, 0);
    json_decref(answer);
    return CTL_OK;
}
