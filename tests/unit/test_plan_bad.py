#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Bad instances for `xvmhactl plan --file`: each gives an error that names the element.

  tests/unit/test_plan_bad.py XVMHACTL
"""
import copy
import json
import subprocess
import sys

GOOD = {
    "hosts": [{"name": "h1", "memory_mib": 1000, "cpus": 4, "state": "up", "labels": ["rack=a"]},
              {"name": "h2", "memory_mib": 1000, "cpus": 4, "state": "up", "labels": []}],
    "guests": [{"name": "g1", "memory_mib": 100, "vcpus": 1, "priority": 1, "on": "h1",
                "want": "run", "allowed": None, "prefer": {"h1": 5}, "labels": []},
               {"name": "g2", "memory_mib": 100, "vcpus": 1, "priority": 1, "on": None,
                "want": "run", "allowed": ["h1"], "prefer": {}, "labels": ["rack=a"]}],
    "rules": [{"kind": "apart", "strength": "weak", "guests": ["g1", "g2"]}],
    "reserve": 1,
}
GONE = object()
H, G, R = ("hosts", 0), ("guests", 0), ("rules", 0)
# What is changed, to what, and what the error has to begin with.
BAD = [
    (("hosts",), GONE, "instance: has no hosts"),
    (("hosts",), None, "instance: hosts: expected a list, found null"),
    (("hosts",), {}, "instance: hosts: expected a list, found an object"),
    (("hosts",), [], 'guests[0] (g1): on: no host is called "h1"'),
    (("hosts",), [{"name": f"h{i}", "memory_mib": 1} for i in range(1, 66)], "instance: hosts: 65"),
    (("hosts",), [{"name": "h1", "memory_mib": 1}] * 2, "hosts[1] (h1): another one has the same"),
    (H, "h1", "hosts[0]: expected an object, found a string"),
    (H + ("name",), GONE, "hosts[0]: has no name"),
    (H + ("name",), 3, "hosts[0]: name: expected a string"),
    (H + ("name",), "", "hosts[0]: name: expected a string"),
    (H + ("memory_mib",), GONE, "hosts[0] (h1): has no memory_mib"),
    (H + ("memory_mib",), -1, "hosts[0] (h1): memory_mib: -1, expected 0 to"),
    (H + ("memory_mib",), 1.5, "hosts[0] (h1): memory_mib: expected an integer, found a fraction"),
    (H + ("memory_mib",), 10 ** 18, "hosts[0] (h1): memory_mib: 1000000000000000000, expected"),
    (H + ("memory_kib",), 1, "hosts[0] (h1): memory_mib and memory_kib"),
    (H + ("state",), "asleep", 'hosts[0] (h1): state: "asleep", expected one of: up, down, drain'),
    (H + ("state",), None, "hosts[0] (h1): state: expected one of"),
    (H + ("labels",), "rack", "hosts[0] (h1): labels: expected a list or null, found a string"),
    (H + ("labels",), [1], "hosts[0] (h1): labels[0]: expected a string, found an integer"),
    (H + ("cpus",), "4", "hosts[0] (h1): cpus: expected an integer, found a string"),
    (H + ("memory",), 4, "hosts[0] (h1): unknown member `memory`"),
    (("guests",), GONE, "instance: has no guests"),
    (G + ("name",), GONE, "guests[0]: has no name"),
    (G + ("name",), "g2", "guests[1] (g2): another one has the same name"),
    (G + ("memory_mib",), GONE, "guests[0] (g1): has no memory_mib"),
    (G + ("memory_mib",), 0, "guests[0] (g1): memory_mib: 0, expected 1 to"),
    (G + ("vcpus",), -1, "guests[0] (g1): vcpus: -1, expected"),
    (G + ("priority",), 1.5, "guests[0] (g1): priority: expected an integer, found a fraction"),
    (G + ("priority",), 2 ** 40, "guests[0] (g1): priority: 1099511627776, expected"),
    (G + ("on",), "h9", 'guests[0] (g1): on: no host is called "h9"'),
    (G + ("on",), 1, "guests[0] (g1): on: expected a host's name, found an integer"),
    (G + ("want",), "maybe", 'guests[0] (g1): want: "maybe", expected one of: run, stop'),
    (G + ("allowed",), "h1", "guests[0] (g1): allowed: expected a list or null, found a string"),
    (G + ("allowed",), ["h9"], 'guests[0] (g1): allowed: no host is called "h9"'),
    (G + ("prefer",), ["h1"], "guests[0] (g1): prefer: expected an object"),
    (G + ("prefer",), {"h9": 1}, 'guests[0] (g1): prefer: no host is called "h9"'),
    (G + ("prefer",), {"h1": "1"}, "guests[0] (g1): prefer: h1: expected a weight from"),
    (G + ("prefer",), {"h1": 10 ** 9}, "guests[0] (g1): prefer: h1: expected a weight from"),
    (G + ("labels",), 1, "guests[0] (g1): labels: expected a list or null"),
    (G + ("keep",), 1, "guests[0] (g1): keep: expected true or false"),
    (("rules",), {}, "instance: rules: expected a list"),
    (R, "x", "rules[0]: expected an object, found a string"),
    (R + ("kind",), "near", 'rules[0]: kind: "near", expected one of: together, apart'),
    (R + ("kind",), GONE, "rules[0]: has no kind"),
    (R + ("strength",), "hard", 'rules[0]: strength: "hard", expected one of: strong'),
    (R + ("strength",), GONE, "rules[0]: has no strength"),
    (R + ("guests",), GONE, "rules[0]: has no guests"),
    (R + ("guests",), ["g1", "g9"], 'rules[0]: guests[1]: no guest is called "g9"'),
    (R + ("guests",), ["g1", "g1"], "rules[0]: guests[1]: g1 is in it twice"),
    (R + ("guests",), [1], "rules[0]: guests[0]: expected a guest's name, found an integer"),
    (R + ("over",), "room", 'rules[0]: over: no host has a label "room='),
    (("reserve",), -1, "instance: reserve: -1, expected 0 to 64"),
    (("reserve",), "1", "instance: reserve: expected an integer, found a string"),
    (("reservee",), 1, "instance: unknown member `reservee`"),
    (("freedom",), {"migrate": 1}, "freedom: migrate: expected true or false"),
]
# Not even JSON: the line and column.
TEXTS = [
    (b"", "-:1:0: "), (b"{", "-:1:1: "), (b"[]", "instance: expected an object, found a list"),
    (b'{"hosts":[],"hosts":[]}', "-:1:19: duplicate object key"),
    (b'{"hosts":[{"name":"\xff"}]}', "-:1:19: unable to decode byte 0xff"),
    (b"[" * 100000, "-:1:2049: maximum parsing depth"), (b'{"reserve": NaN}', "-:1:15: "),
]


def plan(ctl, text):
    r = subprocess.run([ctl, "plan", "--file", "-"], input=text, capture_output=True, check=False,
                       timeout=60, env={"COLUMNS": "0"})
    return r.returncode, r.stderr.decode()


def changed(path, value):
    x = copy.deepcopy(GOOD)
    at = x
    for key in path[:-1]:
        at = at[key]
    if value is GONE:
        del at[path[-1]]
    else:
        at[path[-1]] = value
    return json.dumps(x).encode()


def main():
    ctl = sys.argv[1]
    failed = 0
    code, error = plan(ctl, json.dumps(GOOD).encode())
    assert code == 0, error
    for text, expected in [(changed(p, v), e) for p, v, e in BAD] + TEXTS:
        code, error = plan(ctl, text)
        if code != 1 or not error.startswith("xvmhactl: " + expected):
            failed += 1
            print(f"expected: {expected}\n   found: {error.strip()} (exit {code})")
            print(f"      of: {text[:300]!r}")
    print(f"{len(BAD) + len(TEXTS)} bad instances, {failed} without the right error")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
