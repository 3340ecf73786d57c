/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What the parts of xvmhactl share: options, exit codes, calls to the daemon, output. */
#ifndef XVM_CTL_H
#define XVM_CTL_H

#include <jansson.h>
#include <stdbool.h>
#include <stdio.h>

/* Exit codes; documented in xvmhactl(8). */
enum ctl_exit {
    CTL_OK = 0,
    CTL_FAILED = 1, /* the daemon, or the cluster, said no */
    CTL_USAGE = 2,
    CTL_NO_DAEMON = 3, /* not running here, or not ready yet */
    CTL_DENIED = 4,    /* no permission */
    CTL_NO_QUORUM = 5,
    CTL_UNKNOWN = 6, /* no guest or host of that name */
    CTL_TIMEOUT = 7, /* no answer, or --wait took too long */
};

/* Options, as bits: which were given, and which a command takes. */
enum {
    OPT_YES = 1 << 0,
    OPT_WAIT = 1 << 1,
    OPT_TIMEOUT = 1 << 2,
    OPT_TYPE = 1 << 3,
    OPT_CANCEL = 1 << 4,
    OPT_LINES = 1 << 5,
    OPT_FILE = 1 << 6,
    OPT_CHANGE = 1 << 7, /* --down, --drain, --add */
    OPT_WHY = 1 << 8,
    OPT_FORCE = 1 << 9,
    OPT_XL = 1 << 10,
};

enum { CTL_WORDS_MAX = 64 };

/* The values of an option that can be given several times. */
struct ctl_words {
    const char *word[CTL_WORDS_MAX];
    size_t n;
};

struct ctl {
    const char *socket;
    bool json;
    unsigned given; /* OPT_… */
    const char *type;
    int timeout_s;
    int lines;
    const char *file, *why, *xl_config;
    struct ctl_words down, drain, add;
    /* output */
    bool color;
    int patience_s; /* for an answer; 0: the usual */
    bool quiet;     /* nothing is said of a daemon that is away or does not answer */
    int width; /* columns to fill; 0: no limit */
};

struct ctl_command {
    const char *name; /* one or two words */
    const char *args; /* for the usage line */
    const char *help; /* one line */
    int (*run)(struct ctl *ctl, const struct ctl_command *command, char **args, int nargs);
    int min_args, max_args;
    unsigned options;
    const char *method; /* of org.xvmha.Command, for those that only pass it on */
};

