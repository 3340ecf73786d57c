/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Owns the reading of cmap: effective timings, modes of votequorum, the node list. */
#include "corosync_facts.h"

#include <corosync/cmap.h>
#include <arpa/inet.h>
#include <errno.h>
#include <netdb.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cpg_link.h"

enum { STACK_SIZE = 64 * 1024 };

static bool get_flag(cmap_handle_t cmap, const char *key)
{
    uint8_t value = 0;

    return cmap_get_uint8(cmap, key, &value) == CS_OK && value != 0;
}

static cs_error_t read_ring(cmap_handle_t cmap, struct xvm_ring_facts *ring)
{
    uint32_t token = 0, consensus = 0;
    char *model = NULL;
    cs_error_t error = cmap_get_uint32(cmap, "runtime.config.totem.token", &token);

    if (error == CS_OK)
        error = cmap_get_uint32(cmap, "runtime.config.totem.consensus", &consensus);
    if (error != CS_OK)
        return error;
    ring->token_ms = token;
    ring->consensus_ms = consensus;
    ring->two_node = get_flag(cmap, "quorum.two_node");
    ring->last_man_standing = get_flag(cmap, "quorum.last_man_standing");
    ring->allow_downscale = get_flag(cmap, "quorum.allow_downscale");
    /* two_node turns it on unless the file says otherwise (votequorum(5)) */
    ring->wait_for_all = get_flag(cmap, "quorum.wait_for_all");
    if (ring->two_node) {
        uint8_t value;

        if (cmap_get_uint8(cmap, "quorum.wait_for_all", &value) != CS_OK)
            ring->wait_for_all = true;
    }
    if (cmap_get_string(cmap, "quorum.device.model", &model) == CS_OK) {
        ring->qdevice = model[0] != '\0';
        free(model);
    }
    return CS_OK;
}

/* A link may be named in corosync.conf. This runs in a helper thread, a name server may take its
 * time. */
static void resolve(const char *text, struct in6_addr *ret_address)
{
    const struct addrinfo hints = {.ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM};
    struct addrinfo *found = NULL;

    if (getaddrinfo(text, NULL, &hints, &found) != 0)
        return;
    if (found->ai_family == AF_INET6) {
        const struct sockaddr_in6 *in6 = (const struct sockaddr_in6 *)(const void *)found->ai_addr;

        *ret_address = in6->sin6_addr;
    } else if (found->ai_family == AF_INET) {
        const struct sockaddr_in *in = (const struct sockaddr_in *)(const void *)found->ai_addr;

        memset(ret_address, 0, sizeof(*ret_address));
        memset(&ret_address->s6_addr[10], 0xff, 2);
        memcpy(&ret_address->s6_addr[12], &in->sin_addr, 4);
    }
    freeaddrinfo(found);
}

static void read_links(cmap_handle_t cmap, unsigned position, struct xvm_corosync_node *node)
{
    for (unsigned i = 0; i < XVM_LINKS_MAX; i++) {
        char key[CMAP_KEYNAME_MAXLEN + 1], *text = NULL;

        snprintf(key, sizeof(key), "nodelist.node.%u.ring%u_addr", position, i);
        if (cmap_get_string(cmap, key, &text) == CS_OK)
            resolve(text, &node->links[i]);
        free(text);
    }
}

static void read_node(cmap_handle_t cmap, unsigned position, struct xvm_corosync_facts *facts)
{
    struct xvm_corosync_node *node = &facts->nodes[facts->nnodes];
    char key[CMAP_KEYNAME_MAXLEN + 1], *name = NULL;
    uint32_t id;

    snprintf(key, sizeof(key), "nodelist.node.%u.nodeid", position);
    if (facts->nnodes == HA_HOSTS_MAX || cmap_get_uint32(cmap, key, &id) != CS_OK)
        return;
    memset(node, 0, sizeof(*node));
    node->node = id;
    snprintf(key, sizeof(key), "nodelist.node.%u.name", position);
    if (cmap_get_string(cmap, key, &name) == CS_OK)
        snprintf(node->name, sizeof(node->name), "%s", name);
    free(name);
    read_links(cmap, position, node);
    facts->nnodes++;
}

static void read_nodes(cmap_handle_t cmap, struct xvm_corosync_facts *facts)
{
    char key[CMAP_KEYNAME_MAXLEN + 1];
    cmap_iter_handle_t iter;
    size_t len;
    cmap_value_types_t type;

    if (cmap_iter_init(cmap, "nodelist.node.", &iter) != CS_OK)
        return;
    while (cmap_iter_next(cmap, iter, key, &len, &type) == CS_OK) {
        unsigned position;
        int end = 0;

        if (sscanf(key, "nodelist.node.%u.nodeid%n", &position, &end) == 1 && end > 0 &&
            key[end] == '\0')
            read_node(cmap, position, facts);
    }
    cmap_iter_finalize(cmap, iter);
}

int xvm_corosync_read_facts(struct xvm_corosync_facts *facts, const char **ret_why)
{
    cmap_handle_t cmap;
    cs_error_t error = cmap_initialize(&cmap);

    if (error != CS_OK)
        return xvm_cs_errno(error);
    error = read_ring(cmap, &facts->ring);
    if (error != CS_OK)
        *ret_why = "corosync's cmap does not tell the ring's token and consensus timeouts";
    else
        read_nodes(cmap, facts);
    cmap_finalize(cmap);
    return xvm_cs_errno(error);
}

static void *close_thread(void *data)
{
    quorum_finalize((quorum_handle_t)(uintptr_t)data);
    return NULL;
}

void xvm_corosync_close_quorum(quorum_handle_t handle)
{
    pthread_attr_t attr;
    pthread_t thread;

    pthread_attr_init(&attr);
    pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED);
    pthread_attr_setstacksize(&attr, STACK_SIZE);
    if (pthread_create(&thread, &attr, close_thread, (void *)(uintptr_t)handle) != 0)
        (void)handle; /* leaks it: corosync sees the end when this program ends */
    pthread_attr_destroy(&attr);
}
