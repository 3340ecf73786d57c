/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Makes a guest's definition from its xl configuration file. The file is xl's to read: what
 * `xl -N create` makes of it is checked, made the guest's own, and put into a form that is the same
 * wherever it is made. */
#include "domain.h"

#include <errno.h>
#include <fcntl.h>
#include <libxl_utils.h>
#include <libxlutil.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>
#include <uuid/uuid.h>

#include "child.h"
#include "definitions.h"
#include "util.h"

/* The name space of UUIDs that guests get from their names (RFC 4122, version 5). */
static const struct ha_uuid name_space = {{0x6f, 0x0b, 0x6a, 0x1c, 0x2e, 0x0c, 0x4b, 0x1e, 0x9d,
                                           0x5a, 0x41, 0x7f, 0xf2, 0x8e, 0x33, 0x90}};

/* -------------------------------------------------------------------------------------- hashes */

static void hash(const struct ha_uuid *space, const char *name, struct ha_uuid *ret_uuid)
{
    uuid_generate_sha1(ret_uuid->b, space->b, name, strlen(name));
}

static void uuid_of_name(const char *cluster, const char *guest, struct ha_uuid *ret_uuid)
{
    char name[3 * HA_NAME_MAX];
    snprintf(name, sizeof(name), "%.*s/%s", HA_NAME_MAX - 1, cluster, guest);
    hash(&name_space, name, ret_uuid);
}

/* A network card without an address would get another one at each start and on each host. */
static void fix_addresses(libxl_domain_config *config, const struct ha_uuid *uuid)
{
    for (int i = 0; i < config->num_nics; i++) {
        static const libxl_mac none;
        char name[16];
        struct ha_uuid h;
        libxl_mac *mac = &config->nics[i].mac;
        if (memcmp(mac, &none, sizeof(none)) != 0)
            continue;
        snprintf(name, sizeof(name), "nic%d", i);
        hash(uuid, name, &h);
        const libxl_mac fixed = {0x00, 0x16, 0x3e, h.b[0] & 0x7f, h.b[1], h.b[2]};
        memcpy(mac, &fixed, sizeof(fixed));
    }
}

/* ----------------------------------------------------------------------------------------- xl */

static int run_xl(const char *file, int out, int err, int *ret_status)
{
    posix_spawn_file_actions_t actions;
    const char *xl = getenv("XVM_XL"), *const argv[] = {"xl", "-N", "create", file, NULL};
    pid_t pid = 0;
    if (posix_spawn_file_actions_init(&actions) != 0)
        return -ENOMEM;
    int e = posix_spawn_file_actions_adddup2(&actions, out, 1);
    if (!e)
        e = posix_spawn_file_actions_adddup2(&actions, err, 2);
    if (!e)
        e = posix_spawnp(&pid, xl ? xl : "xl", &actions, NULL, (char *const *)argv, environ);
    posix_spawn_file_actions_destroy(&actions);
    if (e)
        return -e;
    while (waitpid(pid, ret_status, 0) < 0)
        if (errno != EINTR)
            return -errno;
    return 0;
}

/* What was written to a memory file, as text. */
static char *text_of(int fd)
{
    off_t size = lseek(fd, 0, SEEK_END);
    char *text = size >= 0 && size <= XVM_DEFINITION_MAX ? malloc((size_t)size + 1) : NULL;
    ssize_t n = text ? pread(fd, text, (size_t)size, 0) : -1;
    if (text)
        text[n > 0 ? n : 0] = '\0';
    return text;
}

/* xl's words, without its greeting: their beginning says most. */
static void words_of(const char *text, char words[static HA_TEXT_MAX])
{
    static const char greeting[] = "Parsing config from";
    char clean[2048];
    if (!strncmp(text, greeting, sizeof(greeting) - 1))
        text += strcspn(text, "\n");
    xvm_child_sanitise(text, clean, sizeof(clean));
    snprintf(words, HA_TEXT_MAX, "%.*s", HA_TEXT_MAX - 40, clean);
}

/* The configuration as xl understands it; NULL: *why says why not. */
static json_t *run_and_read(const char *file, int out, int err, char why[static HA_TEXT_MAX])
{
    int status = 0, r = run_xl(file, out, err, &status);
    char *said = r < 0 ? NULL : text_of(out), *words = r < 0 ? NULL : text_of(err);
    json_t *json = NULL;
    snprintf(why, HA_TEXT_MAX, "xl cannot be run: %s", strerror(r < 0 ? -r : ENOMEM));
    if (said && words) {
        char clean[HA_TEXT_MAX];
        const char *begin = strchr(said, '{');
        json = status == 0 && begin ? json_loads(begin, JSON_DISABLE_EOF_CHECK, NULL) : NULL;
        words_of(words[0] ? words : said, clean);
        if (!json)
            snprintf(why, HA_TEXT_MAX, "xl does not take it: %.*s", HA_TEXT_MAX - 30, clean);
    }
    free(said);
    free(words);
    return json;
}

static json_t *ask_xl(const char *file, char why[static HA_TEXT_MAX])
{
    json_t *json = NULL;
    int out = memfd_create("xl-out", MFD_CLOEXEC);
    int err = out < 0 ? -1 : memfd_create("xl-err", MFD_CLOEXEC);
    snprintf(why, HA_TEXT_MAX, "no memory file: %s", strerror(errno));
    if (err >= 0) {
        json = run_and_read(file, out, err, why);
        close(err);
    }
    if (out >= 0)
        close(out);
    return json;
}