/* ---- xvmhactl.c */
extern const struct ctl_command ctl_commands[];
int ctl_usage_error(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* ---- ctl_client.c: calls. Say what went wrong on stderr (and as JSON on stdout with --json). */
/* Calls `method`; takes over `params`. CTL_OK and *ret_answer (to be json_decref'd), or an exit
 * code. */
int ctl_call(const struct ctl *ctl, const char *method, json_t *params, json_t **ret_answer);
/* org.xvmha.Command; empty strings are left out. */
int ctl_request(const struct ctl *ctl, const char *command, const char *guest, const char *host,
                const char *text, json_t **ret_answer);
/* ctl_request, and prints its text or JSON. */
int ctl_request_print(const struct ctl *ctl, const char *command, const char *guest,
                      const char *host, const char *text);

/* ---- ctl_output.c */
enum ctl_style {
    STYLE_PLAIN,
    STYLE_BOLD,
    STYLE_DIM,
    STYLE_GOOD,
    STYLE_BUSY,
    STYLE_BAD,
};

enum { CTL_COLUMNS_MAX = 6 };

struct ctl_cell {
    enum ctl_style style;
    char text[160];
};

/* A table whose columns are as wide as they must be; the last one takes what is left. */
struct ctl_table {
    size_t ncolumns;
    const char *titles[CTL_COLUMNS_MAX];
    bool right[CTL_COLUMNS_MAX];
    struct ctl_cell (*rows)[CTL_COLUMNS_MAX];
    size_t nrows, size;
};

void ctl_output_init(struct ctl *ctl);
/* Cells of a new row, empty; NULL when out of memory. */
struct ctl_cell *ctl_table_row(struct ctl_table *table);
void ctl_table_print(const struct ctl *ctl, const struct ctl_table *table);
void ctl_table_done(struct ctl_table *table);
void ctl_cell_set(struct ctl_cell *cell, enum ctl_style style, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
/* Prints without a newline, control characters replaced. */
void ctl_put(const struct ctl *ctl, enum ctl_style style, const char *text);
/* Prints `text` from column `at`, wrapped between words, further lines indented by `indent`; ends
 * the line. */
void ctl_put_wrapped(const struct ctl *ctl, enum ctl_style style, const char *text, int at,
                     int indent);
/* The same on standard error, after the program's name. */
void ctl_put_error(const struct ctl *ctl, const char *text);
void ctl_print_json(const json_t *value);

/* Members of an object, with a default for what is not there. */
const char *ctl_string(const json_t *object, const char *name);
long long ctl_int(const json_t *object, const char *name);
bool ctl_bool(const json_t *object, const char *name);

/* ---- the commands */
int ctl_status(struct ctl *ctl, const struct ctl_command *command, char **args, int nargs);
int ctl_names(struct ctl *ctl, const struct ctl_command *command, char **args, int nargs);
int ctl_events(struct ctl *ctl, const struct ctl_command *command, char **args, int nargs);
int ctl_guest(struct ctl *ctl, const struct ctl_command *command, char **args, int nargs);
int ctl_move(struct ctl *ctl, const struct ctl_command *command, char **args, int nargs);
int ctl_cluster(struct ctl *ctl, const struct ctl_command *command, char **args, int nargs);
int ctl_freeze(struct ctl *ctl, const struct ctl_command *command, char **args, int nargs);
int ctl_host(struct ctl *ctl, const struct ctl_command *command, char **args, int nargs);
int ctl_disk(struct ctl *ctl, const struct ctl_command *command, char **args, int nargs);
int ctl_leave(struct ctl *ctl, const struct ctl_command *command, char **args, int nargs);
int ctl_fence_history(struct ctl *ctl, const struct ctl_command *command, char **args, int nargs);
int ctl_fence_check(struct ctl *ctl, const struct ctl_command *command, char **args, int nargs);
int ctl_validate(struct ctl *ctl, const struct ctl_command *command, char **args, int nargs);
int ctl_reload(struct ctl *ctl, const struct ctl_command *command, char **args, int nargs);
int ctl_plan(struct ctl *ctl, const struct ctl_command *command, char **args, int nargs);
int ctl_why(struct ctl *ctl, const struct ctl_command *command, char **args, int nargs);
int ctl_maintenance(struct ctl *ctl, const struct ctl_command *command, char **args, int nargs);
int ctl_config_check(struct ctl *ctl, const struct ctl_command *command, char **args, int nargs);
int ctl_config_show(struct ctl *ctl, const struct ctl_command *command, char **args, int nargs);
int ctl_config_diff(struct ctl *ctl, const struct ctl_command *command, char **args, int nargs);
int ctl_config_push(struct ctl *ctl, const struct ctl_command *command, char **args, int nargs);
int ctl_guest_add(struct ctl *ctl, const struct ctl_command *command, char **args, int nargs);
int ctl_guest_remove(struct ctl *ctl, const struct ctl_command *command, char **args, int nargs);
int ctl_guest_export(struct ctl *ctl, const struct ctl_command *command, char **args, int nargs);
int ctl_restart(struct ctl *ctl, const struct ctl_command *command, char **args, int nargs);
int ctl_debug(struct ctl *ctl, const struct ctl_command *command, char **args, int nargs);

/* ctl_cluster.c: has the operator type `word`, or given --yes. CTL_OK, or an exit code. */
int ctl_confirm(const struct ctl *ctl, const char *warning, const char *word);
/* ctl_diff.c: what a program prints, malloc'd. fds: it finds them as 3, 4, and so on. 0 and its exit
 * status, or a negative errno. */
int ctl_run(const char *const *argv, const int *fds, size_t nfds, char **ret_text, int *ret_status);

/* ctl_wait.c: polls until the guest runs (or not), or moved away from `from`; says on the way what
 * is going on: on a terminal in one line that changes, else in lines. `mig`: the last migration
 * known before the command. */
enum ctl_goal {
    GOAL_RUNNING,
    GOAL_STOPPED,
    GOAL_MOVED,
};
int ctl_wait(const struct ctl *ctl, const char *guest, enum ctl_goal goal, const char *from,
             long long mig);
/* The guest's object in an answer of Status; borrowed; NULL: none of that name. */
const json_t *ctl_find_guest(const json_t *status, const char *guest);

#endif
