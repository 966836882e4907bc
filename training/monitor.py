"""A running network looked at from time to time: mean scores on a few faces and a picture of predictions."""

from __future__ import annotations

from training.data.shards import FaceShards
from training.evaluate import Reading, predict, table_of
from training.loop import Run, build_network
from training.preview import draw_predictions, save_predictions


def look_at(run: Run, faces: FaceShards, prefix: str) -> dict[str, float]:
    """Score the first of some faces, evenly chosen, with the averaged weights; write `predictions-<step>.jpg`.

    Args:
        run: as it stands.
        faces: labelled; `log.evaluate_faces` of them are scored.
        prefix: of the names of the numbers, "test" or "held_out".

    Returns:
        Mean AUC, F1 at the decoder's decision and PR-AUC, by name.
    """
    network = build_network(run.config, pretrained=False).to(run.fabric.device)
    network.load_state_dict(run.evaluated_state)
    reading = Reading.of_config(run.config)
    count = min(len(faces), run.config.log.evaluate_faces)
    chosen = [round(i * (len(faces) - 1) / max(count - 1, 1)) for i in range(count)]
    mean = table_of(predict(network, faces, reading, chosen), reading.au_codes).mean
    picture = draw_predictions(network, faces, reading, chosen[:: max(1, count // 8)][:8])
    save_predictions(run.folder / f"predictions-{run.step:06d}.jpg", picture)
    return {f"{prefix}_auc": mean.auc, f"{prefix}_f1": mean.f1, f"{prefix}_pr_auc": mean.pr_auc}
