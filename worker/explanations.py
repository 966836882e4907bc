"""Requests to look inside the network: claim one, run the crop through the network in torch, store what is inside.

Whatever the engine of this worker is, the network for this is torch's, in single precision on the processor, and is
loaded when the first request comes: an engine shows its ROI maps only.
"""

from __future__ import annotations

import logging
import math
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from model.checkpoint import Checkpoint, CheckpointError, load_checkpoint
from model.engines.base import default_threads
from model.explanation import ExplanationError, explanation_bytes
from model.registry import Registry
from worker.images import INTERNAL
from worker.runtime import Runtime
from worker.store.catalogue import CheckpointRepository
from worker.store.explanations import ClaimedExplanation, ExplanationRepository
from worker.store.records import JobError
from worker.unavailable import UNAVAILABLE

if TYPE_CHECKING:
    from model.explain import Explainer

log = logging.getLogger(__name__)

LEASE_SECONDS = 120.0  # long enough to import torch and read a network on a busy machine


def explain_next(runtime: Runtime) -> bool:
    """Work on one request; False when none waits or the process should stop."""
    if runtime.stopping:
        return False
    with runtime.database.begin() as connection:
        claimed = ExplanationRepository(connection).claim(LEASE_SECONDS)
    if claimed is None:
        return False
    with runtime.busy():
        outcome = _explain(runtime, claimed)
        with runtime.database.begin() as connection:
            repository = ExplanationRepository(connection)
            if isinstance(outcome, JobError):
                repository.fail(claimed, outcome)
            else:
                repository.finish(claimed, outcome)
    return True


def _explain(runtime: Runtime, claimed: ClaimedExplanation) -> bytes | JobError:
    try:
        explainer = _open(runtime, claimed)
        side = math.isqrt(len(claimed.crop) // 3)
        crops = np.frombuffer(claimed.crop, np.uint8).reshape(1, side, side, 3)
        (found,) = explainer.explain(crops)
        return explanation_bytes(found, half=True)
    except ExplanationError as error:
        return JobError("not-explainable", str(error))
    except UNAVAILABLE as error:
        log.error("explanation of job %s: %s", claimed.job.id, error)
        return JobError("checkpoint-unavailable", str(error))
    except Exception:
        log.exception("explanation of job %s", claimed.job.id)
        return INTERNAL


def _open(runtime: Runtime, claimed: ClaimedExplanation) -> Explainer:
    """The network that the job was analysed with."""
    checkpoint_id = claimed.job.checkpoint_id
    with runtime.database.connect() as connection:
        record = CheckpointRepository(connection).get(checkpoint_id) if checkpoint_id is not None else None
    if record is None:
        raise CheckpointError("The checkpoint of this job is no longer registered. Analyse the picture again.")
    checkpoint = Registry.open(runtime.settings.data_dir).get(f"{record.name}:{record.version}")
    if checkpoint.manifest.weights_sha256 != record.sha256:
        raise CheckpointError(
            f"{record.name}:{record.version} has other weights now than this job was analysed with. Analyse it again."
        )
    return _explainer(checkpoint.path, record.sha256, runtime.settings.threads or default_threads())


@lru_cache(maxsize=1)
def _explainer(folder: Path, _sha256: str, threads: int) -> Explainer:
    import torch

    from model.explain import Explainer

    torch.set_num_threads(threads)
    checkpoint: Checkpoint = load_checkpoint(folder, verify=False)  # whoever asks has verified it
    log.info("checkpoint %s in torch, to look inside", checkpoint.ref)
    return Explainer(checkpoint)
