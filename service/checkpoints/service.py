"""What is installed, and the pointer to what is in use. The files are the truth; workers read the same pointer."""

from __future__ import annotations

from model.checkpoint import Checkpoint, CheckpointError
from model.manifest import decision_thresholds
from model.registry import Registry
from service.checkpoints.schemas import BrokenAnswer, CheckpointAnswer, CheckpointsAnswer, MetricsBlock
from service.problems import CheckpointPinned, CheckpointUnavailable, NotFound


def in_use(registry: Registry, pinned: str | None) -> Checkpoint:
    """The checkpoint of new jobs: the one that the settings fix, else the active one.

    Raises:
        CheckpointError: there is none, or it cannot be used.
    """
    return registry.active() if pinned is None else registry.get(pinned)


def list_checkpoints(registry: Registry, pinned: str | None, reading: str) -> CheckpointsAnswer:
    """All checkpoints as the setting `reading` uses them, which one is in use, and folders that cannot be used."""
    try:
        active: str | None = in_use(registry, pinned).ref
    except CheckpointError:
        active = None
    return CheckpointsAnswer(
        checkpoints=[_answer(entry, active, reading) for entry in registry.list()],
        broken=[
            BrokenAnswer(folder="/".join(entry.path.parts[-2:]), problem=entry.problem) for entry in registry.broken()
        ],
    )


def activate(registry: Registry, pinned: str | None, name: str, version: str, reading: str) -> CheckpointAnswer:
    """Make a checkpoint the one of new jobs; running jobs keep theirs.

    Raises:
        CheckpointPinned: the settings fix another.
        NotFound: none of that name and version is installed.
        CheckpointUnavailable: it is broken.
    """
    if pinned is not None:
        raise CheckpointPinned(
            f"ROIGCN_CHECKPOINT fixes the checkpoint to {pinned}. Unset it and restart to choose here."
        )
    if not any((root / name / version).is_dir() for root in registry.roots):
        raise NotFound(f"No checkpoint {name}:{version} is installed. GET /checkpoints lists those that are.")
    try:
        checkpoint = registry.activate(name, version)
    except CheckpointError as error:
        raise CheckpointUnavailable(str(error)) from error
    return _answer(checkpoint, checkpoint.ref, reading)


def _answer(checkpoint: Checkpoint, active: str | None, reading: str) -> CheckpointAnswer:
    manifest = checkpoint.manifest
    return CheckpointAnswer(
        name=manifest.name,
        version=manifest.version,
        active=checkpoint.ref == active,
        summary=manifest.summary,
        au_codes=list(manifest.au_codes),
        input_size=manifest.input_size,
        backbone=manifest.architecture.backbone,
        synthetic_only=manifest.training.synthetic_only,
        trained_on=manifest.training.data,
        thresholds=decision_thresholds(manifest.model_dump(mode="json"), reading),
        reads_landmarks=manifest.landmark_opinion is not None and reading != "network",
        metrics=MetricsBlock(protocol=manifest.metrics.protocol, mean=manifest.metrics.mean),
        licence=manifest.licence,
        parameters=manifest.parameters,
        weights_sha256=manifest.weights_sha256,
    )
