"""Reading and writing trained models.

Two formats are read: checkpoints of the original TensoRF program (``torch.save`` of a dictionary)
and this project's own, one safetensors file with a JSON description in its header. Neither can run
code: the first goes through an unpickler with an allow-list, the second holds no code at all.
"""

from __future__ import annotations

import json
import math
import pickle
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save

from nerf.contract.scene_image import is_scene_image
from nerf.model import LINE_AXES, PLANE_AXES, TensorfModel
from rtnerf.base.errors import InputError
from rtnerf.base.files import check_content, write_bytes

DEFAULT_MODEL = Path(__file__).parent / "data" / "default.safetensors"
"""The embedded model; ``nerf/data/README.md`` gives the command that trained it."""

FORMAT = "rtnerf-tensorf-1"
"""Value of the header key ``format`` in the project's own files."""

_NUMBER = (int, float)
_CONSTANTS = {
    "density_shift": _NUMBER,
    "distance_scale": _NUMBER,
    "step_ratio": _NUMBER,
    "near": _NUMBER,
    "far": _NUMBER,
    "shading_threshold": _NUMBER,
    "density_activation": (str,),
    "view_bands": (int,),
    "feature_bands": (int,),
    "shading": (str,),
    "colour": (str,),
}

WITH_FLOATS = (
    "a checkpoint or a model, not a scene image: that holds 8-bit integers for render --pipeline integer, simulate "
    "and cosim"
)
"""What must be given where floats are needed."""

_PARALLEL = "module."
"""What PyTorch puts before every name of a model that was saved while it trained on several GPUs."""

_ARGUMENTS = {
    "aabb", "gridSize", "density_n_comp", "appearance_n_comp", "app_dim", "density_shift", "alphaMask_thres",
    "distance_scale", "rayMarch_weight_thres", "fea2denseAct", "near_far", "step_ratio", "shadingMode", "pos_pe",
    "view_pe", "fea_pe", "featureC",
}  # fmt: skip
"""What the original program writes; of these, sizes follow from the tensors, and `pos_pe` and the mask's threshold are
of no use to a finished model of the modes that are read."""
_LAYERS = (0, 2, 4)
"""Of the network, as the original program numbers them."""
_SHADING_MODES = {"MLP_Fea": "network", "MLP": "network", "SH": "harmonics", "RGB": "features"}
"""What the original program calls what makes colours; ``MLP`` encodes no features."""

_PRECISIONS = {"float32": torch.float32, "float16": torch.float16}


def load_model(path: str | Path | None = None) -> TensorfModel:
    """Read a model: an official ``.th`` checkpoint, a ``.safetensors`` file, or the embedded one.

    The format is told from the content, not from the name. Nothing in the file is executed.

    Parameters: ``path``, or None for the embedded default model.
    Returns the model, checked (shapes, finite values), float32.
    Raises :class:`rtnerf.base.errors.InputError` for a file that is missing, damaged, of another class or
    shading mode, inconsistent, or that asks the unpickler for anything but tensors and arrays.

    >>> import rtnerf
    >>> rtnerf.load_model().shading
    'sample'
    """
    path = DEFAULT_MODEL if path is None else Path(path)
    try:
        with open(path, "rb") as file:
            start = file.read(64)
    except OSError as error:
        raise InputError(f"model must be a readable file, not {path} ({error.strerror})") from None
    check_content("model", start, f"a checkpoint, not {path}")
    if is_scene_image(path):
        raise InputError(f"model must be {WITH_FLOATS}")
    try:
        if start[8:9] == b"{":
            return read_model_file(path)[0]
        return _from_official(_unpickle(path))
    except InputError as error:
        raise InputError(f"model {path}: {error}") from None


def read_model_file(path: str | Path) -> tuple[TensorfModel, dict[str, torch.Tensor], dict[str, str]]:
    """Read a file of :func:`save_model` with everything in it: the model, all tensors, the header.

    Raises :class:`rtnerf.base.errors.InputError` as :func:`load_model` does.
    """
    tensors, header = _read_safetensors(Path(path))
    return _from_safetensors(tensors, header), tensors, header


