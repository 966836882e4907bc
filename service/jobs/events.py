"""The progress of a job as server-sent events.

The database's rows are the replay buffer: whoever connects or reconnects gets the present state first, so nothing that
matters can be missed, and the stream ends with the event named after the final state.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from uuid import UUID

from sse_starlette import ServerSentEvent

from service.context import Context
from service.jobs import service
from worker.store.errors import NotFoundError

# Also without any news the rows are looked at now and then: the last defence against a lost notification.
_LOOK_SECONDS = 5.0
_RECONNECT_MS = 2000


async def job_events(
    context: Context, tenant: str, job_id: UUID, last_seen: str | None
) -> AsyncIterator[ServerSentEvent]:
    """Events `progress` while the job is on its way, then one `succeeded`, `failed`, `cancelled` or `deleted`.

    Args:
        context: the app's.
        tenant: the caller's.
        job_id: an existing job.
        last_seen: `Last-Event-ID` of a client that reconnects; the state that it names is not sent again.
    """
    with context.listener.subscribe(job_id) as news:
        while True:
            try:
                job = await service.get(context, tenant, job_id)
            except NotFoundError:
                yield ServerSentEvent(event="deleted", id="deleted", data="{}")
                return
            mark = f"{job.state}-{job.attempts}-{job.progress.frames_done}"
            if mark != last_seen or job.state.final:
                name = job.state.value if job.state.final else "progress"
                yield ServerSentEvent(event=name, id=mark, data=job.model_dump_json(), retry=_RECONNECT_MS)
                last_seen = mark
            if job.state.final:
                return
            await news.wait(_LOOK_SECONDS)
