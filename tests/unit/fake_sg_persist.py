#!/usr/bin/env -S python3 -IS
# SPDX-License-Identifier: GPL-2.0-or-later
"""Stands in for sg_persist 1.46 and mpathpersist 0.9.4 (if it is called that): a disk with
persistent reservations, as SPC-4 has them, whose state is a file.

XVM_FAKE_PR: a folder. In it `state` (JSON: keys as [nexus, key], holder: a nexus or null, type),
and what a test wants to go wrong: `nexus` (who calls), `hang`, `garbage`, `unsupported`, `attention`
(how many unit attentions are waiting), `no-abort`, `deaf` (changes are accepted and not made),
`broken` (the option that fails), `before`: `OPTION NEXUS ARGUMENT...`, what another host does right
before a call with that option. `calls` is written.
"""
import getopt
import json
import os
import sys
import time

DIR = os.environ["XVM_FAKE_PR"]
TYPES = {1: "Write Exclusive", 3: "Exclusive Access", 5: "Write Exclusive, registrants only",
         6: "Exclusive Access, registrants only", 7: "Write Exclusive, all registrants"}
MPATH = os.path.basename(sys.argv[0]) == "mpathpersist"
CONFLICT = 11 if MPATH else 24
LONG = ["in", "out", "read-keys", "read-reservation", "register-ignore", "reserve", "release",
        "preempt", "preempt-abort", "clear", "param-rk=", "param-sark=", "prout-type="]


class Ends(Exception):
    """The program ends with a code."""


def path(name):
    return f"{DIR}/{name}"


def text(name):
    try:
        with open(path(name), encoding="utf-8") as f:
            return f.read().strip()
    except FileNotFoundError:
        return None


def load():
    s = text("state")
    return json.loads(s) if s else {"generation": 0, "keys": [], "holder": None, "type": 0}


def save(state):
    with open(path("state.new"), "w", encoding="utf-8") as f:
        json.dump(state, f)
    os.rename(path("state.new"), path("state"))


def fails(message, code):
    print(message, file=sys.stderr)
    if not MPATH:
        print("sg_persist failed: " + message.split(": ")[-1], file=sys.stderr)
    raise Ends(code)


def read_keys(state):
    keys, n = state["keys"], len(state["keys"])
    count = (f"{n} registered reservation keys follow:" if n > 1 else
             "1 registered reservation key follows:" if n else
             "0 registered reservation key." if MPATH else
             "there are NO registered reservation keys")
    print(f"  PR generation=0x{state['generation']:x}, " + ("\t" if MPATH else "") + count)
    for _, key in keys:
        print(f"    0x{key:x}")
    if MPATH:
        print()


def read_reservation(state):
    head = f"  PR generation=0x{state['generation']:x}, "
    if state["holder"] is None:
        print(head + "there is NO reservation held" + (" " if MPATH else ""))
        return
    key = 0 if state["type"] in (7, 8) else dict(state["keys"])[state["holder"]]
    print(head + "Reservation follows:" + (" " if MPATH else ""))
    if MPATH:
        print(f"   Key = 0x{key:x}\n  scope = LU_SCOPE, type = {TYPES[state['type']]}")
    else:
        print(f"    Key=0x{key:x}\n    scope: LU_SCOPE,  type: {TYPES[state['type']]}")


def conflict(what):
    fails(f"PR out ({what}): Reservation conflict", CONFLICT)


def change(state, nexus, what, rk, sark, kind):
    mine = dict(state["keys"]).get(nexus)
    others = [x for x in state["keys"] if x[0] != nexus]
    if what == "register-ignore":
        if sark:  # in its place, if it has one
            state["keys"] = ([[n, sark if n == nexus else k] for n, k in state["keys"]]
                             if mine else state["keys"] + [[nexus, sark]])
        else:
            state["keys"] = others
            if state["holder"] == nexus:
                state["holder"] = None
    elif mine is None or mine != rk:
        conflict(what)
    elif what == "reserve":
        if state["holder"] not in (None, nexus) or (state["holder"] and state["type"] != kind):
            conflict(what)
        state["holder"], state["type"] = nexus, kind
        return
    elif what == "clear":
        state["keys"], state["holder"] = [], None
    elif what in ("preempt", "preempt-abort"):
        if sark not in [k for _, k in state["keys"]]:
            conflict(what)
        held = state["holder"] and dict(state["keys"])[state["holder"]]
        if held == sark:
            state["holder"], state["type"] = nexus, kind
        state["keys"] = [x for x in state["keys"] if x[0] == nexus or x[1] != sark]
    state["generation"] += 1


def do(nexus, argv, deaf=False):
    options = {k[2:]: v for k, v in getopt.gnu_getopt(
        argv, "", LONG + ([] if MPATH else ["no-inquiry"]))[0]}
    what = next(o for o in LONG[2:10] if o in options)
    if text("broken") == what:
        fails(f"PR out ({what}): Aborted command", 11 if not MPATH else 8)
    state = load()
    if "in" in options:
        (read_keys if what == "read-keys" else read_reservation)(state)
        return
    if what == "preempt-abort" and text("no-abort"):
        fails("PR out: bad field in cdb or parameter list (perhaps unsupported service action)", 5)
    change(state, nexus, what, int(options.get("param-rk", "0"), 16),
           int(options.get("param-sark", "0"), 16), int(options.get("prout-type", "0")))
    if not deaf:
        save(state)


def main():
    argv = sys.argv[1:]
    with open(path("calls"), "a", encoding="utf-8") as f:
        f.write(" ".join(argv) + "\n")
    if text("hang"):
        time.sleep(600)
    if text("garbage"):
        print(text("garbage"))
        return
    if text("unsupported"):
        fails("PR in (Read keys): command not supported", 9)
    waiting = int(text("attention") or "0")
    if waiting:
        with open(path("attention"), "w", encoding="utf-8") as f:
            f.write(str(waiting - 1))
        fails("PR in (Read keys): Unit attention", 6)
    before = (text("before") or "").split()
    if before and "--" + before[0] in argv:
        os.unlink(path("before"))
        do(before[1], before[2:])
    do(text("nexus") or "host1", argv, bool(text("deaf")))


try:
    main()
except Ends as e:
    sys.exit(e.args[0])