def save_model(
    model: TensorfModel,
    path: str | Path,
    precision: str = "float32",
    others: Mapping[str, torch.Tensor] | None = None,
    notes: Mapping[str, str] | None = None,
) -> None:
    """Write a model in the project's own format; the file appears complete or not at all.

    Parameters: ``precision`` of the factors, basis and network, "float32" (exact) or "float16";
    ``others``, ``notes``: further tensors and header entries, for :func:`read_model_file`.
    Raises :class:`rtnerf.base.errors.InputError` for another precision, a value beyond its range or a
    path that can not be written.
    """
    if precision not in _PRECISIONS:
        raise InputError(f"precision must be 'float32' or 'float16', not {precision!r}")
    tensors = {}
    for name, tensor in model.named_tensors().items():
        tensors[name] = tensor.detach().to("cpu", _PRECISIONS[precision]).contiguous()
        if not bool(torch.isfinite(tensors[name]).all()):
            raise InputError(f"{name} must be in the range of {precision}, not beyond it")
    description = {name: getattr(model, name) for name in _CONSTANTS}
    description["aabb"] = model.aabb.tolist()
    if model.mask is not None:
        tensors["mask"] = torch.from_numpy(np.packbits(model.mask))
        description["mask_shape"] = list(model.mask.shape)
        description["mask_aabb"] = model.mask_aabb.tolist()
    tensors |= others or {}
    header = {"format": FORMAT, "model": json.dumps(description, sort_keys=True), **(notes or {})}
    write_bytes(path, _ordered(save(tensors, header)))


# ---- The project's own format ----


def _ordered(content: bytes) -> bytes:
    """A safetensors file with its header in order, so that the same model gives the same bytes."""
    end = 8 + int.from_bytes(content[:8], "little")
    header = json.dumps(json.loads(content[8:end]), sort_keys=True, separators=(",", ":")).encode()
    header += b" " * (-len(header) % 8)  # The tensors stay aligned.
    return len(header).to_bytes(8, "little") + header + content[end:]


def _read_safetensors(path: Path) -> tuple[dict[str, torch.Tensor], dict[str, str]]:
    try:
        with safe_open(path, "pt") as file:
            header = file.metadata() or {}
            return {name: file.get_tensor(name) for name in file.keys()}, header  # noqa: SIM118
    except (SafetensorError, OSError, ValueError, RuntimeError) as error:
        raise InputError(f"file must be a complete safetensors file, not {_line(error)}") from None


def _from_safetensors(tensors: dict[str, torch.Tensor], header: dict[str, str]) -> TensorfModel:
    if header.get("format") != FORMAT:
        raise InputError(f"format must be {FORMAT!r}, not {header.get('format')!r}")
    try:
        # Older files say neither.
        description = {"shading": "sample", "colour": "network", **json.loads(header["model"])}
        if "weight_threshold" in description:  # Its name in older files.
            description["shading_threshold"] = description["weight_threshold"]
        constants = {name: description[name] for name in _CONSTANTS}
        for name, kinds in _CONSTANTS.items():
            if type(constants[name]) not in kinds:
                raise TypeError(f"{name} = {constants[name]!r}")
        aabb = _tensor(description["aabb"])
        mask, mask_aabb = None, aabb
        if "mask" in tensors:
            mask = _unpack(tensors["mask"].numpy(), tuple(description["mask_shape"]))
            mask_aabb = _tensor(description["mask_aabb"])
    except (KeyError, TypeError, ValueError, RuntimeError) as error:
        if isinstance(error, InputError):
            raise
        raise InputError(f"header must be a complete description, not {_line(error)}") from None

    def take(name: str) -> torch.Tensor:
        return _take(tensors, name)

    return TensorfModel(
        aabb=aabb,
        density_planes=[take(f"density_planes.{pair}") for pair in range(3)],
        density_lines=[take(f"density_lines.{pair}") for pair in range(3)],
        app_planes=[take(f"app_planes.{pair}") for pair in range(3)],
        app_lines=[take(f"app_lines.{pair}") for pair in range(3)],
        basis=take("basis"),
        mlp=[
            (take(f"mlp.{layer}.weight"), take(f"mlp.{layer}.bias"))
            for layer in range(3 if constants["colour"] == "network" else 0)
        ],
        mask=mask,
        mask_aabb=mask_aabb,
        **constants,
    )


# ---- Checkpoints of the original program ----


def _allowed_globals() -> list:
    """What NumPy arrays and numbers in a checkpoint are rebuilt from, under old and new names."""
    multiarray = np._core.multiarray
    allowed: list[Any] = [np.ndarray, np.dtype]
    for module in ("numpy._core.multiarray", "numpy.core.multiarray"):
        allowed.append((multiarray._reconstruct, f"{module}._reconstruct"))
        allowed.append((multiarray.scalar, f"{module}.scalar"))
    kinds = ["Bool", "UInt8", "Int8", "Int16", "Int32", "Int64", "Float16", "Float32", "Float64"]
    return allowed + [getattr(np.dtypes, f"{kind}DType") for kind in kinds]


