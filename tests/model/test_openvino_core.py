from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from model.openvino_core import shared_core

ROOT = Path(__file__).parents[2]

# Nets that go in the order in which they came, then a signal that Python handles.
NETS_THAT_GO = """
import gc, os, signal
import numpy as np
from model.faces.finder import FaceFinder

heard = []
signal.signal(signal.SIGUSR1, lambda *_: heard.append(1))
finders = [FaceFinder(threads=1) for _ in range(3)]
for finder in finders:
    finder.find(np.zeros((64, 64, 3), np.uint8))
del finder
while finders:
    finders.pop(0)
    gc.collect()
os.kill(os.getpid(), signal.SIGUSR1)
assert heard == [1]
"""


def test_the_converter_tells_nobody_and_no_other_module_imports_openvino() -> None:
    code = "import sys, model.engines.openvino; print([name for name in sys.modules if 'openvino_telemetry' in name])"
    asked = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=120, cwd=ROOT, check=True
    )
    assert asked.stdout.strip() == "[]"
    importers = [
        path.relative_to(ROOT).as_posix()
        for folder in ("model", "worker", "service", "training", "benchmarks")
        for path in (ROOT / folder).rglob("*.py")
        if re.search(r"^(import|from) openvino\b", path.read_text(), re.M)
    ]
    assert importers == []


@pytest.mark.parametrize("times", [1, 3])
def test_a_signal_is_heard_after_nets_have_gone(times: int) -> None:
    ended = subprocess.run(
        [sys.executable, "-c", NETS_THAT_GO * times], capture_output=True, text=True, timeout=120, cwd=ROOT, check=False
    )
    assert ended.returncode == 0, ended.stderr


def test_there_is_one_core() -> None:
    assert shared_core() is shared_core()
    makers = [
        str(path.relative_to(ROOT))
        for package in ("model", "worker", "service", "training", "benchmarks")
        for path in sorted((ROOT / package).rglob("*.py"))
        if re.search(r"\bCore\(\)", path.read_text(encoding="utf-8"))
    ]
    assert makers == ["model/openvino_core.py"]
