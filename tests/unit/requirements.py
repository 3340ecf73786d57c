#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""doc/requirements.md names tests: every one of them has to exist, and every row has to be there."""
import os
import re
import sys

TREE = os.path.abspath(os.path.dirname(os.path.abspath(__file__)) + "/../..")
ROWS = ([f"A{i}" for i in range(1, 19)] + [f"C{i}" for i in range(1, 6)] +
        [f"D{i}" for i in range(1, 8)] + [f"E{i}" for i in range(1, 8)])


def cluster_cases():
    found = set()
    for name in os.listdir(TREE + "/tests/cluster"):
        if name.startswith("cases_"):
            with open(f"{TREE}/tests/cluster/{name}", encoding="utf-8") as f:
                found |= {m.replace("_", "-") for m in re.findall(r"^def case_(\w+)", f.read(), re.M)}
    return found


def main():
    with open(TREE + "/doc/requirements.md", encoding="utf-8") as f:
        text = f.read()
    known = {"scenario": set(os.listdir(TREE + "/tests/scenario")), "cluster": cluster_cases(),
             "lab": {n[:-3] for n in os.listdir(TREE + "/tests/lab/cases") if n.endswith(".py")},
             "unit": set(os.listdir(TREE + "/tests/unit"))}
    wrong = [f"no row {r}" for r in ROWS if f"\n| {r} | " not in text]
    body = text[text.index("\n## "):]
    named = 0
    for kind, names in re.findall(r"\b(scenario|cluster|lab|unit) ((?:`[^`]+`(?:,\s+)?)+)", body):
        for name in re.findall(r"`([^`]+)`", names):
            named += 1
            if name not in known[kind]:
                wrong.append(f"{kind} `{name}` does not exist")
    print("\n".join(wrong) or f"{len(ROWS)} rows, {named} tests named, all of them exist")
    return 1 if wrong or not named else 0


if __name__ == "__main__":
    sys.exit(main())
