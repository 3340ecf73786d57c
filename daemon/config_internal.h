/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What the parts of the configuration loader share: the loader's state, how it complains, and
 * tables of fields that say which keys a map may have. Private to daemon/config*.c. */
#ifndef XVM_CONFIG_INTERNAL_H
#define XVM_CONFIG_INTERNAL_H

#include "config.h"
#include "config_yaml.h"

enum { XVM_DEVICES_MAX = 256 }; /* fence devices of one file */

struct xvm_loader {
    char *path; /* shared by all errors; owned by the list of errors once it has one */
    struct xvm_config_errors *errors;
    bool failed;  /* at least one real error */
    bool no_room; /* out of memory */
    size_t warnings;
    size_t hidden;  /* errors beyond the limit */
    size_t visited; /* items of maps and lists looked at: aliases must not multiply work */
    bool fence_only;
    bool guessed; /* the ring is a guess: what hangs on it is only worth a warning */
    struct xvm_ring_facts ring;
    struct xvm_fence_agents *agents;     /* NULL: agents are not looked at */
    bool agents_strict;
    const struct xvm_fence_meta **metas; /* of config->devices; entries may be NULL: not known */
    const struct xvm_fence_meta *meta;   /* of the device whose options are being read */
    const struct ha_guest_config **by_name; /* the guests, sorted; while rules are read */
    size_t rule_guests;                     /* of all rules so far */
    struct ha_config *config;
};

/* Complaints. Return -EINVAL, so that they can be the last words of a function. */
int xvm_config_fail(struct xvm_loader *l, unsigned line, unsigned column, const char *format, ...)
    __attribute__((format(printf, 4, 5)));
