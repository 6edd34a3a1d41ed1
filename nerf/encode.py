"""From a trained TensoRF to the accelerator's scene image: quantisation, occupancy, hybrid sparse blocks.

Factors get one 8-bit scale for each plane and line, chosen so that plane scale times line scale is the same for the
three pairs: products of all pairs add as integers. Basis and MLP weights are 8-bit with one scale an output;
the scales of the activations come from evaluating the model at random occupied points (a fixed seed).
Factor positions that no live cube reads are stored as zeros, which changes no picture.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from nerf.contract import blocks
from nerf.contract import scene_image as image
from nerf.contract.blocks import Form
from nerf.contract.config import COMPONENTS, CUBE, AcceleratorConfig
from nerf.contract.formats import (
    ACTIVATION,
    ALPHA_BELOW,
    ALPHA_ENTRIES,
    ALPHA_STEP_BITS,
    DENSITY_MULTIPLIER,
    FACTOR,
    FRACTION_BITS,
    MASK_OFFSET,
    MASK_SCALE,
    MULTIPLIER,
    PHASE_SHIFT,
    POSITION,
    PRODUCT,
    SIGMOID_ENTRIES,
    SINE_ENTRIES,
    SINE_FRACTION,
    UNIT,
    WEIGHT,
)
from nerf.contract.network import LAYERS
from nerf.contract.scene_image import GROUPS, MASK_WINDOW, PAIRS, Scene
from nerf.model import TensorfModel, encode_frequencies
from rtnerf.base.errors import require

CALIBRATION_POINTS = 8192
HEADROOM = 1.25
"""Largest activation that fits, over the largest seen at the calibration points; beyond it the value saturates."""


@dataclass(frozen=True)
class EncodedScene:
    """A scene image, and what its tensors take in each form.

    Parameters
    ----------
    scene : Scene
    table : dict
        Per tensor: values, non-zeros, blocks by form, and bytes (headers included) in each form and as hybrid.
    """

    scene: Scene
    table: dict[str, dict[str, int]]

    def record(self) -> dict[str, Any]:
        """What a result file says of it."""
        return {"image_bytes": len(self.scene.data), "tensors": self.size_table()}

    def size_table(self) -> dict[str, dict[str, int]]:
        """Return the table of bytes per tensor and form, with the sum under ``total``."""
        total = {key: sum(row[key] for row in self.table.values()) for key in next(iter(self.table.values()))}
        return {**self.table, "total": total}


def encode_model(model: TensorfModel, config: AcceleratorConfig, form: Form | None = None) -> EncodedScene:
    """Quantise and encode a model.

    Parameters
    ----------
    model : TensorfModel
    config : AcceleratorConfig
        Its digest goes into the image, and the weights are laid out for its lanes.
    form : Form, optional
        The form of every block, to compare with; by default each block takes its smallest. ``DENSE`` also stores the
        positions that are zero; blocks with too many values for ``COORDINATE`` stay dense.

    Raises
    ------
    InputError
        The model has another structure than the hardware (at most 16 density and 48 appearance components a pair,
        27 features, MLP 150-128-128-3), its grid is too large, or a constant does not fit its register.
    """
    _check_structure(model, config)
    image.check_grid(model.grid_size)
    windows, bases = _mask_windows(model)
    mask_scale, mask_offset = mask_map(model)
    words: dict[str, int | Sequence[int]] = {
        "config_digest": config.digest_word,
        "live_cubes": len(windows),
        "grid": model.grid_size,
        "mask_scale": mask_scale,
        "mask_offset": mask_offset,
    }
    payload = _Payload()
    headers: list[tuple[tuple[str, int], bytes]] = []
    table: dict[str, dict[str, int]] = {}
    scales = {}
    for kind, name in (("density", "density"), ("appearance", "app")):
        planes, lines, scales[kind] = quantise_factors(
            getattr(model, f"{name}_planes"), getattr(model, f"{name}_lines"), GROUPS[kind] * COMPONENTS
        )
        for pair, (first, second, line) in enumerate(PAIRS):
            plane = planes[pair] * _shadow(bases, model.grid_size, (first, second)).T[:, :, None]
            factor = lines[pair] * _shadow(bases, model.grid_size, (line,))[:, None]
            for factor_name, cut in (("plane", _plane_blocks(plane)), ("line", _line_blocks(factor))):
                packed, row = _encode_blocks(cut, payload, form)
                headers.append(((f"{kind}_headers", image.header_index(factor_name, pair)), packed))
                table[f"{kind}_{factor_name}_{pair}"] = row
    tables, network_words = _tables(model, config, scales["appearance"])
    words |= network_words | _density_words(model, scales["density"]) | {"payload_bytes": len(payload.data)}
    sections = [
        ("rows_offset", _rows(bases, model.grid_size)),
        ("records_offset", b"".join(_record(w, b) for w, b in zip(windows, bases.values(), strict=True))),
        ("tables_offset", _alpha_table(model) + tables),
        *headers,
        ("payload_offset", bytes(payload.data)),
    ]
    host = {
        "step": model.step,
        "near": model.near,
        "far": model.far,
        "shading_threshold": model.shading_threshold,
        "sample_count": model.sample_count,
    }
    for k, axis in enumerate("xyz"):
        host[f"low_{axis}"] = float(model.aabb[0, k])
        host[f"unit_{axis}"] = float(model.unit[k])
    return EncodedScene(image.assemble(words, host, sections), table)


def _check_structure(model: TensorfModel, config: AcceleratorConfig) -> None:
    require(
        model.shading == config.shading,
        "shading",
        f"{config.shading}, as configuration {config.name} has it",
        model.shading,
    )
    for kind, components in (("density", model.density_components), ("app", model.app_components)):
        limit = COMPONENTS * GROUPS["density" if kind == "density" else "appearance"]
        require(max(components) <= limit, f"{kind} components", f"at most {limit} a pair", components)
    shapes = (model.basis.shape[0], *(tuple(weight.shape) for weight, _ in model.mlp))
    expected = (LAYERS[0][1], *((outputs, inputs) for inputs, outputs in LAYERS[1:]))
    require(shapes == expected, "network", f"27 features and layers {expected[1:]}", shapes)
    require(
        (model.view_bands, model.feature_bands) == (2, 2),
        "encoding bands",
        "2 and 2",
        (model.view_bands, model.feature_bands),
    )
    require(model.step_ratio <= 4, "step_ratio", "at most 4", model.step_ratio)


# ---- Occupancy ----


def mask_map(model: TensorfModel) -> tuple[list[int], list[int]]:
    """Return per axis (scale, offset): mask cell = ((position * scale >> 24) + offset) >> 16, zero border included."""
    box, vertices = model.mask_aabb.double(), _mask_vertices(model)
    per_world = [(vertices[k] - 1) / float(box[1, k] - box[0, k]) for k in range(3)]
    scale = [float(model.unit[k]) * per_world[k] for k in range(3)]
    offset = [float(model.aabb[0, k] - box[0, k]) * per_world[k] + 1 for k in range(3)]
    return (
        [round(value * 2**MASK_SCALE.fraction) for value in scale],
        [math.floor(value * 2**MASK_OFFSET.fraction + 0.5) for value in offset],
    )


def _mask_vertices(model: TensorfModel) -> tuple[int, int, int]:
    return (2, 2, 2) if model.mask is None else tuple(reversed(model.mask.shape))


def _mask_cells(model: TensorfModel) -> np.ndarray:
    """Occupied cells of the mask with a border of zero vertices: bool (Z + 1, Y + 1, X + 1)."""
    vertices = np.ones((2, 2, 2), bool) if model.mask is None else model.mask
    cells = np.pad(vertices, 2 if model.mask is None else 1)
    for axis in range(3):
        low, high = [slice(None)] * 3, [slice(None)] * 3
        low[axis], high[axis] = slice(None, -1), slice(1, None)
        cells = cells[tuple(low)] | cells[tuple(high)]
    if model.mask is None:
        cells = np.ones((3, 3, 3), bool)
    return cells


def _mask_windows(model: TensorfModel) -> tuple[list[np.ndarray], dict[tuple[int, int, int], tuple[int, int, int]]]:
    """Return the mask windows of the live cubes and, by cube (x, y, z) in row order, their bases."""
    cells = _mask_cells(model)
    require(
        max(cells.shape) <= 1 << image.MASK_CELL_BITS,
        "mask",
        f"at most {(1 << image.MASK_CELL_BITS) - 1} vertices a side",
        cells.shape,
    )
    scale, offset = mask_map(model)
    spans = []
    for k in range(3):
        span = []
        for cube in range(image.cubes_of(model.grid_size)[k]):
            low, high = (position << POSITION.fraction for position in (cube * CUBE, (cube + 1) * CUBE))
            high = min(high - 1, model.grid_size[k] - 1 << POSITION.fraction)
            first, last = (
                ((u * scale[k] >> MASK_SCALE.fraction) + offset[k]) >> MASK_OFFSET.fraction for u in (low, high)
            )
            require(
                last - first < MASK_WINDOW,
                "mask grid",
                "at most 1.25 times as fine as the factor grid",
                scale[k] / 2**MASK_SCALE.fraction,
            )
            span.append((min(max(first, 0), cells.shape[2 - k]), last))
        spans.append(span)
    windows, bases = [], {}
    for z, (z_first, z_last) in enumerate(spans[2]):
        for y, (y_first, y_last) in enumerate(spans[1]):
            slab = cells[z_first : z_last + 1, y_first : y_last + 1]
            if not slab.any():
                continue
            for x, (x_first, x_last) in enumerate(spans[0]):
                part = slab[:, :, x_first : x_last + 1]
                if part.any():
                    window = np.zeros((MASK_WINDOW,) * 3, bool)
                    window[tuple(slice(n) for n in part.shape)] = part
                    windows.append(window)
                    bases[x, y, z] = (x_first, y_first, z_first)
    return windows, bases


def _record(window: np.ndarray, base: tuple[int, int, int]) -> bytes:
    return image.pack_record(window, base).to_bytes(image.RECORD_BYTES, "little")


def _rows(live: dict, grid: tuple[int, int, int]) -> bytes:
    cubes = image.cubes_of(grid)
    bits = np.zeros((cubes[2], cubes[1]), object)
    for x, y, z in live:
        bits[z, y] |= 1 << x
    rows, rank = bytearray(), 0
    for row in bits.reshape(-1):
        rows += image.pack_row(int(row), rank).to_bytes(image.BEAT, "little")
        rank += int(row).bit_count()
    return bytes(rows)


def _shadow(live: dict, grid: tuple[int, int, int], axes: tuple[int, ...]) -> np.ndarray:
    """Factor positions along the axes that a live cube reads: bool, one dimension an axis."""
    shadow = np.zeros([grid[axis] for axis in axes], bool)
    for cube in {tuple(cube[axis] for axis in axes) for cube in live}:
        shadow[tuple(slice(CUBE * c, CUBE * c + CUBE + 1) for c in cube)] = True
    return shadow


# ---- Factors ----


def quantise_factors(
    planes: list[torch.Tensor], lines: list[torch.Tensor], components: int
) -> tuple[list[np.ndarray], list[np.ndarray], float]:
    """Quantise three plane and line pairs to 8 bits.

    Parameters
    ----------
    planes : three tensors (C, N[second], N[first])
    lines : three tensors (C, N)
    components : int
        Components to pad to with zeros.

    Returns
    -------
    planes : three int arrays (N[second], N[first], components)
    lines : three int arrays (N, components)
    scale : float
        Real value of a product of 1 and 1, the same for all pairs.
    """
    scales = factor_scales(planes, lines)
    quantised_planes, quantised_lines = [], []
    for plane, line, (plane_scale, line_scale) in zip(planes, lines, scales, strict=True):
        quantised_planes.append(_quantise(plane, plane_scale, components))
        quantised_lines.append(_quantise(line, line_scale, components))
    return quantised_planes, quantised_lines, math.prod(scales[0])


def factor_scales(
    planes: list[torch.Tensor], lines: list[torch.Tensor], bits: int = FACTOR.width
) -> list[tuple[float, float]]:
    """Real value of 1 in each plane and its line at a width, in bits; their product is the same for all pairs."""
    high = (1 << bits - 1) - 1
    largest = [
        (float(plane.abs().max()) or 1.0, float(line.abs().max()) or 1.0)
        for plane, line in zip(planes, lines, strict=True)
    ]
    product = max(plane * line for plane, line in largest) / high**2
    return [(plane / high, product / (plane / high)) for plane, _ in largest]


def _quantise(tensor: torch.Tensor, scale: float, components: int) -> np.ndarray:
    values = np.floor(tensor.double().numpy() / scale + 0.5)
    values = np.clip(values, -FACTOR.high, FACTOR.high).astype(np.int64)
    values = np.moveaxis(values, 0, -1)
    return np.pad(values, [(0, 0)] * (values.ndim - 1) + [(0, components - values.shape[-1])])


def _plane_blocks(plane: np.ndarray) -> np.ndarray:
    """Cut a plane (second, first, components) into blocks (n, 16 positions, 16 components)."""
    padded = np.pad(plane, [(0, -size % CUBE) for size in plane.shape[:2]] + [(0, 0)])
    second, first, components = padded.shape
    cut = padded.reshape(second // CUBE, CUBE, first // CUBE, CUBE, components // COMPONENTS, COMPONENTS)
    return cut.transpose(0, 2, 4, 1, 3, 5).reshape(-1, blocks.POSITIONS, COMPONENTS)


def _line_blocks(line: np.ndarray) -> np.ndarray:
    """Cut a line (positions, components) into blocks (n, 16 positions, 16 components)."""
    padded = np.pad(line, [(0, -len(line) % blocks.POSITIONS), (0, 0)])
    cut = padded.reshape(-1, blocks.POSITIONS, padded.shape[1] // COMPONENTS, COMPONENTS)
    return cut.transpose(0, 2, 1, 3).reshape(-1, blocks.POSITIONS, COMPONENTS)


class _Payload:
    """The payload section while it grows."""

    def __init__(self) -> None:
        self.data = bytearray()

    def add(self, content: bytes) -> int:
        """Append a payload where it crosses no page; return its pointer."""
        if not content:
            return 0
        start = len(self.data) + -len(self.data) % blocks.POINTER_UNIT
        if start % image.PAGE + len(content) > image.PAGE:
            start += -start % image.PAGE
        self.data += bytes(start - len(self.data)) + content
        return start // blocks.POINTER_UNIT


def _encode_block(block: np.ndarray, form: Form | None) -> tuple[blocks.Header, bytes]:
    if form == Form.COORDINATE and np.count_nonzero(block) > blocks.COORDINATE_LIMIT:
        form = Form.DENSE
    if form == Form.DENSE:
        return blocks.Header(0, (1 << blocks.POSITIONS) - 1, block.size, form), block.tobytes()
    return blocks.encode(block, form)


def _encode_blocks(cut: np.ndarray, payload: _Payload, form: Form | None) -> tuple[bytes, dict[str, int]]:
    """Encode blocks, all in one form or each in its smallest; return their headers and the row of the size table."""
    packed = bytearray()
    row = {"values": cut.size, "nonzeros": int(np.count_nonzero(cut)), "blocks": len(cut)}
    chosen = dict.fromkeys(Form, 0)
    body = 0
    for block in cut.astype(np.int8):
        header, content = _encode_block(block, form)
        chosen[header.form] += bool(content)
        body += len(content)
        header = blocks.Header(payload.add(content), header.mask, header.count, header.form)
        packed += blocks.pack_header(header).to_bytes(blocks.HEADER_BYTES, "little")
    row |= {f"{form.name.lower()}_blocks": count for form, count in chosen.items()}
    row["dense_bytes"] = cut.size
    row["bitmap_bytes"] = cut.size // 8 + row["nonzeros"] + len(packed)
    row["coordinate_bytes"] = 2 * row["nonzeros"] + len(packed)
    row["hybrid_bytes"] = body + len(packed)
    return bytes(packed), row


# ---- Tables ----


def _density_words(model: TensorfModel, scale: float) -> dict[str, int]:
    """Multiplier and offset that turn the integer density sum into an alpha table position."""
    entries = 1 << ALPHA_STEP_BITS
    multiplier = round(scale * entries * 2.0 ** (FRACTION_BITS - PRODUCT.fraction + DENSITY_MULTIPLIER.fraction))
    require(
        0 < multiplier <= DENSITY_MULTIPLIER.high, "density factors", "of products up to 2000", scale * FACTOR.high**2
    )
    offset = -round(_alpha_start(model) * entries * (1 << FRACTION_BITS))
    return {"density_multiplier": multiplier, "density_offset": offset}


def _alpha_start(model: TensorfModel) -> float:
    """Density feature at the alpha table's first entry."""
    shift = model.density_shift if model.density_activation == "softplus" else 0.0
    return -ALPHA_BELOW - shift


