/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The program xvm-ha-domain: everything that is said to libxl and xenstore. One process an
 * operation, because libxl blocks, forks, and aborts when memory is short. What it prints is one
 * JSON object a line, the last of them {"result": "ok" | "failed" | "unknown", "text": ...}; its
 * exit code says the same (XVM_WORKER_...). A process that ends in any other way has done nobody
 * knows what. */
#ifndef XVM_DOMAIN_H
#define XVM_DOMAIN_H

#include <libxl.h>
#include <xenstore.h>

#include "domain_facts.h"
#include "guest_files.h"

struct domain_logger {
    xentoollog_logger vtable; /* first: libxl knows only this part */
    char words[512];          /* its errors so far, joined */
    int file;                 /* everything it says; -1: nowhere */
    int progress;             /* -1: nobody listens */
    unsigned round;
    uint64_t memory_kib; /* of the domain that is sent */
};

struct domain_options {
    const char *name, *host, *run_dir;
    uint64_t inc, mig;
    ha_ms until;                /* CLOCK_BOOTTIME; do not begin at or after it; 0: no limit */
    ha_ms timeout_ms;           /* 0: none */
    struct ha_uuid uuid;        /* of the guest's definition; zero: not known */
    const char *alias;          /* the guest's name in its configuration file; NULL: the same */
    const char *definition;     /* path of its definition */
    const char *dump;           /* destroy: file for its memory; NULL or "": none */
    const char *file, *cluster; /* define: xl configuration, and whose guest it is */
    int channel, progress;  /* send, receive: inherited descriptors; progress -1: nobody listens */
    enum ha_move_kind kind; /* send */
    uint64_t guard; /* this host's key on the guest's disks; 0: they are not guarded */
    int go; /* inherited: says when to begin, and until when; -1: at once */
};

struct domain_worker {
    const struct domain_options *options;
    enum ha_op op; /* 0: not an operation on a copy */
    int guests_fd, dir, lock_fd;
    ha_ms deadline; /* when it gives up by itself, in time to say so */
    struct xvm_known known;
    libxl_ctx *xl;
    struct xs_handle *xs;
    struct domain_logger logger;
};

struct domain_scan {
    struct xvm_domain *v;
    libxl_dominfo *info; /* of those that are not gone, in the same order */
    int ninfo;
    size_t n, size;
};

/* --------------------------------------------------------------------------- domain_worker.c */

