/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The store of definitions: files, checked before they are taken. */
#include "definitions.h"

#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "fd_io.h"
#include "guest_files.h"
#include "util.h"

enum { LISTENERS = 4 };

struct xvm_definitions {
    char *folder;
    struct {
        xvm_definitions_changed changed;
        void *user;
    } listeners[LISTENERS];
};

/* ------------------------------------------------------------------------------- one of them */

static int bad(struct ha_error *error, const char *guest, const char *what)
{
    *error = (struct ha_error){.code = -EBADMSG};
    snprintf(error->text, sizeof(error->text), "not a definition of guest %s: %s",
             guest ? guest : "(any)", what);
    return -EBADMSG;
}

static bool parse_type(const char *text, enum xvm_domain_type *ret_type)
{
    static const struct {
        const char *name;
        enum xvm_domain_type type;
    } types[] = {{"pv", XVM_TYPE_PV}, {"pvh", XVM_TYPE_PVH}, {"hvm", XVM_TYPE_HVM}};
    for (size_t i = 0; i < sizeof(types) / sizeof(types[0]); i++) {
        if (!strcmp(text, types[i].name)) {
            *ret_type = types[i].type;
            return true;
        }
    }
    return false;
}

static int parse(const json_t *json, const char *guest, struct xvm_definition *ret_facts,
                 struct ha_error *error)
{
    struct xvm_definition facts = {0};
    const char *name, *uuid, *its_guest, *type;
    json_int_t memory, vcpus;
    int version, hardware;
    json_error_t why;
    json_t *config;
    if (json_unpack_ex((json_t *)json, &why, 0, "{s:i, s:s, s:s, s:s, s:s, s:I, s:I, s:b, s:o}",
                       "xvm-ha-definition", &version, "guest", &its_guest, "uuid", &uuid, "name",
                       &name, "type", &type, "memory_kib", &memory, "vcpus", &vcpus, "hardware",
                       &hardware, "config", &config) < 0)
        return bad(error, guest, why.text);
    if (version != 1)
        return bad(error, guest, "a later version of xvm-had made it");
    if (!xvm_guest_name_ok(its_guest) || (guest && strcmp(guest, its_guest) != 0))
        return bad(error, guest, "it is another guest's");
    if (!json_is_object(config) || xvm_uuid_parse(uuid, &facts.uuid) < 0 ||
        strlen(name) >= sizeof(facts.name) || !parse_type(type, &facts.type) || memory <= 0 ||
        vcpus <= 0 || vcpus > 65536)
        return bad(error, guest, "a value in it makes no sense");
    strcpy(facts.name, name);
    facts.memory_kib = (uint64_t)memory;
    facts.vcpus = (unsigned)vcpus;
    facts.hardware = hardware;
    *ret_facts = facts;
    return 0;
}

int xvm_definition_parse(const void *bytes, size_t len, const char *guest,
                         struct xvm_definition *ret_facts, struct ha_error *ret_error)
{
    json_error_t why;
    if (len > XVM_DEFINITION_MAX)
        return bad(ret_error, guest, "it is too long");
    json_t *json = json_loadb(bytes, len, JSON_REJECT_DUPLICATES, &why);
    if (!json)
        return bad(ret_error, guest, why.text);
    int r = parse(json, guest, ret_facts, ret_error);
    json_decref(json);
    return r;
}

const char *xvm_definition_not_live(const struct xvm_definition *facts, bool shadow, bool hap)
{
    if (facts->hardware)
        return "it holds PCI or USB devices of its host";
    if (facts->type == XVM_TYPE_PV && !shadow)
        return "it is a PV guest, and this hypervisor is built without shadow paging, which is "
               "what a PV guest's live migration needs (type=\"pvh\" does without)";
    if (!shadow && !hap)
        return "the hypervisor has neither hardware assisted nor shadow paging here";
    return NULL;
}

/* --------------------------------------------------------------------------------- the store */

int xvm_definitions_new(const char *state_dir, struct xvm_definitions **ret_definitions)
{
    struct xvm_definitions *d = calloc(1, sizeof(*d));
    if (!d)
        return -ENOMEM;
    if (asprintf(&d->folder, "%s/guests", state_dir) < 0) {
        d->folder = NULL;
        xvm_definitions_free(d);
        return -ENOMEM;
    }
    int r = xvm_mkdirs(d->folder, 0700);
    if (r < 0) {
        xvm_definitions_free(d);
        return r;
    }
    *ret_definitions = d;
    return 0;
}

struct xvm_definitions *xvm_definitions_free(struct xvm_definitions *definitions)
{
    if (definitions)
        free(definitions->folder);
    free(definitions);
    return NULL;
}

