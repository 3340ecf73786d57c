/* SPDX-License-Identifier: GPL-2.0-or-later */
/* How xvmhactl writes: colours only where they are wanted, tables, wrapped text, JSON. */
#include <assert.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "ctl.h"

enum { GAP = 2, NARROW = 40, INDENT = 2, USUAL = 80 };

/* Columns to fill: the terminal's; where there is none, $COLUMNS (0: no limit) or the usual ones. */
static int find_width(bool terminal)
{
    const char *columns = getenv("COLUMNS");
    struct winsize size;

    if (terminal && ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col >= NARROW)
        return size.ws_col;
    if (columns != NULL && strcmp(columns, "0") == 0)
        return 0;
    return columns != NULL && atoi(columns) >= NARROW ? atoi(columns) : USUAL;
}

void ctl_output_init(struct ctl *ctl)
{
    const char *no_color = getenv("NO_COLOR"), *term = getenv("TERM");
    bool terminal = isatty(STDOUT_FILENO) == 1;

    ctl->color = terminal && (no_color == NULL || no_color[0] == '\0') &&
                 (term == NULL || strcmp(term, "dumb") != 0);
    ctl->width = find_width(terminal);
}

/* ------------------------------------------------------------------------------------ text */

static const char *style_code(enum ctl_style style)
{
    switch (style) {
    case STYLE_PLAIN:
        return "";
    case STYLE_BOLD:
        return "\033[1m";
    case STYLE_DIM:
        return "\033[2m";
    case STYLE_GOOD:
        return "\033[32m";
    case STYLE_BUSY:
        return "\033[33m";
    case STYLE_BAD:
        return "\033[1;31m";
    }
    return "";
}

/* Columns on the screen: code points; names are ASCII and texts nearly so. */
static int columns_of(const char *text, size_t len)
{
    int n = 0;

    for (size_t i = 0; i < len; i++)
        n += ((unsigned char)text[i] & 0xc0) != 0x80;
    return n;
}

static void put_bytes(FILE *to, const char *text, size_t len)
{
    for (size_t i = 0; i < len; i++)
        putc((unsigned char)text[i] < ' ' || text[i] == 0x7f ? '?' : text[i], to);
}

static void put_styled(const struct ctl *ctl, enum ctl_style style, const char *text, size_t len)
{
    bool styled = ctl->color && style != STYLE_PLAIN && len > 0;

    if (styled)
        fputs(style_code(style), stdout);
    put_bytes(stdout, text, len);
    if (styled)
        fputs("\033[0m", stdout);
}

void ctl_put(const struct ctl *ctl, enum ctl_style style, const char *text)
{
    put_styled(ctl, style, text, strlen(text));
}

/* Words of `text` from column `at` on; `style` is "" or a code that each line is given. */
static void put_words(FILE *to, int width, const char *style, const char *text, int at, int indent)
{
    const char *end = style[0] != '\0' ? "\033[0m" : "";
    bool first = true;

    fputs(style, to);
    while (*text != '\0') {
        size_t len = strcspn(text, " \n");
        int columns = columns_of(text, len);
        bool full = width > 0 && at + !first + columns > width && at > indent;

        if (full) {
            fprintf(to, "%s\n%*s%s", end, indent, "", style);
            at = indent;
        } else if (!first) {
            putc(' ', to);
            at++;
        }
        put_bytes(to, text, len);
        at += columns;
        text += len;
        first = false;
        for (; *text == ' ' || *text == '\n'; text++) {
            if (*text == '\n' && text[1] != '\0') {
                fprintf(to, "%s\n%*s%s", end, indent, "", style);
                at = indent;
                first = true;
            }
        }
    }
    fprintf(to, "%s\n", end);
}

void ctl_put_wrapped(const struct ctl *ctl, enum ctl_style style, const char *text, int at,
                     int indent)
{
    put_words(stdout, ctl->width, ctl->color ? style_code(style) : "", text, at, indent);
}

void ctl_put_error(const struct ctl *ctl, const char *text)
{
    static const char prefix[] = "xvmhactl: ";

    fflush(stdout);
    fputs(prefix, stderr);
    put_words(stderr, ctl->width, "", text, (int)strlen(prefix), 2);
}

void ctl_print_json(const json_t *value)
{
    json_dumpf(value, stdout, JSON_INDENT(2) | JSON_ENCODE_ANY);
    putchar('\n');
}

