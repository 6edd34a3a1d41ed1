"""Training of every model of `specdec.models.pretrained`: targets on the corpus, drafts and heads on their laws.

Everything random is drawn anew from (seed, model, step), so that a run that was stopped goes on from its last
checkpoint to the very same weights, given the same corpus, version of PyTorch, processor and number of threads.
"""

import json
import platform
import time
import zlib
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import safetensors.torch
import torch
from torch import Tensor, nn
from torch.nn import functional

from rtnerf.base.errors import InputError, require
from rtnerf.base.files import write_bytes, write_json
from specdec.models import pretrained
from specdec.models.medusa_heads import ResidualHeads
from specdec.models.network import Network
from specdec.text import corpus
from specdec.text.tokenizer import BpeTokenizer, Tokenizer

Progress = Callable[[str, int, int, float], None]
"""Called after a step with the model's name, steps done, steps in all, and the loss."""

WINDOW = 512
"""Tokens of a training sequence."""

BATCH = 2
"""Sequences of a step."""

CHECKPOINT_SECONDS = 30.0
"""Time between checkpoints."""

_EVALUATED = 32
"""Held-out sequences of the final loss."""

_WARM_UP = 0.05
"""Share of the steps in which the learning rate rises; over the others it falls to zero."""

_LARGEST_GRADIENT = 1.0


@dataclass(frozen=True)
class Plan:
    """How a model is trained: by AdamW.

    Members
    -------
    steps : int
        Steps of `BATCH` sequences.
    rate : float
        The largest learning rate.
    """

    steps: int
    rate: float


PLANS = {
    "target": Plan(4000, 2e-3),
    "medusa": Plan(1200, 2e-3),
    "draft": Plan(2000, 4e-3),
    "byte-target": Plan(3000, 3e-3),
    "byte-draft": Plan(2000, 5e-3),
    "ssm": Plan(2400, 3e-3),
    "ssm-draft": Plan(1200, 5e-3),
    "hybrid": Plan(2000, 3e-3),
}
"""The models, "medusa" for the heads on "target", in the order of their training: teachers come first."""


def train(
    out: Path,
    seed: int = 0,
    effort: float = 1.0,
    names: Iterable[str] = tuple(PLANS),
    progress: Progress = lambda *_: None,
) -> dict[str, float]:
    """Train models into a folder, or finish what an earlier call with the same settings has begun there.

    Parameters
    ----------
    out : path
        The folder. It will hold what `specdec.models.pretrained` loads, and ``training.json``: settings and losses.
    seed : int
        Of everything random.
    effort : float
        Factor of the steps of `PLANS`, above 0.
    names : iterable of str
        The models of `PLANS` to train.
    progress : callable, optional
        See `Progress`.

    Returns
    -------
    dict from str to float
        Losses on held-out texts, in nats a token: cross-entropy of a target, divergence of a draft from its target,
        mean divergence of the heads.

    Raises
    ------
    InputError
        If the folder holds a run with other settings or cannot be written, or the effort is not above 0.
    """
    require(effort > 0, "effort", "above 0", effort)
    versions = {"python": platform.python_version(), "torch": str(torch.__version__)}
    settings = {"seed": seed, "effort": effort, "threads": torch.get_num_threads(), **versions}
    record = _record(out / "training.json", settings)
    if not (out / "bpe.json").exists():
        tokenizer = BpeTokenizer.train(corpus.training(), pretrained.VOCABULARY["bpe"])
        write_bytes(out / "bpe.json", tokenizer.description.encode())
    encoded: dict[str, _Encoded] = {}
    for name in (name for name in PLANS if name in set(names) - record["losses"].keys()):
        model = "target" if name == "medusa" else name
        kind = pretrained.described(model).tokenizer
        if kind not in encoded:
            encoded[kind] = _Encoded(pretrained.tokenizer(model, out))
        key = [seed, zlib.crc32(name.encode())]
        with _repeatable(key):
            record["losses"][name] = _train_one(name, out, encoded[kind], key, effort, progress)
        write_json(out / "training.json", record)
        _unfinished(out, name).unlink(missing_ok=True)
    return record["losses"]


def _train_one(name: str, out: Path, texts: "_Encoded", key: list[int], effort: float, progress: Progress) -> float:
    """Train one model, store its weights and return their loss on held-out texts."""
    module, loss = _task(name, out)
    run = _Run(module, loss, max(round(PLANS[name].steps * effort), 1), PLANS[name].rate)
    run.restore(_unfinished(out, name))
    saved = time.monotonic()
    while run.done < run.steps:
        value = run.step(texts.batch([*key, run.done]))
        progress(name, run.done, run.steps, value)
        if time.monotonic() - saved > CHECKPOINT_SECONDS:
            run.store(_unfinished(out, name))
            saved = time.monotonic()
    weights = out / f"{name}.safetensors"
    pretrained.store(module, weights)
    # Of the weights as they are stored.
    pretrained.restore(module, weights)
    with torch.no_grad():
        return float(np.mean([loss(batch).item() for batch in texts.held_out()]))


def _unfinished(out: Path, name: str) -> Path:
    return out / f"{name}.partial.safetensors"


class _Encoded:
    """The corpus as tokens."""

    def __init__(self, tokenizer: Tokenizer):
        self._tokenizer = tokenizer
        self._tokens = self._join(corpus.training())

    def batch(self, key: list[int]) -> Tensor:
        """Return random pieces of the training texts, shape (BATCH, WINDOW + 1), the same for a key."""
        starts = np.random.default_rng(key).integers(len(self._tokens) - WINDOW, size=BATCH)
        return torch.from_numpy(np.stack([self._tokens[start : start + WINDOW + 1] for start in starts]))

    def held_out(self) -> Iterator[Tensor]:
        """Yield pieces spread evenly over the held-out texts, one at a time: shape (1, WINDOW + 1)."""
        tokens = self._join(corpus.held_out())
        for start in np.linspace(0, len(tokens) - WINDOW - 1, _EVALUATED).astype(int):
            yield torch.from_numpy(tokens[None, start : start + WINDOW + 1])

    def _join(self, texts: Iterable[str]) -> np.ndarray:
        return np.concatenate([np.array(self._tokenizer.encode(text), np.int64) for text in texts])


