from __future__ import annotations

from pathlib import Path

import pytest

from tests.training.protocol.kit import random_predictions, scores
from tests.training.protocol.test_people import prepared
from training.config import TrainConfig, load_config
from training.data.folds import DATASET_PARTS
from training.protocol.cautions import cautions, departures
from training.protocol.people import People, open_people
from training.protocol.studies import STUDIES
from training.protocol.trial import TrialScores


def whole_set(tmp_path: Path, dataset: str) -> People:
    everyone = tuple(subject for part in DATASET_PARTS[dataset].values() for subject in part)
    return open_people(dataset, prepared(tmp_path / dataset, dataset, everyone))  # type: ignore[arg-type]


def three(config: TrainConfig, held_out: bool = False) -> list[TrialScores]:
    test = random_predictions(0)
    return [scores(config, name, test, test if held_out else None) for name in ("P1", "P2", "P3")]


@pytest.mark.parametrize("dataset", ["bp4d", "disfa"])
def test_the_papers_own_protocol_needs_no_caution(tmp_path: Path, dataset: str) -> None:
    people = whole_set(tmp_path, dataset)
    recipe = load_config(f"paper_{dataset}", network__backbone_weights="imagenet.pth", seed=3, data__workers=2)
    assert cautions(people, three(recipe)) == []


def test_each_departure_is_named(tmp_path: Path) -> None:
    people = whole_set(tmp_path, "bp4d")
    recipe = load_config("paper_bp4d", optimiser__steps=100)
    found = " ".join(cautions(people, three(recipe, held_out=True)[:2]))
    for part in ("Only P1, P2", "random weights", "`optimiser.steps` 100", "`optimiser.epochs` None", "held out"):
        assert part in found
    assert "missing" not in found


def test_what_a_study_varies_is_no_departure() -> None:
    for name, keys in (("table3", {"network.variant"}), ("table4", {"target.balance"}), ("sigma", {"target.sigma"})):
        study = STUDIES[name]
        assert study.varied == keys
        recipe = load_config("paper_bp4d", optimiser__batch=8)
        for cell in study.cells:
            assert departures(cell.config(recipe, 1), "bp4d", study.varied) == ["`optimiser.batch` 8 instead of 32"]
    assert departures(load_config("scratch_small"), "csv") == []


def test_rendered_faces_say_so(toy_data: Path, tiny_config: TrainConfig) -> None:
    found = cautions(open_people("rendered", toy_data), three(tiny_config))
    assert len(found) == 1
    assert "rendered faces" in found[0]
