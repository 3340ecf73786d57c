#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-or-later
# What an operator types and sees: exit codes and output of xvmhactl against a fake daemon.
# shellcheck disable=SC2016 # the backquotes are what is printed
# Usage: test_ctl.sh XVMHACTL CTL_SERVER SOURCE_DIR
set -u
ctl=$1
server=$2
source_dir=$3
dir=$(mktemp -d)
pid=
failed=0
COLUMNS=0
export COLUMNS
trap '[ -n "$pid" ] && kill "$pid"; rm -rf "$dir"' EXIT

serve() {
    [ -n "$pid" ] && kill "$pid" && wait "$pid" 2>/dev/null
    # Emptied here: the background shell may do so only after the first look for "ready".
    : >"$dir/server"
    "$server" "$dir/sock" "$1" >>"$dir/server" &
    pid=$!
    for _ in $(seq 100); do
        grep -q ready "$dir/server" 2>/dev/null && return
        sleep 0.05
    done
    echo "the fake daemon does not start"
    exit 1
}

# expect CODE PATTERN ARGUMENT...: the exit code, and a line of output that matches
expect() {
    code=$1
    pattern=$2
    shift 2
    "$ctl" --socket "$dir/sock" "$@" >"$dir/out" 2>&1 </dev/null
    r=$?
    if [ $r -ne "$code" ] || ! grep -q -e "$pattern" "$dir/out"; then
        echo "FAILED: xvmhactl $*: exit $r (expected $code), output without \`$pattern\`:"
        cat "$dir/out"
        failed=1
    fi
}

# Nobody there.
expect 3 'xvm-had is not running here (no .*/sock): systemctl start xvm-had' status
expect 3 'not running here' --json start web1
expect 2 'no command `stauts`' stauts
expect 2 "wants a person's word" fence host1
expect 2 'wants a second word: host clear HOST' host host1
expect 2 'usage: xvmhactl start GUEST' start
expect 2 'usage: xvmhactl status' status web1
expect 2 '`status` has no option --yes' status --yes
expect 2 'expected live, migrate or normal' move web1 --type warp
expect 2 'move --cancel takes only' move web1 host1 --cancel
expect 2 '\-n 0, expected 1 to 1000' events -n 0
expect 2 'timeout 5x, expected a time' start web1 --timeout 5x
expect 2 "wants a person's word" fence confirm host1
expect 2 "unrecognized option '--bogus'" status --bogus
# The planner, from a file.
instance() {
    printf '{"hosts": [{"name": "host1", "memory_mib": 8192, "state": "down"},
        {"name": "host2", "memory_mib": 8192}, {"name": "host3", "memory_mib": %s}],
        "guests": [{"name": "web1", "memory_mib": 4096, "priority": 100, "on": "host1"},
        {"name": "db1", "memory_mib": 6144, "on": "host2"%s}], "reserve": 1 %s}' \
        "${1:-8192}" "${2-}" "${3-}" >"$dir/instance"
}
instance
expect 0 'start *web1 on host3: its host host1 is down; host3 has room' plan --file "$dir/instance"
expect 0 'Host failures tolerated: 0, less than the reserve' plan --file "$dir/instance"
expect 0 '"tolerates": 0' plan --file "$dir/instance" --json
expect 0 '"do": "start"' plan --file "$dir/instance" --json
expect 0 'web1 does not run: host2: needs 4096 MiB, 2048 MiB free; would fit without db1' \
    plan --file "$dir/instance" --down host3
expect 0 'not on host2: needs 4096 MiB' plan --file "$dir/instance" --why web1
expect 0 'is to be emptied' plan --file "$dir/instance" --drain host2
expect 6 'no host `host9`' plan --file "$dir/instance" --down host9
expect 6 'no guest `web9`' plan --file "$dir/instance" --why web9
expect 3 'not running here' plan
expect 3 'not running here' why web1
expect 2 'usage: xvmhactl maintenance on HOST' maintenance on
expect 2 'has no option --force' stop web1 --force
expect 2 '`status` has no option --file' status --file x
expect 1 'No such file' plan --file "$dir/nothing"
instance '"8G"'
expect 1 'hosts\[2\] (host3): memory_mib: expected an integer, found a string' \
    plan --file "$dir/instance"
