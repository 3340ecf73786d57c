/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Owns the file of keeper_memory.h. Same program, same host, same boot: so the structs are the
 * format; another layout fails the checksum's length and counts as no memory, which is safe. */
#include "keeper_memory.h"

#include <errno.h>
#include <fcntl.h>
#include <stddef.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "util.h"

enum {
    MAGIC = 0x4b4d5658, /* "XVMK" */
};

static uint32_t slot_crc(const struct xvm_keeper_slot *slot)
{
    size_t skip = offsetof(struct xvm_keeper_slot, generation);

    return xvm_crc32c((uint32_t)sizeof(*slot), (const unsigned char *)slot + skip,
                      sizeof(*slot) - skip);
}

int xvm_keeper_file_open(struct xvm_keeper_file *file, const char *path)
{
    size_t size = 2 * sizeof(struct xvm_keeper_slot);
    int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
    int r = 0;

    memset(file, 0, sizeof(*file));
    if (fd < 0)
        return -errno;
    if (ftruncate(fd, (off_t)size) < 0)
        r = -errno;
    if (r == 0)
        file->slots = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_POPULATE, fd, 0);
    if (r == 0 && file->slots == MAP_FAILED)
        r = -errno;
    close(fd);
    if (r < 0) {
        file->slots = NULL;
        return r;
    }
    for (int i = 0; i < 2; i++) {
        const struct xvm_keeper_slot *slot = &file->slots[i];

        if (slot->magic == MAGIC && slot->crc == slot_crc(slot) &&
            slot->generation > file->last.generation)
            file->last = *slot;
    }
    return 0;
}

const struct xvm_keeper_slot *xvm_keeper_file_last(const struct xvm_keeper_file *file)
{
    return file->last.magic == MAGIC ? &file->last : NULL;
}

void xvm_keeper_file_save(struct xvm_keeper_file *file, const struct ha_keeper *k)
{
    if (!file->slots || k->orders.tbl == 0)
        return;
    ha_keeper_remember(k, &file->last.memory);
    file->last.magic = MAGIC;
    file->last.self = k->self;
    file->last.generation++;
    file->last.crc = slot_crc(&file->last);
    memcpy(&file->slots[file->last.generation & 1], &file->last, sizeof(file->last));
}
