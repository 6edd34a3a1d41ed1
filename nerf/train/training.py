"""Training of TensoRF models, scaled down so that a small one takes minutes on a CPU.

The method is that of the original program (vector-matrix factors, Adam, upsampling in steps, a mask
refreshed on the way, L1 on the density factors); only the schedule is shorter.
"""

from __future__ import annotations

import hashlib
import json
import math
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np
import torch

from nerf.cameras import Cameras
from nerf.checkpoint import read_model_file, save_model
from nerf.model import TensorfModel
from nerf.pictures import WHITE, on_background, premultiplied
from nerf.render.uniform import box_distances
from nerf.scenes.builtin import get_scene, pictures
from nerf.train.adam import Adam
from nerf.train.factors import channels_last
from nerf.train.grids import initial_model, refresh_mask, resolution, shrink, upsample, with_factors
from nerf.train.marching import colours, occupied_cells
from nerf.train.settings import FINE_TUNING, TrainingSettings
from rtnerf.base.errors import InputError
from rtnerf.base.files import check_target, written_through

Progress = Callable[[int, int, float], None]
"""Called as ``progress(steps done, steps in all, training PSNR in dB)``."""

DEVICES = ("auto", "cpu", "cuda")
"""What :func:`choose_device` knows."""

CHECKPOINT_SECONDS = 30.0
"""Time between checkpoints."""

_PSNR_MEMORY = 0.95  # Of the running mean error that is reported.
_PROGRESS_EVERY = 10  # Steps.
_STATE = "training"  # Header entry of a checkpoint.
_MOMENTS = ("first", "second")  # What Adam keeps for a tensor.


@dataclass(frozen=True)
class Dataset:
    """Rays and the colours they should have.

    Parameters: ``rays`` float32 (n, 6), origin and unit direction; ``rgb`` float32 (n, 3), on ``background``,
    8 bits a channel.
    Raises :class:`rtnerf.base.errors.InputError` for numbers that are not finite.
    """

    rays: torch.Tensor
    rgb: torch.Tensor
    background: tuple[int, int, int] = WHITE

    def __post_init__(self) -> None:
        for name in ("rays", "rgb"):
            values = getattr(self, name)
            if not bool(torch.isfinite(values).all()):
                raise InputError(f"{name} must be finite, not {float(values[~torch.isfinite(values)][0])}")


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
) -> TensorfModel:
    """Train on a built-in scene and save the model, float16, to ``out``.

    Parameters: ``steps`` None = the default; ``size`` of the training pictures in pixels; ``views``
    their number; ``seed`` of the cameras and of the training; ``device``, see :func:`choose_device`;
    ``finetune`` a model instead of training a new one; ``background``, 0..255 a channel.
    Returns the model in float32, the file holds it in float16.
    Raises :class:`rtnerf.base.errors.InputError` for an unknown scene or an ``out`` in no folder.
    """
    settings = _settings(steps, seed, out, finetune)
    scene = get_scene(name)
    cameras = replace(scene.cameras("train", views, seed), background=background)
    truths = [on_background(premultiplied(pixels), background) for pixels in pictures(scene, cameras, size)]
    return _train_and_save(_dataset(cameras, truths, size), settings, out, progress, device, finetune)


def train_dataset(
    cameras: Cameras,
    out: str | Path,
    steps: int | None = None,
    seed: int = 0,
    size: int = 100,
    progress: Progress | None = None,
    device: str = "cpu",
    finetune: FineTuning | None = None,
) -> TensorfModel:
    """Train on the views of a capture and save the model, float16, to ``out``.

    Parameters: as in :func:`train_scene`. Where the capture gives the box of the scene, that is trained, with rays
    from the cameras on. Raises :class:`rtnerf.base.errors.InputError` for a capture without pictures.
    """
    settings = _settings(steps, seed, out, finetune)
    if cameras.box is not None:
        reach = np.abs(cameras.poses[:, None, :3, 3] - cameras.box).max(axis=1)
        far = float(np.linalg.norm(reach, axis=-1).max())
        lower, upper = cameras.box.tolist()
        settings = replace(settings, box=(tuple(lower), tuple(upper)), near=0.0, far=far)
    return _train_and_save(load_dataset(cameras, size), settings, out, progress, device, finetune)


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


