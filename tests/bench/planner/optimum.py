# SPDX-License-Identifier: GPL-2.0-or-later
"""The exact optimum of an instance by a solver (cbc, or glpsol): as many guests of the highest
priority as can run, then of the next, ... with running guests free to be moved live, and to be
stopped for higher ones or for more of their own priority. Rules: memory, allowed hosts, hosts
that are up, strong and delegate rules over hosts.

The freedom is the planner's: a guest is not stopped, even for a moment, for a lower one. So of
guests that must be together and run, only one can move live (the others would be apart from it
on the way); and a rule that is strong, not delegate, does not drag running partners along.
Whether live moves can be put in an order at all is left out: that may make this optimum better
than what can be reached."""
import re
import subprocess
import tempfile


class Undecided(Exception):
    """The solver did not finish."""


def bound_to_home(x, priority):
    """Guests that cannot leave their host, or one above `priority` would have to be stopped."""
    up = {h["name"] for h in x["hosts"] if h["state"] == "up"}
    guests = {g["name"]: g for g in x["guests"]}
    home = set()
    for r in x["rules"]:
        if r["kind"] != "together" or r["strength"] == "weak":
            continue
        running = [g for g in r["guests"] if guests[g]["on"] in up and guests[g]["want"] == "run"]
        above = [g for g in running if guests[g]["priority"] > priority]
        if r["strength"] == "strong" or len(above) > 1:
            home.update(above)
    return home


def model(x, priority, fixed, goal):
    """LP text: maximise the guests of `priority`, with the counts in `fixed` for higher ones."""
    up = [h["name"] for h in x["hosts"] if h["state"] == "up"]
    index = {h: i for i, h in enumerate(up)}
    guests = [g for g in x["guests"] if g["want"] == "run" and g["priority"] >= priority]
    number = {g["name"]: i for i, g in enumerate(guests)}
    memory = {h["name"]: h["memory_mib"] for h in x["hosts"]}
    can = {g["name"]: [h for h in up if (g["allowed"] is None or h in g["allowed"]) and
                       g["memory_mib"] <= memory[h]] for g in guests}
    stay = bound_to_home(x, priority)
    for g in guests:
        if g["name"] in stay:
            can[g["name"]] = [h for h in can[g["name"]] if h == g["on"]]

    def var(g, h):
        return f"x{number[g]}_{index[h]}"

    def runs(g, but=None):
        return [var(g, h) for h in can[g] if h != but]

    counted = [v for g in guests if g["priority"] == priority for v in runs(g["name"])]
    out = ["Maximize", " goal: " + (" + ".join(counted) or "0 dummy"), "Subject To"]
    for g in guests:
        if can[g["name"]]:
            out.append(" " + " + ".join(runs(g["name"])) + " <= 1")
    for h in up:
        terms = [f"{g['memory_mib']} {var(g['name'], h)}" for g in guests if h in can[g["name"]]]
        if terms:
            out.append(" " + " + ".join(terms) + f" <= {memory[h]}")
    for r in x["rules"]:
        members = [g for g in r["guests"] if g in number]
        if r["strength"] == "weak":
            continue
        for h in up:
            here = [g for g in members if h in can[g]]
            if r["kind"] == "apart" and len(here) > 1:
                out.append(" " + " + ".join(var(g, h) for g in here) + " <= 1")
            for a in here if r["kind"] == "together" else []:
                for b in members:
                    other = runs(b, h)
                    if a != b and other:
                        out.append(" " + " + ".join([var(a, h)] + other) + " <= 1")
    for p, count in fixed.items():
        terms = [v for g in guests if g["priority"] == p for v in runs(g["name"])]
        if terms:
            out.append(" " + " + ".join(terms) + f" >= {count}")
    if goal is not None:
        out.append(" " + (" + ".join(counted) or "0 dummy") + f" >= {goal}")
    out.append("Binary")
    out += [f" {v}" for g in guests for v in runs(g["name"])]
    return "\n".join(out + ["End", ""])


def solve(text, seconds, solver="cbc"):
    """The best value of the goal; None: there is no solution."""
    with tempfile.TemporaryDirectory(prefix="optimum.") as folder:
        lp, sol = folder + "/m.lp", folder + "/m.sol"
        with open(lp, "w", encoding="ascii") as f:
            f.write(text)
        if solver == "cbc":
            subprocess.run(["cbc", lp, "-sec", str(seconds), "-ratio", "0", "-solve", "-solu", sol],
                           stdout=subprocess.DEVNULL, check=True)
            with open(sol, encoding="ascii") as f:
                head = f.readline()
            if head.startswith("Infeasible") or "infeasible" in head:
                return None
            m = re.match(r"Optimal - objective value (-?[\d.]+)", head)
            if not m:
                raise Undecided(head.strip())
            return round(abs(float(m.group(1))))
        subprocess.run(["glpsol", "--lp", lp, "--tmlim", str(seconds), "-o", sol],
                       stdout=subprocess.DEVNULL, check=True)
        with open(sol, encoding="ascii") as f:
            text = f.read()
        if re.search(r"Status: +INTEGER (EMPTY|UNDEFINED)", text):
            return None
        if not re.search(r"Status: +INTEGER OPTIMAL", text):
            raise Undecided("glpsol: not finished")
        return int(re.search(r"Objective: .* = (\d+)", text).group(1))


def better_than(x, counts, seconds=20, solver="cbc"):
    """The highest priority of which the optimum runs more than `counts` ({priority: running})
    says, and how many; None: `counts` is the optimum."""
    wanted = {}
    for g in x["guests"]:
        if g["want"] == "run":
            wanted[g["priority"]] = wanted.get(g["priority"], 0) + 1
    fixed = {}
    for p in sorted(wanted, reverse=True):
        mine = counts.get(p, 0)
        if mine < wanted[p]:
            # One more than `mine`, with as many of higher ones: can that be?
            if solve(model(x, p, fixed, mine + 1), seconds, solver) is not None:
                return p, mine + 1
        fixed[p] = mine
    return None
