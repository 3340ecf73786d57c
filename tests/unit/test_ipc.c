/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The control socket, over a real socket, with a fake core: calls, rights, limits, garbage. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <errno.h>
#include <grp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "../../daemon/ipc_internal.h"
#include "fake_core.h"

struct world {
    sd_event *loop;
    struct xvm_ipc *ipc;
    struct ha core;
    bool no_core, answer_later;
    struct ha_request request; /* the last one */
    unsigned nrequests;
    int code;
    const char *text;
    char folder[64], path[80];
};

static const struct ha *get_core(void *user)
{
    struct world *w = user;

    return w->no_core ? NULL : &w->core;
}

static ha_ms get_now(void *user)
{
    (void)user;
    return 1000;
}

static void on_command(void *user, const struct ha_request *request)
{
    struct world *w = user;

    w->request = *request;
    w->nrequests++;
    if (!w->answer_later)
        xvm_ipc_reply(w->ipc, request->client, w->code, w->text);
}

static int on_reload(void *user, uint64_t client, char **ret_text)
{
    (void)client;
    struct world *w = user;

    if (w->text != NULL)
        *ret_text = strdup(w->text);
    return w->code;
}

static void on_leave(void *user, ha_ms limit_ms)
{
    (void)user;
    (void)limit_ms;
}

static const struct ha_config *get_config(void *user)
{
    (void)user;
    return fake_config();
}

static int set_up(void **state)
{
    struct world *w = calloc(1, sizeof(*w));
    struct ha_error error;

    if (w == NULL)
        return -1;
    fake_core_init(&w->core);
    strcpy(w->folder, "/tmp/xvm-test-ipc-XXXXXX");
    if (mkdtemp(w->folder) == NULL || sd_event_new(&w->loop) < 0 || chmod(w->folder, 0755) < 0)
        return -1;
    snprintf(w->path, sizeof(w->path), "%s/sock", w->folder);
    *state = w;
    return xvm_ipc_new(&(struct xvm_ipc_env){.loop = w->loop,
                                             .socket_path = w->path,
                                             .user = w,
                                             .core = get_core,
                                             .now = get_now,
                                             .command = on_command,
                                             .reload = on_reload, .leave = on_leave,
                                             .config = get_config},
                       &w->ipc, &error);
}

static int tear_down(void **state)
{
    struct world *w = *state;

    xvm_ipc_free(w->ipc);
    sd_event_unref(w->loop);
    fake_core_done(&w->core);
    rmdir(w->folder);
    free(w);
    return 0;
}

/* --------------------------------------------------------------------------------- clients */

static void pump(struct world *w)
{
    while (sd_event_run(w->loop, 0) > 0)
        ;
}

static int dial_at(const char *path)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

    strcpy(address.sun_path, path);
    if (connect(fd, (const struct sockaddr *)&address, sizeof(address)) < 0) {
        close(fd);
        return -errno;
    }
    return fd;
}

static int dial(struct world *w)
{
    int fd = dial_at(w->path);

    assert_true(fd >= 0);
    return fd;
}

static void say(int fd, const char *text)
{
    size_t len = strlen(text) + 1;

    assert_int_equal(send(fd, text, len, MSG_NOSIGNAL), len);
}

/* Everything that has come, up to a NUL; NULL: nothing. */
static json_t *hear(struct world *w, int fd)
{
    static char buf[4 * 1024 * 1024];
    size_t len = 0;
    json_t *json;

    pump(w);
    for (;;) {
        ssize_t n = recv(fd, buf + len, 1, 0);

        if (n <= 0)
            return NULL;
        if (buf[len++] == '\0')
            break;
        if (len % 4096 == 0)
            pump(w);
    }
    json = json_loads(buf, 0, NULL);
    assert_non_null(json);
    return json;
}

static bool closed(struct world *w, int fd)
{
    char c;
    ssize_t n;

    pump(w);
    n = recv(fd, &c, 1, 0);
    return n == 0 || (n < 0 && errno == ECONNRESET);
}