def load_dataset(cameras: Cameras, size: int) -> Dataset:
    """All views of ``cameras`` at ``size`` pixels width.

    Raises :class:`rtnerf.base.errors.InputError` where a picture is missing or of another shape than the file says.
    """
    return _dataset(cameras, [cameras.truth(index, size) for index in range(len(cameras))], size)


# ---- Training ----


def train(
    dataset: Dataset,
    settings: TrainingSettings,
    progress: Progress | None = None,
    checkpoint: Path | None = None,
    checkpoint_seconds: float = CHECKPOINT_SECONDS,
    device: str | torch.device = "cpu",
    start: TensorfModel | None = None,
) -> TensorfModel:
    """Train a model.

    Deterministic on a CPU: the same data, settings, PyTorch version and number of threads give the
    same bits, however often the run was stopped and taken up again; a GPU draws the same batches but
    adds in no fixed order. Returns the model on the CPU without gradients, its mask refreshed from the
    final factors; too few steps to find anything leave it without a mask.

    Parameters: ``checkpoint``, a file that holds the state of the run every ``checkpoint_seconds``;
    where it exists the run goes on from there. ``device`` that computes. ``start``, a model to go on
    from in place of a random one; it is not changed.
    Raises :class:`rtnerf.base.errors.InputError` for a checkpoint of another run or a damaged one,
    rays that all miss the box, or an error that is no longer finite.
    """
    digest = _digest(dataset, settings, start) if checkpoint else ""
    run = _restored(checkpoint, settings, digest, device) if checkpoint and checkpoint.exists() else None
    if run is None:
        if start is None:
            start = initial_model(settings, torch.Generator().manual_seed(settings.seed))
            start = replace(start, shading_threshold=settings.shading_threshold)
        run = _Run(start.to(device), settings)
    dataset = replace(dataset, rays=dataset.rays.to(device), rgb=dataset.rgb.to(device))
    within = _within(run.model, dataset)
    upsamplings = _upsamplings(settings)
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
                    within = _within(run.model, dataset)
            if run.step in upsamplings:
                run.replace_model(upsample(run.model, resolution(run.model.extent, upsamplings[run.step])))
            if checkpoint and time.monotonic() - stored >= checkpoint_seconds:
                _store(run, checkpoint, digest)
                stored = time.monotonic()
    model = _detached(run.model)
    if settings.frozen:
        return model.to("cpu")
    model = replace(model, shading_threshold=TensorfModel.shading_threshold)
    refreshed = refresh_mask(model)
    return (shrink(refreshed) if refreshed.mask is not None and refreshed.mask.any() else model).to("cpu")


