"""OpenVINO without its telemetry, and the one core of a process.

OpenVINO's converter reports each conversion to its makers, unasked, in forks of the process that asks. Nothing is sent
from here: it is imported as if the package `openvino_telemetry` were missing, and then uses a stub of its own. So
`openvino` is imported by this module alone.

Every `openvino.Core` that has used the processor sets the thread's alternate signal stack to memory of its own and
gives that back when it goes. Cores that go in another order than the reverse of how they came leave the thread with a
stack that is no longer there: the next signal that Python handles, a SIGTERM or the end of a child, then ends the
process with a segmentation fault. So there is one core, and it stays.
"""

from __future__ import annotations

import sys
from functools import cache

_TELEMETRY = "openvino_telemetry"
_hidden = _TELEMETRY not in sys.modules
if _hidden:
    sys.modules[_TELEMETRY] = None  # type: ignore[assignment]  # how the import system knows a missing module
try:
    import openvino as ov
finally:
    if _hidden:
        del sys.modules[_TELEMETRY]

__all__ = ["ov", "shared_core"]


@cache
def shared_core() -> ov.Core:
    """The core; compiled networks may come and go, with settings given to each when it is compiled."""
    return ov.Core()
