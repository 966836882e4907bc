"""Reading bodies that come bit by bit: lines, and server-sent events."""

from __future__ import annotations

from dataclasses import dataclass, field


class Lines:
    """Cuts a body into its lines. What follows the last line end is no line: a cut body must not pass as whole."""

    def __init__(self) -> None:
        self._rest = b""

    def feed(self, chunk: bytes) -> list[bytes]:
        """The lines that are whole now, without their ends (LF or CR LF)."""
        *lines, self._rest = (self._rest + chunk).split(b"\n")
        return [line.removesuffix(b"\r") for line in lines]


@dataclass(frozen=True, slots=True)
class Event:
    """A server-sent event."""

    name: str
    id: str
    data: str


@dataclass(slots=True)
class Events:
    """Puts server-sent events together (WHATWG HTML, section 9.2). Comments, which keep a connection alive, pass by.

    Attributes:
        last_id: of the last event that had one, for `Last-Event-ID`.
        retry_seconds: what the server asks to wait before a reconnection.
    """

    last_id: str = ""
    retry_seconds: float = 1.0
    _name: str = ""
    _data: list[str] = field(default_factory=list)

    def feed(self, line: bytes) -> Event | None:
        """Take a line; the event if it ends one."""
        text = line.decode("utf-8", "replace")
        if not text:
            event = Event(self._name or "message", self.last_id, "\n".join(self._data)) if self._data else None
            self._name, self._data = "", []
            return event
        name, _, value = text.partition(":")
        value = value.removeprefix(" ")
        match name:
            case "event":
                self._name = value
            case "data":
                self._data.append(value)
            case "id" if "\0" not in value:
                self.last_id = value
            case "retry" if value.isdecimal():
                self.retry_seconds = int(value) / 1000
        return None