class _Run:
    """An optimisation under way, which can be stored and restored between any two steps."""

    def __init__(self, module: nn.Module, loss: Callable[[Tensor], Tensor], steps: int, rate: float):
        self.done = 0
        self.steps = steps
        self._loss = loss
        self._rate = rate
        self._parameters = dict(module.named_parameters())
        groups = [
            {"params": [p for p in self._parameters.values() if (p.ndim > 1) == matrix], "weight_decay": decay}
            for matrix, decay in ((True, 0.1), (False, 0.0))
        ]
        self._optimizer = torch.optim.AdamW(groups, lr=rate, betas=(0.9, 0.95))

    def step(self, batch: Tensor) -> float:
        """Take one step and return its loss."""
        self.done += 1
        rise = self.done / (_WARM_UP * self.steps)
        fall = (self.steps - self.done + 1) / ((1 - _WARM_UP) * self.steps)
        for group in self._optimizer.param_groups:
            group["lr"] = self._rate * min(rise, fall, 1)
        value = self._loss(batch)
        value.backward()
        nn.utils.clip_grad_norm_(self._parameters.values(), _LARGEST_GRADIENT)
        self._optimizer.step()
        self._optimizer.zero_grad()
        return value.item()

    def store(self, path: Path) -> None:
        """Write weights, moments and the step."""
        tensors = {"done": torch.tensor(self.done)}
        for name, parameter in self._parameters.items():
            state = self._optimizer.state[parameter]
            tensors |= {f"weight {name}": parameter.detach()} | {f"{key} {name}": state[key] for key in state}
        write_bytes(path, safetensors.torch.save(tensors))

    def restore(self, path: Path) -> None:
        """Go on from a stored run, if there is one."""
        if not path.exists():
            return
        tensors = pretrained.read_weights(path)
        self.done = int(tensors["done"])
        for name, parameter in self._parameters.items():
            parameter.data.copy_(tensors[f"weight {name}"])
            keys = [key for key in ("step", "exp_avg", "exp_avg_sq") if f"{key} {name}" in tensors]
            self._optimizer.state[parameter] = {key: tensors[f"{key} {name}"] for key in keys}


def _task(name: str, out: Path) -> tuple[nn.Module, Callable[[Tensor], Tensor]]:
    """Return what is trained, and its loss on token sequences, shape (..., T + 1)."""
    if name == "medusa":
        heads = pretrained.build_heads()
        return heads, partial(heads_divergence, heads, pretrained.load("target", out))
    network, teacher = pretrained.build(name), pretrained.MODELS[name].teacher
    if teacher is None:
        return network, partial(cross_entropy, network)
    return network, partial(divergence, network, pretrained.load(teacher, out))


def cross_entropy(network: Network, tokens: Tensor) -> Tensor:
    """Return the mean cost of the next token, in nats, over sequences of shape (..., T + 1)."""
    logits = network.logits(network(tokens[..., :-1]))
    return functional.cross_entropy(logits.flatten(0, -2), tokens[..., 1:].flatten())


def divergence(draft: Network, target: Network, tokens: Tensor) -> Tensor:
    """Return the mean of KL(target's law, draft's law), in nats, over sequences of shape (..., T + 1)."""
    laws = (network.logits(network(tokens[..., :-1])).log_softmax(-1) for network in (target, draft))
    return _divergence(*laws)


def heads_divergence(heads: ResidualHeads, target: Network, tokens: Tensor) -> Tensor:
    """Return the mean of KL(target's law ``k`` places on, head ``k``'s law here), in nats, over places and heads."""
    hidden, count = target(tokens[..., :-1]), len(heads.bias)
    places = hidden.shape[-2] - count
    laws = target.logits(hidden).log_softmax(-1)
    own = target.logits(heads(hidden[..., :places, :])).log_softmax(-1)
    losses = (_divergence(laws[..., k : k + places, :], own[..., k - 1, :]) for k in range(1, count + 1))
    return torch.as_tensor(sum(losses)) / count


def _divergence(target: Tensor, draft: Tensor) -> Tensor:
    """Return the mean of KL(target, draft) over log laws of shape (..., V)."""
    return functional.kl_div(draft.flatten(0, -2), target.flatten(0, -2), reduction="batchmean", log_target=True)


@contextmanager
def _repeatable(key: list[int]) -> Iterator[None]:
    """Seed the initial weights; let products round their factors to 16 bits on processors that then run faster."""
    precision = torch.get_float32_matmul_precision()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(int(np.random.default_rng(key).integers(2**63)))
        torch.set_float32_matmul_precision("medium")
        try:
            yield
        finally:
            torch.set_float32_matmul_precision(precision)


def _record(path: Path, settings: dict[str, object]) -> dict[str, Any]:
    """Return what has been written about a run in the folder; begin it if there is nothing."""
    if not path.exists():
        record = {"settings": settings, "losses": {}}
        write_json(path, record)
        return record
    try:
        record = json.loads(path.read_bytes())
        found = record["settings"]
    except (ValueError, KeyError, TypeError):
        raise InputError(f"out must be a new folder or a run, not {path.parent} (unreadable {path.name})") from None
    require(found == settings, "out", f"a new folder or a run with {settings}", f"one with {found}")
    return record
