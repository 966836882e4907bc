from __future__ import annotations

import csv
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from training.config import TrainConfig
from training.data.shards import FaceShards, find_shards
from training.loop import Progress, Run, build_network, learning_rate, run_identity
from training.state import PREVIOUS, STATE, TrainingError, carry_weights, load_state, save_state


def faces_of(data: Path, config: TrainConfig) -> FaceShards:
    return FaceShards(find_shards(data, "train"), config.network.au_codes)


def changed(config: TrainConfig, **sections: dict[str, object]) -> TrainConfig:
    values = config.model_dump(mode="json")
    for section, update in sections.items():
        values[section] |= update
    return TrainConfig.model_validate(values)


def trained(config: TrainConfig, data: Path, folder: Path) -> Run:
    run = Run(config, faces_of(data, config), folder, accelerator="cpu", devices=1)
    run.train()
    return run


def assert_same_state(one: dict[str, torch.Tensor], two: dict[str, torch.Tensor]) -> None:
    assert one.keys() == two.keys()
    for key in one:
        assert torch.equal(one[key], two[key]), key


def test_the_loop_learns_a_toy(tiny_config: TrainConfig, toy_data: Path, tmp_path: Path) -> None:
    config = changed(
        tiny_config, optimiser={"steps": 30}, augment={"photo": 0.0, "rotation_degrees": 0.0}, log={"every": 10}
    )
    reports: list[Progress] = []
    run = Run(config, faces_of(toy_data, config), tmp_path, accelerator="cpu", devices=1)
    run.train(reports.append)
    assert reports[-1].step == 30
    assert reports[-1].loss_maps < 0.85 * reports[0].loss_maps
    assert reports[-1].loss_labels < reports[0].loss_labels


def test_logs_and_states_are_written(tiny_config: TrainConfig, toy_data: Path, tmp_path: Path) -> None:
    run = Run(tiny_config, faces_of(toy_data, tiny_config), tmp_path, accelerator="cpu", devices=1)
    run.train(evaluate=lambda _: {"test_auc": 0.5})
    rows = list(csv.DictReader((tmp_path / "metrics.csv").open()))
    assert {row["name"] for row in rows} >= {"loss_maps", "loss_labels", "lr", "images_per_second", "test_auc"}
    assert [int(row["step"]) for row in rows if row["name"] == "lr"] == [2, 4, 6]
    assert list(tmp_path.glob("events.out.tfevents*"))
    assert TrainConfig.model_validate_json((tmp_path / "config.json").read_text()) == tiny_config
    assert load_state(tmp_path)["step"] == 6


@pytest.mark.parametrize("workers", [0, 1])
def test_a_run_stopped_anywhere_ends_with_the_same_weights(
    tiny_config: TrainConfig, toy_data: Path, tmp_path: Path, workers: int
) -> None:
    whole = trained(tiny_config, toy_data, tmp_path / "whole")

    def stop(progress: Progress) -> None:
        if progress.step == 4:
            raise InterruptedError  # step 4 is logged before it is saved: the run goes on from step 2

    config = changed(tiny_config, data={"workers": workers})
    with pytest.raises(InterruptedError):
        Run(config, faces_of(toy_data, config), tmp_path / "part", accelerator="cpu", devices=1).train(stop)
    assert load_state(tmp_path / "part")["step"] == 2
    resumed = trained(config, toy_data, tmp_path / "part")
    assert_same_state(whole.network.state_dict(), resumed.network.state_dict())
    assert_same_state(whole.evaluated_state, resumed.evaluated_state)


KILLED_RUN = """
import sys, torch
from pathlib import Path
from training.config import TrainConfig
from training.data.shards import FaceShards, find_shards
from training.loop import Run
torch.set_num_threads(1)
config = TrainConfig.model_validate_json(Path(sys.argv[1]).read_text())
faces = FaceShards(find_shards(Path(sys.argv[2]), "train"), config.network.au_codes)
Run(config, faces, Path(sys.argv[3]), accelerator="cpu", devices=1).train(lambda p: print(p.step, flush=True))
"""