static json_t *ask(struct world *w, const char *text)
{
    int fd = dial(w);
    json_t *json;

    say(fd, text);
    json = hear(w, fd);
    close(fd);
    pump(w);
    return json;
}

static void expect_error(json_t *json, const char *error, const char *name, const char *value)
{
    json_t *params = json_object_get(json, "parameters");
    const char *text = json_string_value(json_object_get(params, name));

    assert_non_null(json);
    assert_string_equal(json_string_value(json_object_get(json, "error")), error);
    if (name != NULL && (text == NULL || strstr(text, value) == NULL))
        fail_msg("%s is `%s`, expected `%s`", name, text, value);
    json_decref(json);
}

static const char *text_of(json_t *object, const char *name)
{
    const char *text = json_string_value(json_object_get(object, name));

    return text != NULL ? text : "";
}

/* ----------------------------------------------------------------------------------- calls */

static void test_service(void **state)
{
    struct world *w = *state;
    json_t *json = ask(w, "{\"method\":\"org.varlink.service.GetInfo\"}");
    json_t *params = json_object_get(json, "parameters");

    assert_string_equal(text_of(params, "product"), "xvm-had");
    assert_int_equal(json_array_size(json_object_get(params, "interfaces")), 2);
    json_decref(json);
    json = ask(w, "{\"method\":\"org.varlink.service.GetInterfaceDescription\","
                  "\"parameters\":{\"interface\":\"org.xvmha\"}}");
    params = json_object_get(json, "parameters");
    assert_non_null(strstr(text_of(params, "description"), "method Status() -> ("));
    json_decref(json);
    json = ask(w, "{\"method\":\"org.xvmha.Ping\"}");
    assert_int_equal(json_object_size(json_object_get(json, "parameters")), 0);
    json_decref(json);
    expect_error(ask(w, "{\"method\":\"org.xvmha.Pong\"}"), "org.varlink.service.MethodNotFound",
                 "method", "org.xvmha.Pong");
    expect_error(ask(w, "{\"method\":\"org.other.Ping\"}"), "org.varlink.service.InterfaceNotFound",
                 "interface", "org.other");
    expect_error(ask(w, "{\"method\":\"org.xvmha.Ping\",\"parameters\":[]}"),
                 "org.varlink.service.InvalidParameter", "parameter", "parameters");
}

static void test_status(void **state)
{
    struct world *w = *state;
    json_t *json = ask(w, "{\"method\":\"org.xvmha.Status\",\"parameters\":{}}");
    json_t *p = json_object_get(json, "parameters");
    json_t *host = json_array_get(json_object_get(p, "hosts"), 0);
    json_t *guest = json_array_get(json_object_get(p, "guests"), 4);

    assert_string_equal(text_of(p, "cluster"), "demo");
    assert_string_equal(text_of(p, "self"), "host2");
    assert_string_equal(text_of(p, "coordinator"), "host1");
    assert_true(json_is_true(json_object_get(p, "quorate")));
    assert_int_equal(json_integer_value(json_object_get(p, "lease_ms")), 20000);
    assert_int_equal(json_integer_value(json_object_get(host, "guests")), 2);
    assert_string_equal(text_of(host, "condition"), "online");
    assert_string_equal(text_of(guest, "condition"), "disabled");
    assert_int_equal(json_array_size(json_object_get(p, "attention")), 0);
    assert_int_equal(json_array_size(json_object_get(p, "underway")), 0);
    json_decref(json);
}

