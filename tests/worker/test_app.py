"""The worker process's own module, in a process of its own: importing it makes a Celery application current."""

from __future__ import annotations

import subprocess
import sys

FORK = """
import os
from worker import app

child = os.fork()
if child == 0:
    app._ask_to_stop()
    os._exit(0)
os.waitpid(child, 0)
before = app._stop.value
app._ask_to_stop()
print(before, app._stop.value)
"""


def test_the_end_of_a_fork_does_not_stop_the_worker() -> None:
    """Libraries fork; a fork inherits handlers and shared memory, and its SIGTERM is not the worker's."""
    done = subprocess.run([sys.executable, "-c", FORK], capture_output=True, text=True, timeout=120, check=True)
    assert done.stdout.split() == ["0", "1"]
