/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Small things that both programs need: the clock, identities as text, folders. */
#ifndef XVM_UTIL_H
#define XVM_UTIL_H

#include "../libha/types.h"

#define XVM_BOOT_ID "/proc/sys/kernel/random/boot_id"
#define XVM_MACHINE_ID "/etc/machine-id"

/* CLOCK_BOOTTIME, rounded down. */
ha_ms xvm_now_ms(void);
/* 32 hexadecimal digits, dashes anywhere. 0 or -EINVAL. */
int xvm_uuid_parse(const char *text, struct ha_uuid *ret_uuid);
/* First line of a file. 0 or a negative errno. */
int xvm_uuid_read(const char *path, struct ha_uuid *ret_uuid);
void xvm_uuid_random(struct ha_uuid *ret_uuid);
/* mkdir -p. 0 or a negative errno. */
int xvm_mkdirs(const char *path, unsigned mode);
/* Two daemons on one host would be one member of the group, with two minds. *ret_fd is held for the life of
 * the process. 0, -EADDRINUSE: there is another one, or a negative errno. */
int xvm_be_the_only_one(int *ret_fd);
/* Goes on as a child in a session of its own; the parent ends with 0. 0 or a negative errno. */
int xvm_detach(void);
/* CRC-32C (Castagnoli) of data, continuing from crc (0 to begin). */
uint32_t xvm_crc32c(uint32_t crc, const void *data, size_t len);

#endif