static void test_status_of_a_bad_day(void **state)
{
    struct world *w = *state;
    json_t *json, *p, *attention, *underway;

    fake_core_bad_day(&w->core);
    strcpy(w->core.status.sentence, "bytes that are no text: \xff\xfe");
    json = ask(w, "{\"method\":\"org.xvmha.Status\"}");
    p = json_object_get(json, "parameters");
    attention = json_object_get(p, "attention");
    underway = json_object_get(p, "underway");
    assert_string_equal(text_of(p, "sentence"), "bytes that are no text: ??");
    assert_int_equal(json_array_size(underway), 3);
    assert_string_equal(text_of(json_array_get(underway, 0), "name"), "web1");
    assert_string_equal(text_of(json_array_get(underway, 1), "name"), "host2"); /* being emptied */
    assert_string_equal(text_of(json_array_get(underway, 2), "condition"), "fencing");
    assert_int_equal(json_array_size(attention), 6);
    assert_string_equal(text_of(json_array_get(attention, 0), "condition"), "config drift");
    assert_string_equal(text_of(json_array_get(attention, 1), "condition"), "foreign machine");
    assert_string_equal(text_of(json_array_get(attention, 2), "condition"), "host lost");
    assert_string_equal(text_of(json_array_get(attention, 3), "text"),
                        "`xvmhactl clear web2` lets it try again");
    assert_string_equal(text_of(json_array_get(attention, 4), "condition"), "preempted");
    assert_string_equal(text_of(json_array_get(attention, 5), "condition"), "not met");
    json_decref(json);
}

static void test_events(void **state)
{
    struct world *w = *state;
    json_t *json, *events;
    char text[32];

    for (int i = 0; i < 1500; i++) {
        snprintf(text, sizeof(text), "event %d", i);
        xvm_ipc_report(w->ipc, HA_REPORT_HOST_LOST, HA_SEV_WARNING, "host3", NULL, text);
    }
    json = ask(w, "{\"method\":\"org.xvmha.Events\",\"parameters\":{\"last\":2}}");
    events = json_object_get(json_object_get(json, "parameters"), "events");
    assert_int_equal(json_array_size(events), 2);
    assert_string_equal(text_of(json_array_get(events, 0), "text"), "event 1498");
    assert_string_equal(text_of(json_array_get(events, 1), "text"), "event 1499");
    assert_string_equal(text_of(json_array_get(events, 1), "severity"), "warning");
    assert_string_equal(text_of(json_array_get(events, 1), "what"), "host-lost");
    assert_int_equal(strlen(text_of(json_array_get(events, 1), "time")), 24);
    json_decref(json);
    json = ask(w, "{\"method\":\"org.xvmha.Events\",\"parameters\":{\"last\":99999}}");
    events = json_object_get(json_object_get(json, "parameters"), "events");
    assert_int_equal(json_array_size(events), XVM_EVENTS_MAX);
    assert_string_equal(text_of(json_array_get(events, 0), "text"), "event 500");
    json_decref(json);
    expect_error(ask(w, "{\"method\":\"org.xvmha.Events\",\"parameters\":{\"last\":-1}}"),
                 "org.varlink.service.InvalidParameter", "parameter", "last");
}

#define COMMAND(params) "{\"method\":\"org.xvmha.Command\",\"parameters\":{" params "}}"

static void test_commands(void **state)
{
    struct world *w = *state;
    json_t *json;

    w->text = "web1 moves to host2";
    json = ask(w, COMMAND("\"command\":\"move\",\"guest\":\"web1\",\"host\":\"host2\","
                          "\"text\":\"live\""));
    assert_string_equal(text_of(json_object_get(json, "parameters"), "text"), w->text);
    assert_int_equal(w->request.command, HA_CMD_MOVE);
    assert_string_equal(w->request.guest, "web1");
    assert_string_equal(w->request.host, "host2");
    assert_string_equal(w->request.text, "live");
    assert_true(w->request.who[0] != '\0');
    json_decref(json);
    /* new-one is only in the file, mail only in the facts: both exist. */
    json_decref(ask(w, COMMAND("\"command\":\"start\",\"guest\":\"new-one\"")));
    json_decref(ask(w, COMMAND("\"command\":\"stop\",\"guest\":\"mail\"")));
    json_decref(ask(w, COMMAND("\"command\":\"init\"")));
    assert_int_equal(w->nrequests, 4);
    w->code = -EBUSY;
    w->text = NULL;
    w->core.status.quorate = false;
    json = ask(w, COMMAND("\"command\":\"lineage-force\""));
    assert_true(json_is_false(json_object_get(json_object_get(json, "parameters"), "quorate")));
    expect_error(json, "org.xvmha.Failed", "text", "busy");
}