/* xl makes a UUID up where the file has none. */
static bool file_has_uuid(const char *file)
{
    const char *uuid = NULL;
    FILE *null = fopen("/dev/null", "we");
    XLU_Config *config = null ? xlu_cfg_init(null, file) : NULL;
    bool has = config && xlu_cfg_readfile(config, file) == 0 &&
               xlu_cfg_get_string(config, "uuid", &uuid, 1) == 0;
    if (config)
        xlu_cfg_destroy(config);
    if (null)
        fclose(null);
    return has;
}

/* ----------------------------------------------------------------------------- the definition */

static const char *type_name(libxl_domain_type type)
{
    return type == LIBXL_DOMAIN_TYPE_PV    ? "pv"
           : type == LIBXL_DOMAIN_TYPE_PVH ? "pvh"
           : type == LIBXL_DOMAIN_TYPE_HVM ? "hvm"
                                           : "";
}

/* libxl_domain_need_memory fills in what is missing, which must not get into the definition. */
static int needs(struct domain_worker *w, const libxl_domain_config *config, uint64_t *ret_kib)
{
    libxl_domain_config copy;
    libxl_domain_config_init(&copy);
    libxl_domain_config_copy(w->xl, &copy, config);
    int rc = libxl_domain_need_memory(w->xl, &copy, 0, ret_kib);
    libxl_domain_config_dispose(&copy);
    return rc;
}

static json_t *pack(struct domain_worker *w, const libxl_domain_config *config, const char *name,
                    const struct ha_uuid *uuid)
{
    char uuid_text[37], *text = libxl_domain_config_to_json(w->xl, (libxl_domain_config *)config);
    json_t *inner = text ? json_loads(text, 0, NULL) : NULL;
    uint64_t memory_kib = 0;
    bool hardware = config->num_pcidevs || config->num_usbdevs || config->num_dtdevs ||
                    config->b_info.num_ioports || config->b_info.num_iomem ||
                    config->b_info.num_irqs;
    free(text);
    if (!inner || needs(w, config, &memory_kib) != 0) {
        json_decref(inner);
        return NULL;
    }
    return json_pack("{s:i, s:s, s:s, s:s, s:s, s:I, s:i, s:b, s:o}", "xvm-ha-definition", 1,
                     "guest", w->options->name, "uuid", xvm_domain_uuid_text(uuid, uuid_text),
                     "name", name, "type", type_name(config->b_info.type), "memory_kib",
                     (json_int_t)memory_kib, "vcpus", config->b_info.max_vcpus, "hardware",
                     hardware, "config", inner);
}

static int define(struct domain_worker *w, const char *said, libxl_domain_config *config)
{
    const struct domain_options *o = w->options;
    struct ha_uuid uuid;
    char name[XVM_DOMAIN_NAME_MAX];
    if (libxl_domain_config_from_json(w->xl, config, said) != 0)
        return domain_say_words(w, XVM_WORKER_FAILED, "%s: libxl does not take what xl makes of it",
                                o->file);
    snprintf(name, sizeof(name), "%s", config->c_info.name ? config->c_info.name : o->name);
    memcpy(uuid.b, libxl_uuid_bytearray_const(&config->c_info.uuid), sizeof(uuid.b));
    if (!file_has_uuid(o->file))
        uuid_of_name(o->cluster, o->name, &uuid);
    fix_addresses(config, &uuid);
    domain_config_own(config, o->name, &uuid, NULL, 0, 0);
    json_t *definition = pack(w, config, name, &uuid);
    char *bytes = definition ? json_dumps(definition, JSON_COMPACT | JSON_SORT_KEYS) : NULL;
    json_decref(definition);
    if (!bytes)
        return domain_say_words(w, XVM_WORKER_FAILED, "%s: libxl does not take it", o->file);
    domain_print(json_pack("{s:s}", "definition", bytes));
    free(bytes);
    return domain_say(w, XVM_WORKER_OK, "%s", o->file);
}

int domain_define(const struct domain_options *options)
{
    struct domain_worker w = {.options = options, .logger = {.file = -1, .progress = -1}};
    libxl_domain_config config;
    char why[HA_TEXT_MAX];
    if (!options->file)
        return domain_say(&w, XVM_WORKER_FAILED, "--file is missing");
    if (access(options->file, R_OK) < 0)
        return domain_say(&w, XVM_WORKER_FAILED, "%s: %s", options->file, strerror(errno));
    json_t *said = ask_xl(options->file, why); /* before libxl takes our children over */
    if (!said)
        return domain_say(&w, XVM_WORKER_FAILED, "%s: %s", options->file, why);
    char *text = json_dumps(said, JSON_COMPACT);
    json_decref(said);
    if (!text || domain_open_xen(&w) < 0) {
        free(text);
        return domain_say_words(&w, XVM_WORKER_FAILED, "no connection to Xen");
    }
    libxl_domain_config_init(&config);
    int r = define(&w, text, &config);
    libxl_domain_config_dispose(&config);
    domain_close_xen(&w);
    free(text);
    return r;
}
