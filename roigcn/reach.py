"""Getting an answer: how long to try, what to repeat, and what to raise in the end."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from email.utils import parsedate_to_datetime

import httpx

from roigcn.effects import Answer, Call, Close, Flow, Open, Read, Sleep
from roigcn.errors import ProblemError, UnreachableError, problem_from

BROKEN = (httpx.TransportError, httpx.DecodingError)
"""What is raised when a connection breaks."""

_FIRST_PAUSE_SECONDS, _LONGEST_PAUSE_SECONDS = 0.25, 5.0
_NOT_CONNECTED = (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout)
_GATEWAY = (502, 504)  # a proxy whose server restarts


@dataclass(slots=True)
class Contact:
    """How long a client tries, and whether its server ever answered.

    Attributes:
        server: address, for messages.
        retry_seconds: how long a call goes on trying.
        reached: whether there was any answer; a server that was never reached is not waited for.
    """

    server: str
    retry_seconds: float
    reached: bool = False


class Patience:
    """The pauses between the attempts of one call: growing, and no longer in sum than the client wants to try."""

    def __init__(self, contact: Contact) -> None:
        self._seconds = contact.retry_seconds
        self._began: float | None = None
        self._next = _FIRST_PAUSE_SECONDS

    def pause(self) -> float:
        """Seconds until the next attempt."""
        pause, self._next = self._next, min(2 * self._next, _LONGEST_PAUSE_SECONDS)
        return pause

    def allows(self, pause: float) -> bool:
        """Whether there is time for it."""
        now = time.monotonic()
        if self._began is None:
            self._began = now
        return now + pause <= self._began + self._seconds


def reach(contact: Contact, call: Call) -> Flow[Answer]:
    """The open answer to a call. Repeats it while the server is away or asks to come back later.

    Raises:
        ProblemError: the server refuses.
        UnreachableError: it does not answer in time.
    """
    patience = Patience(contact)
    while True:
        failure: ProblemError | UnreachableError
        try:
            answer: Answer = yield Open(call)
            contact.reached = True
            if answer.response.status_code < httpx.codes.BAD_REQUEST:
                return answer
            body = yield from _body(answer)
        except BROKEN as error:
            failure = unreachable(contact, error)
            away = isinstance(error, _NOT_CONNECTED)
            again = contact.reached if away else call.repeatable
            pause = patience.pause() if again else None
        else:
            failure = _problem(answer.response, body)
            pause = _pause_after(failure, call, patience)
        if pause is None or not patience.allows(pause):
            raise failure
        yield Sleep(pause)


def fetch(contact: Contact, call: Call) -> Flow[bytes]:
    """The whole body of the answer to a call."""
    patience = Patience(contact)
    while True:
        answer = yield from reach(contact, call)
        try:
            return (yield from _body(answer))
        except BROKEN as error:
            yield Close(answer)
            pause = patience.pause()
            if not call.repeatable or not patience.allows(pause):
                raise unreachable(contact, error) from error
            yield Sleep(pause)


def _problem(response: httpx.Response, body: bytes) -> ProblemError:
    return problem_from(response.status_code, body, _retry_after(response.headers))


def _pause_after(problem: ProblemError, call: Call, patience: Patience) -> float | None:
    """How long to wait before a refused call is repeated; None when that is pointless."""
    if problem.retry_after_seconds is not None and problem.status in (429, 503):
        return max(problem.retry_after_seconds, _FIRST_PAUSE_SECONDS)
    return patience.pause() if problem.status in _GATEWAY and call.repeatable else None


def _retry_after(headers: Mapping[str, str]) -> float | None:
    value = headers.get("Retry-After", "").strip()
    if not value:
        return None
    try:
        return max(0.0, float(value)) if value[0].isdecimal() else _until(value)
    except ValueError:
        return None


def _until(date: str) -> float:
    return max(0.0, parsedate_to_datetime(date).timestamp() - time.time())


def unreachable(contact: Contact, error: Exception) -> UnreachableError:
    """The error for a connection that could not be made or broke."""
    reason = str(error) or type(error).__name__
    failure = UnreachableError(f"{contact.server} does not answer ({reason}). Is it running, and is the address right?")
    failure.__cause__ = error
    return failure


def _body(answer: Answer) -> Flow[bytes]:
    """All of an answer's body; the answer is closed."""
    parts = []
    while chunk := (yield Read(answer)):
        parts.append(chunk)
    yield Close(answer)
    return b"".join(parts)
