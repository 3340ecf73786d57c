/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A guest's domain configuration: read from its definition, and made its own. */
#include "domain.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "definitions.h"

static int read_file(const char *path, char **ret_text, size_t *ret_len)
{
    struct stat st;
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0 || fstat(fd, &st) < 0 || st.st_size > XVM_DEFINITION_MAX) {
        int r = fd < 0 ? -errno : -EFBIG;
        if (fd >= 0)
            close(fd);
        return r;
    }
    char *text = malloc((size_t)st.st_size + 1);
    ssize_t n = text ? read(fd, text, (size_t)st.st_size) : -1;
    close(fd);
    if (n < 0) {
        free(text);
        return -EIO;
    }
    text[n] = '\0';
    *ret_text = text;
    *ret_len = (size_t)n;
    return 0;
}

int domain_config_read(struct domain_worker *w, const char *path, libxl_domain_config *ret_config,
                       char why[static HA_TEXT_MAX])
{
    const char *guest = w->options->name;
    struct xvm_definition facts;
    struct ha_error error;
    char *text = NULL;
    size_t len = 0;
    int r = path ? read_file(path, &text, &len) : -ENOENT;
    if (r < 0) {
        snprintf(why, HA_TEXT_MAX, "there is no definition of %s here%s%s", guest,
                 r == -ENOENT ? "" : ": ", r == -ENOENT ? "" : strerror(-r));
        return r;
    }
    r = xvm_definition_parse(text, len, guest, &facts, &error);
    if (r < 0)
        snprintf(why, HA_TEXT_MAX, "%.*s", HA_TEXT_MAX - 1, error.text);
    json_t *json = r < 0 ? NULL : json_loadb(text, len, 0, NULL);
    char *config = json ? json_dumps(json_object_get(json, "config"), JSON_COMPACT) : NULL;
    if (!r && (!config || libxl_domain_config_from_json(w->xl, ret_config, config) != 0)) {
        snprintf(why, HA_TEXT_MAX, "libxl does not take the definition of %s", guest);
        r = -EBADMSG;
    }
    free(config);
    json_decref(json);
    free(text);
    return r;
}

/* The tag is written by libxl, in the transaction that makes the domain known to xenstore. */
static libxl_key_value_list tag_of(const char *guest, uint64_t inc, uint64_t mig)
{
    char **list = calloc(7, sizeof(*list)), inc_text[24], mig_text[24];
    if (!list)
        abort(); /* what libxl does, and what the daemon expects */
    snprintf(inc_text, sizeof(inc_text), "%" PRIu64, inc);
    snprintf(mig_text, sizeof(mig_text), "%" PRIu64, mig);
    const char *const words[6] = {XVM_TAG "/guest", guest,          XVM_TAG "/inc",
                                  inc_text,         XVM_TAG "/mig", mig_text};
    for (size_t i = 0; i < 6; i++)
        if (!(list[i] = strdup(words[i])))
            abort();
    return list;
}

#define BLOCK_SCRIPT XVM_LIBEXEC_DIR "/xvm-ha-block"

bool domain_script_ours(const char *script)
{
    return script && strcmp(script, BLOCK_SCRIPT) == 0;
}

void domain_config_plain(libxl_domain_config *config)
{
    for (int i = 0; i < config->num_disks; i++)
        if (domain_script_ours(config->disks[i].script)) {
            free(config->disks[i].script);
            config->disks[i].script = NULL;
        }
}

/* A disk that is a block device of this host gets our script: Xen's takes some fifty processes for
 * what that does in one, while a guest that moves stands still. For HVM libxl would not let the
 * device model open a disk that has a script, and for a boot loader it would attach it to dom0. */
static void quick_disks(libxl_domain_config *config)
{
    struct stat st;
    domain_config_plain(config);
    if (config->c_info.type == LIBXL_DOMAIN_TYPE_HVM || config->b_info.bootloader ||
        access(BLOCK_SCRIPT, X_OK) < 0)
        return;
    for (int i = 0; i < config->num_disks; i++) {
        libxl_device_disk *d = &config->disks[i];
        bool here = !d->script && !d->backend_domid && !d->backend_domname && !d->is_cdrom;
        bool raw = d->format == LIBXL_DISK_FORMAT_RAW &&
                   (d->backend == LIBXL_DISK_BACKEND_UNKNOWN || d->backend == LIBXL_DISK_BACKEND_PHY);
        if (!here || !raw || !d->pdev_path || stat(d->pdev_path, &st) < 0 || !S_ISBLK(st.st_mode))
            continue;
        d->script = strdup(BLOCK_SCRIPT);
        if (!d->script)
            abort();
    }
}

void domain_config_own(libxl_domain_config *config, const char *name, const struct ha_uuid *uuid,
                       const char *guest, uint64_t inc, uint64_t mig)
{
    free(config->c_info.name);
    config->c_info.name = strdup(name);
    if (!config->c_info.name)
        abort();
    config->c_info.domid = 0; /* any */
    if (uuid)
        memcpy(libxl_uuid_bytearray(&config->c_info.uuid), uuid->b, sizeof(uuid->b));
    libxl_key_value_list_dispose(&config->c_info.xsdata);
    if (guest) {
        config->c_info.xsdata = tag_of(guest, inc, mig);
        quick_disks(config);
    }
    /* Nobody but us reacts to the end of a guest. */
    config->on_poweroff = LIBXL_ACTION_ON_SHUTDOWN_DESTROY;
    config->on_reboot = LIBXL_ACTION_ON_SHUTDOWN_DESTROY;
    config->on_watchdog = LIBXL_ACTION_ON_SHUTDOWN_DESTROY;
    config->on_crash = LIBXL_ACTION_ON_SHUTDOWN_DESTROY;
    config->on_soft_reset = LIBXL_ACTION_ON_SHUTDOWN_DESTROY;
}
