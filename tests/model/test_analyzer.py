from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pytest
import skimage.data

from model.analyzer import Analyzer
from model.checkpoint import Checkpoint, CheckpointError
from model.engines import Engine, open_engine
from model.faces.finder import FaceFinder
from model.geometry import apply_affine, invert_affine
from model.roi import roi_centres
from model.values import AuPrediction, Face, Float32Array, UInt8Array


@pytest.fixture(scope="module")
def finder() -> FaceFinder:
    return FaceFinder(threads=2)


@pytest.fixture(scope="module")
def engine(checkpoint: Checkpoint, graph_cache_dir: Path) -> Iterator[Engine]:
    with_graph = open_engine(checkpoint, "openvino", "cpu", 2, graph_cache_dir)
    yield with_graph
    with_graph.close()


@pytest.fixture(scope="module")
def analyzer(checkpoint: Checkpoint, engine: Engine, finder: FaceFinder) -> Analyzer:
    return Analyzer(checkpoint, engine, finder)


@pytest.fixture(scope="module")
def astronaut() -> UInt8Array:
    picture: UInt8Array = skimage.data.astronaut()
    picture.setflags(write=False)
    return picture


@pytest.fixture(scope="module")
def found(analyzer: Analyzer, astronaut: UInt8Array) -> tuple[Face, AuPrediction]:
    ((face, prediction),) = analyzer.analyze(astronaut)
    return face, prediction


def test_every_array_of_a_prediction(found: tuple[Face, AuPrediction], analyzer: Analyzer) -> None:
    _, prediction = found
    count, side = len(analyzer.au_codes), analyzer.engine.map_size
    names = set(AuPrediction.__slots__) - {"measures"}
    shapes = {name: getattr(prediction, name).shape for name in names}
    assert shapes == {
        "score": (count,),
        "probability": (count,),
        "active": (count,),
        "valid": (count,),
        "roi_amplitude": (count, 2),
        "roi_centres": (count, 2, 2),
        "roi_maps": (count, side, side),
    }
    dtypes = {name: getattr(prediction, name).dtype.name for name in names}
    assert {dtypes.pop("active"), dtypes.pop("valid")} == {"bool"}
    assert set(dtypes.values()) == {"float32"}
    assert prediction.measures is None, "this checkpoint has no use for them"
    assert prediction.valid.all()
    assert ((prediction.probability > 0) & (prediction.probability < 1)).all()
    np.testing.assert_allclose(prediction.score, prediction.roi_amplitude.max(axis=1), rtol=1e-5)


def test_roi_centres_are_those_of_the_landmarks(found: tuple[Face, AuPrediction], analyzer: Analyzer) -> None:
    face, prediction = found
    np.testing.assert_allclose(prediction.roi_centres, roi_centres(face.landmarks, analyzer.au_codes), atol=0.01)


def test_probabilities_follow_the_manifest(found: tuple[Face, AuPrediction]) -> None:
    _, prediction = found
    # The first AU of the test checkpoint is not calibrated; the others have slope 2 and intercept 0.5.
    np.testing.assert_allclose(prediction.probability[0], np.clip((prediction.score[0] + 1) / 2, 0, 1), rtol=1e-5)
    np.testing.assert_allclose(prediction.probability[1:], 1 / (1 + np.exp(-2 * prediction.score[1:] - 0.5)), rtol=1e-5)


def with_manifest(analyzer: Analyzer, **update: object) -> Analyzer:
    manifest = analyzer.checkpoint.manifest.model_copy(update=update)
    return Analyzer(Checkpoint(analyzer.checkpoint.path, manifest), analyzer.engine, analyzer.finder)


@pytest.mark.parametrize(("threshold", "active"), [(0.0, True), (1.0, False)])
def test_a_threshold_decides_where_there_is_one(
    threshold: float, active: bool, analyzer: Analyzer, astronaut: UInt8Array, found: tuple[Face, AuPrediction]
) -> None:
    face, usual = found
    strict = with_manifest(analyzer, thresholds={"AU4": threshold})
    (prediction,) = strict.predict([strict.crop(astronaut, face)])
    assert prediction.active[1] == active
    np.testing.assert_array_equal(np.delete(prediction.active, 1), np.delete(usual.active, 1))


