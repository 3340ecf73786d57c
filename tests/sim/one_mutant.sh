#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-or-later
# A build with one guard switched off (-Dmutant=NAME) is caught by the schedules aimed at that guard; the
# same schedules find nothing in an ordinary build. Usage: one_mutant.sh SIMULATOR MUTANT-SIMULATOR NAME
set -u
biases=$("$1" --list-biases | awk -v name="$3" '{ for (i = 2; i <= NF; i++) if ($i == name) print $1 }')
[ -n "$biases" ] || { echo "no schedule is aimed at $3"; exit 1; }
caught=
for b in $biases; do
    "$1" --bias "$b" --runs 20 --shrink 0 --quiet || { echo "$b: the ordinary build fails"; exit 1; }
    "$2" --bias "$b" --runs 20 --shrink 0 --quiet | grep "VIOLATION" && caught=yes
done
[ -n "$caught" ] || { echo "nobody noticed that $3 is switched off"; exit 1; }
