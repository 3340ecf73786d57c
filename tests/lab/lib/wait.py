# SPDX-License-Identifier: GPL-2.0-or-later
"""Waiting for something to become true."""
import time


def wait_until(what, condition, timeout, poll=0.3):
    """Waits for condition() to be true and returns its value; TimeoutError names `what`."""
    begin = time.monotonic()
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() - begin > timeout:
            raise TimeoutError(f"waited {timeout:g} s in vain for: {what}")
        time.sleep(poll)