def test_the_peak_decoder_reports_where_it_read(
    analyzer: Analyzer, astronaut: UInt8Array, found: tuple[Face, AuPrediction]
) -> None:
    face, _ = found
    peaks = with_manifest(analyzer, decoder="peak")
    crop = peaks.crop(astronaut, face)
    (prediction,) = peaks.predict([crop])
    in_map = (apply_affine(invert_affine(crop.to_image), prediction.roi_centres) + 0.5) / 4 - 0.5
    whole = np.rint(in_map).astype(int)
    np.testing.assert_allclose(in_map, whole, atol=1e-3)
    assert ((whole >= 0) & (whole < peaks.engine.map_size)).all()


def same(a: AuPrediction, b: AuPrediction) -> None:
    np.testing.assert_allclose(a.score, b.score, atol=1e-4)
    np.testing.assert_allclose(a.roi_maps, b.roi_maps, atol=1e-4)
    np.testing.assert_array_equal(a.roi_centres, b.roi_centres)


def test_crops_of_many_pictures_share_a_batch(
    analyzer: Analyzer, astronaut: UInt8Array, found: tuple[Face, AuPrediction]
) -> None:
    face, alone = found
    mirrored = np.ascontiguousarray(astronaut[:, ::-1])
    crops = [analyzer.crop(astronaut, face), analyzer.crop(mirrored, analyzer.faces(mirrored)[0])]
    batch = [crops[i % 2] for i in range(67)]  # more than one engine call takes
    predictions = analyzer.predict(batch)
    assert len(predictions) == 67
    same(predictions[0], alone)
    same(predictions[66], alone)
    same(predictions[65], predictions[1])
    assert np.abs(predictions[1].score - alone.score).max() > 1e-3


def test_nothing_in_nothing_out(analyzer: Analyzer) -> None:
    assert analyzer.predict([]) == []
    assert analyzer.analyze(np.full((240, 320, 3), 127, np.uint8)) == []


def test_a_face_partly_outside_the_picture(
    analyzer: Analyzer, astronaut: UInt8Array, found: tuple[Face, AuPrediction]
) -> None:
    face, _ = found
    left = int(face.landmarks[30, 0])  # cut through the nose: the image-left half of the face is gone
    half = np.ascontiguousarray(astronaut[:, left:])
    moved = Face(face.box_xyxy - np.float32([left, 0, left, 0]), face.score, face.landmarks - np.float32([left, 0]))
    crop = analyzer.crop(half, moved)
    assert crop.pixels.shape == (64, 64, 3)
    (prediction,) = analyzer.predict([crop])
    assert np.isfinite(prediction.probability).all()
    assert (prediction.roi_centres[:3, 0, 0] < 0).all()  # ROI centres outside are said where they are


def test_an_au_whose_regions_cannot_be_placed_is_invalid(
    analyzer: Analyzer, astronaut: UInt8Array, found: tuple[Face, AuPrediction]
) -> None:
    face, _ = found
    landmarks = face.landmarks.copy()
    landmarks[[17, 18, 19, 20, 21, 22, 23, 24, 25, 26]] = np.nan  # no brows: AU1 and AU4 have no ROI
    crop = analyzer.crop(astronaut, Face(face.box_xyxy, face.score, landmarks))
    (prediction,) = analyzer.predict([crop])
    np.testing.assert_array_equal(prediction.valid, [False, False, True, True])
    assert np.isnan(prediction.probability[:2]).all()
    assert not prediction.active[:2].any()
    assert np.isfinite(prediction.probability[2:]).all()


def test_an_engine_of_another_network_is_refused(analyzer: Analyzer) -> None:
    with pytest.raises(ValueError, match="not opened for checkpoint"):
        with_manifest(analyzer, au_codes=("AU1", "AU2", "AU6", "AU7"))


class FixedFinder:
    """Finds what it is told to."""

    def __init__(self, faces: Sequence[Face]) -> None:
        self.faces = list(faces)

    def find(self, rgb: UInt8Array) -> list[Face]:
        return self.faces


