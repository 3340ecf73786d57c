#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# Process 1 of a node: makes the node's private view of the machine, then only reaps orphans.
# Usage: node-init.sh NODE_DIR HOST_NAME PID_NAMESPACE_OF_THE_ROOM. SIGKILL of this process is the node's power cut: the kernel
# ends every process of the pid namespace, and /run, /dev/shm and the network card go with them.
set -e
dir=$1
# /proc is still the room's: this is how the world outside knows us (pid, start time, namespace).
read -r -a stat </proc/self/stat
id="${stat[0]} ${stat[21]} $3"
hostname "$2"
mount -t proc proc /proc
mount -t tmpfs -o mode=755 run /run
mount -t tmpfs -o mode=1777 shm /dev/shm
mkdir -p /run/lock
for d in etc/corosync var/lib/corosync var/log/corosync; do
    [ -d "/$d" ] || { echo "node-init: /$d is missing (is corosync installed?)" >&2; exit 1; }
    mount --bind "$dir/$d" "/$d"
done
# The configuration of the real machine's daemon, if there is one, is not the node's.
for d in var/lib/xvm-had; do
    [ ! -d "/$d" ] || mount --bind "$dir/$d" "/$d"
done
echo "$id" >"$dir/init.pid.new"
mv "$dir/init.pid.new" "$dir/init.pid"
trap : TERM INT
while :; do
    sleep 1000 &
    wait $! || :
done