instance 1 ', "on": "host1"'
expect 1 'instance:.*duplicate object key' plan --file "$dir/instance"
instance 1 ', "prefers": {}'
expect 1 'guests\[1\] (db1): unknown member `prefers`' plan --file "$dir/instance"
instance 1 ', "allowed": ["host7"]'
expect 1 'guests\[1\] (db1): allowed: no host is called "host7"' plan --file "$dir/instance"
instance 1 '' ', "rules": [{"kind": "apart", "strength": "solid", "guests": []}]'
expect 1 'rules\[0\]: strength: "solid", expected one of: strong, weak, delegate' \
    plan --file "$dir/instance"
instance 1 '' ', "rules": [{"kind": "apart", "strength": "weak", "guests": ["web1", "mail"]}]'
expect 1 'rules\[0\]: guests\[1\]: no guest is called "mail"' plan --file "$dir/instance"
instance 1 '' ', "rules": [{"kind": "apart", "strength": "weak", "over": "rack", "guests": []}]'
expect 1 'rules\[0\]: over: no host has a label "rack=' plan --file "$dir/instance"
expect 1 '"error": "rules' plan --file "$dir/instance" --json

expect 0 'Usage: xvmhactl' help
expect 0 'Usage: xvmhactl move GUEST \[HOST\]' help move
expect 0 'xvmhactl [0-9]' version
expect 0 '"version"' version --json

# A file, with and without mistakes.
expect 0 '^good: .*3 hosts, 3 guests, 5 fence devices' config check "$source_dir/conf/xvm-ha.yaml"
expect 1 'values.yaml:15:9: `driver` is `kvm`' config check \
    "$source_dir/tests/unit/config-bad/values.yaml"
expect 1 '"severity": "error"' --json config check "$source_dir/tests/unit/config-bad/values.yaml"
expect 1 'cannot read it: No such file' config check /nonexistent

# A good day.
serve good
expect 0 '^Cluster demo: quorate, 3 of 3 hosts online, coordinator host1$' status
expect 0 '^  host2  online       1  2.0 / 16.0 GiB  this host$' status
expect 0 '^  build  disabled  -            50$' status
expect 0 '"condition": "running"' status --json
expect 0 'guest-failed host host2: three restarts' events
expect 0 '"severity": "alert"' events -n 1 --json
expect 0 '^web1 moves to host3 (normal)$' move web1 --type normal
expect 6 'no guest named wbe1: did you mean web1?' start wbe1
expect 6 '"nearest": "web1"' start wbe1 --json
expect 6 'no host named hots1: did you mean host1?' fence confirm hots1 --yes
expect 1 'new-one is already moving' start new-one
expect 0 'noted' fence confirm host1 --yes
expect 0 'noted' move --cancel db1
expect 0 'noted' init
expect 0 'configuration reloaded: 3 hosts' reload
expect 0 'build: starting on host2' start build --wait
expect 0 'build: running on host2' start build --wait
expect 0 'build: stopped' stop build --wait
expect 0 'mail: disabled' disable mail --timeout 20
expect 0 'db1: migrating on host1 to host3' move db1 --wait
expect 7 'web2 is still stopping on host2 after 0 s' stop web2 --timeout 0
# The planner, with the cluster as it is.
expect 0 '^4 of 4 guests run: 0 started' plan
expect 0 '^Host failures tolerated: 1' plan
expect 0 'start *db1 on .*: its host host1 is down' plan --down host1
expect 0 'migrate *web2 to host3: host2 is to be emptied' plan --drain host2
expect 0 'start *build on' plan --add build
expect 6 'no host `host9`' plan --drain host9
expect 0 '"tolerates_exact": true' plan --json
expect 0 '^mail: it runs on host3, and nothing asks for a move$' why mail
expect 0 'not on host2: has no `san`, which it needs$' why mail
expect 0 'not on host3: is not among its allowed hosts$' why web1
expect 0 '^  not on host2: would do, too; `xvmhactl move db1 host2` moves it there$' why db1
expect 0 '"elsewhere"' why mail --json
expect 6 'no guest `wbe1`' why wbe1
expect 0 '^Host failures tolerated: 2 (reserve 1)$' status
expect 0 '"hosts": 2' status --json
expect 0 'noted' evacuate host1
expect 0 'noted' maintenance on host1 --force
expect 0 'noted' maintenance off host1
expect 6 'did you mean host1' evacuate hots1
expect 0 '^mail$' names guests
expect 0 '^host3$' names hosts
expect 7 'no answer from the coordinator' clear build
expect 7 'connection to xvm-had lost. The command may still be carried out' enable build
serve good
if "$ctl" --socket "$dir/sock" status | grep -q "$(printf '\033')"; then
    echo "FAILED: colours in a pipe"
    failed=1
