# SPDX-License-Identifier: GPL-2.0-or-later
"""Seeded instances for planners, in the form that `xvmhactl plan --file` reads.

tight(): a host of a full cluster has failed; the instances that the figures of other planners
refer to (doc/performance.md). Modes:
  u60, u85   like hosts, guests' memory is 60 or 85 % of all hosts' before the failure
  x70        what is free on the survivors is 70 % of what the lost guests need: not all fit
A tenth of the guests is in pairs that must stay apart, a tenth in pairs that would like to be
together; three tenths prefer one or two hosts; priorities 10, 20 .. 100.

small(): 4 to 8 hosts, up to 60 guests, 85 to 97 % full after the failure, odd sizes, groups
with strong rules: for the comparison with the exact optimum."""
import random

SIZES, WEIGHTS = [512, 1024, 2048, 4096, 8192, 16384], [10, 25, 30, 20, 10, 5]


def first_placement(rnd, hosts, units, size, capacity, partner):
    """Each unit (guests that are together) on one of the three emptiest hosts that may have it."""
    for _ in range(200):
        load, where = {h: 0 for h in hosts}, {}
        order = sorted(units, key=lambda u: -sum(size[g] for g in u) * rnd.uniform(.7, 1.3))
        for unit in order:
            need = sum(size[g] for g in unit)
            fit = [h for h in hosts if (capacity is None or load[h] + need <= capacity) and
                   not any(g in partner and where.get(partner[g]) == h for g in unit)]
            if not fit:
                break
            fit.sort(key=lambda h: load[h])
            host = rnd.choice(fit[:3])
            load[host] += need
            for g in unit:
                where[g] = host
        else:
            return load, where
    raise SystemExit("no first placement was found: another seed, please")


def tight(nhosts, nguests, mode, seed):
    rnd = random.Random(f"{nhosts}/{nguests}/{mode}/{seed}")
    hosts, guests = [f"h{i:03d}" for i in range(nhosts)], [f"g{i:04d}" for i in range(nguests)]
    size = {g: rnd.choices(SIZES, WEIGHTS)[0] for g in guests}
    priority = {g: 10 * rnd.randint(1, 10) for g in guests}
    pool = guests[:]
    rnd.shuffle(pool)
    n = nguests // 20
    apart = [[pool[2 * i], pool[2 * i + 1]] for i in range(n)]
    together = [[pool[2 * n + 2 * i], pool[2 * n + 2 * i + 1]] for i in range(n)]
    partner = {}
    for a, b in apart:
        partner.update({a: b, b: a})
    full = {"u60": .60, "u85": .85, "x70": None}[mode]
    capacity = -(-int(sum(size.values()) / full / nhosts) // 512) * 512 if full else None
    paired = {x for p in together for x in p}
    units = [list(p) for p in together] + [[g] for g in pool if g not in paired]
    load, where = first_placement(rnd, hosts, units, size, capacity, partner)
    if full:
        memory = {h: capacity for h in hosts}
    else:
        need = .7 * load[hosts[0]]
        share = [rnd.expovariate(1) + .2 for _ in hosts[1:]]
        memory = {h: load[h] + int(need * x / sum(share) / 256) * 256
                  for h, x in zip(hosts[1:], share)}
        memory[hosts[0]] = load[hosts[0]] + 4096
    prefer = {g: {} for g in guests}
    for g in guests:
        if rnd.random() < .3:
            for h in rnd.sample(hosts, rnd.randint(1, 2)):
                prefer[g][h] = rnd.choice([50, 100, 200])
    return instance(
        f"{nhosts}x{nguests}-{mode}-s{seed}",
        [host(h, memory[h], state="down" if h == hosts[0] else "up") for h in hosts],
        [guest(g, size[g], priority[g], where[g], prefer=prefer[g]) for g in guests],
        [rule("apart", "strong", p) for p in apart] +
        [rule("together", "weak", p) for p in together])


def small(seed):
    rnd = random.Random(f"small/{seed}")
    nhosts, nguests = rnd.randint(4, 8), rnd.randint(20, 60)
    hosts, guests = [f"h{i}" for i in range(nhosts)], [f"g{i:02d}" for i in range(nguests)]
    sizes = rnd.choice([SIZES, [1024 * k for k in range(1, 13)], [256 * k for k in range(2, 40)]])
    size = {g: rnd.choice(sizes) for g in guests}
    priority = {g: rnd.choice([10, 20, 30, 50, 100]) for g in guests}
    pool = guests[:]
    rnd.shuffle(pool)
    rules, units = [], []
    for _ in range(rnd.randint(1, 3)):
        members = [pool.pop() for _ in range(rnd.randint(2, min(4, nhosts - 1)))]
        rules.append(rule("apart", "strong", members))
        units += [[g] for g in members]
    for _ in range(rnd.randint(1, 3)):
        members = [pool.pop() for _ in range(rnd.randint(2, 3))]
        rules.append(rule("together", rnd.choice(["strong", "delegate", "weak"]), members))
        units.append(members)
    partner = {}
    for r in rules:
        if r["kind"] == "apart":
            for g in r["guests"]:
                partner[g] = r["guests"]
    load, where = {h: 0 for h in hosts}, {}
    for unit in sorted(units + [[g] for g in pool], key=lambda u: -sum(size[g] for g in u)):
        fit = [h for h in hosts
               if not any(where.get(m) == h for g in unit for m in partner.get(g, []))]
        where.update({g: min(fit, key=lambda h: load[h] * rnd.uniform(.8, 1.2)) for g in unit[:1]})
        for g in unit:
            where[g] = where[unit[0]]
            load[where[g]] += size[g]
    # What is free on the survivors makes them 85 to 97 % full if all ran; or not all can.
    after = rnd.uniform(.85, 1.06)
    lost = hosts[0]
    total = sum(size.values()) / after
    free = max(0, total - sum(load[h] for h in hosts[1:]))
    share = [rnd.expovariate(1) + .1 for _ in hosts[1:]]
    memory = {h: load[h] + int(free * x / sum(share) / 256) * 256 for h, x in zip(hosts[1:], share)}
    memory[lost] = load[lost] + 1024
    allowed = {g: sorted(rnd.sample(hosts, rnd.randint(2, nhosts)) + [where[g]])
               if rnd.random() < .1 else None for g in guests}
    for g in guests:
        allowed[g] = sorted(set(allowed[g])) if allowed[g] else None
    return instance(
        f"small-s{seed}", [host(h, memory[h], state="down" if h == lost else "up") for h in hosts],
        [guest(g, size[g], priority[g], where[g], allowed=allowed[g]) for g in guests], rules)


def host(name, memory, cpus=64, state="up", labels=()):
    return {"name": name, "memory_mib": memory, "cpus": cpus, "state": state,
            "labels": list(labels)}


def guest(name, memory, priority, on, prefer=None, allowed=None):
    return {"name": name, "memory_mib": memory, "vcpus": 1, "priority": priority, "on": on,
            "want": "run", "allowed": allowed, "prefer": prefer or {}, "labels": []}


def rule(kind, strength, guests):
    return {"kind": kind, "strength": strength, "guests": list(guests)}


def instance(name, hosts, guests, rules):
    return {"name": name, "hosts": hosts, "guests": guests, "rules": rules, "reserve": 0}
