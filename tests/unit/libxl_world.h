/* SPDX-License-Identifier: GPL-2.0-or-later */
/* For tests of the libxl driver: a driver whose worker program is fake_domain.sh, and what its sink
 * got. Includes what cmocka needs. */
#ifndef XVM_TEST_LIBXL_WORLD_H
#define XVM_TEST_LIBXL_WORLD_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "../../daemon/domain_facts.h"
#include "../../daemon/driver.h"
#include "../../daemon/guest_files.h"

#define GUEST "web"
#define UUID "00000001-7ab0-4000-8000-000000000001"
#define OTHER_UUID "00000002-7ab0-4000-8000-000000000002"

struct world {
    char dir[64], fake[96], run_dir[96];
    sd_event *loop;
    struct ha_config config;
    struct ha_guest_config guest;
    struct xvm_definitions *definitions;
    struct xvm_driver *driver;
    uint64_t op;
    /* what the sink got */
    uint64_t done_op;
    enum ha_result result, results[32]; /* the latest, and each by its operation */
    char text[512];
    unsigned inventories, unknowns;
    struct ha_copy copies[8];
    size_t ncopies;
    uint64_t memory_kib;
    ha_ms looked;
    unsigned exits;
    uint64_t exit_inc;
    enum ha_exit exit_how;
    char said[2048];
    unsigned checks, mades;
    bool fit;
    uint64_t made_kib;
    uint8_t made_flags;
};

#define WAIT_UNTIL(w, condition)                                                                   \
    do {                                                                                           \
        ha_ms end_ = xvm_boot_ms() + 20000;                                                        \
        while (!(condition)) {                                                                     \
            if (xvm_boot_ms() > end_)                                                              \
                fail_msg("waited in vain for: %s", #condition);                                    \
            assert_true(sd_event_run((w)->loop, 20 * 1000) >= 0);                                  \
        }                                                                                          \
    } while (0)

#define DOMAIN(id, uuid, name, what)                                                               \
    "{\"domain\": {\"domid\": " id ", \"uuid\": \"" uuid "\", \"name\": \"" name "\", " what "}}"  \
    "\n"
#define QUIET                                                                                      \
    "\"gone\": false, \"dying\": false, \"paused\": false, \"ran\": true, \"end\": \"none\", "     \
    "\"writers\": true, \"monitored\": false"
#define TAG(inc, mig)                                                                              \
    ", \"tag\": {\"guest\": \"" GUEST "\", \"inc\": \"" inc "\", \"mig\": \"" mig "\"}"

/* What an operation of the fake does, or what there is: replaced in one go. */
void put(struct world *w, const char *name, const char *text);
/* The fake does again what it does by itself. */
void drop(struct world *w, const char *name);
/* The watch says a line. */
void event(struct world *w, const char *line);
/* Number of calls of the fake that begin like that. */
unsigned calls(struct world *w, const char *begin);
/* A driver without a word said yet. */
void open_driver(struct world *w);
/* Starts an operation; its number. */
uint64_t begin(struct world *w, enum ha_op what, uint64_t inc, ha_ms timeout,
               const struct xvm_channel *channel);
/* The same, to its end. */
enum ha_result run(struct world *w, enum ha_op what, uint64_t inc);
/* A fresh inventory: one that was under way already does not count. */
void look_again(struct world *w);
/* A fresh inventory's only copy; NULL: none. */
const struct ha_copy *look(struct world *w);
/* That copy, and no other. */
void assert_copy(struct world *w, enum ha_copy_state state, uint64_t inc, uint64_t mig);
/* For cmocka. */
int world_setup(void **state);
int world_teardown(void **state);

#endif
