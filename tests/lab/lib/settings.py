# SPDX-License-Identifier: GPL-2.0-or-later
"""Other settings for guests, for the time of a case: every host's file is changed and reread."""
import contextlib

PATH = "/etc/xvm-ha.yaml"


@contextlib.contextmanager
def guest(lab, name, keys):
    """Adds `keys` (YAML flow text, such as "on_crash: stop") to a guest, on every host."""
    with open_text(lab) as before:
        text = "\n".join(
            f"{line[:-1]}, {keys}}}" if line.startswith(f"  {name}: {{") else line
            for line in before.split("\n"))
        assert text != before, f"no {name} in {PATH}"
        write(lab, text)
        yield


@contextlib.contextmanager
def open_text(lab):
    before = lab.hosts[0].ssh(f"cat {PATH}").stdout
    try:
        yield before
    finally:
        write(lab, before)


def write(lab, text):
    for h in lab.hosts:
        h.ssh(f"cat > {PATH}.new && mv {PATH}.new {PATH}", stdin=text.encode())
    for h in lab.hosts:
        h.ssh("xvmhactl reload", timeout=300)
