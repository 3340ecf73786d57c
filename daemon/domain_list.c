/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Prints the host's domains and memory, all of it or, by its result, nothing that counts. */
#include "domain.h"

#include <errno.h>
#include <libxl_utils.h>
#include <libxlutil.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define XL_CONF "/etc/xen/xl.conf"

enum {
    DOM0_KEEPS_KIB = 1024 * 1024, /* what dom0 is left with, however much may be taken */
    ROUND_KIB = 16 * 1024,        /* so that the number does not change with every look */
    PAGE_KIB = 4,
};

/* As xl decides it: the word of xl.conf, and if that is "auto", whether Xen was told dom0's size.
 */
static bool dom0_shrinks(struct domain_worker *w)
{
    const char *word = NULL;
    long number = 0;
    bool on = false, automatic = true;
    FILE *null = fopen("/dev/null", "we");
    XLU_Config *conf = null ? xlu_cfg_init(null, XL_CONF) : NULL;
    if (conf && xlu_cfg_readfile(conf, XL_CONF) == 0 &&
        xlu_cfg_get_string(conf, "autoballoon", &word, 1) == 0) {
        automatic = !strcmp(word, "auto");
        on = !strcmp(word, "on") || !strcmp(word, "1");
    } else if (conf && xlu_cfg_get_long(conf, "autoballoon", &number, 1) == 0) {
        automatic = false;
        on = number != 0;
    }
    if (automatic) {
        const libxl_version_info *info = libxl_get_version_info(w->xl);
        on = info && info->commandline && !strstr(info->commandline, "dom0_mem=");
    }
    if (conf)
        xlu_cfg_destroy(conf);
    if (null)
        fclose(null);
    return on;
}

uint64_t domain_memory_dom0_gives(struct domain_worker *w)
{
    libxl_dominfo info;
    uint64_t gives = 0;
    libxl_dominfo_init(&info);
    if (dom0_shrinks(w) && libxl_domain_info(w->xl, &info, 0) == 0 &&
        info.current_memkb > DOM0_KEEPS_KIB)
        gives = info.current_memkb - DOM0_KEEPS_KIB;
    libxl_dominfo_dispose(&info);
    return gives;
}

/* What Xen keeps for a domain beside its memory. */
static uint64_t overhead_kib(const libxl_dominfo *info)
{
    if (info->domain_type == LIBXL_DOMAIN_TYPE_PV)
        return 1024; /* libxl's LIBXL_PV_EXTRA_MEMORY */
    return 2048 + libxl_get_required_shadow_memory(info->max_memkb, info->vcpu_max_id + 1);
}

/* What guests of this host may use in all: what is free, what they have, what dom0 gives. */
static int print_host(struct domain_worker *w, const struct domain_scan *scan)
{
    libxl_physinfo phys;
    libxl_physinfo_init(&phys);
    if (libxl_get_physinfo(w->xl, &phys) != 0) {
        libxl_physinfo_dispose(&phys);
        return -EIO;
    }
    uint64_t free_kib = (phys.free_pages + phys.scrub_pages) * PAGE_KIB;
    uint64_t dom0_kib = domain_memory_dom0_gives(w), all = free_kib + dom0_kib;
    for (int i = 0; i < scan->ninfo; i++)
        if (scan->info[i].domid)
            all += scan->info[i].current_memkb +
                   (scan->info[i].dying ? 0 : overhead_kib(&scan->info[i]));
    all -= all % ROUND_KIB;
    domain_print(json_pack("{s:{s:I, s:I, s:I, s:b, s:b, s:b}}", "host", "memory_kib",
                           (json_int_t)all, "free_kib", (json_int_t)free_kib, "dom0_gives_kib",
                           (json_int_t)dom0_kib, "hvm", phys.cap_hvm, "hap", phys.cap_hap, "shadow",
                           phys.cap_shadow));
    libxl_physinfo_dispose(&phys);
    return 0;
}

int domain_list(const struct domain_options *options)
{
    struct domain_worker w = {.options = options, .logger = {.file = -1, .progress = -1}};
    struct domain_scan scan;
    if (domain_open_xen(&w) < 0)
        return domain_say_words(&w, XVM_WORKER_UNKNOWN, "no connection to Xen");
    int r = domain_scan(&w, &scan);
    if (!r) {
        for (size_t i = 0; i < scan.n; i++)
            if (!scan.v[i].gone || scan.v[i].writers)
                domain_print(json_pack("{s:o}", "domain", xvm_domain_json(&scan.v[i])));
        r = print_host(&w, &scan);
        domain_scan_done(&scan);
    }
    int code = r < 0 ? domain_say_words(&w, XVM_WORKER_UNKNOWN, "cannot tell what runs here (%s)",
                                        strerror(-r))
                     : domain_say(&w, XVM_WORKER_OK, "complete");
    domain_close_xen(&w);
    return code;
}
