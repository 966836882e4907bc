"""Links that let a player read one job's file for a while, as a `<video>` cannot send an API key.

A link carries the id of the key that asked for it, its end, and an HMAC of both and of the job under the stored hash of
that key: any API process can check it, it opens nothing else, and revoking the key ends it.
"""

from __future__ import annotations

import hashlib
import hmac
import re
import time
from typing import Annotated
from uuid import UUID

import sqlalchemy as sa
from fastapi import Query, Request, Security
from fastapi.security.http import HTTPAuthorizationCredentials

from service.auth import Principal, Scope, bearer_scheme, header_scheme, presented_principal
from service.problems import Forbidden, Unauthorized
from worker.store.catalogue import ApiKeyRepository
from worker.store.records import ApiKeyRecord

LIFETIME_SECONDS = 4 * 3600
_TOKEN = re.compile(r"([0-9a-f]{32})\.(\d{1,12})\.([0-9a-f]{64})")


def make_token(key: ApiKeyRecord, job_id: UUID, expires: int) -> str:
    """A token for one job's file until `expires`, in seconds since 1970."""
    return f"{key.id.hex}.{expires}.{_signature(key.key_sha256, job_id, expires)}"


async def media_reader(
    request: Request,
    job_id: UUID,
    bearer: Annotated[HTTPAuthorizationCredentials | None, Security(bearer_scheme)],
    header: Annotated[str | None, Security(header_scheme)],
    token: Annotated[
        str | None, Query(max_length=200, description="From `media-link`, for players that cannot send headers")
    ] = None,
) -> Principal:
    """Whoever may read the job's file: by key as everywhere, or by a link's token.

    Raises:
        Unauthorized: neither, or a token that is spent, made for another job, or of a key that was revoked.
        Forbidden: the key lacks the scope.
    """
    if token is None or bearer is not None or header is not None:
        principal = await presented_principal(request, bearer, header)
        if not principal.may(Scope.READ):
            raise Forbidden("This key lacks the scope 'read'. Use a key that was created with it.")
        return principal
    if (match := _TOKEN.fullmatch(token)) is None:
        raise Unauthorized("This is no media link. Ask for a new one at media-link.")
    key_id, expires, signature = UUID(match[1]), int(match[2]), match[3]

    def find(connection: sa.Connection) -> ApiKeyRecord | None:
        return ApiKeyRepository(connection).get(key_id)

    key = await request.app.state.context.database.run(find)
    if key is None or not hmac.compare_digest(signature, _signature(key.key_sha256, job_id, expires)):
        raise Unauthorized("This media link is not valid. Ask for a new one at media-link.")
    if time.time() > expires:
        raise Unauthorized("This media link is spent. Ask for a new one at media-link.")
    return Principal(key.tenant, frozenset({Scope.READ}), str(key.id))


def _signature(key_sha256: bytes, job_id: UUID, expires: int) -> str:
    return hmac.new(key_sha256, f"media\n{job_id}\n{expires}".encode(), hashlib.sha256).hexdigest()