/* Nothing of this reaches the core. */
static void test_bad_commands(void **state)
{
    struct world *w = *state;

    expect_error(ask(w, COMMAND("\"command\":\"start\",\"guest\":\"wbe1\"")),
                 "org.xvmha.UnknownName", "nearest", "web1");
    expect_error(ask(w, COMMAND("\"command\":\"start\",\"guest\":\"wbe1\"")),
                 "org.xvmha.UnknownName", "text", "no guest named wbe1: did you mean web1?");
    expect_error(ask(w, COMMAND("\"command\":\"start\",\"guest\":\"zzz\"")),
                 "org.xvmha.UnknownName", "text", "`xvmhactl status` lists them");
    expect_error(ask(w, COMMAND("\"command\":\"fence-confirm\",\"host\":\"hots1\"")),
                 "org.xvmha.UnknownName", "nearest", "host1");
    expect_error(ask(w, COMMAND("\"command\":\"move\",\"guest\":\"web1\",\"host\":\"h\"")),
                 "org.xvmha.UnknownName", "kind", "host");
    expect_error(ask(w, COMMAND("\"command\":\"move\",\"guest\":\"web1\",\"text\":\"fly\"")),
                 "org.varlink.service.InvalidParameter", "parameter", "text");
    expect_error(ask(w, COMMAND("\"command\":\"start\"")), "org.varlink.service.InvalidParameter",
                 "parameter", "guest");
    expect_error(ask(w, COMMAND("\"command\":\"start\",\"guest\":7")),
                 "org.varlink.service.InvalidParameter", "parameter", "guest");
    expect_error(ask(w, COMMAND("\"command\":\"explode\"")), "org.varlink.service.InvalidParameter",
                 "parameter", "command");
    expect_error(ask(w, COMMAND("\"guest\":\"web1\"")), "org.varlink.service.InvalidParameter",
                 "parameter", "command");
    w->no_core = true;
    expect_error(ask(w, COMMAND("\"command\":\"init\"")), "org.xvmha.NotReady", "text", "corosync");
    expect_error(ask(w, "{\"method\":\"org.xvmha.Status\"}"), "org.xvmha.NotReady", "text", "");
    assert_int_equal(w->nrequests, 0);
}

static void test_reload(void **state)
{
    struct world *w = *state;
    json_t *json = ask(w, "{\"method\":\"org.xvmha.Reload\"}");

    assert_null(json_object_get(json, "error"));
    json_decref(json);
    w->code = -EINVAL;
    w->text = "/etc/xvm-ha.yaml:3:1: unknown key";
    expect_error(ask(w, "{\"method\":\"org.xvmha.Reload\"}"), "org.xvmha.Failed", "text", w->text);
}

/* ------------------------------------------------------------------------- order and limits */

static void test_late_answers(void **state)
{
    struct world *w = *state;
    int a = dial(w), b = dial(w);
    uint64_t first;

    w->answer_later = true;
    say(a, COMMAND("\"command\":\"start\",\"guest\":\"db1\""));
    say(a, "{\"method\":\"org.xvmha.Ping\"}");
    assert_null(hear(w, a));
    first = w->request.client;
    say(b, COMMAND("\"command\":\"stop\",\"guest\":\"db1\""));
    assert_null(hear(w, b));
    assert_true(w->request.client != first);
    close(b); /* gone before its answer */
    pump(w);
    xvm_ipc_reply(w->ipc, w->request.client, 0, "nobody hears it");
    xvm_ipc_reply(w->ipc, 12345, 0, "never asked");
    xvm_ipc_reply(w->ipc, 0, 0, "never asked");
    xvm_ipc_reply(w->ipc, first, -ENOENT, "no such thing");
    expect_error(hear(w, a), "org.xvmha.Failed", "text", "no such thing");
    json_decref(hear(w, a)); /* the Ping that waited behind it */
    close(a);
}

