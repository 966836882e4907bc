"""What the store raises, apart from the database's own errors."""

from __future__ import annotations


class StoreError(Exception):
    """Base of the store's errors; the message is fit for a client."""


class NotFoundError(StoreError):
    """The row does not exist, or belongs to another tenant."""


class IdempotencyConflictError(StoreError):
    """The idempotency key was used before with another request."""


class CheckpointConflictError(StoreError):
    """The same name and version were registered before with other weights."""


class LeaseLostError(StoreError):
    """This worker no longer holds the job: it was requeued, cancelled or deleted. Nothing was written."""


class MediaTooLargeError(StoreError):
    """More bytes were written than the writer allows."""


class StorageFullError(StoreError):
    """The volume of the media store has too little free space."""
