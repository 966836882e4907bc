"""Who gets in: API keys with scopes and a tenant, or nobody but this machine.

A key is `roigcn_<secret>`; only its SHA-256 is stored, and it is compared in constant time. While there is no key at
all the service answers loopback requests alone: it refuses to start on another address, and refuses what reaches it
through a proxy, a rebound name or another web page.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import ipaddress
import re
import secrets
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from enum import StrEnum
from hmac import compare_digest
from typing import Annotated
from urllib.parse import urlsplit

from fastapi import Depends, Request, Security
from fastapi.security import APIKeyHeader, HTTPBearer
from fastapi.security.http import HTTPAuthorizationCredentials
from starlette.requests import HTTPConnection

from service.problems import Forbidden, Unauthorized
from worker.store.records import ApiKeyRecord

DEFAULT_TENANT = "default"
# How long a revoked key may still be let in, and a first key may still be missed.
_CACHE_SECONDS = 2.0
_CACHE_KEYS = 1024
_KEY = re.compile(r"roigcn_[A-Za-z0-9_-]{43}")


class Scope(StrEnum):
    """What a key allows; each scope includes the ones before it."""

    READ = "read"
    WRITE = "write"
    ADMIN = "admin"

    def includes(self, other: Scope) -> bool:
        """Whether this scope allows what `other` allows."""
        order = list(Scope)
        return order.index(self) >= order.index(other)


@dataclass(frozen=True, slots=True)
class Principal:
    """Who makes a request."""

    tenant: str
    scopes: frozenset[Scope]
    key_id: str | None = None

    def may(self, needed: Scope) -> bool:
        """Whether any of the scopes includes the needed one."""
        return any(scope.includes(needed) for scope in self.scopes)


@dataclass(frozen=True, slots=True)
class NewKey:
    """A key as it is shown once: `text` is the secret, `sha256` is what is kept."""

    text: str
    sha256: bytes


def new_key() -> NewKey:
    """Make a random key of 256 bits."""
    text = f"roigcn_{secrets.token_urlsafe(32)}"
    return NewKey(text, hash_key(text))


def hash_key(text: str) -> bytes:
    """SHA-256 of a key, the only form in which it is stored. Keys are random, so a slow hash would add nothing."""
    return hashlib.sha256(text.encode("utf-8", "surrogateescape")).digest()


def is_loopback(host: str) -> bool:
    """Whether an address or name, without port, can only be reached from this machine."""
    name = host.strip("[]").lower().rstrip(".")
    if name == "localhost" or name.endswith(".localhost"):
        return True
    try:
        return ipaddress.ip_address(name.partition("%")[0]).is_loopback
    except ValueError:
        return False


class ExposedWithoutKeysError(RuntimeError):
    """The service would be open to the network."""


def check_exposure(host: str, has_keys: bool) -> None:
    """Refuse to serve an address that others can reach while there is no key.

    Raises:
        ExposedWithoutKeysError: saying how to go on.
    """
    if has_keys or is_loopback(host):
        return
    raise ExposedWithoutKeysError(
        f"roigcn will not listen on {host} without API keys: anyone who reaches the address could use it and read "
        "every result. Create a key with `roigcn keys create --scope admin` (with the same --data-dir or "
        "ROIGCN_DATA_DIR as here), or listen on 127.0.0.1."
    )


FindKey = Callable[[bytes], Awaitable[ApiKeyRecord | None]]
HasKeys = Callable[[], Awaitable[bool]]


class Gate:
    """Turns the headers of a request into a `Principal`; answers of the database are kept for two seconds.

    Args:
        find_key: looks up a valid key (not revoked, not expired) by its SHA-256.
        had_keys: whether any key was ever made, usable now or not: the last one's end must not open the service.
    """

    def __init__(self, find_key: FindKey, had_keys: HasKeys) -> None:
        self._find_key = find_key
        self._had_keys = had_keys
        self._keys: dict[bytes, tuple[float, ApiKeyRecord | None]] = {}
        self._any: tuple[float, bool] | None = None

    async def principal(self, request: HTTPConnection, presented: str | None) -> Principal:
        """Who makes this request.

        Raises:
            Unauthorized: a key is needed and none, or none that is known, was presented.
            Forbidden: without keys, a request that is not from this machine's own user.
        """
        if presented is None and not await self._keys_exist():
            check_local(request)
            return Principal(DEFAULT_TENANT, frozenset({Scope.ADMIN}))
        if presented is None:
            raise Unauthorized("Send an API key as `Authorization: Bearer roigcn_…` or `X-API-Key: roigcn_…`.")
        digest = hash_key(presented)
        stored = await self._lookup(digest) if _KEY.fullmatch(presented) else None
        if stored is None or not compare_digest(digest, stored.key_sha256):
            raise Unauthorized("This API key is not known or was revoked. Ask for a new one, or check what is sent.")
        return Principal(stored.tenant, frozenset(Scope(scope) for scope in stored.scopes), str(stored.id))

    async def _keys_exist(self) -> bool:
        now = time.monotonic()
        if self._any is None or now - self._any[0] > _CACHE_SECONDS:
            self._any = (now, await self._had_keys())
        return self._any[1]

    async def _lookup(self, digest: bytes) -> ApiKeyRecord | None:
        now = time.monotonic()
        cached = self._keys.get(digest)
        if cached is None or now - cached[0] > _CACHE_SECONDS:
            if len(self._keys) >= _CACHE_KEYS:
                self._keys.clear()
            cached = self._keys[digest] = (now, await self._find_key(digest))
        return cached[1]


_PASSED_ON = ("forwarded", "via", "x-forwarded-for", "x-forwarded-host", "x-forwarded-proto", "x-real-ip")


def check_local(request: HTTPConnection) -> None:
    """Without keys: let nothing in but what this machine's user sent to this machine.

    A page of another site that the user has open could post to a loopback address, and a name that was rebound to
    127.0.0.1 could read the answers: the `Host` and `Origin` headers tell. A proxy on this machine would let in
    everybody; most add a header that tells.

    Raises:
        Forbidden: saying that a key is needed.
    """
    advice = "Create a key with `roigcn keys create` and send it as `Authorization: Bearer …`."
    server = request.scope.get("server")
    if server and server[1] is not None and not is_loopback(server[0]):
        raise Forbidden(f"Without API keys only requests to a loopback address are answered. {advice}")
    host = _hostname(f"//{request.headers.get('host', '')}")
    if not is_loopback(host):
        raise Forbidden(f"Without API keys only requests to localhost are answered, not to '{host}'. {advice}")
    passed_on = next((name for name in _PASSED_ON if name in request.headers), None)
    if passed_on is not None:
        raise Forbidden(f"Without API keys nothing that a proxy passes on ({passed_on}) is answered. {advice}")
    origin = request.headers.get("origin")
    if origin is not None and not is_loopback(_hostname(origin)):
        raise Forbidden(f"Without API keys pages of other sites ({origin[:100]}) are not answered. {advice}")


def _hostname(url: str) -> str:
    try:
        return urlsplit(url).hostname or ""
    except ValueError:
        return ""


bearer_scheme = HTTPBearer(auto_error=False, scheme_name="bearer", description="`Authorization: Bearer roigcn_…`")
header_scheme = APIKeyHeader(
    name="X-API-Key", auto_error=False, scheme_name="header", description="`X-API-Key: roigcn_…`"
)


async def presented_principal(
    request: Request,
    bearer: Annotated[HTTPAuthorizationCredentials | None, Security(bearer_scheme)],
    header: Annotated[str | None, Security(header_scheme)],
) -> Principal:
    """The caller of the request, from whichever header carries the key."""
    gate: Gate = request.app.state.gate
    return await gate.principal(request, bearer.credentials if bearer else header)


def _basic_password(request: Request) -> str | None:
    """The password of HTTP Basic; what cannot be read is a wrong password, not none."""
    scheme, _, encoded = request.headers.get("authorization", "").partition(" ")
    if scheme.lower() != "basic":
        return None
    try:
        decoded = base64.b64decode(encoded, validate=True).decode("utf-8", "surrogateescape")
    except binascii.Error:
        return ""
    return decoded.partition(":")[2]


async def basic_principal(request: Request) -> Principal:
    """The caller of a request that may also carry its key as the password of HTTP Basic.

    For programs that know no other way to sign in. Not for every operation: a browser sends such credentials by itself,
    also when another site's page makes the request.
    """
    password = _basic_password(request)
    if password is None:
        return await presented_principal(request, await bearer_scheme(request), await header_scheme(request))
    gate: Gate = request.app.state.gate
    return await gate.principal(request, password)


async def basic_writer(request: Request) -> Principal:
    """A caller who may send work, signed in by any of the three ways."""
    return _must(await basic_principal(request), Scope.WRITE)


def _must(caller: Principal, needed: Scope) -> Principal:
    if not caller.may(needed):
        raise Forbidden(f"This key lacks the scope '{needed}'. Use a key that was created with it.")
    return caller


def allows(needed: Scope) -> Callable[[Principal], Awaitable[Principal]]:
    """A dependency that lets in callers with a scope."""

    async def dependency(principal: Annotated[Principal, Depends(presented_principal)]) -> Principal:
        return _must(principal, needed)

    return dependency


NEEDS_READ = Depends(allows(Scope.READ))
NEEDS_ADMIN = Depends(allows(Scope.ADMIN))
Reader = Annotated[Principal, Depends(allows(Scope.READ))]
Writer = Annotated[Principal, Depends(allows(Scope.WRITE))]
BasicWriter = Annotated[Principal, Depends(basic_writer)]
