/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Addresses of the migration's transport: whose is which. IPv4 is kept as mapped IPv6 and used as
 * IPv4. */
#include "migration.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

static bool is_none(const struct in6_addr *a)
{
    static const struct in6_addr none;
    return memcmp(a, &none, sizeof(none)) == 0;
}

static void map_v4(const void *v4, struct in6_addr *a)
{
    memset(a, 0, sizeof(*a));
    memset(&a->s6_addr[10], 0xff, 2);
    memcpy(&a->s6_addr[12], v4, 4);
}

static bool parse(const char *text, struct in6_addr *ret)
{
    struct in_addr v4;
    if (inet_pton(AF_INET, text, &v4) == 1) {
        map_v4(&v4, ret);
        return true;
    }
    return inet_pton(AF_INET6, text, ret) == 1;
}

static bool in_network(const struct in6_addr *a, const struct in6_addr *network, unsigned bits)
{
    for (unsigned i = 0; i < 16 && bits > 0; i++) {
        unsigned n = bits < 8 ? bits : 8;
        uint8_t mask = (uint8_t)(0xff00u >> n);
        if ((a->s6_addr[i] ^ network->s6_addr[i]) & mask)
            return false;
        bits -= n;
    }
    return true;
}

static const struct xvm_corosync_node *find_node(const struct xvm_corosync_facts *facts,
                                                 ha_node node)
{
    for (size_t i = 0; i < facts->nnodes; i++)
        if (facts->nodes[i].node == node)
            return &facts->nodes[i];
    return NULL;
}

static const struct in6_addr *pick_link(const struct ha_migration_config *m,
                                        const struct xvm_corosync_node *node)
{
    struct in6_addr network;
    unsigned bits = m->network_bits;
    bool any = !m->network[0] || !parse(m->network, &network);
    if (!any && IN6_IS_ADDR_V4MAPPED(&network))
        bits += 96;
    for (size_t i = 0; node && i < XVM_LINKS_MAX; i++) {
        const struct in6_addr *link = &node->links[i];
        if (!is_none(link) && (any || in_network(link, &network, bits)))
            return link;
    }
    return NULL;
}

int xvm_migration_address(const struct ha_config *config, const struct xvm_corosync_facts *facts,
                          ha_node node, struct in6_addr *ret_address, char ret_why[HA_TEXT_MAX])
{
    const char *name = "this host";
    for (size_t i = 0; i < config->nhosts; i++) {
        if (config->hosts[i].node != node)
            continue;
        if (parse(config->hosts[i].migration_address, ret_address))
            return 0;
        name = config->hosts[i].name;
    }
    const struct in6_addr *link = pick_link(&config->migration, find_node(facts, node));
    if (!link) {
        if (config->migration.network[0])
            snprintf(ret_why, HA_TEXT_MAX,
                     "corosync has no link of %s in the network %s/%u: correct `address` under "
                     "`migration:`",
                     name, config->migration.network, config->migration.network_bits);
        else
            snprintf(ret_why, HA_TEXT_MAX,
                     "corosync does not tell an address of %s: write `address` under `migration:`",
                     name);
        return -EADDRNOTAVAIL;
    }
    *ret_address = *link;
    return 0;
}

void xvm_address_text(const struct in6_addr *address, char buf[HA_ADDRESS_MAX])
{
    bool v4 = IN6_IS_ADDR_V4MAPPED(address);
    const void *from = v4 ? &address->s6_addr[12] : &address->s6_addr[0];
    if (!inet_ntop(v4 ? AF_INET : AF_INET6, from, buf, HA_ADDRESS_MAX))
        strcpy(buf, "?");
}

socklen_t xvm_address_socket(const struct in6_addr *address, int port,
                             struct sockaddr_storage *ret_socket)
{
    memset(ret_socket, 0, sizeof(*ret_socket));
    if (IN6_IS_ADDR_V4MAPPED(address)) {
        struct sockaddr_in *in = (struct sockaddr_in *)(void *)ret_socket;
        in->sin_family = AF_INET;
        in->sin_port = htons((uint16_t)port);
        memcpy(&in->sin_addr, &address->s6_addr[12], 4);
        return sizeof(*in);
    }
    struct sockaddr_in6 *in6 = (struct sockaddr_in6 *)(void *)ret_socket;
    in6->sin6_family = AF_INET6;
    in6->sin6_port = htons((uint16_t)port);
    in6->sin6_addr = *address;
    return sizeof(*in6);
}

void xvm_migration_buffers(int fd)
{
    int size = 512 * 1024;

    if (setsockopt(fd, SOL_SOCKET, SO_SNDBUFFORCE, &size, sizeof(size)) < 0)
        (void)setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &size, sizeof(size));
    if (setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &size, sizeof(size)) < 0)
        (void)setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &size, sizeof(size));
}

bool xvm_address_of(const struct sockaddr_storage *from, struct in6_addr *ret_address)
{
    if (from->ss_family == AF_INET)
        map_v4(&((const struct sockaddr_in *)(const void *)from)->sin_addr, ret_address);
    else if (from->ss_family == AF_INET6)
        *ret_address = ((const struct sockaddr_in6 *)(const void *)from)->sin6_addr;
    else
        return false;
    return true;
}
