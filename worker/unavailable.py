"""The errors that mean: this worker cannot run the network that a job needs."""

from __future__ import annotations

from model.checkpoint import CheckpointError
from model.engines.base import EngineError
from model.faces.assets import AssetError
from worker.store.errors import CheckpointConflictError

UNAVAILABLE = (CheckpointError, EngineError, AssetError, CheckpointConflictError)
