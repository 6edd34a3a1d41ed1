"""A training under way: one step of it, and its state between two steps in a file."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

import numpy as np
import torch

from nerf.checkpoint import read_model_file, save_model
from nerf.model import TensorfModel
from nerf.train.adam import Adam
from nerf.train.dataset import Dataset
from nerf.train.factors import channels_last
from nerf.train.grids import with_factors
from nerf.train.marching import colours, occupied_cells
from nerf.train.settings import TrainingSettings
from rtnerf.base.errors import InputError

_PSNR_MEMORY = 0.95  # Of the running mean error that is reported.
_STATE = "training"  # Header entry of a checkpoint.
_MOMENTS = ("first", "second")  # What Adam keeps for a tensor.


class Run:
    """A training under way, which can be stored and restored between any two steps.

    Members: ``model``, ``cells`` of its mask, ``optimiser``; ``step``, steps done; ``error``, running
    mean squared error; ``judged``, step and PSNR in dB of each evaluation so far.
    Everything random is drawn anew from (seed, step), so that there is no other state.
    """

    def __init__(self, model: TensorfModel, settings: TrainingSettings, step: int = 0, error: float = math.nan):
        self.settings = settings
        self.step = step
        self.error = error
        self.judged: list[tuple[int, float]] = []
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

        since = max((at for at in settings.upsamplings if at < self.step), default=0) if settings.rate_restarts else 0
        decay = settings.rate_decay ** ((self.step - since) / settings.steps)
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


def store_run(run: Run, path: Path, digest: str) -> None:
    """Write a run to a file: its model in this project's format, with the moments and the step beside it."""
    names = {id(tensor): name for name, tensor in run.model.named_tensors().items()}
    moments = {
        f"{key} {names[id(tensor)]}": value.cpu().contiguous()
        for tensor, both in zip(run.parameters, run.optimiser.moments, strict=True)
        for key, value in zip(_MOMENTS, both, strict=True)
    }
    state = {
        "digest": digest,
        "step": run.step,
        "error": run.error,
        "updates": run.optimiser.step,
        "judged": run.judged,
    }
    save_model(run.model, path, "float32", moments, {_STATE: json.dumps(state)})


def restored_run(path: Path, settings: TrainingSettings, digest: str, device: str | torch.device) -> Run:
    """Read what :func:`store_run` wrote."""
    try:
        model, tensors, header = read_model_file(path)
        state = json.loads(header[_STATE])
        found, step, error = state["digest"], int(state["step"]), float(state["error"])
        updates, judged = int(state["updates"]), [(int(at), float(db)) for at, db in state["judged"]]
    except (InputError, KeyError, TypeError, ValueError) as cause:
        raise InputError(f"checkpoint must be one of this program or absent, not {path} ({cause})") from None
    if found != digest:
        raise InputError(
            f"checkpoint must be of this very run (settings and data), not of another: {path}; "
            "repeat that run's command, or delete the file"
        )
    run = Run(model.to(device), settings, step, error)
    names = {id(tensor): name for name, tensor in run.model.named_tensors().items()}
    run.optimiser.step, run.judged = updates, judged
    for tensor, both in zip(run.parameters, run.optimiser.moments, strict=True):
        for key, value in zip(_MOMENTS, both, strict=True):
            value.copy_(tensors[f"{key} {names[id(tensor)]}"])
    return run


def digest_of(dataset: Dataset, settings: TrainingSettings, start: TensorfModel | None) -> str:
    """Tells runs apart: the settings, every ray and colour, and the model at the beginning."""
    decided = {**asdict(settings), "background": dataset.background}
    hashed = hashlib.sha256(json.dumps(decided, sort_keys=True).encode())
    tensors = [dataset.rays, dataset.rgb]
    if start is not None:
        hashed.update(start.shading.encode())
        hashed.update(b"" if start.mask is None else np.packbits(start.mask).tobytes())
        tensors += [start.aabb, *start.named_tensors().values()]
    for tensor in tensors:
        hashed.update(tensor.detach().contiguous().numpy().data)
    return hashed.hexdigest()
