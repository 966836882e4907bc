"""Label configurations are read as they are: names, aliases, thresholds, media, and what is refused."""

from __future__ import annotations

from typing import Any

import pytest

from model.action_units import AU_SETS, CATALOGUE
from service.integrations.label_studio.config import LabelConfigError, Medium, parse_config
from service.integrations.label_studio.template import label_config
from service.integrations.label_studio.version import model_version
from service.integrations.label_studio.vocabulary import action_unit, is_face
from tests.service.integrations.kit import FOREIGN

MANIFEST: dict[str, Any] = {
    "name": "tiny",
    "version": "1",
    "weights_sha256": "ab" * 32,
    "thresholds": {"AU12": 0.5},
    "metrics": {"protocol": "none"},
}


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("AU12", "AU12"),
        ("au 06", "AU6"),
        ("AU_04_probability", "AU4"),
        ("AU06 - cheek raiser", "AU6"),
        ("Lip Corner Puller", "AU12"),
        ("LIPS PART", "AU25"),
        ("lip-tightener", "AU23"),
        ("lid tightener", "AU7"),
        ("AU12+AU25", None),
        ("AU12L", None),
        ("AU99", None),
        ("AU123", None),
        ("plateau 12", None),
        ("smile", None),
        ("", None),
    ],
)
def test_words_for_action_units(text: str, code: str | None) -> None:
    assert action_unit(text) == code


@pytest.mark.parametrize(("text", "face"), [("Face", True), ("human face", True), ("surface", False), ("", False)])
def test_words_for_faces(text: str, face: bool) -> None:
    assert is_face([text]) is face


@pytest.mark.parametrize("code", CATALOGUE)
def test_every_facs_name_is_known(code: str) -> None:
    assert action_unit(CATALOGUE[code].name) == code


def test_names_are_those_of_the_project() -> None:
    config = parse_config(FOREIGN)
    (medium,) = config.media
    assert (medium.kind, medium.name, medium.key) == ("image", "bild", "foto")
    controls = {control.name: control for control in config.on(medium)}
    assert "stimmung" not in controls, "it works on another medium"
    assert controls["kasten"].face_label is not None
    assert controls["kasten"].face_label.value == "Person"
    assert {code: label.value for code, label in controls["bewegung"].au_labels().items()} == {
        "AU12": "Lächeln",
        "AU1": "brauen",
        "AU6": "Cheek Raiser",
    }
    assert controls["bewegung"].per_region
    assert controls["bewegung"].multiple
    assert not controls["eine"].multiple
    assert controls["baum"].au_labels()["AU12"].path == ("Unten", "Mund", "AU12")
    assert {name: (control.au, control.number_scale) for name, control in controls.items() if control.au} == {
        "au12_wert": ("AU12", 1.0),
        "AU6_prozent": ("AU6", 100.0),
        "AU12_intensity": ("AU12", None),
    }
    assert config.usable()


@pytest.mark.parametrize(
    ("labels", "chosen"),
    [
        (["face"], "face"),
        (["hand", "Face of the child"], "Face of the child"),
        (["subject"], "subject"),
        (["hand", "foot"], None),
        (["AU12"], None),
        ([], None),
    ],
)
def test_the_label_of_faces(labels: list[str], chosen: str | None) -> None:
    inner = "".join(f'<Label value="{label}"/>' for label in labels)
    xml = f'<View><Image name="i" value="$i"/><RectangleLabels name="r" toName="i">{inner}</RectangleLabels></View>'
    label = parse_config(xml).controls[0].face_label
    assert (label.value if label else None) == chosen


@pytest.mark.parametrize("text", ["", "<View>", "no xml", "<View></View><View></View>", "\x00"])
def test_what_is_no_configuration_is_refused(text: str) -> None:
    with pytest.raises(LabelConfigError, match="not XML"):
        parse_config(text)


def test_document_types_are_refused() -> None:
    bomb = '<!DOCTYPE v [<!ENTITY a "aaaa"><!ENTITY b "&a;&a;&a;">]><View>&b;</View>'
    with pytest.raises(LabelConfigError, match="document type"):
        parse_config(bomb)


def test_a_giant_is_refused() -> None:
    with pytest.raises(LabelConfigError, match="characters"):
        parse_config("<View>" + " " * 1_000_001 + "</View>")


@pytest.mark.parametrize(
    "xml",
    [
        "<View></View>",
        '<View><Image name="i" value="$i"/></View>',
        '<View><Image name="i" value="$i"/><Choices name="c" toName="i"><Choice value="happy"/></Choices></View>',
        '<View><Image name="i" value="$i"/><Number name="AU12" toName="i" min="0" max="5"/></View>',
        '<View><Text name="t" value="$t"/><Choices name="c" toName="t"><Choice value="AU12"/></Choices></View>',
    ],
    ids=["empty", "no controls", "other labels", "an intensity", "text"],
)
def test_configurations_without_use(xml: str) -> None:
    assert not parse_config(xml).usable()