/* A daemon that was stopped comes back to commands whose clients have given up. */
static void test_clients_that_have_gone(void **state)
{
    struct world *w = *state;
    int fd = dial(w);

    say(fd, COMMAND("\"command\":\"stop\",\"guest\":\"db1\""));
    close(fd);
    pump(w);
    assert_int_equal(w->nrequests, 0);
    /* behind a call that was answered while it was there */
    fd = dial(w);
    w->answer_later = true;
    say(fd, COMMAND("\"command\":\"start\",\"guest\":\"db1\""));
    say(fd, COMMAND("\"command\":\"stop\",\"guest\":\"db1\""));
    pump(w);
    assert_int_equal(w->nrequests, 1);
    close(fd);
    xvm_ipc_reply(w->ipc, w->request.client, 0, "started");
    pump(w);
    assert_int_equal(w->nrequests, 1);
    w->answer_later = false;
    /* who only stops sending still waits for the answer */
    fd = dial(w);
    say(fd, COMMAND("\"command\":\"stop\",\"guest\":\"db1\""));
    assert_int_equal(shutdown(fd, SHUT_WR), 0);
    json_decref(hear(w, fd));
    assert_int_equal(w->nrequests, 2);
    close(fd);
    /* and a call that wants no answer counts whoever made it */
    fd = dial(w);
    say(fd, "{\"method\":\"org.xvmha.Command\",\"oneway\":true,\"parameters\":{\"command\":"
            "\"stop\",\"guest\":\"db1\"}}");
    close(fd);
    pump(w);
    assert_int_equal(w->nrequests, 3);
}

static void test_pieces_and_oneway(void **state)
{
    struct world *w = *state;
    static const char ping[] = "{\"method\":\"org.xvmha.Ping\"}";
    static const char quiet[] = "{\"method\":\"org.xvmha.Ping\",\"oneway\":true}";
    int fd = dial(w);

    for (size_t i = 0; i < sizeof(ping); i++) {
        assert_int_equal(send(fd, ping + i, 1, 0), 1);
        pump(w);
    }
    json_decref(hear(w, fd));
    for (int i = 0; i < 20; i++)
        say(fd, quiet);
    say(fd, "{\"method\":\"org.xvmha.Nothing\",\"oneway\":true}");
    assert_null(hear(w, fd));
    for (int i = 0; i < 20; i++)
        say(fd, ping);
    for (int i = 0; i < 20; i++) {
        json_t *json = hear(w, fd);

        assert_non_null(json);
        json_decref(json);
    }
    assert_null(hear(w, fd));
    /* Asks, and closes its side for writing: still gets the answer. */
    say(fd, ping);
    shutdown(fd, SHUT_WR);
    json_decref(hear(w, fd));
    assert_true(closed(w, fd));
    close(fd);
}

static void test_garbage(void **state)
{
    struct world *w = *state;
    static const char *const messages[] = {"",
                                           "hello",
                                           "[]",
                                           "{}",
                                           "{\"method\":7}",
                                           "{\"method\":\"a\",\"method\":\"a\"}",
                                           "\xff\xfe\xfd",
                                           "null",
                                           "{\"method\":\"org.xvmha.Ping\"",
                                           "{\"method\":\"\\u0000\"}"};
    char *big = malloc(XVM_MESSAGE_MAX + 2);
    int fd;

    for (size_t i = 0; i < sizeof(messages) / sizeof(messages[0]); i++) {
        fd = dial(w);
        say(fd, messages[i]);
        expect_error(hear(w, fd), "org.xvmha.BadMessage", "text", "not a varlink call");
        assert_true(closed(w, fd));
        close(fd);
    }
    /* Nested without end. */
    memset(big, '[', XVM_MESSAGE_MAX);
    big[XVM_MESSAGE_MAX] = '\0';
    fd = dial(w);
    for (size_t sent = 0; sent <= XVM_MESSAGE_MAX; pump(w)) {
        ssize_t n = send(fd, big + sent, XVM_MESSAGE_MAX + 1 - sent, MSG_NOSIGNAL);

        assert_true(n > 0 || errno == EAGAIN);
        sent += n > 0 ? (size_t)n : 0;
    }
    expect_error(hear(w, fd), "org.xvmha.BadMessage", "text", "not a varlink call");
    close(fd);
    free(big);
}

