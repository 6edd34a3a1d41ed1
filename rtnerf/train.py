"""``rtnerf train`` and ``rtnerf tune``: make a model, or trade its quality for work."""

from __future__ import annotations

import json
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

import click

from rtnerf.base.errors import InputError
from rtnerf.base.options import (
    FRACTION,
    PATH,
    Number,
    OneOf,
    Whole,
    check_targets,
    example,
    json_option,
    refuse_given,
    seed_option,
)
from rtnerf.options import (
    SCENE,
    background_option,
    cameras_of,
    capture_options,
    model_option,
    name_of,
    note_remarks,
    progress_bar,
    save,
)


@click.command(**example("rtnerf train --scene lattice --steps 2000 --out model.safetensors"))
@click.option("--scene", type=SCENE, help="A built-in scene; default without --transforms: lattice.")
@capture_options("the built-in --scene")
@background_option
@click.option("--out", type=PATH, required=True, help="The model, in this project's format.")
@click.option("--steps", type=Whole(1, 10_000_000), help="Training steps; default: that of the trainer.")
@click.option(
    "--recipe",
    type=OneOf("default", "full"),
    default="default",
    show_default=True,
    help="Minutes to a grid of 128^3 voxels, or the original program's schedule to 300^3 (see docs/full_size.md).",
)
@click.option(
    "--size", type=Whole(1), help="Width of the training pictures, pixels; default: 100, with --recipe full 800."
)
@click.option("--test", type=PATH, help="Cameras with pictures to evaluate on ten times; the best model is kept.")
@click.option("--test-views", type=Whole(1), default=3, show_default=True, help="How many of them, evenly spread.")
@click.option(
    "--device",
    type=OneOf("auto", "cpu", "cuda"),
    default="auto",
    show_default=True,
    help="What computes; auto: a GPU where there is one.",
)
@click.option(
    "--finetune",
    type=OneOf("sample", "deferred"),
    help="Train appearance of --model further, for this shading; the density stays.",
)
@click.option("--model", type=PATH, help="The model for --finetune; default: the embedded model.")
@click.option(
    "--shading-threshold", type=FRACTION, help="Weight above which --finetune shades a sample; default: 0.001."
)
@seed_option
@json_option
def train(
    scene: str | None,
    transforms: Path | None,
    axes: str | None,
    split: str,
    background: tuple[int, int, int],
    out: Path,
    steps: int | None,
    recipe: str,
    size: int | None,
    test: Path | None,
    test_views: int,
    device: str,
    finetune: str | None,
    model: Path | None,
    shading_threshold: float | None,
    seed: int,
    json_file: Path | None,
) -> None:
    """Train a TensoRF on a built-in scene or on a data set.

    A run that was stopped goes on when the same command is given again: its state is in OUT.part.
    """
    _refuse_contradictions(scene, transforms, test, finetune, model, shading_threshold)
    check_targets(out=out, json=json_file)
    size = size or {"default": 100, "full": 800}[recipe]
    from nerf.checkpoint import load_model
    from nerf.train.judge import Judge
    from nerf.train.training import FineTuning, train_dataset, train_scene

    threshold = {} if shading_threshold is None else {"shading_threshold": shading_threshold}
    start = None if finetune is None else FineTuning(load_model(model), finetune, **threshold)
    state: dict[str, Any] = {"steps": 0, "psnr_db": None, "evaluations": []}
    left = TimeLeft()
    with progress_bar("training") as advance:

        def report_progress(done: int, total: int, psnr_db: float) -> None:
            state.update(steps=done, psnr_db=psnr_db)
            advance(done, total, f"{psnr_db:.2f} dB, {left(done, total)} left")

        def report_evaluation(step: int, psnr_db: float) -> None:
            state["evaluations"].append({"step": step, "psnr_db": psnr_db})
            click.echo(f"  {step} steps: {psnr_db:.2f} dB over {test_views} test views, {left.text} left", err=True)

        started = time.perf_counter()
        options: dict[str, Any] = {"steps": steps, "seed": seed, "size": size, "device": device, "finetune": start}
        if transforms is None:
            scene = scene or "lattice"
            train_scene(scene, out, **options, recipe=recipe, progress=report_progress, background=background)
        else:
            cameras = cameras_of(transforms, axes, split, background)
            note_remarks(cameras)
            judge = None
            if test is not None:
                judge = Judge(cameras_of(test, axes, "all", background), size, test_views, tell=report_evaluation)
            train_dataset(cameras, out, **options, recipe=recipe, judge=judge, progress=report_progress)
        seconds = time.perf_counter() - started
    origin = {} if start is None else {"finetune": finetune, "model": name_of(model), **threshold}
    result = {
        "scene": scene,
        "transforms": transforms,
        "split": split,
        "background": list(background),
        **origin,
        "recipe": None if finetune else recipe,
        "size_pixels": size,
        "seed": seed,
        "steps": state["steps"],
        "evaluations": state["evaluations"],
        "training_psnr_db": state["psnr_db"],
    }
    save(json_file, "train", {**result, "model_bytes": out.stat().st_size, "seconds": seconds})
    click.echo(f"{out}: {state['steps']} steps in {seconds:.0f} s")


