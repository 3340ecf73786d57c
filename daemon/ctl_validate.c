/* SPDX-License-Identifier: GPL-2.0-or-later */
/* `xvmhactl validate`: a row for each guest and host. */
#include <string.h>

#include "ctl.h"

enum { PATIENCE_S = 600 };

static void put_row(struct ctl_cell *row, const json_t *r)
{
    const char *result = ctl_string(r, "result");
    enum ctl_style style = strcmp(result, "fit") == 0        ? STYLE_GOOD
                           : strcmp(result, "not here") == 0 ? STYLE_DIM
                                                             : STYLE_BAD;

    ctl_cell_set(&row[0], STYLE_PLAIN, "%s", ctl_string(r, "guest"));
    ctl_cell_set(&row[1], STYLE_PLAIN, "%s", ctl_string(r, "host"));
    ctl_cell_set(&row[2], style, "%s", result);
}

static void put_texts(const struct ctl *ctl, const json_t *results)
{
    const json_t *r;
    size_t i;

    json_array_foreach(results, i, r)
    {
        const char *text = ctl_string(r, "text"), *guest = ctl_string(r, "guest"),
                   *host = ctl_string(r, "host"), *result = ctl_string(r, "result");

        if (text[0] == '\0' || strcmp(result, "not here") == 0)
            continue;
        printf("\n%s on %s: ", guest, host);
        ctl_put_wrapped(ctl, STYLE_PLAIN, text, (int)(strlen(guest) + strlen(host)) + 6, 2);
    }
}

static void put_all(const struct ctl *ctl, const json_t *results)
{
    struct ctl_table table = {.ncolumns = 3, .titles = {"GUEST", "HOST", "RESULT"}};
    const json_t *r;
    size_t i;

    json_array_foreach(results, i, r)
    {
        struct ctl_cell *row = ctl_table_row(&table);

        if (row != NULL)
            put_row(row, r);
    }
    ctl_table_print(ctl, &table);
    ctl_table_done(&table);
    put_texts(ctl, results);
}

int ctl_validate(struct ctl *ctl, const struct ctl_command *command, char **args, int nargs)
{
    json_t *params = nargs > 0 ? json_pack("{s:s}", "guest", args[0]) : json_object();
    json_t *answer = NULL;
    const json_t *results, *silent, *r;
    bool good = true;
    size_t i;
    int code;

    (void)command;
    ctl->patience_s = PATIENCE_S;
    code = ctl_call(ctl, "org.xvmha.Validate", params, &answer);
    if (code != CTL_OK)
        return code;
    results = json_object_get(answer, "results");
    silent = json_object_get(answer, "silent");
    json_array_foreach(results, i, r)
    {
        const char *result = ctl_string(r, "result");

        good = good && (strcmp(result, "fit") == 0 || strcmp(result, "not here") == 0);
    }
    good = good && json_array_size(silent) == 0;
    if (ctl->json) {
        ctl_print_json(answer);
    } else {
        put_all(ctl, results);
        json_array_foreach(silent, i, r) printf("\n%s did not answer.\n", json_string_value(r));
    }
    json_decref(answer);
    return good ? CTL_OK : CTL_FAILED;
}