static void test_too_long(void **state)
{
    struct world *w = *state;
    static char block[64 * 1024];
    int fd = dial(w);
    size_t sent = 0;

    memset(block, 'x', sizeof(block));
    for (int i = 0; i < 100; i++) {
        ssize_t n = send(fd, block, sizeof(block), MSG_NOSIGNAL);

        if (n < 0 && errno != EAGAIN)
            break;
        sent += n > 0 ? (size_t)n : 0;
        pump(w);
    }
    assert_true(sent < 3 * XVM_MESSAGE_MAX);
    expect_error(hear(w, fd), "org.xvmha.BadMessage", "text", "message too long");
    assert_true(closed(w, fd));
    close(fd);
    json_decref(ask(w, "{\"method\":\"org.xvmha.Ping\"}"));
}

/* Clients that ask for large answers and never read them: bounded, and others are served. */
static void test_slow_clients(void **state)
{
    struct world *w = *state;
    int fds[XVM_CLIENTS_MAX];
    json_t *json;

    free(w->core.guests);
    w->core.guests = calloc(4000, sizeof(*w->core.guests));
    w->core.status.nguests = 4000;
    for (size_t i = 0; i < 4000; i++)
        w->core.guests[i] = (struct ha_guest_status){.name = "a-guest", .managed = true};
    for (int i = 0; i < XVM_CLIENTS_MAX; i++) {
        fds[i] = dial(w);
        for (int k = 0; k < 3; k++)
            say(fds[i], "{\"method\":\"org.xvmha.Status\"}");
        pump(w);
        assert_true(w->ipc->queued <= XVM_QUEUED_MAX);
    }
    json = ask(w, "{\"method\":\"org.xvmha.Ping\"}");
    assert_non_null(json);
    json_decref(json);
    for (int i = 0; i < XVM_CLIENTS_MAX; i++)
        close(fds[i]);
    pump(w);
    assert_int_equal(w->ipc->queued, 0);
    json = ask(w, "{\"method\":\"org.xvmha.Status\"}");
    assert_int_equal(
        json_array_size(json_object_get(json_object_get(json, "parameters"), "guests")), 4000);
    json_decref(json);
}

static void test_many_clients(void **state)
{
    struct world *w = *state;
    int fds[3 * XVM_CLIENTS_MAX];

    for (int i = 0; i < 3 * XVM_CLIENTS_MAX; i++) {
        fds[i] = dial(w);
        pump(w);
    }
    assert_true(closed(w, fds[0])); /* the idlest made room */
    say(fds[3 * XVM_CLIENTS_MAX - 1], "{\"method\":\"org.xvmha.Ping\"}");
    json_decref(hear(w, fds[3 * XVM_CLIENTS_MAX - 1]));
    for (int i = 0; i < 3 * XVM_CLIENTS_MAX; i++)
        close(fds[i]);
    pump(w);
}

/* ---------------------------------------------------------------------------------- rights */

static void test_access(void **state)
{
    const struct xvm_groups groups = {.change = 100, .read = 200}, none = {(gid_t)-1, (gid_t)-1};
    const gid_t more[] = {5, 200}, both[] = {200, 100}, odd[] = {(gid_t)-1};

    (void)state;
    assert_int_equal(xvm_access_of(&none, 0, 0, NULL, 0), XVM_ACCESS_CHANGE);
    assert_int_equal(xvm_access_of(&none, 1, 0, NULL, 0), XVM_ACCESS_NONE);
    assert_int_equal(xvm_access_of(&none, 1, (gid_t)-1, odd, 1), XVM_ACCESS_NONE);
    assert_int_equal(xvm_access_of(&groups, 1, 1, NULL, 0), XVM_ACCESS_NONE);
    assert_int_equal(xvm_access_of(&groups, 1, 100, NULL, 0), XVM_ACCESS_CHANGE);
    assert_int_equal(xvm_access_of(&groups, 1, 200, NULL, 0), XVM_ACCESS_READ);
    assert_int_equal(xvm_access_of(&groups, 1, 1, more, 2), XVM_ACCESS_READ);
    assert_int_equal(xvm_access_of(&groups, 1, 1, both, 2), XVM_ACCESS_CHANGE);
}

