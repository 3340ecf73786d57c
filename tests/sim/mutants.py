#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Switches the guards off one by one and lets the simulator find out.

mutants.py SIMULATOR [--jobs N] [--seeds N] [--only NAME,...]

SIMULATOR is xvmha-sim-mutable. For each mutant its own directed schedules are tried first, each of
which must find it; then random seeds (--seeds; campaigns want many). Prints mutant -> how it was
found -> seeds needed -> invariant. Exit 0: all were found, and no schedule has lost its aim.
"""
import argparse
import re
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

DIRECTED_SEEDS = 20
# A schedule that finds nothing is an error already: luck is not searched for long.
SEEDS = 300


def run(args):
    return subprocess.run(args, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                          check=False).stdout


def found(simulator, mutant, seeds, more):
    """(seed, what) of the first violation, or None."""
    out = run([simulator, '--mutant', mutant, '--runs', str(seeds), '--shrink', '0', '--quiet']
              + more)
    match = re.search(r'VIOLATION (\w+ invariant \d+).*first seed (\d+): (.*)', out)
    return (int(match.group(2)), match.group(1), match.group(3)) if match else None


def try_mutant(simulator, mutant, biases, seeds):
    """(mutant, how, hit or None, schedules that find nothing)"""
    hits = [(bias, found(simulator, mutant, DIRECTED_SEEDS, ['--bias', bias])) for bias in biases]
    blind = [bias for bias, hit in hits if not hit]
    for bias, hit in hits:
        if hit:
            return mutant, bias, hit, blind
    return mutant, 'random', found(simulator, mutant, seeds, ['--bias', 'none']), blind


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument('simulator')
    parser.add_argument('--jobs', type=int, default=2)
    parser.add_argument('--seeds', type=int, default=SEEDS)
    parser.add_argument('--only', default='')
    args = parser.parse_args()
    mutants = [line.split()[0] for line in run([args.simulator, '--list-mutants']).splitlines()]
    aimed = {}
    for line in run([args.simulator, '--list-biases']).splitlines():
        words = line.split()
        for mutant in words[1:]:
            aimed.setdefault(mutant, []).append(words[0])
    if args.only:
        mutants = args.only.split(',')
    missed, lost = [], 0
    with ThreadPoolExecutor(args.jobs) as pool:
        for mutant, how, hit, blind in pool.map(
                lambda m: try_mutant(args.simulator, m, aimed.get(m, []), args.seeds), mutants):
            if hit:
                print(f'{mutant:18} {how:22} seed {hit[0]:5}  {hit[1]:22} {hit[2][:90]}',
                      flush=True)
            else:
                print(f'{mutant:18} NOT FOUND in {args.seeds} seeds', flush=True)
                missed.append(mutant)
            for bias in blind:
                print(f'{mutant}: its schedule {bias} finds nothing any more; aim it again',
                      flush=True)
            lost += len(blind)
    print(f'{len(mutants) - len(missed)} of {len(mutants)} mutants found')
    return 1 if missed or lost else 0


if __name__ == '__main__':
    sys.exit(main())