class _Run:
    """A training under way, which can be stored and restored between any two steps.

    Members: ``model``, ``cells`` of its mask, ``optimiser``; ``step``, steps done; ``error``, running
    mean squared error.
    Everything random is drawn anew from (seed, step), so that there is no other state.
    """

    def __init__(self, model: TensorfModel, settings: TrainingSettings, step: int = 0, error: float = math.nan):
        self.settings = settings
        self.step = step
        self.error = error
        self.replace_model(model)

    def replace_model(self, model: TensorfModel) -> None:
        """Go on with another model, and with new moments."""
        mlp = [(weight.detach().clone(), bias.detach().clone()) for weight, bias in model.mlp]
        self.model = with_factors(model, channels_last, basis=model.basis.detach().clone(), mlp=mlp)
        self.cells = occupied_cells(model)
        frozen = "density" if self.settings.frozen else "nothing"
        trained = {name: one for name, one in self.model.named_tensors().items() if not name.startswith(frozen)}
        self.parameters = [tensor.requires_grad_() for tensor in trained.values()]
        network = [name.startswith(("basis", "mlp")) for name in trained]
        self.rates = [self.settings.network_rate if one else self.settings.factor_rate for one in network]
        self.penalised = [name.startswith("density") for name in trained]
        self.optimiser = Adam(self.parameters)

    def advance(self, dataset: Dataset, within: torch.Tensor, parts: int = 1, spread: Callable = map) -> None:
        """Take one step on random rays; ``within`` lists those of the data set to draw from.

        The batch is evaluated in ``parts`` by ``spread``, a ``map`` that may do so at the same time.
        """
        settings = self.settings
        self.step += 1
        random = np.random.default_rng([settings.seed, self.step])
        chosen = torch.from_numpy(random.integers(len(within), size=settings.batch_rays))
        jitter = torch.from_numpy(random.random(settings.batch_rays, dtype=np.float32))
        batch = within[chosen.to(within.device)]
        behind = torch.tensor(dataset.background, device=batch.device) / 255

        def share(
            rays: torch.Tensor, rgb: torch.Tensor, jitter: torch.Tensor
        ) -> tuple[float, tuple[torch.Tensor, ...]]:
            """Loss and gradients of a part of the batch."""
            found = colours(self.model, rays, jitter, self.cells, behind)
            error = (found - rgb).square().sum() / (3 * settings.batch_rays)
            return float(error.detach()), torch.autograd.grad(error, self.parameters)

        inputs = (dataset.rays[batch], dataset.rgb[batch], jitter.to(batch.device))
        shares = list(spread(share, *(tensor.chunk(parts) for tensor in inputs)))
        current = sum(error for error, _ in shares)
        if not math.isfinite(current):
            raise InputError(f"training error must be finite, not {current} in step {self.step}")
        self.error = current if math.isnan(self.error) else self.error + (1 - _PSNR_MEMORY) * (current - self.error)

        decay = settings.rate_decay ** (self.step / settings.steps)
        sparsity = settings.sparsity[self.model.mask is not None]
        self.optimiser.update(
            [gradients for _, gradients in shares],
            [decay * rate for rate in self.rates],
            [
                sparsity / tensor.numel() if penalised else 0.0
                for tensor, penalised in zip(self.parameters, self.penalised, strict=True)
            ],
            spread,
        )


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


def _store(run: _Run, path: Path, digest: str) -> None:
    """Write a run to a file: its model in this project's format, with the moments and the step beside it."""
    names = {id(tensor): name for name, tensor in run.model.named_tensors().items()}
    moments = {
        f"{key} {names[id(tensor)]}": value.cpu().contiguous()
        for tensor, both in zip(run.parameters, run.optimiser.moments, strict=True)
        for key, value in zip(_MOMENTS, both, strict=True)
    }
    state = {"digest": digest, "step": run.step, "error": run.error, "updates": run.optimiser.step}
    save_model(run.model, path, "float32", moments, {_STATE: json.dumps(state)})


def _restored(path: Path, settings: TrainingSettings, digest: str, device: str | torch.device) -> _Run:
    """Read what :func:`_store` wrote."""
    try:
        model, tensors, header = read_model_file(path)
        state = json.loads(header[_STATE])
        found, step, error = state["digest"], int(state["step"]), float(state["error"])
        updates = int(state["updates"])
    except (InputError, KeyError, TypeError, ValueError) as cause:
        raise InputError(f"checkpoint must be one of this program or absent, not {path} ({cause})") from None
    if found != digest:
        raise InputError(
            f"checkpoint must be of this very run (settings and data), not of another: {path}; "
            "repeat that run's command, or delete the file"
        )
    run = _Run(model.to(device), settings, step, error)
    names = {id(tensor): name for name, tensor in run.model.named_tensors().items()}
    run.optimiser.step = updates
    for tensor, both in zip(run.parameters, run.optimiser.moments, strict=True):
        for key, value in zip(_MOMENTS, both, strict=True):
            value.copy_(tensors[f"{key} {names[id(tensor)]}"])
    return run


