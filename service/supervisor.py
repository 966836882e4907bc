"""Keeps worker processes running: starts them, restarts one that died or whose heartbeat stopped, stops them all."""

from __future__ import annotations

import ctypes
import logging
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

log = logging.getLogger(__name__)

_BACKOFF_SECONDS = (0.0, 1.0, 2.0, 5.0, 10.0, 30.0)
_STABLE_SECONDS = 60.0  # a child that ran so long starts again at once
_PR_SET_PDEATHSIG = 1


@dataclass(frozen=True, slots=True)
class ChildSpec:
    """A process to keep running.

    Attributes:
        name: for messages.
        command: its argument vector.
        env: its whole environment.
    """

    name: str
    command: Sequence[str]
    env: Mapping[str, str]


@dataclass(slots=True)
class _Child:
    spec: ChildSpec
    process: subprocess.Popen[bytes] | None = None
    started_at: float = 0.0
    failures: int = 0
    start_after: float = 0.0


class Supervisor:
    """Watches children from one thread of its own.

    Args:
        specs: what to run.
        is_stuck: asked about each running child as `is_stuck(pid, seconds_since_start)`; a stuck one is killed and
            started again. It may raise: then nothing is known and nothing is done.
        period: seconds between two looks.
        grace: seconds that a child has to end after SIGTERM before it is killed.
    """

    def __init__(
        self,
        specs: Sequence[ChildSpec],
        *,
        is_stuck: Callable[[int, float], bool] | None = None,
        period: float = 0.5,
        grace: float = 20.0,
    ) -> None:
        self._children = [_Child(spec) for spec in specs]
        self._is_stuck = is_stuck
        self._period = period
        self._grace = grace
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="supervisor", daemon=True)

    def start(self) -> None:
        """Start every child, from the watching thread: a child dies with the thread that made it."""
        self._thread.start()

    def stop(self) -> None:
        """Ask all children to end, wait, kill what is left. Safe to call twice."""
        self._stop.set()
        if self._thread.is_alive():
            self._thread.join()

    def pids(self) -> dict[str, int]:
        """Process id of each child that runs now."""
        return {
            child.spec.name: child.process.pid
            for child in self._children
            if child.process is not None and child.process.poll() is None
        }

    def _run(self) -> None:
        while not self._stop.is_set():
            for child in self._children:
                self._look_after(child)
            self._stop.wait(self._period)
        self._end_all()

    def _look_after(self, child: _Child) -> None:
        now = time.monotonic()
        if child.process is None:
            if now >= child.start_after:
                self._spawn(child)
            return
        code = child.process.poll()
        if code is None:
            self._check_stuck(child, now)
            return
        if now - child.started_at > _STABLE_SECONDS:
            child.failures = 0
        delay = _BACKOFF_SECONDS[min(child.failures, len(_BACKOFF_SECONDS) - 1)]
        child.failures += 1
        child.process, child.start_after = None, now + delay
        log.warning("%s ended with %s; starting it again%s", child.spec.name, _ending(code), _in(delay))

    def _spawn(self, child: _Child) -> None:
        try:
            child.process = subprocess.Popen(
                list(child.spec.command),
                env=dict(child.spec.env),
                stdin=subprocess.DEVNULL,
                preexec_fn=_die_with_parent if sys.platform == "linux" else None,
            )
        except OSError as error:
            log.error("%s cannot be started: %s", child.spec.name, error)
            child.failures += 1
            child.start_after = time.monotonic() + _BACKOFF_SECONDS[-1]
            return
        child.started_at = time.monotonic()

    def _check_stuck(self, child: _Child, now: float) -> None:
        process = child.process
        if self._is_stuck is None or process is None:
            return
        try:
            stuck = self._is_stuck(process.pid, now - child.started_at)
        except Exception as error:  # the database may be restarting; the next look will tell
            log.debug("cannot see whether %s is alive: %s", child.spec.name, error)
            return
        if stuck:
            log.warning("%s shows no sign of life; killing it", child.spec.name)
            process.kill()

    def _end_all(self) -> None:
        running = [child.process for child in self._children if child.process and child.process.poll() is None]
        for process in running:
            process.send_signal(signal.SIGTERM)
        deadline = time.monotonic() + self._grace
        for process in running:
            try:
                process.wait(max(0.0, deadline - time.monotonic()))
            except subprocess.TimeoutExpired:
                log.warning("process %d did not end in %g s; killing it", process.pid, self._grace)
                process.kill()
                process.wait()


def _die_with_parent() -> None:
    """In the child: its own process group, so that Ctrl-C reaches the supervisor alone; SIGTERM if that one dies."""
    os.setpgid(0, 0)
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)


def _ending(code: int) -> str:
    return f"signal {signal.Signals(-code).name}" if code < 0 else f"exit code {code}"


def _in(delay: float) -> str:
    return f" in {delay:g} s" if delay else ""
