# SPDX-License-Identifier: GPL-2.0-or-later
"""Speaks QMP, QEMU's control protocol, as far as the lab needs it."""
import json
import socket

from . import where


def execute(path, name, timeout=10):
    """Runs one command; returns its answer."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as s:
        s.settimeout(timeout)
        try:
            s.connect(path)
            with s.makefile("rw", encoding="utf-8") as f:
                f.readline()  # the greeting
                _ask(f, "qmp_capabilities")
                return _ask(f, name)
        except (OSError, ValueError) as e:
            raise where.LabError(f"{path}: {name}: {e}") from e


def _ask(f, name):
    f.write(json.dumps({"execute": name}) + "\n")
    f.flush()
    while True:
        answer = json.loads(f.readline())
        if "error" in answer:
            raise where.LabError(f"QEMU refuses {name}: {answer['error'].get('desc')}")
        if "return" in answer:
            return answer["return"]
