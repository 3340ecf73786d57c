/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Owns the writer thread of the journal and its queue. */
#include "journal.h"

#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "journal_file.h"

struct entry {
    struct entry *next;
    uint64_t seq;
    bool rewrite;
    size_t len;
    unsigned char data[]; /* records, each: u32 length LE, bytes */
};

struct xvm_journal {
    struct xvm_journal_file file; /* the writer's, once it runs */
    const struct xvm_journal_sink *sink;
    void *user;
    sd_event_source *source;
    int event_fd;
    pthread_t thread;
    pthread_mutex_t mutex; /* guards all below */
    pthread_cond_t wake;
    struct entry *first, **last;
    uint64_t durable;
    int error;               /* of the latest write that failed; 0: none since the last heal */
    unsigned failures;       /* writes that failed, ever */
    uint64_t told;           /* the loop's: the last seq the sink heard of */
    unsigned told_failures;  /* the loop's: how many the sink heard of */
};

/* -------------------------------------------------------------------------------- writer thread */

/* All appends up to the next rewrite go into one frame, and so share one fsync. */
static struct entry *write_some(struct xvm_journal *j, struct entry *batch, uint64_t *ret_seq,
                                int *ret_error)
{
    struct entry *end = batch;
    unsigned char *frame, *at;
    size_t len = 0;

    if (batch->rewrite) {
        *ret_error = xvm_journal_file_replace(&j->file, batch->data, batch->len);
        *ret_seq = batch->seq;
        return batch->next;
    }
    for (; end && !end->rewrite; end = end->next) {
        len += end->len;
        *ret_seq = end->seq;
    }
    frame = at = malloc(len);
    if (!frame) {
        *ret_error = -ENOMEM;
        return end;
    }
    for (struct entry *entry = batch; entry != end; entry = entry->next) {
        memcpy(at, entry->data, entry->len);
        at += entry->len;
    }
    *ret_error = xvm_journal_file_append(&j->file, frame, len);
    free(frame);
    return end;
}

static void free_entries(struct entry *entry)
{
    while (entry) {
        struct entry *next = entry->next;

        free(entry);
        entry = next;
    }
}

static void tell(struct xvm_journal *j, uint64_t seq, int error)
{
    const uint64_t one = 1;

    pthread_mutex_lock(&j->mutex);
    j->error = error;
    if (error < 0)
        j->failures++;
    else
        j->durable = seq;
    pthread_mutex_unlock(&j->mutex);
    if (write(j->event_fd, &one, sizeof(one)) < 0)
        return; /* the counter is full: the loop is awake anyway */
}

/* Waits for work and takes all there is. */
static struct entry *take_queue(struct xvm_journal *j)
{
    struct entry *batch;

    pthread_mutex_lock(&j->mutex);
    while (!j->first)
        pthread_cond_wait(&j->wake, &j->mutex);
    batch = j->first;
    j->first = NULL;
    j->last = &j->first;
    pthread_mutex_unlock(&j->mutex);
    return batch;
}

static void *writer(void *data)
{
    struct xvm_journal *j = data;
    int error = 0;

    /* After a failed write nobody knows what is on the disk: nothing is appended or acknowledged any
     * more until a whole journal, in a file of its own, has taken its place. */
    for (;;) {
        struct entry *batch = take_queue(j), *next = batch;
        uint64_t seq = 0;

        while (next) {
            if (error < 0 && !next->rewrite) {
                next = next->next;
                continue;
            }
            next = write_some(j, next, &seq, &error);
            tell(j, seq, error);
        }
        free_entries(batch);
    }
    return NULL;
}

/* ---------------------------------------------------------------------------------------- loop */

static int on_event(sd_event_source *source, int fd, uint32_t revents, void *user)
{
    struct xvm_journal *j = user;
    uint64_t count, durable;
    unsigned failures;
    int error;

    (void)source;
    (void)revents;
    if (read(fd, &count, sizeof(count)) < 0)
        return 0;
    pthread_mutex_lock(&j->mutex);
    durable = j->durable;
    error = j->error;
    failures = j->failures;
    pthread_mutex_unlock(&j->mutex);
    if (durable != j->told) {
        j->told = durable;
        j->sink->durable(j->user, durable);
    }
    if (error < 0 && failures != j->told_failures)
        j->sink->failed(j->user, strerror(-error));
    j->told_failures = failures;
    return 0;
}

static int queue(struct xvm_journal *j, struct entry *entry)
{
    pthread_mutex_lock(&j->mutex);
    entry->next = NULL;
    *j->last = entry;
    j->last = &entry->next;
    pthread_cond_signal(&j->wake);
    pthread_mutex_unlock(&j->mutex);
    return 0;
}

int xvm_journal_append(struct xvm_journal *j, uint64_t seq, const void *data, size_t len)
{
    struct entry *entry = malloc(sizeof(*entry) + 4 + len);

    if (!entry)
        return -ENOMEM;
    entry->seq = seq;
    entry->rewrite = false;
    entry->len = 4 + len;
    for (int i = 0; i < 4; i++)
        entry->data[i] = (unsigned char)(len >> (8 * i));
    memcpy(entry->data + 4, data, len);
    return queue(j, entry);
}

int xvm_journal_rewrite(struct xvm_journal *j, uint64_t seq, const void *data, size_t len)
{
    struct entry *entry = malloc(sizeof(*entry) + len);

    if (!entry)
        return -ENOMEM;
    entry->seq = seq;
    entry->rewrite = true;
    entry->len = len;
    if (len > 0)
        memcpy(entry->data, data, len);
    return queue(j, entry);
}

int xvm_journal_open(const char *dir, xvm_journal_record record, void *user,
                     struct xvm_journal **ret_journal, struct ha_error *ret_error)
{
    struct xvm_journal *j = calloc(1, sizeof(*j));
    int r;

    if (!j) {
        memset(ret_error, 0, sizeof(*ret_error));
        ret_error->code = -ENOMEM;
        return -ENOMEM;
    }
    j->event_fd = -1;
    j->last = &j->first;
    pthread_mutex_init(&j->mutex, NULL);
    pthread_cond_init(&j->wake, NULL);
    r = xvm_journal_file_open(&j->file, dir, record, user, ret_error);
    if (r < 0) {
        free(j); /* descriptors live on: the program ends with this error */
        return r;
    }
    *ret_journal = j;
    return 0;
}

int xvm_journal_start(struct xvm_journal *j, sd_event *loop, const struct xvm_journal_sink *sink,
                      void *user)
{
    int r;

    j->sink = sink;
    j->user = user;
    j->event_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (j->event_fd < 0)
        return -errno;
    r = sd_event_add_io(loop, &j->source, j->event_fd, EPOLLIN, on_event, j);
    if (r < 0)
        return r;
    r = -pthread_create(&j->thread, NULL, writer, j);
    if (r == 0)
        pthread_detach(j->thread);
    return r;
}