def _unpickle(path: Path) -> dict:
    try:
        with torch.serialization.safe_globals(_allowed_globals()), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Old files use storages that PyTorch has deprecated.
            content = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise InputError(
            "file must be a TensoRF checkpoint of plain tensors and arrays, not one with "
            f"other content ({_line(error)})"
        ) from None
    except Exception as error:  # noqa: BLE001 - damaged files fail in many ways inside torch.load.
        # An error of the operating system is of a place in the file that is not there.
        found = "one that is cut off" if isinstance(error, OSError) else _line(error)
        raise InputError(f"file must be a complete checkpoint, not {found}") from None
    if not isinstance(content, dict):
        raise InputError(f"file must be a dictionary, not a {type(content).__name__}")
    return content


def _from_official(content: dict) -> TensorfModel:
    arguments, state = (_part(content, name) for name in ("kwargs", "state_dict"))
    if all(name.startswith(_PARALLEL) for name in state):
        state = {name.removeprefix(_PARALLEL): tensor for name, tensor in state.items()}
    shading = arguments.get("shadingMode", "MLP_Fea")
    if shading not in _SHADING_MODES:
        raise InputError(f"shadingMode must be one of {', '.join(_SHADING_MODES)}, not {shading!r}")
    colour = _SHADING_MODES[shading]
    aabb = _tensor(arguments.get("aabb"), "aabb")
    mask, mask_aabb = _official_mask(content, aabb)
    near, far = _numbers(arguments, "near_far", 2)
    density_planes, density_lines = _official_factors(state, "density")
    app_planes, app_lines = _official_factors(state, "app")
    model = TensorfModel(
        aabb=aabb,
        density_planes=density_planes,
        density_lines=density_lines,
        app_planes=app_planes,
        app_lines=app_lines,
        basis=_take(state, "basis_mat.weight"),
        mlp=[
            (_take(state, f"renderModule.mlp.{layer}.weight"), _take(state, f"renderModule.mlp.{layer}.bias"))
            for layer in (_LAYERS if colour == "network" else ())
        ],
        mask=mask,
        mask_aabb=mask_aabb,
        density_shift=_numbers(arguments, "density_shift", 1)[0],
        distance_scale=_numbers(arguments, "distance_scale", 1)[0],
        step_ratio=_numbers(arguments, "step_ratio", 1)[0],
        near=near,
        far=far,
        shading_threshold=_numbers(arguments, "rayMarch_weight_thres", 1)[0],
        density_activation=arguments.get("fea2denseAct", "softplus"),
        view_bands=int(_numbers(arguments, "view_pe", 1)[0]),
        feature_bands=int(_numbers(arguments, "fea_pe", 1)[0]) if shading == "MLP_Fea" else 0,
        colour=colour,
    )
    _refuse_unknown(arguments, state, colour)
    size = tuple(int(value) for value in _numbers(arguments, "gridSize", 3))
    if size != model.grid_size:
        raise InputError(f"gridSize must be that of the factors {model.grid_size}, not {size}")
    return model


def _refuse_unknown(arguments: dict, state: dict, colour: str) -> None:
    """Refuse what would change the picture and is not read: other arguments, and tensors of another structure.

    A network beside colours that need none is one of these: which of the two is meant, the file does not tell.
    """
    for name in sorted(arguments.keys() - _ARGUMENTS, key=str):
        raise InputError(f"kwargs.{name} must be absent (the original program has none), not {arguments[name]!r:.40}")
    factors = {
        f"{kind}_{part}.{pair}" for kind in ("density", "app") for part in ("plane", "line") for pair in range(3)
    }
    layers = {f"renderModule.mlp.{layer}.{part}" for layer in _LAYERS for part in ("weight", "bias")}
    known = factors | {"basis_mat.weight"} | (layers if colour == "network" else set())
    for name in sorted(state.keys() - known, key=str):
        raise InputError(f"state_dict.{name} must be absent (a model of this class has none), not a tensor")