fi
"$ctl" --socket "$dir/sock" status >/dev/full 2>/dev/null
[ $? -eq 1 ] || { echo "FAILED: a full disk goes unnoticed"; failed=1; }

# A bad day.
serve bad
expect 0 'host host1, config drift: ' status
expect 0 'guest web1, migrating' status
expect 0 '^Host failures tolerated: 0 (reserve 1)$' status
expect 0 'cluster reserve, not met' status
expect 0 '^  host2 .*in maintenance' status
expect 0 '^  host1 .*goes down' status
expect 0 'host host2, online: is being emptied' status
expect 0 '^  host1 .*watchdog: ?' status
expect 0 '^  host2 .*no watchdog$' status
expect 0 'host host3, foreign machine: another machine answers' status
expect 0 'guest build, preempted: stopped for want of room' status
expect 0 'not on host3: fencing: lost 12 s ago' why web1
expect 0 'not on host2: maintenance: is being emptied' why web1
expect 0 'mail: host lost on host3: its host host3 is lost.*; it would then start on host1' why mail
expect 0 'not on host2: maintenance' why mail
expect 0 'guest web2, failed: `xvmhactl clear web2` lets it try again' status

# 80 columns, on paper, too: everything wraps between words. $1: a word that is there only as a whole
narrow() {
    word=$1
    shift
    env -u COLUMNS "$ctl" --socket "$dir/sock" "$@" >"$dir/out" 2>&1 </dev/null
    if grep -q '.\{81\}' "$dir/out" || ! grep -q -w -e "$word" "$dir/out"; then
        echo "FAILED: xvmhactl $*: wider than 80 columns, or without the word $word:"
        cat "$dir/out"
        failed=1
    fi
}
narrow confirms status
narrow within events
narrow systemctl --socket /nonexistent/and/a/rather/long/path/to/no/socket/at/all/sock status
[ "$(grep -c 'config drift' "$dir/out")" -le 1 ] || { echo "FAILED: drift is told twice"; failed=1; }

# Out of touch: what is not known is not claimed.
serve unheard
expect 0 '^Cluster demo: out of touch, the coordinator was host1$' status
expect 0 '^  web2   ended  *host2' status
expect 0 '^  db1    unknown  *host1' status
expect 0 '^  host1  silent' status
expect 0 'What follows is what was last agreed' status
expect 0 '"lapsed": true' status --json

# No quorum; a daemon that is not ready.
serve alone
expect 0 'What follows is what was last agreed' status
expect 0 'mail   host missing  host3' status
expect 0 'no quorum, 1 of 3 hosts in the ring, no coordinator' status
expect 5 'This host has no quorum; ' start web1
expect 1 'xvm-ha.yaml:9:4: `id` is `x`' reload
serve new
expect 3 'not ready yet: it starts, or waits for corosync' status
exit $failed
