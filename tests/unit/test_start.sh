#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-or-later
# What xvm-had says, and with which exit code it ends, when it cannot start.
# Usage: test_start.sh XVM_HAD SOURCE_DIR
set -u
had=$1
source_dir=$2
dir=$(mktemp -d)
failed=0
# two daemons of one network namespace do not go together
[ "$(id -u)" = 0 ] && alone="unshare -n" || alone="unshare -rn"
trap 'rm -rf "$dir"' EXIT

# expect CODE PATTERN: the exit code, and one line of log that matches and ends in no errno's words
expect() {
    timeout 20 $alone "$had" --config "$source_dir/conf/xvm-ha.yaml" --run-dir "$dir/run" --state-dir "$dir/state" \
        --log-target console --boot-id 11111111-2222-4333-8444-555555555555 \
        --machine-id 0123456789abcdef0123456789abcdef >"$dir/out" 2>&1
    r=$?
    if [ $r -ne "$1" ] || ! grep -q -e "$2" "$dir/out" || grep -q 'needs cleaning' "$dir/out"; then
        echo "FAILED: exit $r (expected $1), log without \`$2\`:"
        cat "$dir/out"
        failed=1
    fi
}

mkdir "$dir/state"
: >"$dir/state/journal"
expect 4 'journal is empty, .*: move the file away'
printf 'something else, longer than a head' >"$dir/state/journal"
expect 4 'journal does not begin as a journal does\. .*: move the file away'
rm -r "$dir/state/journal"
mkdir "$dir/state/journal"
expect 1 'cannot open .*/journal: Is a directory'
exit $failed