@pytest.mark.parametrize(
    ("framerate", "data", "fps"),
    [
        ("25", {}, 25.0),
        ("$fps", {"fps": 29.97}, 29.97),
        ("$fps", {"fps": "30"}, 30.0),
        ("$fps", {}, 24.0),
        ("$fps", {"fps": "fast"}, 24.0),
        ("$fps", {"fps": -1}, 24.0),
        ("$fps", {"fps": float("nan")}, 24.0),
        ("0.04", {}, 25.0),
        ("", {}, 24.0),
    ],
)
def test_the_frame_rate_is_what_the_player_makes_of_it(framerate: str, data: dict[str, Any], fps: float) -> None:
    assert Medium("video", "v", "video", framerate).fps(data) == pytest.approx(fps)


@pytest.mark.parametrize("codes", [AU_SETS["faces15"], tuple(CATALOGUE), ("AU12",)], ids=["faces15", "all", "one"])
@pytest.mark.parametrize("maps", [False, True])
def test_our_own_configuration_of_pictures(codes: tuple[str, ...], maps: bool) -> None:
    config = parse_config(label_config("image", codes, maps=maps, probabilities=True))
    (medium,) = config.media
    for kind in ("choices", "polygonlabels")[: 1 + maps]:
        (control,) = config.on(medium, kind)
        assert tuple(control.au_labels()) == codes
    assert [control.au for control in config.on(medium, "number")] == list(codes)
    assert all(control.number_scale == 1.0 for control in config.on(medium, "number"))
    assert config.on(medium, "rectanglelabels")[0].face_label is not None


def test_our_own_configuration_of_clips() -> None:
    config = parse_config(label_config("video", ("AU1", "AU12")))
    (medium,) = config.media
    assert (medium.kind, medium.key, medium.framerate) == ("video", "video", "$fps")
    assert set(config.on(medium, "timelinelabels")[0].au_labels()) == {"AU1", "AU12"}
    assert len(config.on(medium, "videorectangle")) == 1
    assert config.on(medium, "labels")[0].face_label is not None


def version(manifest: dict[str, Any] | None = None, xml: str = FOREIGN) -> str:
    return model_version(MANIFEST | (manifest or {}), parse_config(xml))


@pytest.mark.parametrize(
    "manifest", [{"weights_sha256": "cd" * 32}, {"thresholds": {"AU12": 0.6}}, {"calibration": {"AU12": {"slope": 2}}}]
)
def test_the_version_changes_with_what_decides(manifest: dict[str, Any]) -> None:
    assert version(manifest) != version()


def test_the_version_changes_with_the_landmarks_say() -> None:
    config = parse_config(FOREIGN)
    opinion = {"fusion": {"AU12": {"score": 1.0, "landmarks": 0.5, "intercept": 0.0}}, "thresholds": {"AU12": 0.4}}
    manifest = MANIFEST | {"landmark_opinion": opinion | {"metrics": {"protocol": "one"}}}
    with_landmarks = model_version(manifest, config)
    assert with_landmarks != model_version(MANIFEST, config)
    assert model_version(manifest, config, "network") == model_version(MANIFEST, config, "network")
    assert model_version(manifest, config, "both") == with_landmarks
    assert model_version(MANIFEST, config, "auto") == model_version(MANIFEST, config, "network"), "nothing joins in"
    signed, unsigned = ({"calibration": {"AU1": {"slope": 1.0, "intercept": zero}}} for zero in (-0.0, 0.0))
    assert model_version(MANIFEST | signed, config) == model_version(MANIFEST | unsigned, config)
    measured_anew = MANIFEST | {"landmark_opinion": opinion | {"metrics": {"protocol": "another"}}}
    assert model_version(measured_anew, config) == with_landmarks


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ('predicted_values="AU12,lip corner puller"', 'predicted_values="AU6"'),
        ('name="orte" toName="bild"', 'name="orte" toName="bild" model_score_threshold="0.3"'),
        ('<Label value="Person"/>', '<Label value="Mensch"/>'),
        ('min="0" max="100"', 'min="0" max="5"'),
    ],
)
def test_the_version_changes_with_the_project(old: str, new: str) -> None:
    assert old in FOREIGN
    assert version(xml=FOREIGN.replace(old, new)) != version()


@pytest.mark.parametrize("manifest", [{"metrics": {"protocol": "another"}}, {"summary": "new words"}])
def test_the_version_stays_when_results_do(manifest: dict[str, Any]) -> None:
    assert version(manifest) == version()
    assert (
        version(xml=FOREIGN.replace("\n", " ").replace('value="Person"', 'value="Person" background="red"'))
        == version()
    )
