"""`roigcn train`, `evaluate`, `publish`, `prepare`, `protocol`, `ablate`, `figures`, `render`, merged into `roigcn`.

Nothing heavy is imported until a command runs: every start of `roigcn` loads this file.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.box import SIMPLE
from rich.console import Console
from rich.table import Table

from training.figures.cli import app as figures
from training.prepare.cli import app as preparing
from training.protocol.cli import app as protocols
from training.synthetic.cli import app as rendering
from training.terminal import PANEL, ThreadsOption, clear_errors, err, out, progress_bar, say

if TYPE_CHECKING:
    from model.checkpoint import Checkpoint
    from training.data.shards import FaceShards
    from training.loop import Progress as Report
    from training.loop import Run
    from training.metrics import AuScore, ScoreTable
    from training.state import StartingPoint

app = typer.Typer(no_args_is_help=True)
app.registered_commands.extend(figures.registered_commands)
app.registered_commands.extend(protocols.registered_commands)
app.registered_commands.extend(rendering.registered_commands)
app.add_typer(preparing, name="prepare", rich_help_panel=PANEL)

DataOption = Annotated[
    Path,
    typer.Option(
        "--data",
        help="Folder of shards with the parts train, calibration and test (`roigcn render`, `roigcn prepare`).",
    ),
]


@app.command(rich_help_panel=PANEL)
def train(
    data: DataOption,
    config: Annotated[
        str, typer.Option(help="A recipe by name (`roigcn train-configs`) or a TOML file.")
    ] = "scratch_small",
    out_dir: Annotated[Path, typer.Option("--out", help="Folder of the run; if it holds one, the run goes on.")] = Path(
        "runs/latest"
    ),
    steps: Annotated[int | None, typer.Option(help="Length of the run, in place of the recipe's.")] = None,
    batch: Annotated[int | None, typer.Option(help="Samples a step, in place of the recipe's.")] = None,
    seed: Annotated[int | None, typer.Option(help="In place of the recipe's.")] = None,
    start_from: Annotated[
        Path | None, typer.Option(help="Begin with the weights of this run's or checkpoint's folder (fine-tuning).")
    ] = None,
    accelerator: Annotated[str, typer.Option(help="auto, cpu or cuda.")] = "auto",
    devices: Annotated[int, typer.Option(help="GPUs, or processes on a processor.")] = 1,
    threads: ThreadsOption = 1,
) -> None:
    """Train a network, or go on with a run that was stopped.

    Kill it whenever you like: the same command resumes at the last saved step and ends with the same weights.

        roigcn render --split train --images 9000 --out shards/train

        roigcn render --split calibration --images 1000 --out shards/calibration

        roigcn render --split test --images 1000 --out shards/test

        roigcn train --data shards --config scratch_small_64 --out runs/small-64

        roigcn train --data shards --config scratch_small --start-from runs/small-64 --out runs/small

        tensorboard --logdir runs/small
    """
    with clear_errors():
        import torch

        from training.config import load_config
        from training.data.shards import FaceShards, find_shards
        from training.loop import Run

        torch.set_num_threads(max(1, threads))
        recipe = load_config(config, optimiser__steps=steps, optimiser__batch=batch, seed=seed)
        codes = recipe.network.au_codes
        faces = FaceShards(find_shards(data, recipe.data.train), codes)
        test = FaceShards(find_shards(data, recipe.data.test), codes)
        recipe = recipe.for_faces(len(faces))
        run = Run(recipe, faces, out_dir, _starting_point(start_from), accelerator, devices)
        if not run.fabric.is_global_zero:
            run.train(evaluate=lambda _: {})
            return
        begun = f"resumed at step {run.step}" if run.step else "from the start"
        err.print(f"{len(faces)} training faces, {len(test)} test faces; {begun} of {recipe.optimiser.steps}")
        with progress_bar("steps") as bar:
            task = bar.add_task(recipe.name, total=recipe.optimiser.steps, completed=run.step)

            def report(progress: Report) -> None:
                text = (
                    f"step {progress.step}: maps {progress.loss_maps:.5f}, labels {progress.loss_labels:.4f}, "
                    f"{progress.images_per_second:.1f} images/s"
                )
                bar.update(task, completed=progress.step, description=text)
                if not err.is_terminal:
                    err.print(text, highlight=False)

            run.train(report, evaluate=lambda running: _score_in_run(running, test))
        say(
            f"done: publish it with `roigcn publish {out_dir} --data {data} --name NAME --version 1 "
            "--described-as WORDS`"
        )


def _starting_point(folder: Path | None) -> StartingPoint | None:
    """The weights in a run's or a checkpoint's folder."""
    if folder is None:
        return None
    import torch

    from model.checkpoint import MANIFEST_NAME, load_checkpoint
    from training.export import read_run
    from training.state import StartingPoint

    if (folder / MANIFEST_NAME).exists():
        checkpoint = load_checkpoint(folder)
        weights = {key: torch.from_numpy(value) for key, value in checkpoint.state().items()}
        earlier = (checkpoint.manifest.training.model_extra or {}).get("runs", ())
        return StartingPoint(weights, tuple(earlier))
    run = read_run(folder)
    return StartingPoint(run.all_weights, run.lineage)


def _score_in_run(run: Run, test: FaceShards) -> dict[str, float]:
    """Mean scores on some test faces, told and logged."""
    from training.monitor import look_at

    found = look_at(run, test, "test")
    err.print(f"step {run.step}: test AUC {found['test_auc']:.3f}, F1 at 0 {found['test_f1']:.3f}", highlight=False)
    return found


@app.command(rich_help_panel=PANEL)
def evaluate(
    source: Annotated[Path, typer.Argument(help="Folder of a run or of a published checkpoint.")],
    data: DataOption,
    part: Annotated[str, typer.Option(help="Part of the data folder to score.")] = "test",
    calibrate_on: Annotated[
        str, typer.Option(help="Part that calibration and thresholds are fitted on, for a run; '' for none.")
    ] = "calibration",
    csv: Annotated[bool, typer.Option(help="Rows of comma-separated values.")] = False,
    threads: ThreadsOption = 1,
) -> None:
    """Score a run or a checkpoint on labelled faces: a table of measures for each Action Unit.

    roigcn evaluate runs/small --data shards

    roigcn evaluate model/checkpoints/NAME/1 --data shards --csv
    """
    with clear_errors():
        import torch

        from training.data.shards import FaceShards, find_shards
        from training.evaluate import predict, table_of
        from training.subjects import open_subject

        torch.set_num_threads(max(1, threads))
        subject = open_subject(source)
        codes = subject.reading.au_codes
        faces = FaceShards(find_shards(data, part), codes)
        held_out = None
        if subject.calibrator is None and calibrate_on:
            held_out = FaceShards(find_shards(data, calibrate_on), codes)
        with progress_bar("faces") as bar:
            task = bar.add_task("scoring", total=len(faces) + (len(held_out) if held_out else 0))
            calibrator = subject.calibrated(held_out, lambda count: bar.advance(task, count))
            found = predict(subject.network, faces, subject.reading, advance=lambda count: bar.advance(task, count))
        _print_table(table_of(found, codes, calibrator), csv)
        if not csv:
            from training.evaluate import mean_auc_interval

            low, high = mean_auc_interval(found)
            out.print(f"mean AUC, 95 % over identities: {low:.3f} to {high:.3f}", highlight=False)


TABLE_COLUMNS = ("positives", "faces", "auc", "pr_auc", "f1", "f1_all", "precision", "recall", "brier", "ece")


def _print_table(table: ScoreTable, csv: bool) -> None:
    rows: list[tuple[str, AuScore]] = [*zip(table.au_codes, table.rows, strict=True), ("mean", table.mean)]
    if csv:
        sys.stdout.write(",".join(("au", *TABLE_COLUMNS)) + "\n")
        for code, row in rows:
            sys.stdout.write(",".join([code, *(f"{getattr(row, name):.6g}" for name in TABLE_COLUMNS)]) + "\n")
        return
    shown = Table(box=SIMPLE)
    for heading in ("AU", *TABLE_COLUMNS):
        shown.add_column(heading, justify="right", no_wrap=True)
    for code, row in rows:
        if code == "mean":
            shown.add_section()
        numbers = [f"{getattr(row, name):.0f}" for name in TABLE_COLUMNS[:2]]
        numbers += [f"{getattr(row, name):.3f}" for name in TABLE_COLUMNS[2:]]
        shown.add_row(code, *numbers)
    Console(width=max(out.width, 100)).print(shown)  # a pipe has no width to fit


@app.command(rich_help_panel=PANEL)
def publish(
    run_dir: Annotated[Path, typer.Argument(help="Folder of a run.")],
    data: DataOption,
    name: Annotated[str, typer.Option(help="Name of the checkpoint.")],
    version: Annotated[str, typer.Option(help="Version; a published one is never overwritten.")],
    described_as: Annotated[str, typer.Option(help="What it was trained on, in words, for the manifest.")],
    root: Annotated[Path, typer.Option(help="Folder of checkpoints.")] = Path("model/checkpoints"),
    summary: Annotated[str, typer.Option(help="One line for lists of checkpoints.")] = "",
    real_faces: Annotated[
        Path | None, typer.Option(help="Text file with what it was seen to do on real faces.")
    ] = None,
    average_with: Annotated[
        Path | None,
        typer.Option(help="Publish the mean of the weights and those of this earlier run or checkpoint on its path."),
    ] = None,
    revision: Annotated[str | None, typer.Option(help="Code revision that trained it; default: this one.")] = None,
    real_data: Annotated[
        bool,
        typer.Option(help="Photographs of people were trained on, in earlier runs or other shards than --data's."),
    ] = False,
    licence: Annotated[
        str, typer.Option(help="Of the weights; default: Apache-2.0 for rendered faces, else a note to check.")
    ] = "",
    landmark_opinion: Annotated[
        bool, typer.Option(help="Fit a reading of the landmarks on the training part, to join the network's score.")
    ] = False,
    reading_of: Annotated[
        Path | None,
        typer.Option(help="Folder of a checkpoint whose reading of the landmarks joins in, instead of fitting one."),
    ] = None,
    landmark_voice: Annotated[
        float,
        typer.Option(min=0, max=1, help="Share of the landmarks in the joint log odds; the network has the rest."),
    ] = 0.7,
    threads: ThreadsOption = 1,
) -> None:
    """Make a checkpoint of a run: half-precision weights, manifest with measured figures, model card.

    Calibration and thresholds come from the part `calibration`, the figures from the part `test`.

        roigcn publish runs/small --data shards --name w18s --version 1 --described-as "rendered faces, ..."
    """
    with clear_errors():
        import torch

        from model.checkpoint import load_checkpoint
        from training.data.origin import origin_of
        from training.data.shards import FaceShards, find_shards
        from training.export import averaged, read_run
        from training.export import publish as publish_run

        torch.set_num_threads(max(1, threads))
        run = read_run(run_dir)
        earlier = _starting_point(average_with)
        if earlier is not None:
            run = averaged(run, earlier.weights)
        codes = run.config.network.au_codes
        held_out = FaceShards(find_shards(data, run.config.data.calibration), codes)
        test = FaceShards(find_shards(data, run.config.data.test), codes)
        landmarks: FaceShards | Checkpoint | None = None
        if reading_of is not None:
            landmarks = load_checkpoint(reading_of)
        elif landmark_opinion:
            landmarks = FaceShards(find_shards(data, run.config.data.train), codes)
        origin = origin_of(data, run.config.data.test)
        notes = real_faces.read_text(encoding="utf-8").strip() if real_faces else ""
        with progress_bar("faces") as bar:
            task = bar.add_task("measuring", total=len(held_out) + len(test))
            checkpoint = publish_run(
                run,
                held_out,
                test,
                root=root,
                name=name,
                version=version,
                data_text=described_as,
                origin=origin,
                summary=summary,
                real_faces=notes,
                synthetic_only=origin.kind == "rendered" and not real_data,
                licence=licence,
                revision=revision,
                landmarks=landmarks,
                landmark_voice=landmark_voice,
                advance=lambda count: bar.advance(task, count),
            )
        mean = checkpoint.manifest.metrics.mean
        size = checkpoint.weights_path.stat().st_size / 1e6
        out.print(f"{checkpoint.path}: {size:.1f} MB, mean AUC {mean['auc']}, mean F1 {mean['f1']}", highlight=False)


@app.command("train-configs", rich_help_panel=PANEL)
def train_configs() -> None:
    """List the training recipes that come with roigcn."""
    from training.config import available_configs, load_config

    for name in available_configs():
        out.print(f"{name:16} {load_config(name).summary}", highlight=False)