def _refuse_contradictions(
    scene: str | None,
    transforms: Path | None,
    test: Path | None,
    finetune: str | None,
    model: Path | None,
    shading_threshold: float | None,
) -> None:
    if scene is not None and transforms is not None:
        raise InputError(f"scene must be absent beside transforms, not {scene}")
    if model is not None and finetune is None:
        raise InputError(f"model must be absent without finetune, not {model}")
    if shading_threshold is not None and finetune is None:
        raise InputError(f"shading-threshold must be absent without finetune, not {shading_threshold}")
    if finetune is not None:
        refuse_given("with finetune", "recipe", "test")
    if transforms is None:
        refuse_given("without transforms", "axes", "split", "test")
    if test is None:
        refuse_given("without test", "test-views")


class TimeLeft:
    """Time that a run still takes at its pace of the last tenth: ``text``, such as 2 h 05 min.

    Later steps of a training take longer than the first, on their coarse grid.
    """

    def __init__(self) -> None:
        self.seen: list[tuple[int, float]] = []
        self.text = "unknown time"

    def __call__(self, done: int, total: int) -> str:
        """Tell it, and take notice of the steps done now."""
        self.seen.append((done, time.monotonic()))
        while len(self.seen) > 2 and self.seen[1][0] <= done - total / 10:
            del self.seen[0]
        (first, begun), (last, now) = self.seen[0], self.seen[-1]
        if last > first:
            minutes, seconds = divmod(round((now - begun) / (last - first) * (total - done)), 60)
            self.text = f"{minutes // 60} h {minutes % 60:02} min" if minutes >= 60 else f"{minutes} min {seconds:02} s"
        return self.text


@click.command(
    **example("rtnerf tune --occupancy tight --occupancy-alpha 3e-4 --shading-threshold 2e-3 --out tuned.safetensors")
)
@model_option
@click.option(
    "--occupancy",
    type=OneOf("keep", "tight"),
    default="keep",
    show_default=True,
    help="The model's mask, or one of what its factors still occupy.",
)
@click.option(
    "--occupancy-alpha",
    type=FRACTION,
    default=1e-4,
    show_default=True,
    help="Least opacity of a step in tight occupancy, without the distance scale.",
)
@click.option("--step-ratio", type=Number(0.1, 4), help="Distance of samples, in cells; default: the model's.")
@click.option("--shading-threshold", type=FRACTION, help="Weight above which samples are shaded; default: the model's.")
@click.option(
    "--prune-density", type=Number(0), default=0, show_default=True, help="Density factors up to this become 0."
)
@click.option(
    "--prune-appearance", type=Number(0), default=0, show_default=True, help="Appearance factors up to this become 0."
)
@click.option(
    "--factor-bits",
    type=OneOf("8", "7", "6", "5", "4"),
    default="8",
    show_default=True,
    help="Width that factors are rounded to; they are stored in 8 bits.",
)
@click.option("--out", type=PATH, required=True, help="The model, in this project's format.")
@json_option
def tune(model: Path | None, factor_bits: str, out: Path, json_file: Path | None, **others: Any) -> None:
    """Trade quality for work: make a model with fewer samples, fewer shaded ones, or smaller factors."""
    check_targets(out=out, json=json_file)
    if others["occupancy"] == "keep":
        refuse_given("without occupancy tight", "occupancy-alpha")
    from nerf.checkpoint import load_model, save_model
    from nerf.train.tuning import Knobs, describe
    from nerf.train.tuning import tune as tuned_by

    knobs = Knobs(factor_bits=int(factor_bits), **others)
    with progress_bar("tuning") as advance:
        advance(0, 2)
        before = load_model(model)
        advance(1, 2)
        after = tuned_by(before, knobs)
        advance(2, 2)
    done = {"model": "embedded" if model is None else model.name, "knobs": asdict(knobs)}
    result: dict[str, Any] = {**done, "before": describe(before), "after": describe(after)}
    save_model(after, out, notes={"tuning": json.dumps(done)})
    save(json_file, "tune", result)
    for name, value in result["before"].items():
        click.echo(f"  {name:<18} {value:10.6g} -> {result['after'][name]:.6g}")
