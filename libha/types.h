/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The plain types everything else is made of: identities, time, epochs, errors. No behaviour. */
#ifndef HA_TYPES_H
#define HA_TYPES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Milliseconds of CLOCK_BOOTTIME. The one time type; durations use it too. */
typedef int64_t ha_ms;

/* A corosync node id. 0 means "no host". */
typedef uint32_t ha_node;

enum {
    HA_HOSTS_MAX = 64,      /* hosts of one cluster */
    HA_GUESTS_MAX = 8192,   /* guests of one cluster */
    HA_NAME_MAX = 64,       /* bytes of a host's or guest's name, with its NUL */
    HA_ADDRESS_MAX = 46,    /* bytes of an IPv4 or IPv6 address as text, with its NUL */
    HA_TEXT_MAX = 200,      /* bytes of a reason or an error's text, with its NUL */
    HA_LEVELS_MAX = 8,      /* fence levels of one host */
    HA_MSG_MAX = 60 * 1024, /* bytes of one multicast message */
    HA_CONFIG_CHANGES = 8,  /* of the configuration file that facts remember */
};

struct ha_uuid {
    uint8_t b[16];
};

/* A corosync ring. seq 0 = none. */
struct ha_ring {
    ha_node node;
    uint64_t seq;
};

/* An epoch; ordered by number, then by coordinator. */
struct ha_epoch {
    uint64_t number;
    ha_node node;
};

/* The key of a fact, and of a log (that of its last fact): ordered by epoch, then index. */
struct ha_key {
    struct ha_epoch e;
    uint64_t i;
};

/* A process of the daemon's group as CPG names it. */
struct ha_process {
    ha_node node;
    uint32_t pid;
};

/* A change of the configuration file that all hosts are to make. */
struct ha_config_change {
    uint64_t at;   /* index of the fact; 0: none */
    uint64_t from; /* hash of the file that it is made from; 0: whatever is there */
};

/* What an operator will read about a failure. file, line and column are 0 where they do not apply. */
struct ha_error {
    int code; /* negative errno */
    const char *file;
    unsigned line;
    unsigned column;
    char text[HA_TEXT_MAX * 2];
};

#endif