/* ---------------------------------------------------------------------------------- tables */

void ctl_cell_set(struct ctl_cell *cell, enum ctl_style style, const char *format, ...)
{
    va_list args;

    cell->style = style;
    va_start(args, format);
    vsnprintf(cell->text, sizeof(cell->text), format, args);
    va_end(args);
}

struct ctl_cell *ctl_table_row(struct ctl_table *table)
{
    if (table->nrows == table->size) {
        size_t size = table->size == 0 ? 16 : table->size * 2;
        void *grown = reallocarray(table->rows, size, sizeof(*table->rows));

        if (grown == NULL)
            return NULL;
        table->rows = grown;
        table->size = size;
    }
    memset(table->rows[table->nrows], 0, sizeof(table->rows[0]));
    return table->rows[table->nrows++];
}

void ctl_table_done(struct ctl_table *table)
{
    free(table->rows);
    table->rows = NULL;
    table->nrows = table->size = 0;
}

/* At most `columns` of the text; what is cut off shows as "~". */
static void put_cell(const struct ctl *ctl, enum ctl_style style, const char *text, int columns,
                     bool right, bool last)
{
    size_t len = strlen(text);
    int used = columns_of(text, len);
    bool cut = columns > 0 && used > columns;

    if (right && !cut)
        printf("%*s", columns - used, "");
    if (cut) {
        while (len > 0 && columns_of(text, len) > columns - 1)
            len--;
        used = columns;
    }
    put_styled(ctl, style, text, len);
    if (cut)
        putchar('~');
    if (!right && !last)
        printf("%*s", columns - used, "");
}

static void measure(const struct ctl *ctl, const struct ctl_table *table,
                    int widths[CTL_COLUMNS_MAX])
{
    int total = INDENT, last = (int)table->ncolumns - 1;

    for (size_t c = 0; c < table->ncolumns; c++) {
        widths[c] = (int)strlen(table->titles[c]);
        for (size_t i = 0; i < table->nrows; i++) {
            const char *text = table->rows[i][c].text;
            int n = columns_of(text, strlen(text));

            if (n > widths[c])
                widths[c] = n;
        }
        total += widths[c] + (c > 0 ? GAP : 0);
    }
    if (ctl->width == 0 || total <= ctl->width)
        return;
    /* Too wide for the screen: first the notes give way, then the names. */
    for (int c = last; c >= 0 && total > ctl->width; c -= last > 0 ? last : 1) {
        int least = c == last ? 12 : 16, less = total - ctl->width;

        if (widths[c] - less < least)
            less = widths[c] > least ? widths[c] - least : 0;
        widths[c] -= less;
        total -= less;
    }
}

void ctl_table_print(const struct ctl *ctl, const struct ctl_table *table)
{
    int widths[CTL_COLUMNS_MAX] = {0};
    size_t last = table->ncolumns - 1;

    assert(table->ncolumns > 0 && table->ncolumns <= CTL_COLUMNS_MAX);
    measure(ctl, table, widths);
    printf("%*s", INDENT, "");
    for (size_t c = 0; c <= last; c++) {
        printf("%*s", c > 0 ? GAP : 0, "");
        put_cell(ctl, STYLE_DIM, table->titles[c], widths[c], table->right[c], c == last);
    }
    putchar('\n');
    for (size_t i = 0; i < table->nrows; i++) {
        size_t end = last;

        while (end > 0 && table->rows[i][end].text[0] == '\0')
            end--; /* no blanks at the ends of lines */
        printf("%*s", INDENT, "");
        for (size_t c = 0; c <= end; c++) {
            const struct ctl_cell *cell = &table->rows[i][c];

            printf("%*s", c > 0 ? GAP : 0, "");
            put_cell(ctl, cell->style, cell->text, widths[c], table->right[c], c == end);
        }
        putchar('\n');
    }
}

/* ------------------------------------------------------------------------------------ JSON */

const char *ctl_string(const json_t *object, const char *name)
{
    const char *text = json_string_value(json_object_get(object, name));

    return text != NULL ? text : "";
}

long long ctl_int(const json_t *object, const char *name)
{
    return json_integer_value(json_object_get(object, name));
}

bool ctl_bool(const json_t *object, const char *name)
{
    return json_is_true(json_object_get(object, name));
}
