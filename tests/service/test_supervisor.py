"""The supervisor on real processes: started, restarted, killed when stuck, ended together."""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from service.supervisor import ChildSpec, Supervisor

SLEEP = "import time; time.sleep(600)"
IGNORE_TERM = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print(flush=True); time.sleep(600)"


def spec(name: str, code: str) -> ChildSpec:
    return ChildSpec(name, [sys.executable, "-c", code], dict(os.environ))


def wait_for(condition: Callable[[], object], seconds: float = 20.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "waited too long"
        time.sleep(0.02)


@pytest.fixture
def supervise() -> Iterator[Callable[..., Supervisor]]:
    made: list[Supervisor] = []

    def make(*specs: ChildSpec, **options: object) -> Supervisor:
        supervisor = Supervisor(specs, period=0.05, grace=1.0, **options)  # type: ignore[arg-type]
        made.append(supervisor)
        supervisor.start()
        return supervisor

    yield make
    for supervisor in made:
        supervisor.stop()


def test_children_run_and_end_together(supervise: Callable[..., Supervisor]) -> None:
    supervisor = supervise(spec("a", SLEEP), spec("b", SLEEP))
    wait_for(lambda: len(supervisor.pids()) == 2)
    pids = list(supervisor.pids().values())
    supervisor.stop()
    assert supervisor.pids() == {}
    assert not any(psutil.pid_exists(pid) for pid in pids)


def test_a_killed_child_is_started_again(supervise: Callable[..., Supervisor]) -> None:
    supervisor = supervise(spec("a", SLEEP), spec("b", SLEEP))
    wait_for(lambda: len(supervisor.pids()) == 2)
    before = supervisor.pids()
    os.kill(before["a"], signal.SIGKILL)
    wait_for(lambda: supervisor.pids().get("a") not in (None, before["a"]))
    assert supervisor.pids()["b"] == before["b"]


def test_a_child_that_keeps_failing_is_started_less_and_less_often(
    supervise: Callable[..., Supervisor], tmp_path: Path
) -> None:
    starts = tmp_path / "starts"
    supervise(spec("bad", f"open({str(starts)!r}, 'a').write('x'); raise SystemExit(3)"))
    wait_for(lambda: starts.exists() and len(starts.read_text()) >= 2)
    time.sleep(0.5)
    assert len(starts.read_text()) == 2, "the third start waits a second"


def test_a_stuck_child_is_killed_and_replaced(supervise: Callable[..., Supervisor]) -> None:
    stuck: set[int] = set()
    supervisor = supervise(spec("a", IGNORE_TERM), is_stuck=lambda pid, age: pid in stuck)
    wait_for(lambda: supervisor.pids())
    first = supervisor.pids()["a"]
    stuck.add(first)
    wait_for(lambda: supervisor.pids().get("a") not in (None, first))
    assert not psutil.pid_exists(first)


def test_not_knowing_kills_nothing(supervise: Callable[..., Supervisor]) -> None:
    def unknown(pid: int, age: float) -> bool:
        raise ConnectionError("the database restarts")

    supervisor = supervise(spec("a", SLEEP), is_stuck=unknown)
    wait_for(lambda: supervisor.pids())
    first = supervisor.pids()
    time.sleep(0.4)
    assert supervisor.pids() == first


def test_a_child_that_ignores_sigterm_is_killed(supervise: Callable[..., Supervisor]) -> None:
    supervisor = supervise(spec("a", IGNORE_TERM))
    wait_for(lambda: supervisor.pids())
    time.sleep(0.5)  # time to install its handler
    pid = supervisor.pids()["a"]
    supervisor.stop()
    assert not psutil.pid_exists(pid)


def test_a_command_that_does_not_exist_is_no_crash(supervise: Callable[..., Supervisor]) -> None:
    supervisor = supervise(ChildSpec("missing", ["/nonexistent/roigcn"], {}), spec("b", SLEEP))
    wait_for(lambda: "b" in supervisor.pids())
    assert "missing" not in supervisor.pids()


def test_children_do_not_outlive_a_killed_supervisor(tmp_path: Path) -> None:
    program = tmp_path / "parent.py"
    program.write_text(
        "import os, sys, time\n"
        "from service.supervisor import ChildSpec, Supervisor\n"
        f"s = Supervisor([ChildSpec('a', [sys.executable, '-c', {SLEEP!r}], dict(os.environ))], period=0.05)\n"
        "s.start()\n"
        "while not s.pids(): time.sleep(0.02)\n"
        "time.sleep(0.3)\n"
        "print(s.pids()['a'], flush=True)\n"
        "time.sleep(600)\n"
    )
    parent = psutil.Popen([sys.executable, str(program)], stdout=-1)
    child = int(parent.stdout.readline())
    parent.kill()
    parent.wait()
    wait_for(lambda: not psutil.pid_exists(child) or psutil.Process(child).status() == psutil.STATUS_ZOMBIE)