def _alpha_table(model: TensorfModel) -> bytes:
    """Alpha at each table knot and its difference to the next: alpha = 1 - exp(-activation(s) * step * scale)."""
    knots = _alpha_start(model) + np.arange(ALPHA_ENTRIES + 1) / (1 << ALPHA_STEP_BITS)
    if model.density_activation == "softplus":
        sigma = np.logaddexp(0.0, knots + model.density_shift)
    else:
        sigma = np.maximum(knots, 0.0)
    alpha = np.floor(-np.expm1(-sigma * model.step * model.distance_scale) * (1 << UNIT) + 0.5).astype(np.uint64)
    return (alpha[:-1] | np.diff(alpha) << np.uint64(32)).astype("<u8").tobytes()


def _calibrate(model: TensorfModel) -> dict[str, float]:
    """Largest magnitude of the features and the hidden activations at random occupied points."""
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        points = model.aabb[0] + torch.rand(16 * CALIBRATION_POINTS, 3, generator=generator) * model.extent
        points = points[model.occupied(points)]
        sigma = model.density(model.density_feature(model.normalise(points)))
        dense = points[sigma * model.step * model.distance_scale > 1e-2]
        points = (dense if len(dense) >= 64 else points)[:CALIBRATION_POINTS]
        if len(points) == 0:
            points = model.aabb.mean(dim=0, keepdim=True)
        direction = torch.nn.functional.normalize(torch.randn(len(points), 3, generator=generator), dim=1)
        feature = model.app_feature(model.normalise(points))
        seen = {"feature": float(feature.abs().max())}
        layers = model.mlp
        hidden = _network_input(model, feature, direction)
        for index, (weight, bias) in enumerate(layers[:-1]):
            hidden = torch.relu(hidden @ weight.T + bias)
            seen[f"hidden_{index}"] = float(hidden.max())
    return {name: max(value, 1e-3) for name, value in seen.items()}