int xvm_config_fail_node(struct xvm_loader *l, const struct xvm_node *at, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
void xvm_config_warn_node(struct xvm_loader *l, const struct xvm_node *at, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
/* Remembers that memory ran out. */
int xvm_config_no_room(struct xvm_loader *l);

/* One key that a map may have. `read` stores at target + offset; min and max are for numbers. */
struct xvm_field {
    const char *key;
    int (*read)(struct xvm_loader *l, const struct xvm_field *field, const struct xvm_node *value,
                void *out);
    size_t offset;
    bool required;
    int64_t min, max;
};

/* Reads a map by its table: unknown keys (with the nearest known one), missing ones, wrong values.
 * `what` names it in errors, for example "guest web1". A null value counts as an empty map. */
int xvm_read_map(struct xvm_loader *l, const struct xvm_node *node, const char *what,
                 const struct xvm_field *fields, size_t nfields, void *target);
/* Complains unless it is a map whose keys are all different. Null counts as an empty map. A map
 * with a key twice is still worth reading: `continue` after the complaint. -EINVAL: not a map. */
int xvm_check_map(struct xvm_loader *l, const struct xvm_node *node, const char *what);

/* Readers of scalars, for tables. */
int xvm_read_node(struct xvm_loader *l, const struct xvm_field *f, const struct xvm_node *v,
                  void *out); /* const struct xvm_node * */
int xvm_read_string(struct xvm_loader *l, const struct xvm_field *f, const struct xvm_node *v,
                    void *out); /* char *, allocated */
int xvm_read_path(struct xvm_loader *l, const struct xvm_field *f, const struct xvm_node *v,
                  void *out); /* char *, allocated, absolute */
int xvm_read_name(struct xvm_loader *l, const struct xvm_field *f, const struct xvm_node *v,
                  void *out); /* char[HA_NAME_MAX] */
int xvm_read_bool(struct xvm_loader *l, const struct xvm_field *f, const struct xvm_node *v,
                  void *out); /* bool */
int xvm_read_int(struct xvm_loader *l, const struct xvm_field *f, const struct xvm_node *v,
                 void *out); /* int (use it for unsigned too: min >= 0) */
int xvm_read_duration(struct xvm_loader *l, const struct xvm_field *f, const struct xvm_node *v,
                      void *out); /* ha_ms */
int xvm_read_size(struct xvm_loader *l, const struct xvm_field *f, const struct xvm_node *v,
                  void *out); /* uint64_t, KiB */

/* Complains unless it is a list. */
int xvm_check_list(struct xvm_loader *l, const struct xvm_node *node, const char *what);

/* A name of a host, guest or device: letters, digits and _ . + - ; fits HA_NAME_MAX. */
int xvm_check_name(struct xvm_loader *l, const struct xvm_node *at, const char *what);

/* Lists of `name: value` for fence agents. `owner` names device or host in errors. */
int xvm_read_options(struct xvm_loader *l, const struct xvm_node *node, const char *owner,
                     struct ha_param **params, size_t *nparams);

/* What fence agents know of themselves (config_agents.c). Nothing is said of an agent that is not
 * known. */
const struct xvm_fence_meta *xvm_find_agent(struct xvm_loader *l, const struct xvm_node *at,
                                            const char *agent);
/* One option of the device whose agent is l->meta. value NULL: from a file. */
void xvm_check_option(struct xvm_loader *l, const struct xvm_node *key, const char *value);
/* The host's own options suit one of its devices at least; each device has all it needs. */
void xvm_check_host_options(struct xvm_loader *l, const struct xvm_node *at,
                            const struct xvm_node *options, const struct ha_host_config *host);

/* Sections. config->devices, then hosts, then guests. */
/* The `shared_disk` section (NULL: none), after the timers. */
void xvm_read_disk(struct xvm_loader *l, const struct xvm_node *node);
void xvm_read_devices(struct xvm_loader *l, const struct xvm_node *node);
void xvm_read_hosts(struct xvm_loader *l, const struct xvm_node *node);
void xvm_read_guests(struct xvm_loader *l, const struct xvm_node *defaults,
                     const struct xvm_node *node);
/* One of some words (ends with NULL); its number. `expected` names them all. */
int xvm_read_word(struct xvm_loader *l, const char *key, const struct xvm_node *v,
                  const char *const *words, const char *expected, uint8_t *ret);
/* config_placement.c. A host's `labels`; `nth` is its number. */
void xvm_read_host_labels(struct xvm_loader *l, const struct xvm_node *node, size_t nth);
/* A guest's `needs`, `prefer` and `labels`, for its table of fields; out: struct ha_guest_config.
 * Each replaces what a default said. */
int xvm_read_needs(struct xvm_loader *l, const struct xvm_field *f, const struct xvm_node *v,
                   void *out);
int xvm_read_prefer(struct xvm_loader *l, const struct xvm_field *f, const struct xvm_node *v,
                    void *out);
int xvm_read_guest_labels(struct xvm_loader *l, const struct xvm_field *f, const struct xvm_node *v,
                          void *out);
/* Gives a guest that was copied from the defaults lists of its own. */
int xvm_copy_guest_lists(struct xvm_loader *l, struct ha_guest_config *guest);
void xvm_free_guest_lists(struct ha_guest_config *guest);
/* `failback`, `preempt`, `rebalance` and `reserve`: NULL where they are not written. */
struct xvm_placement_nodes {
    const struct xvm_node *rules, *reserve, *failback, *preempt, *rebalance;
};
/* After the guests. */
void xvm_read_placement(struct xvm_loader *l, const struct xvm_placement_nodes *nodes);
void xvm_free_placement(struct ha_config *config);
/* A host of that name, or 0 after a complaint. */
ha_node xvm_host_by_name(struct xvm_loader *l, const struct xvm_node *at);
/* After the hosts. NULL: nothing is written, the defaults hold. */
void xvm_read_migration(struct xvm_loader *l, const struct xvm_node *node);
/* A guest's `move`, for its table of fields; out: struct ha_guest_config. */
int xvm_read_move(struct xvm_loader *l, const struct xvm_field *f, const struct xvm_node *v,
                  void *out);
/* A guest's life (config_life.c), for its table of fields; out: struct ha_guest_config. */
int xvm_read_probes(struct xvm_loader *l, const struct xvm_field *f, const struct xvm_node *v,
                    void *out);
int xvm_read_after(struct xvm_loader *l, const struct xvm_field *f, const struct xvm_node *v,
                   void *out);
int xvm_read_on_end(struct xvm_loader *l, const struct xvm_field *f, const struct xvm_node *v,
                    void *out); /* uint8_t, enum ha_on_end; max: the last one that is allowed */
/* A copy of its own of what the defaults say. */
void xvm_copy_probes(struct xvm_loader *l, const struct ha_guest_config *from,
                     struct ha_guest_config *to);
void xvm_free_probes(struct ha_guest_config *guest);
/* Every guest that another one waits for exists, and nobody waits for itself. `node`: the
 * section. */
void xvm_check_order(struct xvm_loader *l, const struct xvm_node *node);
void xvm_read_starts(struct xvm_loader *l, const struct xvm_node *node);
void xvm_read_shutdown(struct xvm_loader *l, const struct xvm_node *node);
int xvm_read_levels(struct xvm_loader *l, const struct xvm_node *node, struct ha_host_config *host);

#endif
