#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-or-later
# Two processes that run the same seeds print the same hashes.
set -eu
first=$("$1" --runs 30 --seed 500 --hash --keep-going --shrink 0 --quiet | grep -v VIOLATION)
second=$("$1" --runs 30 --seed 500 --hash --keep-going --shrink 0 --quiet | grep -v VIOLATION)
test "$(printf '%s\n' "$first" | wc -l)" = 30
test "$first" = "$second"