def _network_input(model: TensorfModel, feature: torch.Tensor, direction: torch.Tensor) -> torch.Tensor:
    encoded = [encode_frequencies(feature, model.feature_bands), encode_frequencies(direction, model.view_bands)]
    return torch.cat([feature, direction, *encoded], dim=1)


def _tables(model: TensorfModel, config: AcceleratorConfig, product_scale: float) -> tuple[bytes, dict[str, int]]:
    """Requantisation entries and weight rows of the four layers, and the header words that go with them."""
    seen = _calibrate(model)
    feature_fraction = math.floor(math.log2(ACTIVATION.high / (HEADROOM * max(seen["feature"], 1.0))))
    feature_fraction = min(max(feature_fraction, SINE_FRACTION - 7), SINE_FRACTION)
    input_scale = 2.0**-feature_fraction
    hidden = [HEADROOM * seen[f"hidden_{index}"] / ACTIVATION.high for index in range(2)]
    in_scales = (product_scale, input_scale, *hidden)
    out_scales = (input_scale, *hidden, 16 / SIGMOID_ENTRIES)

    basis = _pad_basis(model)
    layers = [(basis, np.zeros(len(basis)))] + [(w.double().numpy(), b.double().numpy()) for w, b in model.mlp]
    quantised, entries = [], []
    for (weight, bias), in_scale, out_scale in zip(layers, in_scales, out_scales, strict=True):
        row_scale = np.maximum(np.abs(weight).max(axis=1), 1e-12) / WEIGHT.high
        quantised.append(np.floor(weight / row_scale[:, None] + 0.5).astype(np.int8))
        fields = [_requantisation(b, in_scale * s, out_scale) for b, s in zip(bias, row_scale, strict=True)]
        entries.append(np.array(fields, image.ENTRY).view("<u8"))
    table = image.pack_network(config.stages, quantised, entries)
    phase = round(2.0 ** (PHASE_SHIFT - feature_fraction) * SINE_ENTRIES / (2 * math.pi))
    return table, {"phase_multiplier": phase, "sine_shift": SINE_FRACTION - feature_fraction}


def _pad_basis(model: TensorfModel) -> np.ndarray:
    """Basis (27, 144): columns of absent components are zero."""
    parts, start = [], 0
    for components in model.app_components:
        part = model.basis[:, start : start + components].double().numpy()
        parts.append(np.pad(part, [(0, 0), (0, COMPONENTS * GROUPS["appearance"] - components)]))
        start += components
    return np.concatenate(parts, axis=1)


def _requantisation(bias: float, accumulator_scale: float, out_scale: float) -> tuple[int, int, int]:
    """Return the fields of an `image.ENTRY`."""
    integer_bias = math.floor(bias / accumulator_scale + 0.5)
    require(abs(integer_bias) < 1 << 30, "network bias", "comparable with its layer's weights", bias)
    factor = accumulator_scale / out_scale
    shift = 15 - math.floor(math.log2(factor))
    if shift > 47:
        shift, multiplier = 1, 0
    else:
        require(shift >= 1, "network weights", "of a usual range", factor)
        multiplier = min(math.floor(factor * 2.0**shift + 0.5), MULTIPLIER.high)
    return integer_bias, multiplier, shift
