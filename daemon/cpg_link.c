/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Owns the calls into libcpg; see cpg_link.h. */
#include "cpg_link.h"

#include <errno.h>
#include <pthread.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

enum {
    STACK_SIZE = 256 * 1024, /* small: the keeper locks all of its memory */
    JOIN_RETRY_MS = 100,
};

static void on_deliver(cpg_handle_t handle, const struct cpg_name *group, uint32_t node,
                       uint32_t pid, void *data, size_t len)
{
    struct xvm_cpg_link *link = NULL;

    (void)group;
    if (cpg_context_get(handle, (void **)&link) != CS_OK || !link)
        return;
    if (node == link->node && pid == (uint32_t)getpid() && link->in_flight > 0)
        link->in_flight--;
    link->ops->deliver(link, node, pid, data, len);
}

static void on_group(cpg_handle_t handle, const struct cpg_name *group,
                     const struct cpg_address *members, size_t nmembers,
                     const struct cpg_address *left, size_t nleft, const struct cpg_address *joined,
                     size_t njoined)
{
    struct xvm_cpg_link *link = NULL;

    (void)group;
    if (cpg_context_get(handle, (void **)&link) == CS_OK && link)
        link->ops->group(link, members, nmembers, left, nleft, joined, njoined);
}

static void on_ring(cpg_handle_t handle, struct cpg_ring_id ring, uint32_t nmembers,
                    const uint32_t *members)
{
    struct xvm_cpg_link *link = NULL;

    if (cpg_context_get(handle, (void **)&link) == CS_OK && link)
        link->ops->ring(link, (struct ha_ring){ring.nodeid, ring.seq}, members, nmembers);
}

int xvm_cs_errno(cs_error_t error)
{
    switch (error) {
    case CS_OK:
        return 0;
    case CS_ERR_TRY_AGAIN:
    case CS_ERR_QUEUE_FULL:
        return -EAGAIN;
    case CS_ERR_NO_MEMORY:
        return -ENOMEM;
    case CS_ERR_ACCESS:
    case CS_ERR_SECURITY:
        return -EACCES;
    case CS_ERR_NOT_EXIST:
        return -ENOENT;
    case CS_ERR_EXIST:
        return -EEXIST;
    case CS_ERR_TOO_BIG:
    case CS_ERR_INVALID_PARAM:
        return -EINVAL;
    default: /* all that is left means that the connection is of no use */
        return -ENOTCONN;
    }
}

/* ------------------------------------------------------------------------------ helper threads */

static cs_error_t join_patiently(struct xvm_cpg_link *link)
{
    const struct timespec pause = {0, JOIN_RETRY_MS * 1000000L};
    cs_error_t error;

    /* EXIST: corosync has not seen yet that our last connection is gone. */
    while ((error = cpg_join(link->handle, &link->group)) == CS_ERR_TRY_AGAIN ||
           error == CS_ERR_EXIST)
        nanosleep(&pause, NULL);
    return error;
}

static int connect_blocking(struct xvm_cpg_link *link)
{
    cpg_model_v1_data_t model = {
        .model = CPG_MODEL_V1,
        .cpg_deliver_fn = on_deliver,
        .cpg_confchg_fn = on_group,
        .cpg_totem_confchg_fn = on_ring,
        .flags = CPG_MODEL_V1_DELIVER_INITIAL_TOTEM_CONF,
    };
    cs_error_t error;
    unsigned node;
    int r;

    error = cpg_model_initialize(&link->handle, CPG_MODEL_V1, (cpg_model_data_t *)&model, link);
    if (error != CS_OK)
        return xvm_cs_errno(error);
    error = cpg_local_get(link->handle, &node);
    if (error == CS_OK)
        error = cpg_fd_get(link->handle, &link->fd);
    link->node = node;
    r = xvm_cs_errno(error);
    if (r == 0 && link->ops->prepare)
        r = link->ops->prepare(link);
    if (r == 0)
        r = xvm_cs_errno(join_patiently(link));
    if (r < 0)
        cpg_finalize(link->handle);
    return r;
}

static void *connect_thread(void *data)
{
    struct xvm_cpg_link *link = data;
    const uint64_t one = 1;

    link->result = connect_blocking(link);
    atomic_store(&link->busy, 0);
    if (write(link->ready_fd, &one, sizeof(one)) < 0)
        return NULL; /* cannot happen: the counter of an eventfd is not full */
    return NULL;
}

static void *finalize_thread(void *data)
{
    cpg_finalize((cpg_handle_t)(uintptr_t)data);
    return NULL;
}

static int start_thread(void *(*run)(void *), void *data)
{
    pthread_attr_t attr;
    pthread_t thread;
    int r;

    pthread_attr_init(&attr);
    pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED);
    pthread_attr_setstacksize(&attr, STACK_SIZE);
    r = pthread_create(&thread, &attr, run, data);
    pthread_attr_destroy(&attr);
    return -r;
}

/* ----------------------------------------------------------------------------------- interface */

int xvm_cpg_init(struct xvm_cpg_link *link, const char *group, unsigned in_flight_max,
                 const struct xvm_cpg_ops *ops, void *user)
{
    memset(link, 0, sizeof(*link));
    link->ops = ops;
    link->user = user;
    link->in_flight_max = in_flight_max;
    link->group.length = (uint32_t)strlen(group);
    memcpy(link->group.value, group, link->group.length);
    link->fd = -1;
    link->ready_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    return link->ready_fd < 0 ? -errno : 0;
}

int xvm_cpg_connect(struct xvm_cpg_link *link)
{
    int r;

    if (link->connected || atomic_exchange(&link->busy, 1))
        return -EBUSY;
    r = start_thread(connect_thread, link);
    if (r < 0)
        atomic_store(&link->busy, 0);
    return r;
}

int xvm_cpg_connected(struct xvm_cpg_link *link)
{
    uint64_t count;

    if (read(link->ready_fd, &count, sizeof(count)) < 0 || atomic_load(&link->busy))
        return -EAGAIN;
    link->connected = link->result == 0;
    link->in_flight = 0;
    return link->result == -EAGAIN ? -ENOTCONN : link->result;
}

int xvm_cpg_dispatch(struct xvm_cpg_link *link, unsigned max)
{
    for (unsigned i = 0; i < max && link->connected; i++) {
        cs_error_t error = cpg_dispatch(link->handle, CS_DISPATCH_ONE_NONBLOCKING);

        if (error == CS_ERR_TRY_AGAIN)
            return 0;
        if (error != CS_OK)
            return -ENOTCONN;
    }
    return link->connected ? 0 : -ENOTCONN;
}

int xvm_cpg_send(struct xvm_cpg_link *link, const void *data, size_t len)
{
    struct iovec part = {.iov_base = (void *)(uintptr_t)data, .iov_len = len};
    int r;

    if (!link->connected)
        return -ENOTCONN;
    /* A stopped corosync takes some 278 messages and then never returns from the call. */
    if (link->in_flight >= link->in_flight_max)
        return -EAGAIN;
    r = xvm_cs_errno(cpg_mcast_joined(link->handle, CPG_TYPE_AGREED, &part, 1));
    if (r == 0)
        link->in_flight++;
    return r == 0 || r == -EAGAIN ? r : -ENOTCONN;
}

void xvm_cpg_drop(struct xvm_cpg_link *link)
{
    if (!link->connected)
        return;
    link->connected = false;
    link->fd = -1;
    if (start_thread(finalize_thread, (void *)(uintptr_t)link->handle) < 0)
        return; /* leaks the handle; corosync closes it when it sees the socket go */
}
