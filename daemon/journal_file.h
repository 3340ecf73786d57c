/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The journal's file: frames and their checksums, see journal.h. No threads, no queue. */
#ifndef XVM_JOURNAL_FILE_H
#define XVM_JOURNAL_FILE_H

#include "journal.h"

struct xvm_journal_file {
    int dir_fd, lock_fd, fd;
    uint64_t end; /* where the next frame goes */
};

int xvm_journal_file_open(struct xvm_journal_file *file, const char *dir, xvm_journal_record record,
                          void *user, struct ha_error *ret_error);
/* Writes one frame of records (each: u32 length LE, bytes) and makes it durable. */
int xvm_journal_file_append(struct xvm_journal_file *file, const void *records, size_t len);
/* Replaces the file by one that holds only these records. Durable, all or nothing. */
int xvm_journal_file_replace(struct xvm_journal_file *file, const void *records, size_t len);

#endif