/* Prints the result and returns its code. The text is put after "on HOST: ". */
int domain_say(const struct domain_worker *w, int code, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
/* The same, followed by libxl's own words. */
int domain_say_words(const struct domain_worker *w, int code, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
/* Prints one JSON object as a line, and lets go of it. */
void domain_print(json_t *json);
/* Why the operation must not begin, or NULL. To be asked right before what cannot be taken back. */
const char *domain_must_not_begin(const struct domain_worker *w);
/* From here on the process does not outlive the lease: what libxl still does after a wait cannot
 * happen too late. */
void domain_die_at_lease_end(const struct domain_worker *w);
void domain_nap(ha_ms ms);
bool domain_cancelled(void);
/* A descriptor that becomes readable when SIGTERM came. */
int domain_cancel_fd(void);
/* Carries out an operation on a guest, under its lock. Returns XVM_WORKER_... */
int domain_work(const struct domain_options *options, enum ha_op op,
                int (*work)(struct domain_worker *w));

/* ------------------------------------------------------------------------------ domain_xen.c */

/* Connects to libxl and xenstore. 0, or -1 with words in the logger. */
int domain_open_xen(struct domain_worker *w);
void domain_close_xen(struct domain_worker *w);
void domain_forget_words(struct domain_worker *w);
/* Waits for an operation that was started with *how (as domain_ao_how gave it); a SIGTERM aborts it
 * as far as libxl can. Returns libxl's code. */
libxl_asyncop_how domain_ao_how(void);
int domain_ao_wait(struct domain_worker *w, const libxl_asyncop_how *how);
/* Reads a value below /local/domain/N. Malloc'd; NULL with errno ENOENT: there is none; NULL with
 * another errno: nobody knows. */
char *domain_xs_read(struct xs_handle *xs, uint32_t domid, const char *key);
/* Writes the tag of a running domain, all of it or nothing. 0 or a negative errno. */
int domain_tag_write(struct domain_worker *w, uint32_t domid, uint64_t inc, uint64_t mig);

/* ----------------------------------------------------------------------------- domain_scan.c */

/* All domains of the host but dom0, and those that are gone but for their writers. 0, or a negative
 * errno: nothing is known. */
int domain_scan(struct domain_worker *w, struct domain_scan *ret_scan);
void domain_scan_done(struct domain_scan *scan);
/* The next domain at or after *i that is the guest's, or NULL; *i is moved behind it. */
const struct xvm_domain *domain_next(const struct domain_worker *w, const struct domain_scan *scan,
                                     size_t *i, uint64_t *ret_inc, uint64_t *ret_mig);
/* The one domain of the guest with that incarnation that is neither gone nor dying. 0; -ENOENT:
 * none; -EEXIST: several; or another negative errno: nobody knows. */
int domain_find(struct domain_worker *w, uint64_t inc, struct xvm_domain *ret_domain,
                uint64_t *ret_mig);

/* -------------------------------------------------------------------------- domain_process.c */

/* Processes that belong to domains, by /proc. */
struct domain_process {
    uint32_t domid;
    pid_t pid;
    bool device_model; /* else an xl that waits for the domain's end */
};
/* The caller frees *ret. 0 or a negative errno. */
int domain_processes(struct domain_process **ret, size_t *ret_n);
/* Ends the xl processes that wait for that domain. 0; -EBUSY: one does not end. *ret_n: how many.
 */
int domain_end_monitors(uint32_t domid, unsigned *ret_n);
/* SIGKILL to the device models of a domain. */
void domain_kill_models(uint32_t domid);

/* --------------------------------------------------------------------------- domain_config.c */

/* Reads the guest's definition. 0, or a negative errno with a sentence in `why`. */
int domain_config_read(struct domain_worker *w, const char *path, libxl_domain_config *ret_config,
                       char why[static HA_TEXT_MAX]);
/* Puts name, UUID (unless zero), tag and reactions in their places; for a domain that is to be made
 * here (guest is not NULL), plain block devices get xvm-ha-block as their hotplug script. */
void domain_config_own(libxl_domain_config *config, const char *name, const struct ha_uuid *uuid,
                       const char *guest, uint64_t inc, uint64_t mig);
/* Whether a disk's hotplug script is that one; NULL is not. */
bool domain_script_ours(const char *script);
/* Takes that script out again: another host may not have it. */
void domain_config_plain(libxl_domain_config *config);
int domain_define(const struct domain_options *options);
int domain_check(const struct domain_options *options);
/* Whether kernel, disks and the like are here; false: not, `why` names the first that is not. */
bool domain_check_files(const libxl_domain_config *config, char why[static HA_TEXT_MAX]);
/* Memory that can be had for guests, without taking any yet: free, and what dom0 would give. */
int domain_memory_free(struct domain_worker *w, uint64_t *ret_kib, bool *ret_ballooning);
/* KiB that dom0 could give because xl.conf and Xen's command line let it; 0: nothing. */
uint64_t domain_memory_dom0_gives(struct domain_worker *w);

/* -------------------------------------------------------------------------- the operations */

int domain_create(struct domain_worker *w);  /* domain_build.c */
int domain_unpause(struct domain_worker *w); /* domain_ops.c */
int domain_shutdown(struct domain_worker *w);
int domain_tag(struct domain_worker *w);
int domain_resume(struct domain_worker *w);
int domain_destroy(struct domain_worker *w); /* domain_destroy.c */
int domain_send(struct domain_worker *w);    /* domain_move.c */
int domain_receive(struct domain_worker *w);
/* Removes what a failed build left. XVM_WORKER_FAILED: nothing is left; UNKNOWN. */
int domain_clear(struct domain_worker *w, uint64_t inc);
/* Has dom0 give memory if the host is set up so. 0, or -ENOMEM with a sentence. domain_build.c */
int domain_make_room(struct domain_worker *w, libxl_domain_config *config,
                     char why[static HA_TEXT_MAX]);

/* ---------------------------------------------------------------------------- domain_guard.c */

/* Before a copy is made (hold: it will be the only one; join: it comes in by a move): this host may
 * write to the guest's disks. Nothing to do without --guard. 0, or a negative errno with a
 * sentence; what was done by then is given up. */
int domain_guard_hold(struct domain_worker *w, const libxl_domain_config *config,
                      char why[static HA_TEXT_MAX]);
int domain_guard_join(struct domain_worker *w, const libxl_domain_config *config,
                      char why[static HA_TEXT_MAX]);
/* No copy of that incarnation (0: any) is here any more: marks its disks to be unregistered. */
void domain_guard_let_go(struct domain_worker *w, uint64_t inc);
/* Waits until nobody changes the reservations of the guest's disks. 0 or a negative errno. */
int domain_guard_settled(struct domain_worker *w);
/* A guest that ran already was taken over: notes its disks, to be guarded if they are free. */
void domain_guard_note(struct domain_worker *w);
/* Unregisters what is marked, and makes sure of what the copy --inc holds. */
int domain_guard(const struct domain_options *options);
void domain_guard_check(struct domain_worker *w, const libxl_domain_config *config, void *user,
                        void (*problem)(void *user, const char *text));

int domain_list(const struct domain_options *options);  /* domain_list.c */
int domain_watch(const struct domain_options *options); /* domain_watch.c */

#endif
