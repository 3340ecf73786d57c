# SPDX-License-Identifier: GPL-2.0-or-later
"""The command line of a table of scenarios: RUNNER [CELL...] runs them, --table prints it."""
import argparse
import tempfile


def main(doc, what, cells, run, expected, table):
    """cells: {name: cell}; run(runner, folder, cell, log) says whether one passed. The exit code."""
    p = argparse.ArgumentParser(description=doc, formatter_class=argparse.RawTextHelpFormatter)
    p.add_argument("runner", nargs="?")
    p.add_argument("--table", action="store_true")
    p.add_argument("--log", action="store_true")
    p.add_argument("cells", nargs="*")
    args = p.parse_intermixed_args()
    if args.table:
        table()
        return 0
    if not args.runner:
        p.error("which runner?")
    passed = failed = 0
    with tempfile.TemporaryDirectory() as folder:
        for name, cell in cells.items():
            if args.cells and name not in args.cells:
                continue
            if run(args.runner, folder, cell, args.log):
                passed += 1
            else:
                failed += 1
                print(f"FAIL {name}: expected: {expected(cell)}")
    print(f"{what}: {passed} passed, {failed} failed")
    return 1 if failed or not passed else 0
