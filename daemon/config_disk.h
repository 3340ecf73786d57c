/* SPDX-License-Identifier: GPL-2.0-or-later */
/* How long the storage below a block device takes until it gives an error, as far as sysfs tells.
 */
#ifndef XVM_CONFIG_DISK_H
#define XVM_CONFIG_DISK_H

#include "../libha/types.h"

struct xvm_storage {
    ha_ms ms;       /* the longest of its time-outs; 0: nothing is known */
    char what[160]; /* which one */
};

/* sysfs: where it is mounted. Follows partitions to their disks and device mapper to what is below;
 * reads SCSI's and NVMe's command timeouts and iSCSI's replacement_timeout. */
void xvm_storage_look(const char *sysfs, unsigned major, unsigned minor, struct xvm_storage *ret);

#endif