def _official_factors(state: dict, kind: str) -> tuple[list[torch.Tensor], list[torch.Tensor]]:
    """Planes and lines of a kind. Those of TensorCP, which has lines alone, are rewritten.

    A component of CP is the product of three lines. Two of them span a plane, whose bilinear interpolation is the
    product of theirs; a third of the components goes to each pair.
    """

    def factors(name: str, last: str) -> list[torch.Tensor]:
        taken = []
        for pair in range(3):
            tensor = _take(state, f"{kind}_{name}.{pair}")
            if tensor.ndim != 4 or tensor.shape[0] != 1 or (last == "1" and tensor.shape[3] != 1):
                rule = f"of shape (1, C, N, {last})"
                raise InputError(f"{kind}_{name}.{pair} must be {rule}, not {tuple(tensor.shape)}")
            taken.append(tensor[0])
        return taken

    if "plane_coef" in state:
        raise InputError("class must be TensorVMSplit or TensorCP, not TensorVM")
    lines = [line[:, :, 0].contiguous() for line in factors("line", "1")]
    if any(name.startswith(("density_plane", "app_plane")) for name in state):
        return factors("plane", "N"), lines
    counts = [len(line) for line in lines]
    if len(set(counts)) != 1:
        raise InputError(f"{kind}_line.0, 1 and 2 must have equal components in a TensorCP, not {counts}")
    along = {axis: lines[LINE_AXES.index(axis)].tensor_split(3) for axis in range(3)}
    planes = [
        along[second][pair][:, :, None] * along[first][pair][:, None, :]
        for pair, (first, second) in enumerate(PLANE_AXES)
    ]
    return planes, [along[axis][pair].contiguous() for pair, axis in enumerate(LINE_AXES)]


def _official_mask(content: dict, aabb: torch.Tensor) -> tuple[np.ndarray | None, torch.Tensor]:
    if "alphaMask.mask" not in content:
        return None, aabb
    for name in ("alphaMask.shape", "alphaMask.aabb"):
        if name not in content:
            raise InputError(f"{name} must be present beside alphaMask.mask, not missing")
    try:
        shape = tuple(int(length) for length in content["alphaMask.shape"])
        packed = np.asarray(content["alphaMask.mask"])
    except (TypeError, ValueError, RuntimeError) as error:
        raise InputError(f"alphaMask must be packed bits and a shape, not {_line(error)}") from None
    if len(shape) != 5 or shape[:2] != (1, 1):
        raise InputError(f"alphaMask.shape must be (1, 1, Z, Y, X), not {shape}")
    return _unpack(packed, shape[2:]), _tensor(content["alphaMask.aabb"], "alphaMask.aabb")


# ---- Small readers that name what they refuse ----


def _part(content: dict, name: str) -> dict:
    if not isinstance(content.get(name), dict):
        found = type(content[name]).__name__ if name in content else "missing"
        raise InputError(f"{name} must be a dictionary, not {found}")
    return content[name]


def _take(tensors: dict, name: str) -> torch.Tensor:
    tensor = tensors.get(name)
    if not isinstance(tensor, torch.Tensor):
        found = "missing" if tensor is None else type(tensor).__name__
        raise InputError(f"{name} must be a tensor, not {found}")
    if tensor.layout != torch.strided or not tensor.is_floating_point():
        found = f"{tensor.dtype}, {tensor.layout}"
        raise InputError(f"{name} must be a dense tensor of floating-point numbers, not {found}")
    return tensor.detach().to(torch.float32)


def _tensor(values: object, name: str = "aabb") -> torch.Tensor:
    try:
        return torch.as_tensor(values, dtype=torch.float32).detach()
    except (TypeError, ValueError, RuntimeError):
        raise InputError(f"{name} must be a tensor of numbers, not {values!r}") from None


def _numbers(arguments: dict, name: str, count: int) -> list[float]:
    if name not in arguments:
        raise InputError(f"kwargs.{name} must be present, not missing")
    try:
        values = np.asarray(arguments[name], dtype=np.float64).reshape(-1).tolist()
    except (TypeError, ValueError, RuntimeError):
        values = []
    if len(values) != count or not np.isfinite(values).all():
        rule = "a finite number" if count == 1 else f"{count} finite numbers"
        raise InputError(f"kwargs.{name} must be {rule}, not {arguments[name]!r}")
    return values


def _unpack(packed: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    if len(shape) != 3 or min(shape) < 1:
        raise InputError(f"mask shape must be three positive lengths (Z, Y, X), not {shape}")
    count = math.prod(shape)
    expected = (count + 7) // 8
    if packed.dtype != np.uint8 or packed.shape != (expected,):
        found = f"{packed.dtype} of shape {packed.shape}"
        raise InputError(f"mask must be {expected} bytes of packed bits, not {found}")
    return np.unpackbits(packed)[:count].reshape(shape).astype(bool)


def _line(error: BaseException) -> str:
    """The first line of an error's text, short enough for a message of one line."""
    text = (str(error).strip() or type(error).__name__).splitlines()[0]
    return text if len(text) <= 200 else text[:197] + "..."
