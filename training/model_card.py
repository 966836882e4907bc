"""The model card: a checkpoint's manifest told to people, with its figures and what it cannot do."""

from __future__ import annotations

from typing import Any

from model.action_units import CATALOGUE
from model.manifest import Manifest, Metrics
from training.data.origin import Origin


def _number(value: Any) -> str:
    return "–" if value is None else f"{value:.3f}" if isinstance(value, float) else str(value)


def _row(code: str, numbers: dict[str, Any], columns: tuple[str, ...]) -> str:
    cells = []
    for column in columns:
        value = numbers.get(column)
        cells.append(str(int(value)) if column in ("positives", "faces") and value is not None else _number(value))
    name = CATALOGUE[code].name if code in CATALOGUE else ""
    return f"| {code} | {name} | " + " | ".join(cells) + " |"


COLUMNS = ("positives", "faces", "auc", "pr_auc", "f1", "f1_all", "precision", "recall", "brier", "ece")
HEADINGS = ("positives", "faces", "AUC", "PR-AUC", "F1", "F1 of always yes", "precision", "recall", "Brier", "ECE")


def _opinion(manifest: Manifest) -> list[str]:
    """What the reading of landmarks adds, where there is one."""
    opinion = manifest.landmark_opinion
    if opinion is None:
        return []
    lines = [
        "## With the landmarks' second opinion",
        "",
        "Not part of the paper: a reading of the 68 landmarks joins the network's score. Probability and decision come "
        "from both unless the reading `network` is chosen; the score is always the network's own, and the table above "
        "is that of the network alone.",
        "",
        f"{_sentence(opinion.metrics.protocol)}. Fitted on {opinion.training}.",
        "",
        *_table(manifest, opinion.metrics),
    ]
    if opinion.own_rest is not None:
        lines += [
            "### In clips, against a person's own rest",
            "",
            f"{_sentence(opinion.own_rest.metrics.protocol)}.",
            "",
            *_table(manifest, opinion.own_rest.metrics),
        ]
    return lines


def _sentence(text: str) -> str:
    return text[:1].upper() + text[1:]


def _table(manifest: Manifest, metrics: Metrics) -> list[str]:
    """The figures of each AU and their mean, with an empty line at the end."""
    return [
        "| AU | name | " + " | ".join(HEADINGS) + " |",
        "| --- | --- |" + " --: |" * len(HEADINGS),
        *[
            _row(code, metrics.per_au[code].model_dump(), COLUMNS)
            for code in manifest.au_codes
            if code in metrics.per_au
        ],
        _row("mean", dict(metrics.mean), COLUMNS),
        "",
    ]


def model_card(manifest: Manifest, origin: Origin) -> str:
    """Markdown of a published manifest, whose figures were measured on faces of `origin`."""
    training, metrics = manifest.training, manifest.metrics
    extra = training.model_extra or {}
    mean = dict(metrics.mean)
    low, high = mean.get("auc_low"), mean.get("auc_high")
    trained_on = (
        "rendered faces only; no photograph of a person was used"
        if training.synthetic_only
        else "photographs of people among them; whoever uses the weights is bound by their licence and consent"
    )
    side = 2 * manifest.roi.half_width + 1
    runs = [
        f"{run['name']} at {run['input_size']} px, {run['steps']} steps, {run['samples']} samples "
        f"of {run['faces']} faces"
        for run in extra.get("runs", ())
    ]
    lines = [
        f"# {manifest.ref}",
        "",
        manifest.summary,
        "",
        f"* **Network**: {manifest.architecture.backbone}, variant `{manifest.architecture.variant}`, "
        f"{manifest.parameters:,} parameters, {manifest.weights_dtype} weights.",
        f"* **Input**: RGB crops of {manifest.input_size} x {manifest.input_size} pixels "
        f"(`{manifest.crop.method}` x {manifest.crop.scale}); maps of {manifest.map_size} x {manifest.map_size}, "
        f"windows of {side} x {side}, sigma {manifest.roi.sigma}, rule `{manifest.roi.rule}`, "
        f"decoder `{manifest.decoder}`.",
        f"* **Training data**: {training.data} ({trained_on}).",
        f"* **Training**: {training.steps} steps, {extra.get('samples', '?')} samples of {training.images} pictures, "
        f"{training.date}, code revision {training.revision}. Runs, each from the weights of the one before: "
        + f"{'; '.join(runs)}.",
        f"* **Licence**: {manifest.licence}.",
        "",
        "## Measured",
        "",
        f"{_sentence(metrics.protocol)}.",
        "",
        *_table(manifest, metrics),
        f"Mean AUC {_number(mean.get('auc'))}"
        + (f" (95 % over identities {_number(low)} to {_number(high)})" if low is not None else "")
        + f"; mean F1 at the paper's threshold 0, without calibration: {_number(mean.get('f1_uncalibrated'))}.",
        "",
        *_opinion(manifest),
        "## Real faces",
        "",
        manifest.real_faces or "Not tried.",
        "",
        "## Limits",
        "",
        "* A score says how sure the network is that an Action Unit occurred. It is not the FACS intensity.",
        *[f"* {limit}" for limit in origin.limits()],
        "* Not validated for any decision about a person.",
        "",
    ]
    return "\n".join(lines)
