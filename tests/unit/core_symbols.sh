#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-or-later
# The core calls no operating system: every symbol that libha.a leaves undefined must be on the short
# list below (memory, strings, sorting, and what the compiler adds by itself). It has no mutable
# file-scope state: no data or bss symbol. And all that it defines for others is called ha_something.
# Usage: core_symbols.sh LIBHA.A   (of a build without sanitizers; nm reads thin archives, too)
set -eu
lib=$1
allowed='
malloc calloc realloc free
memcpy memmove memset memcmp memchr
strlen strnlen strcmp strncmp strchr
qsort
__memcpy_chk __memmove_chk __memset_chk
__assert_fail __stack_chk_fail _GLOBAL_OFFSET_TABLE_
'
[ -f "$lib" ] || { echo "no such library: $lib"; exit 1; }
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
nm "$lib" >"$dir/nm"
if grep -q '__asan_\|__ubsan_\|__tsan_\|__sanitizer_\|__gcov_' "$dir/nm"; then
    echo "built with sanitizers: not checked"
    exit 77
fi
awk '$1 == "U" { print $2 }' "$dir/nm" | sort -u >"$dir/undefined"
awk 'NF == 3 && $2 ~ /^[A-TV-Z]$/ { print $3 }' "$dir/nm" | sort -u >"$dir/defined"
printf '%s\n' $allowed | sort -u >"$dir/allowed"
cat "$dir/defined" "$dir/allowed" | sort -u >"$dir/known"
bad=$(comm -23 "$dir/undefined" "$dir/known")
# .data.rel.ro is constant: tables of pointers, relocated once at load.
state=$(objdump -t "$lib" | awk '$NF !~ /^\./ && / (\.data|\.bss|\.tdata|\.tbss|\*COM\*)/ &&
    !/ \.data\.rel\.ro/ { print $NF }' | sort -u)
fail=0
if [ -n "$bad" ]; then
    echo "libha calls what a pure core must not call:" $bad
    fail=1
fi
if [ -n "$state" ]; then
    echo "libha has mutable file-scope state:" $state
    fail=1
fi
names=$(grep -v '^ha_' "$dir/defined" || true)
if [ -n "$names" ]; then
    echo "libha defines names without ha_:" $names
    fail=1
fi
[ -s "$dir/defined" ] || { echo "no symbols in $lib"; fail=1; }
called=$(comm -23 "$dir/undefined" "$dir/defined" | wc -l)
[ $fail -eq 0 ] && echo "$called symbols called from outside, all known"
exit $fail
