"""Two ways to run a flow: in this thread, and on an event loop."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Iterator
from typing import Any

import httpx

from roigcn.effects import Answer, Call, Close, Effect, Emit, Flow, Open, Read, Sleep, Stream, T

CONNECT_SECONDS = 10.0


class Address:
    """Where the server is and how requests for it are made."""

    def __init__(self, server: str, api_key: str | None, read_seconds: float) -> None:
        self.url = httpx.URL(server.rstrip("/"))
        if self.url.scheme not in ("http", "https") or not self.url.host:
            raise ValueError(f"the server's address must look like http://127.0.0.1:8000, not {server!r}")
        self._headers = {"Authorization": f"Bearer {api_key}"} if api_key else {}
        self._read_seconds = read_seconds

    def request(self, client: httpx.Client | httpx.AsyncClient, call: Call) -> httpx.Request:
        """The request for a call. The path is percent-encoded already."""
        read_seconds = call.read_seconds or self._read_seconds
        return client.build_request(
            call.method,
            f"{self.url}{call.path}",
            params={name: value for name, value in call.params.items() if value is not None} or None,
            headers={**self._headers, **call.headers},
            files=call.files,
            timeout=httpx.Timeout(CONNECT_SECONDS, read=read_seconds, write=self._read_seconds),
        )


class Driver:
    """Runs flows in the caller's thread."""

    def __init__(self, address: Address, http: httpx.Client) -> None:
        self._address = address
        self._http = http

    def run(self, flow: Flow[T]) -> T:
        """The flow's value."""
        steps = _Steps(flow)
        try:
            while not steps.ended:
                effect = steps.effect
                try:
                    outcome = self._perform(effect, steps)
                except (httpx.TransportError, httpx.DecodingError) as error:
                    steps.throw(error)
                else:
                    steps.send(outcome)
            return steps.value  # type: ignore[no-any-return]  # what a flow returns is kept as Any
        finally:
            for answer in steps.finish():
                answer.response.close()

    def stream(self, flow: Stream) -> Iterator[Any]:
        """The flow's items, as they are asked for."""
        steps = _Steps(flow)
        try:
            while not steps.ended:
                effect = steps.effect
                if isinstance(effect, Emit):
                    yield effect.item
                    steps.send(None)
                    continue
                try:
                    outcome = self._perform(effect, steps)
                except (httpx.TransportError, httpx.DecodingError) as error:
                    steps.throw(error)
                else:
                    steps.send(outcome)
        finally:
            for answer in steps.finish():
                answer.response.close()

    def _perform(self, effect: Effect, steps: _Steps) -> Any:
        match effect:
            case Open(call):
                response = self._http.send(self._address.request(self._http, call), stream=True)
                return steps.opened(Answer(response, response.iter_bytes()))
            case Read(answer):
                return next(answer.chunks, b"")
            case Close(answer):
                steps.closed(answer)
                answer.response.close()
            case Sleep(seconds):
                time.sleep(seconds)
        return None


class AsyncDriver:
    """Runs flows on the event loop."""

    def __init__(self, address: Address, http: httpx.AsyncClient) -> None:
        self._address = address
        self._http = http

    async def run(self, flow: Flow[T]) -> T:
        """The flow's value."""
        steps = _Steps(flow)
        try:
            while not steps.ended:
                effect = steps.effect
                try:
                    outcome = await self._perform(effect, steps)
                except (httpx.TransportError, httpx.DecodingError) as error:
                    steps.throw(error)
                else:
                    steps.send(outcome)
            return steps.value  # type: ignore[no-any-return]  # what a flow returns is kept as Any
        finally:
            for answer in steps.finish():
                await answer.response.aclose()

    async def stream(self, flow: Stream) -> AsyncIterator[Any]:
        """The flow's items, as they are asked for."""
        steps = _Steps(flow)
        try:
            while not steps.ended:
                effect = steps.effect
                if isinstance(effect, Emit):
                    yield effect.item
                    steps.send(None)
                    continue
                try:
                    outcome = await self._perform(effect, steps)
                except (httpx.TransportError, httpx.DecodingError) as error:
                    steps.throw(error)
                else:
                    steps.send(outcome)
        finally:
            for answer in steps.finish():
                await answer.response.aclose()

    async def _perform(self, effect: Effect, steps: _Steps) -> Any:
        match effect:
            case Open(call):
                response = await self._http.send(self._address.request(self._http, call), stream=True)
                return steps.opened(Answer(response, response.aiter_bytes()))
            case Read(answer):
                return await anext(answer.chunks, b"")
            case Close(answer):
                steps.closed(answer)
                await answer.response.aclose()
            case Sleep(seconds):
                await asyncio.sleep(seconds)
        return None


class _Steps:
    """A flow on its way: its present effect, its value at the end, and the answers that it has open."""

    def __init__(self, flow: Flow[Any]) -> None:
        self._flow = flow
        self._open: list[Answer] = []
        self.ended = False
        self.value: Any = None
        self.effect: Effect
        self._advance(lambda: next(flow))

    def send(self, outcome: Any) -> None:
        self._advance(lambda: self._flow.send(outcome))

    def throw(self, error: BaseException) -> None:
        self._advance(lambda: self._flow.throw(error))

    def _advance(self, step: Any) -> None:
        try:
            self.effect = step()
        except StopIteration as end:
            self.ended, self.value = True, end.value

    def opened(self, answer: Answer) -> Answer:
        self._open.append(answer)
        return answer

    def closed(self, answer: Answer) -> None:
        self._open.remove(answer)

    def finish(self) -> list[Answer]:
        """End the flow where it is; the answers that are still open."""
        self._flow.close()
        return self._open
