/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Who may do what on the control socket, by the credentials the kernel vouches for. */
#include <errno.h>
#include <grp.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "ipc_internal.h"
#include "version.h"

enum { GROUPS_MAX = 65536 };

static gid_t find_group(const char *name)
{
    char buf[16 * 1024];
    struct group group, *found = NULL;

    if (getgrnam_r(name, &group, buf, sizeof(buf), &found) == 0 && found != NULL)
        return found->gr_gid;
    return (gid_t)-1;
}

void xvm_groups_find(struct xvm_groups *ret_groups)
{
    ret_groups->change = find_group(XVM_GROUP_CHANGE);
    ret_groups->read = find_group(XVM_GROUP_READ);
}

static bool is_member(gid_t wanted, gid_t gid, const gid_t *more, size_t nmore)
{
    if (wanted == (gid_t)-1)
        return false;
    if (wanted == gid)
        return true;
    for (size_t i = 0; i < nmore; i++) {
        if (more[i] == wanted)
            return true;
    }
    return false;
}

enum xvm_access xvm_access_of(const struct xvm_groups *groups, uid_t uid, gid_t gid,
                              const gid_t *more, size_t nmore)
{
    if (uid == 0 || is_member(groups->change, gid, more, nmore))
        return XVM_ACCESS_CHANGE;
    if (is_member(groups->read, gid, more, nmore))
        return XVM_ACCESS_READ;
    return XVM_ACCESS_NONE;
}

/* Supplementary groups of the peer. *ret_gids is to be freed. */
static int peer_groups(int fd, gid_t **ret_gids, size_t *ret_n)
{
    socklen_t len = 64 * sizeof(gid_t);
    gid_t *gids = malloc(len), *grown;

    if (gids == NULL)
        return -ENOMEM;
    while (getsockopt(fd, SOL_SOCKET, SO_PEERGROUPS, gids, &len) < 0) {
        /* With ERANGE the kernel has said how much it needs. */
        if (errno != ERANGE || len > GROUPS_MAX * sizeof(gid_t)) {
            free(gids);
            return -EACCES;
        }
        grown = realloc(gids, len);
        if (grown == NULL) {
            free(gids);
            return -ENOMEM;
        }
        gids = grown;
    }
    *ret_gids = gids;
    *ret_n = len / sizeof(gid_t);
    return 0;
}

int xvm_access_of_peer(const struct xvm_groups *groups, int fd, enum xvm_access *ret_access,
                       uid_t *ret_uid)
{
    struct ucred cred;
    socklen_t len = sizeof(cred);
    gid_t *more = NULL;
    size_t nmore = 0;

    if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &cred, &len) < 0)
        return -errno;
    /* Without the list of groups the peer keeps what its user and first group give it. */
    if (peer_groups(fd, &more, &nmore) < 0)
        nmore = 0;
    *ret_access = xvm_access_of(groups, cred.uid, cred.gid, more, nmore);
    *ret_uid = cred.uid;
    free(more);
    return 0;
}

void xvm_user_name(uid_t uid, char *buf, size_t size)
{
    struct passwd *entry;
    FILE *file;

    if (uid == 0) {
        snprintf(buf, size, "root");
        return;
    }
    snprintf(buf, size, "uid %u", (unsigned)uid);
    /* The local file only: a directory service that hangs must not hang the daemon. */
    file = fopen("/etc/passwd", "re");
    if (file == NULL)
        return;
    while ((entry = fgetpwent(file)) != NULL) {
        if (entry->pw_uid == uid) {
            snprintf(buf, size, "%s", entry->pw_name);
            break;
        }
    }
    fclose(file);
}
