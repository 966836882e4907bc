"""What the client does, apart from how it waits.

Every operation is a generator (a flow) that yields effects and gets their outcome back: send a request, read the next
bytes of an open answer, sleep, hand an item to the caller. `drivers` runs the same flow for `Client` and for
`AsyncClient`, so that the two cannot differ.
"""

from __future__ import annotations

from collections.abc import Generator, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar

import httpx

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Call:
    """A request.

    Attributes:
        method: of HTTP.
        path: under the server's address.
        params: of the query; None values are left out.
        headers: besides the client's own.
        files: of a multipart body.
        read_seconds: longest pause within the answer; None for the client's timeout.
        repeatable: whether a second one does no harm when the first one's answer was lost.
    """

    method: str
    path: str
    params: Mapping[str, str | float | None] = field(default_factory=dict)
    headers: Mapping[str, str] = field(default_factory=dict)
    files: Mapping[str, tuple[str, Any]] | None = None
    read_seconds: float | None = None
    repeatable: bool = True


@dataclass(frozen=True, slots=True)
class Open:
    """Send a request; the outcome is an `Answer` whose body is not read yet. Transport errors are thrown in."""

    call: Call


@dataclass(frozen=True, slots=True)
class Read:
    """The next bytes of an answer; the outcome is empty at its end."""

    answer: Answer


@dataclass(frozen=True, slots=True)
class Close:
    """Let go of an answer."""

    answer: Answer


@dataclass(frozen=True, slots=True)
class Sleep:
    """Wait."""

    seconds: float


@dataclass(frozen=True, slots=True)
class Emit:
    """Hand an item of a stream to the caller."""

    item: Any


@dataclass(frozen=True, slots=True)
class Answer:
    """An open answer: the response, and its body as it is read by the driver."""

    response: httpx.Response
    chunks: Any


Effect = Open | Read | Close | Sleep | Emit
Flow = Generator[Effect, Any, T]
"""Ends with a value."""
Stream = Generator[Effect, Any, None]
"""Emits items."""
