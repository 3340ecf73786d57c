#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""The disk checker believes good disks and refuses bad ones: a checker that never fails is no proof."""

import os
import subprocess
import sys
import tempfile
import unittest

SOURCE = os.environ.get("XVM_SOURCE_DIR",
                        os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", ".."))
CHECKER = os.path.join(SOURCE, "tests", "cluster", "check_disks.py")


def lines(host, inc, first, last):
    return "".join(f"{host} {inc} {t}\n" for t in range(first, last + 1))


class CheckDisks(unittest.TestCase):
    def check(self, text, violations=None):
        with tempfile.TemporaryDirectory() as folder:
            with open(os.path.join(folder, "web.disk"), "w", encoding="utf-8") as f:
                f.write(text)
            if violations is not None:
                with open(os.path.join(folder, "violations"), "w", encoding="utf-8") as f:
                    f.write(violations)
            r = subprocess.run([sys.executable, CHECKER, folder], capture_output=True, text=True,
                               check=False)
        self.assertEqual(r.stderr, "")
        return r.returncode, r.stdout

    def good(self, text):
        code, said = self.check(text)
        self.assertEqual(code, 0, said)

    def bad(self, text, word):
        code, said = self.check(text)
        self.assertEqual(code, 1, said)
        self.assertIn(word, said)

    def test_one_run(self):
        self.good(lines("a", 3, 1, 20))

    def test_empty(self):
        self.good("")

    def test_restart_elsewhere(self):
        self.good(lines("a", 3, 1, 20) + lines("b", 5, 1, 20))

    def test_restart_in_place(self):
        self.good(lines("a", 3, 1, 20) + lines("a", 5, 1, 20))

    def test_migration(self):
        self.good(lines("a", 3, 1, 20) + lines("b", 5, 21, 30) + lines("a", 9, 31, 40))

    def test_adoption(self):
        self.good(lines("a", 0, 1, 20) + lines("a", 5, 21, 30))

    def test_started_by_hand_later(self):
        self.good(lines("a", 3, 1, 20) + lines("b", 0, 1, 5) + lines("b", 4, 6, 9))

    def test_torn_at_a_kill(self):
        for cut in ("a", "a 3", "a 3 ", "a 3 2"):
            self.good(lines("a", 3, 1, 20) + cut)
            self.good(lines("a", 3, 1, 20) + cut + "\n" + lines("b", 5, 1, 9))

    def test_torn_first_line_of_a_run(self):
        self.good(lines("a", 3, 1, 20) + "b 4 \n" + lines("b", 5, 1, 9))

    def test_two_hosts_at_once(self):
        self.bad(lines("a", 3, 1, 20) + lines("b", 5, 1, 3) + lines("a", 3, 21, 22),
                 "two copies wrote at the same time")

    def test_two_hosts_at_once_within_one_incarnation(self):
        self.bad("a 3 1\nb 3 1\na 3 2\nb 3 2\n", "two copies")

    def test_incarnation_of_two_hosts(self):
        self.bad(lines("a", 3, 1, 20) + lines("b", 3, 1, 20), "begins after incarnation 3")

    def test_incarnation_goes_back(self):
        self.bad(lines("a", 5, 1, 20) + lines("b", 3, 1, 20), "begins after incarnation 5")

    def test_incarnation_goes_back_behind_one_by_hand(self):
        self.bad(lines("a", 5, 1, 9) + lines("b", 0, 1, 9) + lines("b", 4, 10, 20),
                 "begins after incarnation 5")

    def test_incarnation_created_twice(self):
        self.bad(lines("a", 3, 1, 20) + lines("a", 3, 1, 20), "a incarnation 3")

    def test_stale_memory(self):
        self.bad(lines("a", 3, 1, 20) + lines("b", 5, 18, 30), "older than the disk")

    def test_lost_memory(self):
        self.bad(lines("a", 3, 1, 20) + lines("b", 5, 25, 30), "begins at tick 25")

    def test_memory_from_nowhere(self):
        self.bad(lines("a", 3, 7, 20), "nothing ran before")

    def test_tick_lost(self):
        self.bad(lines("a", 3, 1, 20) + lines("a", 3, 22, 23), "tick 22 after 20")

    def test_tick_twice(self):
        self.bad(lines("a", 3, 1, 20) + lines("a", 3, 20, 23), "tick 20 after 20")

    def test_torn_in_the_middle_of_a_run(self):
        self.bad(lines("a", 3, 1, 20) + "a 3\n" + lines("a", 3, 21, 22), "only the last line")

    def test_mixed_lines(self):
        self.bad(lines("a", 3, 1, 20) + "a 3 2b 5 1\n" + lines("b", 5, 2, 9),
                 "not a line of a guest")

    def test_garbage(self):
        self.bad(lines("a", 3, 1, 20) + "\0\0\0\n", "not a line of a guest")

    def test_violations(self):
        code, said = self.check(lines("a", 3, 1, 20), "b web 5 2024-01-01T00:00:00Z\n")
        self.assertEqual(code, 1)
        self.assertIn("double start", said)
        code, said = self.check(lines("a", 3, 1, 20), "")
        self.assertEqual(code, 1)

    def test_no_such_folder(self):
        r = subprocess.run([sys.executable, CHECKER, "/nonexistent"], capture_output=True,
                           check=False)
        self.assertEqual(r.returncode, 2)


if __name__ == "__main__":
    unittest.main()