def test_open_by_folder_and_by_unknown_name(checkpoint: Checkpoint, graph_cache_dir: Path, tmp_path: Path) -> None:
    finder = FixedFinder([])
    with Analyzer.open(str(checkpoint.path), "openvino", cache_dir=graph_cache_dir, finder=finder) as opened:
        assert opened.checkpoint.ref == "random:1"
        assert opened.analyze(np.zeros((10, 10, 3), np.uint8)) == []
    with pytest.raises(CheckpointError, match="No checkpoint 'nobody'"):
        Analyzer.open("nobody", data_dir=tmp_path, finder=finder)


def test_the_built_in_checkpoint_sees_the_astronaut_smile(
    astronaut: UInt8Array, finder: FaceFinder, tmp_path: Path
) -> None:
    with Analyzer.open(data_dir=tmp_path, threads=2, finder=finder) as opened:
        ((_, prediction),) = opened.analyze(astronaut)
        probability: dict[str, Float32Array] = dict(zip(opened.au_codes, prediction.probability, strict=True))
        assert (tmp_path / "cache" / "openvino").is_dir() or opened.engine.name == "torch"
    assert prediction.valid.all()
    assert probability["AU12"] > 0.5
    assert probability["AU25"] > 0.5
    assert probability["AU12"] > probability["AU15"]


@pytest.fixture
def measured(tiny_analyzer: Analyzer, astronaut: UInt8Array) -> tuple[Face, AuPrediction]:
    """The astronaut, read with measures; of the three AUs AU1 is held against the rest."""
    ((face, prediction),) = tiny_analyzer.analyze(astronaut)
    return face, prediction


@pytest.mark.parametrize("lower", [0.0, 0.02, -0.02])
def test_a_brow_above_its_rest_is_raised(
    tiny_analyzer: Analyzer, measured: tuple[Face, AuPrediction], lower: float
) -> None:
    face, prediction = measured
    measures = prediction.measures
    assert measures is not None
    assert np.isfinite(measures).all()
    rest = measures - np.float32(lower)
    before = (prediction.probability[None], prediction.active[None])
    chance, active = tiny_analyzer.against_rest(
        rest, measures[None], face.landmarks[None], prediction.score[None], before
    )
    reading = tiny_analyzer.checkpoint.landmark_reading()
    assert reading is not None
    # The test checkpoint's fusion: 2 of the score, 0.1 of the landmarks, 1 of the movement, which is 20 a unit.
    logit = 2 * prediction.score[0] + 0.1 * reading.logits(face.landmarks[None])[0, 0] + 20 * lower
    assert chance[0, 0] == pytest.approx(1 / (1 + np.exp(-logit)), abs=1e-4)
    assert active[0, 0] == (chance[0, 0] >= 0.5)
    np.testing.assert_array_equal(chance[0, 1:], prediction.probability[1:])
    np.testing.assert_array_equal(active[0, 1:], prediction.active[1:])


def test_what_was_not_measured_or_not_read_stays_as_it_was(
    tiny_analyzer: Analyzer, measured: tuple[Face, AuPrediction]
) -> None:
    face, prediction = measured
    assert prediction.measures is not None
    measures = np.stack([prediction.measures, np.full_like(prediction.measures, np.nan)])
    chance = np.stack([prediction.probability] * 2)
    chance[0] = np.nan  # of the first face no AU could be read
    before = (chance, np.zeros(chance.shape, bool))
    after = tiny_analyzer.against_rest(
        prediction.measures - 1, measures, np.stack([face.landmarks] * 2), np.stack([prediction.score] * 2), before
    )
    np.testing.assert_array_equal(after[0], before[0])
    np.testing.assert_array_equal(after[1], before[1])


def test_the_network_alone_measures_nothing(tiny_checkpoint: Checkpoint, astronaut: UInt8Array) -> None:
    with Analyzer.open("tiny", "openvino", tiny_checkpoint.path.parents[2], threads=2, reading="network") as alone:
        ((face, prediction),) = alone.analyze(astronaut)
        assert prediction.measures is None
        before = (prediction.probability[None], prediction.active[None])
        unknown = np.full((1, 7), np.nan, np.float32)
        after = alone.against_rest(unknown[0], unknown, face.landmarks[None], prediction.score[None], before)
    np.testing.assert_array_equal(after[0], before[0])
