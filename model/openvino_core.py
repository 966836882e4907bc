"""The one OpenVINO core of a process.

Every `openvino.Core` that has used the processor sets the thread's alternate signal stack to memory of its own and
gives that back when it goes. Cores that go in another order than the reverse of how they came leave the thread with a
stack that is no longer there: the next signal that Python handles, a SIGTERM or the end of a child, then ends the
process with a segmentation fault. So there is one core, and it stays.
"""

from __future__ import annotations

from functools import cache

import openvino


@cache
def shared_core() -> openvino.Core:
    """The core; compiled networks may come and go, with settings given to each when it is compiled."""
    return openvino.Core()
