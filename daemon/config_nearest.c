/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Edit distance (Damerau's: insert, delete, replace, swap neighbours) between short names. */
#include "config_nearest.h"

#include <ctype.h>
#include <string.h>

enum { LENGTH_MAX = 64 };

static size_t min3(size_t a, size_t b, size_t c)
{
    size_t ab = a < b ? a : b;

    return ab < c ? ab : c;
}

static int lower(const char *s, size_t i)
{
    return tolower((unsigned char)s[i]);
}

static size_t distance(const char *a, size_t na, const char *b, size_t nb)
{
    size_t rows[3][LENGTH_MAX + 1];
    size_t *before = rows[0], *last = rows[1], *row = rows[2], *spare;

    for (size_t j = 0; j <= nb; j++)
        last[j] = j;
    for (size_t i = 1; i <= na; i++) {
        row[0] = i;
        for (size_t j = 1; j <= nb; j++) {
            row[j] = min3(last[j] + 1, row[j - 1] + 1,
                          last[j - 1] + (lower(a, i - 1) != lower(b, j - 1)));
            if (i > 1 && j > 1 && lower(a, i - 1) == lower(b, j - 2) &&
                lower(a, i - 2) == lower(b, j - 1) && before[j - 2] + 1 < row[j])
                row[j] = before[j - 2] + 1;
        }
        spare = before;
        before = last;
        last = row;
        row = spare;
    }
    return last[nb];
}

void xvm_nearest_try(struct xvm_nearest *nearest, const char *name)
{
    size_t na = strlen(nearest->wanted), nb = strlen(name), d, limit;

    if (na > LENGTH_MAX || nb > LENGTH_MAX || na == 0)
        return;
    /* A suggestion further away than a third of the word only confuses. */
    limit = na / 3 > 1 ? na / 3 : 1;
    if ((na > nb ? na - nb : nb - na) > limit)
        return;
    d = distance(nearest->wanted, na, name, nb);
    if (d <= limit && (nearest->best == NULL || d < nearest->distance)) {
        nearest->best = name;
        nearest->distance = d;
    }
}
