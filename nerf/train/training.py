"""Training of TensoRF models, scaled down so that a small one takes minutes on a CPU.

The method is that of the original program (vector-matrix factors, Adam, upsampling in steps, a mask
refreshed on the way, L1 on the density factors); only the schedule is shorter.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch

from nerf.cameras import Cameras
from nerf.checkpoint import save_model
from nerf.model import TensorfModel
from nerf.pictures import WHITE, on_background, premultiplied
from nerf.scenes.builtin import get_scene, pictures
from nerf.train.dataset import Dataset, dataset_of, load_dataset, meeting
from nerf.train.grids import initial_model, refresh_mask, resolution, shrink, upsample, with_factors
from nerf.train.judge import Judge
from nerf.train.run import Run, digest_of, restored_run, store_run
from nerf.train.settings import FINE_TUNING, RECIPES, TrainingSettings
from rtnerf.base.errors import InputError
from rtnerf.base.files import check_target, written_through

Progress = Callable[[int, int, float], None]
"""Called as ``progress(steps done, steps in all, training PSNR in dB)``."""

DEVICES = ("auto", "cpu", "cuda")
"""What :func:`choose_device` knows."""

CHECKPOINT_SECONDS = 30.0
"""Time between checkpoints."""

_PROGRESS_EVERY = 10  # Steps.


# ---- What the command line calls ----


def train_scene(
    name: str,
    out: str | Path,
    steps: int | None = None,
    seed: int = 0,
    size: int = 100,
    views: int = 100,
    progress: Progress | None = None,
    device: str = "cpu",
    finetune: FineTuning | None = None,
    background: tuple[int, int, int] = WHITE,
    recipe: str = "default",
) -> TensorfModel:
    """Train on a built-in scene and save the model, float16, to ``out``.

    Parameters: ``steps`` None = the default; ``size`` of the training pictures in pixels; ``views``
    their number; ``seed`` of the cameras and of the training; ``device``, see :func:`choose_device`;
    ``finetune`` a model instead of training a new one; ``background``, 0..255 a channel; ``recipe`` of
    :data:`nerf.train.settings.RECIPES`, for a new model.
    Returns the model in float32, the file holds it in float16.
    Raises :class:`rtnerf.base.errors.InputError` for an unknown scene or an ``out`` in no folder.
    """
    settings = _settings(steps, seed, out, finetune, recipe)
    scene = get_scene(name)
    cameras = replace(scene.cameras("train", views, seed), background=background)
    truths = [on_background(premultiplied(pixels), background) for pixels in pictures(scene, cameras, size)]
    return _train_and_save(dataset_of(cameras, truths, size), settings, out, progress, device, finetune)


def train_dataset(
    cameras: Cameras,
    out: str | Path,
    steps: int | None = None,
    seed: int = 0,
    size: int = 100,
    progress: Progress | None = None,
    device: str = "cpu",
    finetune: FineTuning | None = None,
    recipe: str = "default",
    judge: Judge | None = None,
) -> TensorfModel:
    """Train on the views of a capture and save the model, float16, to ``out``.

    Parameters: as in :func:`train_scene`; with a ``judge`` the best model of its evaluations is saved. Where the
    capture gives the box of the scene, that is trained, with rays from the cameras on.
    Raises :class:`rtnerf.base.errors.InputError` for a capture without pictures.
    """
    settings = _settings(steps, seed, out, finetune, recipe)
    if cameras.box is not None:
        reach = np.abs(cameras.poses[:, None, :3, 3] - cameras.box).max(axis=1)
        far = float(np.linalg.norm(reach, axis=-1).max())
        lower, upper = cameras.box.tolist()
        settings = replace(settings, box=(tuple(lower), tuple(upper)), near=0.0, far=far)
    return _train_and_save(load_dataset(cameras, size), settings, out, progress, device, finetune, judge)


@dataclass(frozen=True, eq=False)
class FineTuning:
    """What :data:`FINE_TUNING` starts from: a ``model``, and how it is to be shaded, then and in the end.

    Parameters: ``shading`` of the model; ``shading_threshold``, the weight above which a sample is shaded.
    """

    model: TensorfModel
    shading: str
    shading_threshold: float = FINE_TUNING.shading_threshold

    def start(self) -> TensorfModel:
        """The model, to be shaded that way; `InputError` where it cannot be trained."""
        self.model.refuse_forward_facing("for training")
        return replace(self.model, shading=self.shading, shading_threshold=self.shading_threshold)

    def settings(self) -> TrainingSettings:
        """Those of the run."""
        return replace(FINE_TUNING, shading_threshold=self.shading_threshold)


def choose_device(name: str) -> torch.device:
    """The device that "auto", "cpu" or "cuda" stands for; auto = a GPU where there is one.

    Raises :class:`rtnerf.base.errors.InputError` for "cuda" without a GPU and for other names.
    """
    if name not in DEVICES:
        raise InputError(f"device must be one of {', '.join(DEVICES)}, not {name}")
    found = torch.cuda.is_available()
    if name == "cuda" and not found:
        raise InputError("device must be auto or cpu where PyTorch finds no GPU, not cuda")
    return torch.device("cuda" if found and name != "cpu" else "cpu")


# ---- Training ----


def train(
    dataset: Dataset,
    settings: TrainingSettings,
    progress: Progress | None = None,
    checkpoint: Path | None = None,
    checkpoint_seconds: float = CHECKPOINT_SECONDS,
    device: str | torch.device = "cpu",
    start: TensorfModel | None = None,
    judged: tuple[Judge, Callable[[TensorfModel], None]] | None = None,
) -> TensorfModel:
    """Train a model.

    Deterministic on a CPU: the same data, settings, PyTorch version, kind of processor and number of threads give the
    same bits, however often the run was stopped and taken up again; a GPU draws the same batches but
    adds in no fixed order. Returns the model on the CPU without gradients, its mask refreshed from the
    final factors; too few steps to find anything leave it without a mask.

    Parameters: ``checkpoint``, a file that holds the state of the run every ``checkpoint_seconds``;
    where it exists the run goes on from there. ``device`` that computes. ``start``, a model to go on
    from in place of a random one; it is not changed. ``judged``, a judge and what is called with each model that is the
    best so far.
    Raises :class:`rtnerf.base.errors.InputError` for a checkpoint of another run or a damaged one,
    rays that all miss the box, or an error that is no longer finite.
    """
    digest = digest_of(dataset, settings, start) if checkpoint else ""
    run = restored_run(checkpoint, settings, digest, device) if checkpoint and checkpoint.exists() else None
    if run is None:
        if start is None:
            start = initial_model(settings, torch.Generator().manual_seed(settings.seed))
            start = replace(start, shading_threshold=settings.shading_threshold)
        run = Run(start.to(device), settings)
    if judged:
        for earlier in run.judged:
            judged[0].tell(*earlier)
    dataset = replace(dataset, rays=dataset.rays.to(device), rgb=dataset.rgb.to(device))
    within = meeting(run.model, dataset)
    upsamplings = settings.upsamplings
    masks = {round(fraction * settings.steps) for fraction in settings.mask_at}
    stored = time.monotonic()
    with _workers(device) as workers:
        while run.step < settings.steps:
            run.advance(dataset, within, *workers)
            if progress and (run.step % _PROGRESS_EVERY == 0 or run.step == settings.steps):
                progress(run.step, settings.steps, -10 * math.log10(max(run.error, 1e-10)))
            if run.step in masks and run.step < settings.steps:
                refreshed = refresh_mask(run.model)
                if (
                    refreshed.mask is not None and refreshed.mask.any()
                ):  # An empty mask comes too early: it would end the training.
                    run.replace_model(shrink(refreshed))
                    within = meeting(run.model, dataset)
            if run.step in upsamplings:
                run.replace_model(upsample(run.model, resolution(run.model.extent, upsamplings[run.step])))
            due = judged is not None and run.step in judged[0].steps(settings.steps)
            if judged is not None and due:
                model = _finished(run)
                best = max((db for _, db in run.judged), default=-math.inf)
                run.judged.append((run.step, judged[0].psnr_db(model, run.step)))
                if run.judged[-1][1] > best:
                    judged[1](model)
            if checkpoint and (due or time.monotonic() - stored >= checkpoint_seconds):
                store_run(run, checkpoint, digest)
                stored = time.monotonic()
    return _finished(run)


def _finished(run: Run) -> TensorfModel:
    """What the training has made so far, on the CPU, with a mask of its present factors."""
    model = _detached(run.model)
    if run.settings.frozen:
        return model.to("cpu")
    model = replace(model, shading_threshold=TensorfModel.shading_threshold)
    refreshed = refresh_mask(model)
    return (shrink(refreshed) if refreshed.mask is not None and refreshed.mask.any() else model).to("cpu")


@contextmanager
def _workers(device: str | torch.device) -> Iterator[tuple[int, Callable]]:
    """The number of parts to divide a batch into, and a ``map`` that evaluates them at the same time.

    Threads with rays of their own beat PyTorch's threads inside every operation, which are off meanwhile.
    """
    threads = torch.get_num_threads()
    if threads == 1 or torch.device(device).type != "cpu":
        yield 1, map
        return
    torch.set_num_threads(1)
    try:
        with ThreadPoolExecutor(threads, initializer=torch.set_num_threads, initargs=(1,)) as pool:
            yield threads, pool.map
    finally:
        torch.set_num_threads(threads)


# ---- Parts ----


def _settings(
    steps: int | None, seed: int, out: str | Path, finetune: FineTuning | None, recipe: str
) -> TrainingSettings:
    """The settings of a run; also refuses, before the work, what could not be written after it."""
    if not Path(out).absolute().parent.is_dir():
        raise InputError(f"out must be a file in an existing folder, not {out}")
    if not written_through(out):
        check_target("out", f"{out}.part")
    settings = replace(finetune.settings() if finetune else RECIPES[recipe], seed=seed)
    return settings if steps is None else replace(settings, steps=steps)


def _train_and_save(
    dataset: Dataset,
    settings: TrainingSettings,
    out: str | Path,
    progress: Progress | None,
    device: str,
    finetune: FineTuning | None,
    judge: Judge | None = None,
) -> TensorfModel:
    """Train, or finish what an earlier call with the same arguments has begun; then remove its checkpoint."""
    out = Path(out)
    checkpoint = None if written_through(out) else out.with_name(out.name + ".part")
    start = finetune.start() if finetune else None

    def keep(model: TensorfModel) -> None:
        save_model(model, out, "float16")

    judged = (judge, keep) if judge else None
    model = train(dataset, settings, progress, checkpoint, device=choose_device(device), start=start, judged=judged)
    if judge is None:
        keep(model)
    if checkpoint:
        checkpoint.unlink(missing_ok=True)
    return model


def _detached(model: TensorfModel) -> TensorfModel:
    def plain(planes: list, lines: list) -> tuple[list[torch.Tensor], list[torch.Tensor]]:
        return [plane.detach().contiguous() for plane in planes], [line.detach().contiguous() for line in lines]

    mlp = [(weight.detach(), bias.detach()) for weight, bias in model.mlp]
    return with_factors(model, plain, basis=model.basis.detach(), mlp=mlp)
