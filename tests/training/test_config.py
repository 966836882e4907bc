from __future__ import annotations

from pathlib import Path

import pytest

from training.config import ConfigError, TrainConfig, available_configs, load_config


@pytest.mark.parametrize("name", available_configs())
def test_every_recipe_loads_and_names_itself(name: str) -> None:
    config = load_config(name)
    assert config.summary
    assert config.map_size * 4 == config.network.input_size


def test_the_papers_recipe_has_the_papers_numbers() -> None:
    config = load_config("paper_bp4d")
    assert (config.network.input_size, config.map_size, config.target.half_width) == (256, 64, 3)
    assert (config.optimiser.name, config.optimiser.lr, config.optimiser.weight_decay) == ("adam", 1e-4, 5e-4)
    assert len(config.network.au_codes) == 12
    assert (config.optimiser.epochs, config.optimiser.plateaus) == (20, 2)
    assert config.augment.rotation_degrees == 30
    disfa = load_config("paper_disfa")
    assert (len(disfa.network.au_codes), disfa.augment.rotation_degrees) == (8, 10)
    assert disfa.optimiser == config.optimiser


def test_epochs_become_steps_when_the_faces_are_known() -> None:
    config = load_config("paper_bp4d")
    assert config.for_faces(100_000).optimiser.steps == 62_500
    assert config.for_faces(1).optimiser.steps == 1
    short = load_config("paper_bp4d", optimiser__steps=12)
    assert short.for_faces(100_000).optimiser.steps == 12
    assert load_config("scratch_small").for_faces(5) == load_config("scratch_small")


def test_overrides_replace_values_and_none_keeps_them() -> None:
    config = load_config("scratch_small", optimiser__steps=7, optimiser__batch=None, seed=5)
    assert (config.optimiser.steps, config.optimiser.batch, config.seed) == (7, 32, 5)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("name = 'a'\n[optimiser]\nlearning_rate = 1", "optimiser.learning_rate"),
        ("name = 'a'\n[optimiser]\nlr = -1", "optimiser.lr"),
        ("name = 'a'\n[network]\ninput_size = 100", "network.input_size"),
        ("name = 'a'\n[network]\naus = 'nonsense'", "unknown Action Unit"),
        ("name = 'a'\n[target]\nbalance = 'both'", "target.balance"),
        ("name = 'Bad Name'", "name"),
        ("", "name"),
        ("name = ", "not TOML"),
    ],
)
def test_faults_name_the_key(tmp_path: Path, text: str, says: str) -> None:
    path = tmp_path / "run.toml"
    path.write_text(text)
    with pytest.raises(ConfigError) as error:
        load_config(str(path))
    assert says in str(error.value)


def test_unknown_names_list_the_known_ones(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="scratch_small"):
        load_config("none")
    with pytest.raises(ConfigError, match="no such file"):
        load_config(str(tmp_path / "none.toml"))


def test_a_configuration_survives_json(tiny_config: TrainConfig) -> None:
    assert TrainConfig.model_validate_json(tiny_config.model_dump_json()) == tiny_config
