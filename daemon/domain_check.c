/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Looks, without touching anything, whether a guest could be started here: each problem is a line
 * {"problem": text}. What only an attempt could tell (a script's own target) is not looked at. */
#include "domain.h"

#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

struct check {
    struct domain_worker w;
    unsigned problems;
    char *first; /* HA_TEXT_MAX bytes for the first problem; NULL: all are printed */
};

static void problem(struct check *c, const char *format, ...) __attribute__((format(printf, 2, 3)));

static void problem(struct check *c, const char *format, ...)
{
    char text[512];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof(text), format, args);
    va_end(args);
    if (!c->first)
        domain_print(json_pack("{s:s}", "problem", text));
    else if (c->problems == 0)
        snprintf(c->first, HA_TEXT_MAX, "%.*s", HA_TEXT_MAX - 1, text);
    c->problems++;
}

static void check_file(struct check *c, const char *what, const char *path)
{
    if (path && path[0] == '/' && access(path, R_OK) < 0)
        problem(c, "%s %s: %s", what, path, strerror(errno));
}

/* Disks whose backend or script is not ours to judge are somebody else's to find. */
static void check_disk(struct check *c, const libxl_device_disk *disk)
{
    struct stat st;
    bool elsewhere = disk->backend_domname || disk->backend_domid;
    if (elsewhere || (disk->script && disk->script[0]) || !disk->pdev_path || !disk->pdev_path[0])
        return;
    if (disk->pdev_path[0] != '/')
        return;
    if (stat(disk->pdev_path, &st) < 0)
        problem(c, "disk %s: %s: %s", disk->vdev, disk->pdev_path, strerror(errno));
    else if (disk->backend == LIBXL_DISK_BACKEND_PHY && !S_ISBLK(st.st_mode))
        problem(c, "disk %s: %s is not a block device", disk->vdev, disk->pdev_path);
    else if (access(disk->pdev_path, disk->readwrite ? R_OK | W_OK : R_OK) < 0)
        problem(c, "disk %s: %s: %s", disk->vdev, disk->pdev_path, strerror(errno));
}

static void check_nic(struct check *c, const libxl_device_nic *nic)
{
    char path[256];
    const char *script = nic->script ? strrchr(nic->script, '/') : NULL;
    script = script ? script + 1 : nic->script;
    if (nic->backend_domname || nic->backend_domid || (script && strcmp(script, "vif-bridge") != 0))
        return;
    const char *bridge = nic->bridge ? nic->bridge : "xenbr0"; /* libxl's own default */
    snprintf(path, sizeof(path), "/sys/class/net/%s/bridge", bridge);
    if (access(path, F_OK) < 0)
        problem(c, "network: there is no bridge %s", bridge);
}

static void check_memory(struct check *c, libxl_domain_config *config)
{
    uint64_t need = 0, free_kib = 0;
    if (libxl_domain_need_memory(c->w.xl, config, 0, &need) != 0 ||
        libxl_get_free_memory(c->w.xl, &free_kib) != 0) {
        problem(c, "memory: libxl cannot tell what it needs or what is free");
        return;
    }
    free_kib += domain_memory_dom0_gives(&c->w);
    domain_print(
        json_pack("{s:I, s:I}", "need_kib", (json_int_t)need, "free_kib", (json_int_t)free_kib));
    /* What is free now is no problem: others may leave. What all guests may have is the daemon's to
     * compare with. */
}

static void check_host(struct check *c, const libxl_domain_config *config)
{
    libxl_physinfo phys;
    libxl_physinfo_init(&phys);
    if (libxl_get_physinfo(c->w.xl, &phys) != 0)
        problem(c, "the hypervisor does not say what it can do");
    else if (config->b_info.type != LIBXL_DOMAIN_TYPE_PV && !phys.cap_hvm)
        problem(c, "this host cannot run PVH and HVM guests");
    else if (config->b_info.type == LIBXL_DOMAIN_TYPE_PV && !phys.cap_pv)
        problem(c, "this host cannot run PV guests");
    libxl_physinfo_dispose(&phys);
}

static void check_files(struct check *c, const libxl_domain_config *config)
{
    check_file(c, "kernel", config->b_info.kernel);
    check_file(c, "ramdisk", config->b_info.ramdisk);
    check_file(c, "bootloader", config->b_info.bootloader);
    check_file(c, "device model", config->b_info.device_model);
    for (int i = 0; i < config->num_disks; i++)
        check_disk(c, &config->disks[i]);
}

bool domain_check_files(const libxl_domain_config *config, char why[static HA_TEXT_MAX])
{
    struct check c = {.first = why};
    check_files(&c, config);
    return c.problems == 0;
}

static void on_guard_problem(void *user, const char *text)
{
    problem(user, "%s", text);
}

static void check_all(struct check *c, libxl_domain_config *config)
{
    check_host(c, config);
    check_files(c, config);
    domain_guard_check(&c->w, config, c, on_guard_problem);
    for (int i = 0; i < config->num_nics; i++)
        check_nic(c, &config->nics[i]);
    check_memory(c, config); /* last: it fills in defaults */
}

int domain_check(const struct domain_options *options)
{
    struct check c = {.w = {.options = options, .logger = {.file = -1, .progress = -1}}};
    libxl_domain_config config;
    char why[HA_TEXT_MAX];
    int code;
    if (domain_open_xen(&c.w) < 0)
        return domain_say_words(&c.w, XVM_WORKER_UNKNOWN, "no connection to Xen");
    libxl_domain_config_init(&config);
    if (domain_config_read(&c.w, options->definition, &config, why) < 0) {
        problem(&c, "%s", why);
        code = domain_say_words(&c.w, XVM_WORKER_FAILED, "%s", why);
    } else {
        check_all(&c, &config);
        code = c.problems
                   ? domain_say(&c.w, XVM_WORKER_FAILED, "%s cannot be started (%u problem%s)",
                                options->name, c.problems, c.problems > 1 ? "s" : "")
                   : domain_say(&c.w, XVM_WORKER_OK, "%s can be started", options->name);
    }
    libxl_domain_config_dispose(&config);
    domain_close_xen(&c.w);
    return code;
}
