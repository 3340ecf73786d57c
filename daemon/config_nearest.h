/* SPDX-License-Identifier: GPL-2.0-or-later */
/* "Did you mean": the nearest of some names to a mistyped one. */
#ifndef XVM_CONFIG_NEAREST_H
#define XVM_CONFIG_NEAREST_H

#include <stddef.h>

struct xvm_nearest {
    const char *wanted;
    const char *best; /* borrowed from the names tried; NULL: none is near */
    size_t distance;
};

/* Tries one more name. Zero-initialise all but `wanted`. */
void xvm_nearest_try(struct xvm_nearest *nearest, const char *name);

#endif
