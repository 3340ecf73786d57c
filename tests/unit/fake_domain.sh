#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-or-later
# Stands in for xvm-ha-domain in the test of the libxl driver: a real process that does what the file
# $XVM_FAKE_DIR/OPERATION says, and writes down how it was called.
op=$1
echo "$*" >>"$XVM_FAKE_DIR/calls"
# Replaced with rename, so never read half-written.
if [ -r "$XVM_FAKE_DIR/$op" ]; then
    . "$XVM_FAKE_DIR/$op"
    exit 0
fi
case $op in
list)
    cat "$XVM_FAKE_DIR/domains" 2>/dev/null
    echo '{"host": {"memory_kib": 4096, "hap": true, "shadow": false}}'
    ;;
watch)
    echo '{"event": "alive"}'
    echo $$ >"$XVM_FAKE_DIR/watch.pid"
    exec tail -s 0.1 -f "$XVM_FAKE_DIR/events"
    ;;
esac
echo '{"result": "ok", "text": "fake"}'
