"""The trained models, by name: those that come with the package, or a folder of one's own by ``rtnerf specdec train``.

Weights are stored in half precision as safetensors, which hold numbers and nothing that could run; they are used in
single precision.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import safetensors.torch
from torch import Tensor
from torch.nn import Module

from rtnerf.base.errors import InputError, require
from rtnerf.base.files import write_bytes
from specdec.models.hybrid import hybrid
from specdec.models.medusa_heads import ResidualHeads
from specdec.models.network import Network
from specdec.models.ssm import ssm
from specdec.models.transformer import transformer
from specdec.text.tokenizer import BpeTokenizer, ByteTokenizer, Tokenizer

M = TypeVar("M", bound=Module)

DATA = Path(__file__).parents[1] / "data"
"""The folder of the models that come with the package."""

VOCABULARY = {"bpe": 4096, "byte": 256}
"""Tokens of each tokenizer."""

HEADS = 4
"""Medusa's heads on the target."""


@dataclass(frozen=True)
class Model:
    """What a trained model is.

    Members
    -------
    tokenizer : str
        A key of `VOCABULARY`.
    build : callable
        From the vocabulary to the untrained network.
    teacher : str or None
        The target from whose logits a draft learns; None for a target.
    """

    tokenizer: str
    build: Callable[[int], Network]
    teacher: str | None = None


MODELS = {
    "target": Model("bpe", lambda tokens: transformer(tokens, width=256, layers=4, heads=4, hidden=640)),
    "draft": Model("bpe", lambda tokens: transformer(tokens, width=64, layers=1, heads=2, hidden=128), "target"),
    "byte-target": Model("byte", lambda tokens: transformer(tokens, width=128, layers=2, heads=4, hidden=256)),
    "byte-draft": Model("byte", lambda tokens: transformer(tokens, 48, 1, heads=2, hidden=96), "byte-target"),
    "ssm": Model("byte", lambda tokens: ssm(tokens, width=128, layers=3, heads=4, features=64, size=32)),
    "ssm-draft": Model("byte", lambda tokens: ssm(tokens, width=48, layers=1, heads=2, features=48, size=16), "ssm"),
    "hybrid": Model("byte", lambda tokens: hybrid(tokens, width=96, layers=2, heads=4, hidden=192, size=32)),
}  # fmt: skip


def load(name: str, directory: Path = DATA) -> Network:
    """Return a trained network of `MODELS`, ready for `specdec.models.cached.CachedModel`.

    Raises
    ------
    InputError
        If there is no such model, or the folder does not have it.
    """
    return restore(build(name), directory / f"{name}.safetensors")


def medusa_heads(directory: Path = DATA) -> ResidualHeads:
    """Return the trained Medusa heads of the model "target" in the same folder. Raises as `load`."""
    return restore(build_heads(), directory / "medusa.safetensors")


def tokenizer(name: str, directory: Path = DATA) -> Tokenizer:
    """Return the tokenizer of a model of `MODELS`. Raises as `load`."""
    if described(name).tokenizer == "byte":
        return ByteTokenizer()
    return BpeTokenizer(read(directory / "bpe.json").decode(errors="replace"))


def described(name: str) -> Model:
    """Return the entry of `MODELS`, or refuse the name."""
    require(name in MODELS, "model", f"one of {', '.join(MODELS)}", name)
    return MODELS[name]


def build(name: str) -> Network:
    """Return an untrained network of `MODELS`."""
    model = described(name)
    return model.build(VOCABULARY[model.tokenizer])


def build_heads() -> ResidualHeads:
    """Return untrained Medusa heads of the model "target"."""
    return ResidualHeads(build("target").embedding.embedding_dim, HEADS)


def restore(module: M, path: Path) -> M:
    """Give a module the weights of a file, and make it ready for use.

    Raises
    ------
    InputError
        If the file cannot be read or holds other weights.
    """
    return fill(module, read_weights(path), path)


def fill(module: M, weights: Mapping[str, Tensor], path: Path) -> M:
    """Give a module weights that were read from a file. Raises as `restore`."""
    expected = {key: tuple(tensor.shape) for key, tensor in module.state_dict().items()}
    found = {key: tuple(tensor.shape) for key, tensor in weights.items()}
    other = next((key for key in expected | found if expected.get(key) != found.get(key)), None)
    if other is not None:
        rule = f"a file with this architecture's weights ({other}: {expected.get(other)}, there: {found.get(other)})"
        raise InputError(f"model must be {rule}, not {path}")
    for name, tensor in weights.items():
        require(bool(tensor.isfinite().all()), f"weights of {path}", "finite", f"infinite or NaN in {name}")
    module.load_state_dict(weights)
    return module.eval().requires_grad_(False)


def read_weights(path: Path) -> dict[str, Tensor]:
    """Return the tensors of a safetensors file, or refuse the file."""
    try:
        return safetensors.torch.load(read(path))
    except safetensors.SafetensorError as error:
        raise InputError(f"model must be a safetensors file, not {path} ({error})") from None


def store(module: Module, path: Path) -> None:
    """Write a module's weights in half precision. Raises as `rtnerf.base.files.write_bytes`."""
    weights = {key: tensor.half().contiguous() for key, tensor in module.state_dict().items()}
    write_bytes(path, safetensors.torch.save(weights))


def read(path: Path) -> bytes:
    """Return the content of a file, or refuse its folder."""
    try:
        return path.read_bytes()
    except OSError as error:
        raise InputError(f"model must be a readable file, not {path} ({error.strerror})") from None