def _digest(dataset: Dataset, settings: TrainingSettings, start: TensorfModel | None) -> str:
    """Tells runs apart: the settings, every ray and colour, and the model at the beginning."""
    decided = {**asdict(settings), "background": dataset.background}
    hashed = hashlib.sha256(json.dumps(decided, sort_keys=True).encode())
    tensors = [dataset.rays, dataset.rgb]
    if start is not None:
        hashed.update(start.shading.encode())
        hashed.update(b"" if start.mask is None else np.packbits(start.mask).tobytes())
        tensors += [start.aabb, *start.named_tensors().values()]
    for tensor in tensors:
        hashed.update(tensor.detach().contiguous().numpy().tobytes())
    return hashed.hexdigest()


# ---- Parts ----


def _settings(steps: int | None, seed: int, out: str | Path, finetune: FineTuning | None) -> TrainingSettings:
    """The settings of a run; also refuses, before the work, what could not be written after it."""
    if not Path(out).absolute().parent.is_dir():
        raise InputError(f"out must be a file in an existing folder, not {out}")
    if not written_through(out):
        check_target("out", f"{out}.part")
    settings = replace(finetune.settings() if finetune else TrainingSettings(), seed=seed)
    return settings if steps is None else replace(settings, steps=steps)


def _train_and_save(
    dataset: Dataset,
    settings: TrainingSettings,
    out: str | Path,
    progress: Progress | None,
    device: str,
    finetune: FineTuning | None,
) -> TensorfModel:
    """Train, or finish what an earlier call with the same arguments has begun; then remove its checkpoint."""
    out = Path(out)
    checkpoint = None if written_through(out) else out.with_name(out.name + ".part")
    start = finetune.start() if finetune else None
    model = train(dataset, settings, progress, checkpoint, device=choose_device(device), start=start)
    save_model(model, out, "float16")
    if checkpoint:
        checkpoint.unlink(missing_ok=True)
    return model


def _dataset(cameras: Cameras, truths: list[np.ndarray], size: int) -> Dataset:
    rays = [np.concatenate(cameras.camera(view, size).rays(), 1) for view in range(len(cameras))]
    rgb = np.concatenate([picture.reshape(-1, 3) for picture in truths])
    known = np.isfinite(rgb).all(axis=1)
    return Dataset(torch.from_numpy(np.concatenate(rays)[known]), torch.from_numpy(rgb[known]), cameras.background)


def _within(model: TensorfModel, dataset: Dataset) -> torch.Tensor:
    """Numbers of the rays of a data set that meet the model's box."""
    enter, leave = box_distances(model, dataset.rays)
    numbers = ((enter < leave) & (leave > 0)).nonzero()[:, 0]
    if len(numbers) == 0:
        raise InputError("rays must meet the box of the scene, not all miss it")
    return numbers


def _upsamplings(settings: TrainingSettings) -> dict[int, int]:
    """Edge after each upsampling by step, in equal ratios from the first to the last."""
    count = len(settings.upsample_at)
    ratio = settings.last_edge / settings.first_edge
    return {
        max(1, round(fraction * settings.steps)): round(settings.first_edge * ratio ** ((number + 1) / count))
        for number, fraction in enumerate(settings.upsample_at)
    }


def _detached(model: TensorfModel) -> TensorfModel:
    def plain(planes: list, lines: list) -> tuple[list[torch.Tensor], list[torch.Tensor]]:
        return [plane.detach().contiguous() for plane in planes], [line.detach().contiguous() for line in lines]

    mlp = [(weight.detach(), bias.detach()) for weight, bias in model.mlp]
    return with_factors(model, plain, basis=model.basis.detach(), mlp=mlp)
