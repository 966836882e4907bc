"""Label Studio as a server that is asked: media of tasks, predictions to keep.

Signs in with a personal access token (a refresh token, exchanged for access tokens of a few minutes) or with a legacy
token. Redirects are followed by hand, each hop checked like the first address.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import json
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any

import httpx

from service.integrations.label_studio.urls import Hosts, RefusedUrlError
from service.settings import ServiceSettings

_TIMEOUT = httpx.Timeout(30.0, connect=10.0)
_REDIRECTS = 3
_CHUNK_BYTES = 1 << 20
_EARLY_SECONDS = 30.0  # an access token is renewed so long before it ends
_UNKNOWN_LIFE_SECONDS = 60.0


class LabelStudioError(RuntimeError):
    """Label Studio, or a host of media, did not give what was asked.

    Attributes:
        lasting: whether trying again would change nothing.
        setup: whether the service's own settings are to blame.
    """

    def __init__(self, detail: str, *, lasting: bool = False, setup: bool = False) -> None:
        super().__init__(detail)
        self.lasting = lasting
        self.setup = setup


class LabelStudio:
    """A client of the configured Label Studio. One per app; `close` it.

    Args:
        settings: address, token and further hosts.
        transport: another way to the network than the usual one.
    """

    def __init__(self, settings: ServiceSettings, transport: httpx.AsyncBaseTransport | None = None) -> None:
        url = settings.label_studio_url
        self.hosts = None if url is None else Hosts(url, settings.media_hosts)
        self._token = None if settings.label_studio_token is None else settings.label_studio_token.get_secret_value()
        self._http = httpx.AsyncClient(timeout=_TIMEOUT, transport=transport, follow_redirects=False, trust_env=False)
        self._access: tuple[str, float] | None = None
        self._renewing = asyncio.Lock()

    async def close(self) -> None:
        """Close the connections."""
        await self._http.aclose()

    def configured(self) -> Hosts:
        """The hosts that may be asked.

        Raises:
            LabelStudioError: no Label Studio is set up.
        """
        if self.hosts is None:
            raise LabelStudioError(
                "ROIGCN_LABEL_STUDIO_URL is not set: the service does not know which Label Studio it may ask for "
                "media. Set it to the address that the browser shows, ROIGCN_LABEL_STUDIO_TOKEN to a personal access "
                "token, and start the service again",
                lasting=True,
                setup=True,
            )
        return self.hosts

    async def fetch(
        self, address: str, task: int | None, sink: Callable[[bytes], Awaitable[object]], *, limit_bytes: int
    ) -> int:
        """Stream a task's medium.

        Args:
            address: from the task's data.
            task: the task's id.
            sink: takes the pieces in order.
            limit_bytes: the most that is taken.

        Returns:
            The number of bytes.

        Raises:
            LabelStudioError: refused, not there, too large, or broken off.
        """
        hosts = self.configured()
        try:
            url = hosts.resolve(address, task)
            for _ in range(_REDIRECTS + 1):
                done = await self._stream(hosts, url, sink, limit_bytes)
                if isinstance(done, int):
                    return done
                hosts.check(done)
                url = done
        except RefusedUrlError as error:
            raise LabelStudioError(str(error), lasting=True) from error
        except httpx.HTTPError as error:
            raise LabelStudioError(f"{_host(url)} broke off ({type(error).__name__}: {error})") from error
        raise LabelStudioError(f"more than {_REDIRECTS} redirects from {_host(url)}", lasting=True)

    async def predictions(self, task: int) -> list[Mapping[str, Any]]:
        """The predictions that a task has.

        Raises:
            LabelStudioError: Label Studio does not answer, or the task is gone.
        """
        answer = await self._call("GET", "/api/predictions", params={"task": task})
        return [item for item in answer if isinstance(item, Mapping)] if isinstance(answer, list) else []

    async def add_prediction(
        self, task: int, *, model_version: str, score: float, results: Sequence[Mapping[str, Any]]
    ) -> None:
        """Give a task a prediction.

        Raises:
            LabelStudioError: Label Studio does not answer, or refuses it.
        """
        body = {"task": task, "model_version": model_version, "score": score, "result": list(results)}
        await self._call("POST", "/api/predictions", json=body)

    async def _call(self, method: str, path: str, **arguments: Any) -> Any:
        base = self.configured().base
        try:
            for attempt in range(2):
                headers = await self._authorization(renew=attempt > 0)
                answer = await self._http.request(method, f"{base}{path}", headers=headers, **arguments)
                if answer.status_code != 401:
                    break
        except httpx.HTTPError as error:
            raise LabelStudioError(f"{base} does not answer ({type(error).__name__}: {error})") from error
        if answer.is_success:
            return answer.json()
        raise _refusal(base, answer.status_code, answer.text)

    async def _stream(
        self, hosts: Hosts, url: httpx.URL, sink: Callable[[bytes], Awaitable[object]], limit_bytes: int
    ) -> int | httpx.URL:
        """Bytes taken, or where it is said to lie instead."""
        own = hosts.is_label_studio(url)
        for attempt in range(2):
            headers = await self._authorization(renew=attempt > 0) if own else {}
            async with self._http.stream("GET", url, headers=headers) as answer:
                if answer.status_code == 401 and own and attempt == 0 and self._token is not None:
                    continue
                if answer.is_redirect:
                    return url.join(answer.headers.get("location", ""))
                if not answer.is_success:
                    raise _refusal(_host(url), answer.status_code, "")
                return await _pour(answer, sink, limit_bytes, _host(url))
        raise AssertionError("the second attempt answers")

    async def _authorization(self, *, renew: bool) -> dict[str, str]:
        """The header that signs in, none without a token."""
        token = self._token
        if token is None:
            return {}
        if token.count(".") != 2:  # a legacy token is forty hexadecimal digits, not three parts with dots
            return {"Authorization": f"Token {token}"}
        async with self._renewing:
            if renew or self._access is None or time.time() > self._access[1] - _EARLY_SECONDS:
                self._access = await self._refresh(token)
            return {"Authorization": f"Bearer {self._access[0]}"}

    async def _refresh(self, token: str) -> tuple[str, float]:
        base = self.configured().base
        answer = await self._http.post(f"{base}/api/token/refresh", json={"refresh": token})
        if answer.status_code in (400, 401, 403):
            raise LabelStudioError(
                f"{base} does not take the personal access token of ROIGCN_LABEL_STUDIO_TOKEN: make a new one under "
                "Account & Settings, Personal Access Token",
                setup=True,
            )
        if not answer.is_success:
            raise _refusal(base, answer.status_code, answer.text)
        access = str(answer.json().get("access", ""))
        return access, _ends_at(access)


async def _pour(answer: httpx.Response, sink: Callable[[bytes], Awaitable[object]], limit_bytes: int, host: str) -> int:
    declared = answer.headers.get("content-length", "")
    if declared.isdecimal() and int(declared) > limit_bytes:
        raise _too_large(host, limit_bytes)
    taken = 0
    async for piece in answer.aiter_bytes(_CHUNK_BYTES):
        taken += len(piece)
        if taken > limit_bytes:
            raise _too_large(host, limit_bytes)
        await sink(piece)
    return taken


def _too_large(host: str, limit_bytes: int) -> LabelStudioError:
    return LabelStudioError(f"the file on {host} has more than the {limit_bytes} bytes that are taken", lasting=True)


def _refusal(host: str, status: int, text: str) -> LabelStudioError:
    if status in (401, 403):
        return LabelStudioError(
            f"{host} answers {status}: set ROIGCN_LABEL_STUDIO_TOKEN to a personal access token of a user who sees the "
            "project",
            setup=True,
        )
    lasting = 400 <= status < 500 and status not in (408, 425, 429)
    said = f" ({text[:200]})" if text else ""
    return LabelStudioError(f"{host} answers {status}{said}", lasting=lasting)


def _host(url: httpx.URL) -> str:
    return f"{url.scheme}://{url.netloc.decode()}"


def _ends_at(token: str) -> float:
    """When a JSON Web Token ends, seconds of the epoch; soon, where it does not say."""
    try:
        payload = token.split(".")[1]
        claims = json.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))
        return float(claims["exp"])
    except (IndexError, KeyError, TypeError, ValueError, binascii.Error):
        return time.time() + _UNKNOWN_LIFE_SECONDS
