"""The two tasks. A task carries no data: it means "look for work", and what it finds it claims from the database."""

from __future__ import annotations

from worker.app import app, bell, runtime
from worker.store.claims import ClaimRepository
from worker.store.notify import DETECT_QUEUE, VIDEO_QUEUE
from worker.store.records import JobKind


@app.task(name=DETECT_QUEUE)  # type: ignore[untyped-decorator]  # celery has no types
def detect() -> None:
    """Analyse queued pictures until none is left, and look inside the network for whoever asks."""
    from worker.explanations import explain_next
    from worker.images import drain  # loads the face nets' library, in the process that runs them

    bell().heard(DETECT_QUEUE)
    current = runtime()
    drain(current)
    while explain_next(current):
        drain(current)  # pictures go first: a look inside takes longer


@app.task(name=VIDEO_QUEUE)  # type: ignore[untyped-decorator]
def video() -> None:
    """Work on one queued clip, then ring if there is another."""
    from worker.clips import run_next

    bell().heard(VIDEO_QUEUE)
    current = runtime()
    if run_next(current) is None or current.stopping:
        return
    with current.database.connect() as connection:
        more = ClaimRepository(connection).waiting(JobKind.VIDEO)
    if more:
        bell().ring(VIDEO_QUEUE)