/* A child that gives up its rights, says one thing and exits with 0 if the answer has `text`. */
static pid_t spawn_other(const struct world *w, gid_t group, size_t nmore, const char *message,
                         const char *text)
{
    pid_t pid = fork();
    char buf[64 * 1024];
    gid_t more[300];
    size_t len = 0;
    ssize_t n;
    int fd;

    if (pid != 0)
        return pid;
    for (size_t i = 0; i < nmore; i++)
        more[i] = (gid_t)(i + 1 == nmore ? group : 20000 + i);
    if (setgroups(nmore, more) < 0 || setgid(4711) < 0 || setuid(4711) < 0)
        _exit(2);
    fd = socket(AF_UNIX, SOCK_STREAM, 0);
    {
        struct sockaddr_un address = {.sun_family = AF_UNIX};

        strcpy(address.sun_path, w->path);
        if (connect(fd, (const struct sockaddr *)&address, sizeof(address)) < 0)
            _exit(3);
    }
    if (send(fd, message, strlen(message) + 1, 0) < 0)
        _exit(4);
    while (len < sizeof(buf) && (n = recv(fd, buf + len, sizeof(buf) - len, 0)) > 0) {
        len += (size_t)n;
        if (buf[len - 1] == '\0')
            _exit(strstr(buf, text) != NULL ? 0 : 5);
    }
    _exit(6);
}

static void expect_other(struct world *w, gid_t group, size_t nmore, const char *message,
                         const char *text)
{
    pid_t pid = spawn_other(w, group, nmore, message, text);
    int status;

    for (int i = 0; i < 500 && waitpid(pid, &status, WNOHANG) == 0; i++)
        sd_event_run(w->loop, 10 * 1000);
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), 0);
    pump(w);
}

static void test_other_users(void **state)
{
    struct world *w = *state;
    static const char status[] = "{\"method\":\"org.xvmha.Status\"}";
    static const char start[] = COMMAND("\"command\":\"start\",\"guest\":\"db1\"");

    if (geteuid() != 0)
        skip();
    w->ipc->groups = (struct xvm_groups){.change = 3100, .read = 3200};
    expect_other(w, 1, 1, status, "user uid 4711 may not look at the cluster");
    expect_other(w, 1, 1, status, "xvm-ha-read");
    expect_other(w, 1, 1, "rubbish", "BadMessage");
    expect_other(w, 3200, 3, status, "\"cluster\":\"demo\"");
    expect_other(w, 3200, 3, start, "may not change the cluster");
    assert_int_equal(w->nrequests, 0);
    expect_other(w, 3100, 300, start, "\"code\":0"); /* more groups than the first guess holds */
    assert_int_equal(w->nrequests, 1);
    assert_string_equal(w->request.who, "uid 4711");
}

static void test_second_daemon(void **state)
{
    struct world *w = *state;
    struct xvm_ipc *second = NULL;
    struct ha_error error = {0};
    struct xvm_ipc_env env = w->ipc->env;
    struct stat st;

    env.socket_path = w->path;
    assert_int_equal(xvm_ipc_new(&env, &second, &error), -EADDRINUSE);
    assert_non_null(strstr(error.text, w->path));
    /* A left-over file is no obstacle. */
    close(w->ipc->fd);
    sd_event_source_disable_unref(w->ipc->source);
    w->ipc->source = NULL;
    w->ipc->fd = -1;
    assert_int_equal(stat(w->path, &st), 0);
    assert_int_equal(xvm_ipc_new(&env, &second, &error), 0);
    xvm_ipc_free(second);
    assert_int_equal(stat(w->path, &st), -1);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_service),       TEST(test_status),       TEST(test_status_of_a_bad_day),
        TEST(test_events),        TEST(test_commands),     TEST(test_bad_commands),
        TEST(test_reload),        TEST(test_late_answers), TEST(test_pieces_and_oneway),
        TEST(test_garbage),       TEST(test_too_long),     TEST(test_slow_clients),
        TEST(test_many_clients),  TEST(test_access),       TEST(test_other_users),
        TEST(test_second_daemon), TEST(test_clients_that_have_gone),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