int xvm_definitions_listen(struct xvm_definitions *definitions, xvm_definitions_changed changed,
                           void *user)
{
    for (size_t i = 0; i < LISTENERS; i++) {
        if (definitions->listeners[i].changed)
            continue;
        definitions->listeners[i].changed = changed;
        definitions->listeners[i].user = user;
        return 0;
    }
    return -ENOSPC;
}

void xvm_definitions_unlisten(struct xvm_definitions *definitions, void *user)
{
    for (size_t i = 0; i < LISTENERS; i++)
        if (definitions->listeners[i].user == user)
            definitions->listeners[i].changed = NULL;
}

char *xvm_definitions_path(const struct xvm_definitions *definitions, const char *guest)
{
    char *path = NULL;
    if (!xvm_guest_name_ok(guest) || asprintf(&path, "%s/%s.json", definitions->folder, guest) < 0)
        return NULL;
    return path;
}

static int read_all(int fd, void **ret_bytes, size_t *ret_len)
{
    struct stat st;
    if (fstat(fd, &st) < 0)
        return -errno;
    if (!S_ISREG(st.st_mode) || st.st_size > XVM_DEFINITION_MAX)
        return -EBADMSG;
    size_t size = (size_t)st.st_size, n = 0;
    char *bytes = malloc(size + 1);
    if (!bytes)
        return -ENOMEM;
    ssize_t got = 1;
    while (n < size && (got = read(fd, bytes + n, size - n)) > 0)
        n += (size_t)got;
    if (got < 0) {
        int r = -errno;
        free(bytes);
        return r;
    }
    *ret_bytes = bytes;
    *ret_len = n;
    return 0;
}

int xvm_definitions_get(const struct xvm_definitions *definitions, const char *guest,
                        void **ret_bytes, size_t *ret_len)
{
    char *path = xvm_definitions_path(definitions, guest);
    if (!path)
        return xvm_guest_name_ok(guest) ? -ENOMEM : -EINVAL;
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    int r = fd < 0 ? -errno : read_all(fd, ret_bytes, ret_len);
    if (fd >= 0)
        close(fd);
    free(path);
    return r;
}

int xvm_definitions_facts(const struct xvm_definitions *definitions, const char *guest,
                          struct xvm_definition *ret_facts)
{
    struct ha_error error;
    size_t len = 0;
    void *bytes = NULL;
    int r = xvm_definitions_get(definitions, guest, &bytes, &len);
    if (r < 0)
        return r;
    r = xvm_definition_parse(bytes, len, guest, ret_facts, &error);
    free(bytes);
    return r;
}

static int write_durably(int fd, const void *bytes, size_t len)
{
    int r = xvm_write_all(fd, bytes, len);
    return r == 0 && fsync(fd) < 0 ? -errno : r;
}

static int replace(const struct xvm_definitions *definitions, const char *path, const void *bytes,
                   size_t len)
{
    char *tmp = NULL;
    if (asprintf(&tmp, "%s.new", path) < 0)
        return -ENOMEM;
    int fd = open(tmp, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600);
    int r = fd < 0 ? -errno : write_durably(fd, bytes, len);
    if (fd >= 0)
        close(fd);
    if (!r && rename(tmp, path) < 0)
        r = -errno;
    if (r < 0)
        (void)unlink(tmp);
    int folder = r < 0 ? -1 : open(definitions->folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (folder >= 0) {
        r = fsync(folder) < 0 ? -errno : 0;
        close(folder);
    }
    free(tmp);
    return r;
}

static bool same(const struct xvm_definitions *definitions, const char *guest, const void *bytes,
                 size_t len)
{
    void *old = NULL;
    size_t old_len = 0;
    if (xvm_definitions_get(definitions, guest, &old, &old_len) < 0)
        return false;
    bool equal = old_len == len && !memcmp(old, bytes, len);
    free(old);
    return equal;
}

int xvm_definitions_put(struct xvm_definitions *definitions, const char *guest, const void *bytes,
                        size_t len, bool here, struct ha_error *ret_error)
{
    struct xvm_definition facts;
    int r = xvm_definition_parse(bytes, len, guest, &facts, ret_error);
    if (r < 0)
        return r;
    if (same(definitions, guest, bytes, len))
        return 0;
    char *path = xvm_definitions_path(definitions, guest);
    r = path ? replace(definitions, path, bytes, len) : -ENOMEM;
    if (r < 0) {
        *ret_error = (struct ha_error){.code = r};
        snprintf(ret_error->text, sizeof(ret_error->text),
                 "the definition of guest %s cannot be written to %.200s: %s", guest,
                 path ? path : "", strerror(-r));
    }
    free(path);
    for (size_t i = 0; !r && i < LISTENERS; i++)
        if (definitions->listeners[i].changed)
            definitions->listeners[i].changed(definitions->listeners[i].user, guest, bytes, len,
                                              here);
    return r;
}