def test_a_killed_process_resumes_to_the_same_weights(tiny_config: TrainConfig, toy_data: Path, tmp_path: Path) -> None:
    config = changed(tiny_config, optimiser={"steps": 16}, log={"every": 1, "save_every": 3})
    (tmp_path / "config.json").write_text(config.model_dump_json())
    command = [sys.executable, "-c", KILLED_RUN, "config.json", str(toy_data), "killed"]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    with subprocess.Popen(command, cwd=tmp_path, env=environment, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        for line in process.stdout:
            if int(line) >= 7:
                process.send_signal(signal.SIGKILL)
                break
    assert process.wait() == -signal.SIGKILL
    stopped_at = load_state(tmp_path / "killed")["step"]
    assert 3 <= stopped_at < 16
    short = config
    resumed = trained(short, toy_data, tmp_path / "killed")
    whole = trained(short, toy_data, tmp_path / "whole")
    assert_same_state(whole.network.state_dict(), resumed.network.state_dict())
    assert_same_state(whole.evaluated_state, resumed.evaluated_state)


def test_a_finished_run_is_left_as_it_is(tiny_config: TrainConfig, toy_data: Path, tmp_path: Path) -> None:
    first = trained(tiny_config, toy_data, tmp_path)
    before = (tmp_path / STATE).stat().st_mtime_ns
    again = trained(tiny_config, toy_data, tmp_path)
    assert again.step == 6
    assert (tmp_path / STATE).stat().st_mtime_ns == before
    assert_same_state(first.network.state_dict(), again.network.state_dict())


def test_another_configuration_or_other_data_is_refused(
    tiny_config: TrainConfig, toy_data: Path, tmp_path: Path
) -> None:
    trained(tiny_config, toy_data, tmp_path)
    with pytest.raises(TrainingError, match="another config"):
        trained(changed(tiny_config, optimiser={"lr": 1e-4}), toy_data, tmp_path)
    fewer = FaceShards(find_shards(toy_data, "train")[:1], tiny_config.network.au_codes)
    with pytest.raises(TrainingError, match="another data"):
        Run(tiny_config, fewer, tmp_path, accelerator="cpu", devices=1)


def test_a_broken_state_falls_back_to_the_one_before(tiny_config: TrainConfig, toy_data: Path, tmp_path: Path) -> None:
    trained(tiny_config, toy_data, tmp_path)
    state = tmp_path / STATE
    state.write_bytes(state.read_bytes()[:1000])
    assert load_state(tmp_path)["step"] == 4
    (tmp_path / PREVIOUS).write_bytes(b"")
    with pytest.raises(TrainingError, match="no state can be read"):
        load_state(tmp_path)


def test_a_full_disk_leaves_the_last_state_intact(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / STATE
    save_state(path, {"version": 1, "step": 1})

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(TrainingError, match=r"No space left.*intact"):
        save_state(path, {"version": 1, "step": 2})
    assert load_state(tmp_path)["step"] == 1
    assert not list(tmp_path.glob("*.writing"))


def test_a_diverging_loss_ends_the_run_with_advice(tiny_config: TrainConfig, toy_data: Path, tmp_path: Path) -> None:
    config = changed(tiny_config, optimiser={"lr": 1e20, "clip": 0})
    with pytest.raises(TrainingError, match="lower the learning rate"):
        trained(config, toy_data, tmp_path)


def test_a_state_from_before_a_setting_existed_resumes(
    tiny_config: TrainConfig, toy_data: Path, tmp_path: Path
) -> None:
    trained(tiny_config, toy_data, tmp_path)
    state = load_state(tmp_path)
    config = json.loads(state["config"])
    del config["optimiser"]["plateaus"], config["optimiser"]["epochs"], state["precision"]
    save_state(tmp_path / STATE, state | {"config": json.dumps(config)})
    assert trained(tiny_config, toy_data, tmp_path).step == 6


def test_the_papers_plateaus(tiny_config: TrainConfig) -> None:
    config = changed(tiny_config, optimiser={"lr": 1, "schedule": "step", "steps": 100, "plateaus": 2}).optimiser
    assert [learning_rate(config, step) for step in (0, 49, 50, 99)] == pytest.approx([1, 1, 0.1, 0.1])


@pytest.mark.parametrize(
    ("schedule", "warmup", "wanted"),
    [
        ("constant", 0.0, [1, 1, 1, 1]),
        ("step", 0.0, [1, 1, 0.1, 0.01]),
        ("cosine", 0.0, [1, 0.8535534, 0.5, 0.0244717]),
        ("constant", 0.1, [0.1, 1, 1, 1]),
    ],
)
def test_learning_rate(tiny_config: TrainConfig, schedule: str, warmup: float, wanted: list[float]) -> None:
    config = changed(tiny_config, optimiser={"lr": 1, "schedule": schedule, "warmup": warmup, "steps": 100}).optimiser
    steps = [0, 25, 50, 90]
    assert [learning_rate(config, step) for step in steps] == pytest.approx(wanted, rel=1e-4)


def test_weights_carry_to_another_input_size(tiny_config: TrainConfig) -> None:
    small = build_network(tiny_config)
    large = build_network(changed(tiny_config, network={"input_size": 64}))
    carry_weights(large, small.state_dict())
    assert large.supervision is not None
    assert small.supervision is not None
    assert torch.equal(large.head.weight, small.head.weight)
    phi = torch.ones(1, 3, 8, 8)
    before = small.supervision(phi)
    after = large.supervision(torch.ones(1, 3, 16, 16))
    torch.testing.assert_close(before, after, rtol=1e-4, atol=1e-4)


def test_weights_of_another_architecture_are_refused(tiny_config: TrainConfig) -> None:
    other = build_network(changed(tiny_config, network={"aus": ["AU1", "AU2"]}))
    with pytest.raises(TrainingError, match="another architecture"):
        carry_weights(build_network(tiny_config), other.state_dict())


@pytest.mark.parametrize("variant", ["heatmap", "neg", "neg_gcn", "full"])
def test_every_variant_trains(tiny_config: TrainConfig, toy_data: Path, tmp_path: Path, variant: str) -> None:
    config = changed(tiny_config, network={"variant": variant}, optimiser={"steps": 2})
    run = trained(config, toy_data, tmp_path)
    assert all(torch.isfinite(value).all() for value in run.evaluated_state.values() if value.is_floating_point())


def test_pre_trained_weights_may_lie_elsewhere_on_resume(tiny_config: TrainConfig) -> None:
    here, there, other = (
        run_identity(changed(tiny_config, network={"backbone_weights": path}))
        for path in ("/a/hrnet.pth", "/b/hrnet.pth", "/a/other.pth")
    )
    assert here == there != other
    assert "/a" not in here
