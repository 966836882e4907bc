"""`roigcn protocol` and `roigcn ablate`.

Nothing heavy is imported until a command runs: every start of `roigcn` loads this file.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from training.terminal import INTERRUPTED, PANEL, ThreadsOption, clear_errors, err, fail, out, say

if TYPE_CHECKING:
    from training.config import TrainConfig

app = typer.Typer()


class Dataset(StrEnum):
    """What `protocol` can fold."""

    bp4d = "bp4d"
    disfa = "disfa"
    csv = "csv"
    rendered = "rendered"


RECIPES = {"bp4d": "paper_bp4d", "disfa": "paper_disfa", "csv": "scratch_small", "rendered": "scratch_small"}

DataArgument = Annotated[
    Path, typer.Argument(help="Folder of `roigcn prepare`, or of `roigcn render` with the part train.")
]
OutOption = Annotated[Path, typer.Option("--out", help="Folder of the runs and the report; a started one goes on.")]
ConfigOption = Annotated[
    str | None,
    typer.Option(
        "--config", help="A recipe by name (`roigcn train-configs`) or a TOML file; default: the paper's for the set."
    ),
]
StepsOption = Annotated[int | None, typer.Option(min=1, help="Length of each run, in place of the recipe's.")]
BatchOption = Annotated[int | None, typer.Option(min=2, help="Samples a step, in place of the recipe's.")]
FoldsOption = Annotated[str, typer.Option("--folds", help="Folds to do, by the part they test.")]
HoldOutOption = Annotated[
    int | None,
    typer.Option(
        min=0,
        help="People of each fold's training part kept for calibration; default: one in nine. "
        "0 trains on all, as the paper, and calibrates nothing.",
    ),
]
WeightsOption = Annotated[
    Path | None, typer.Option(help="File of pre-trained HRNet weights to begin with; the paper's are ImageNet's.")
]
PrecisionOption = Annotated[str | None, typer.Option(help="32-true, bf16-mixed or 16-mixed, in place of the recipe's.")]
WorkersOption = Annotated[int | None, typer.Option(min=0, help="Loader processes, in place of the recipe's.")]
AcceleratorOption = Annotated[str, typer.Option(help="auto, cpu or cuda.")]
DevicesOption = Annotated[int, typer.Option(min=1, help="GPUs, or processes on a processor.")]


@app.command(rich_help_panel=PANEL)
def protocol(
    dataset: Annotated[Dataset, typer.Argument(help="What the folder holds.")],
    data: DataArgument,
    out_dir: OutOption,
    config: ConfigOption = None,
    steps: StepsOption = None,
    batch: BatchOption = None,
    seed: Annotated[int | None, typer.Option(min=0, help="In place of the recipe's.")] = None,
    folds: FoldsOption = "P1,P2,P3",
    hold_out: HoldOutOption = None,
    backbone_weights: WeightsOption = None,
    precision: PrecisionOption = None,
    workers: WorkersOption = None,
    accelerator: AcceleratorOption = "auto",
    devices: DevicesOption = 1,
    threads: ThreadsOption = 1,
) -> None:
    """Train and test three folds of people, and report F1 beside the paper's tables.

    Folds are named by the part they test; no person is trained on and tested. The last step is tested: nothing is
    chosen on the test part. Kill it whenever you like: the same command goes on, and folds that are done are not
    repeated. OUT/report.md, OUT/results.json and the plots beside them are the result.

        roigcn protocol bp4d prepared/bp4d --out runs/bp4d --backbone-weights hrnetv2_w18_imagenet_pretrained.pth

        roigcn protocol disfa prepared/disfa --out runs/disfa --folds P1 --precision bf16-mixed

        roigcn protocol rendered shards --config scratch_small --out runs/rendered

    csv are your own faces (`roigcn prepare csv`). See docs/protocol.md for how to read the report.
    """
    with clear_errors(), _interruptible():
        import torch

        from training.data.folds import make_folds
        from training.protocol.people import open_people
        from training.protocol.runner import Machine, run_protocol
        from training.protocol.view import TerminalView

        torch.set_num_threads(max(1, threads))
        recipe = _recipe(dataset.value, config, steps, batch, seed, backbone_weights, precision, workers)
        people = open_people(dataset.value, data, recipe.data.train)
        names = _fold_names(folds)
        make_folds(people.parts, names, hold_out)  # refused before a folder is made
        with TerminalView(err, len(names)) as view:
            report = run_protocol(out_dir, people, recipe, Machine(accelerator, devices), view, names, hold_out)
        if report is not None:
            _print_summary(report)


class StudyName(StrEnum):
    """What `ablate` compares."""

    table3 = "table3"
    table4 = "table4"
    decoders = "decoders"
    sigma = "sigma"
    phi = "phi"


@app.command(rich_help_panel=PANEL)
def ablate(
    study: Annotated[StudyName, typer.Argument(help="What is compared.")],
    data: DataArgument,
    out_dir: OutOption,
    seeds: Annotated[str, typer.Option(help="Seeds, with commas between them.")] = "0,1,2",
    config: ConfigOption = None,
    steps: StepsOption = None,
    batch: BatchOption = None,
    folds: FoldsOption = "P1,P2,P3",
    hold_out: HoldOutOption = None,
    backbone_weights: WeightsOption = None,
    precision: PrecisionOption = None,
    workers: WorkersOption = None,
    accelerator: AcceleratorOption = "auto",
    devices: DevicesOption = 1,
    threads: ThreadsOption = 1,
) -> None:
    """Compare variants of the method on equal budgets, with the spread over seeds beside the paper's numbers.

    * table3: heatmap, neg, neg_gcn, full, the paper's ablation on BP4D

    * table4: losses weighted by inverse occurrence or not, the paper's on DISFA

    * decoders: one network, its maps read four ways

    * sigma: bumps 1, 1.5 and 2 times as wide as the recipe's

    * phi: ReLU or softplus of the eigenvector maps

    Cells times seeds times folds are trained: table3 with three seeds and folds is 36 networks. What the data are is
    read from the folder. Kill it whenever you like: the same command goes on.

        roigcn ablate table3 prepared/bp4d --out runs/table3 --backbone-weights hrnetv2_w18_imagenet_pretrained.pth

        roigcn ablate table4 prepared/disfa --out runs/table4 --seeds 0 --folds P1

        roigcn ablate table3 shards --config scratch_small_64 --out runs/table3-rendered --folds P1
    """
    with clear_errors(), _interruptible():
        import torch

        from training.protocol.ablation import run_study, study_trials
        from training.protocol.ablation_report import write_study
        from training.protocol.people import dataset_in, open_people
        from training.protocol.runner import Machine
        from training.protocol.studies import STUDIES
        from training.protocol.tables import percent
        from training.protocol.view import TerminalView

        torch.set_num_threads(max(1, threads))
        dataset = dataset_in(data)
        recipe = _recipe(dataset, config, steps, batch, None, backbone_weights, precision, workers)
        people = open_people(dataset, data, recipe.data.train)
        names, numbers, chosen = _fold_names(folds), _seeds(seeds), STUDIES[study.value]
        trials = study_trials(out_dir, chosen, people, recipe, numbers, names, hold_out)
        machine = Machine(accelerator, devices)
        with TerminalView(err, sum(map(len, trials.values()))) as view:
            results = run_study(out_dir, chosen, people, recipe, numbers, names, hold_out, machine, view)
        if results is None:
            return
        report = write_study(out_dir, chosen, people, results)
        for result in results:
            mean, around = (percent(value) for value in result.overall("f1"))
            text = f"{result.cell.title}: F1 {mean} percent, spread over {len(numbers)} seeds {around}"
            out.print(text, highlight=False, soft_wrap=True)
        out.print(f"{report}", highlight=False, soft_wrap=True)


def _seeds(text: str) -> tuple[int, ...]:
    try:
        numbers = tuple(dict.fromkeys(int(part) for part in text.split(",") if part.strip()))
    except ValueError:
        numbers = ()
    if not numbers or min(numbers) < 0:
        fail(f"--seeds {text!r}: give whole numbers from 0, with commas between them")
    return numbers


def _recipe(
    dataset: str,
    config: str | None,
    steps: int | None,
    batch: int | None,
    seed: int | None,
    backbone_weights: Path | None,
    precision: str | None,
    workers: int | None,
) -> TrainConfig:
    """The recipe with the command line's changes; on BP4D and DISFA for the Action Units of the paper's tables."""
    from training.config import load_config

    return load_config(
        config or RECIPES[dataset],
        network__aus=dataset if dataset in ("bp4d", "disfa") else None,
        network__backbone_weights=str(backbone_weights) if backbone_weights else None,
        optimiser__steps=steps,
        optimiser__batch=batch,
        optimiser__precision=precision,
        data__workers=workers,
        seed=seed,
    )


def _fold_names(folds: str) -> tuple[str, ...]:
    from training.data.folds import PART_NAMES

    asked = {name.strip().upper() for name in folds.split(",") if name.strip()}
    unknown = sorted(asked - set(PART_NAMES))
    if unknown or not asked:
        fail(f"--folds {folds!r}: the folds are {', '.join(PART_NAMES)}, with commas between them")
    return tuple(name for name in PART_NAMES if name in asked)


@contextmanager
def _interruptible() -> Iterator[None]:
    """Ctrl-C ends in a line that says how to go on."""
    try:
        yield
    except KeyboardInterrupt:
        say("stopped; the same command goes on from the last saved step")
        raise typer.Exit(INTERRUPTED) from None


def _print_summary(report: Path) -> None:
    """The means of a report, and where it lies."""
    from training.protocol.runner import RESULTS_NAME

    mean = json.loads((report.parent / RESULTS_NAME).read_text(encoding="utf-8"))["mean"]

    def shown(name: str) -> str:
        return "undefined" if mean[name] is None else f"{100 * mean[name]:.1f}"

    text = f"F1 {shown('f1')} (mean of folds), {shown('f1_pooled')} (pooled), {shown('f1_always')} (always yes); "
    out.print(f"{text}ROC-AUC {shown('auc')}, percent", highlight=False, soft_wrap=True)
    out.print(f"{report}", highlight=False, soft_wrap=True)
