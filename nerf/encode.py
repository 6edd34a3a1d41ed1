"""From a trained TensoRF to the accelerator's scene image: quantisation, occupancy, hybrid sparse blocks.

Factors get one 8-bit scale for each plane and line, chosen so that plane scale times line scale is the same for the
three pairs: products of all pairs add as integers. Basis and MLP weights are 8-bit with one scale an output;
the scales of the activations come from evaluating the model at random occupied points (a fixed seed).
Factor positions that no live cube reads are stored as zeros, and those that no occupied point reads do not count for
the scales: neither changes a picture. `nerf.quantise` deals with outliers that are read.
"""

import json
import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
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
    MULTIPLIER,
    PHASE_SHIFT,
    PLAIN_COLOUR,
    PRODUCT,
    SIGMOID_STEP,
    SINE_ENTRIES,
    SINE_FRACTION,
    STEP,
    UNIT,
    WEIGHT,
)
from nerf.contract.scene_image import PAIRS, Scene
from nerf.exchange import axis_to_exchange, exchanged
from nerf.model import TensorfModel
from nerf.occupancy import mask_map, mask_windows, pack_rows, read_cells, shadow
from nerf.quantise import occupied_points, quantise_factors, without_outliers
from nerf.refine import for_its_mask
from nerf.widen import Network, fitted
from rtnerf.base.errors import require

CALIBRATION_POINTS = 8192
HEADROOM = 1.25
"""Largest activation that fits, over the largest seen at the calibration points; beyond it the value saturates."""
IMAGE_FIELDS = (
    "density_components", "appearance_components", "features", "hidden", "feature_bands", "view_bands", "colours",
    "mlp_lanes", "shading",
)  # fmt: skip
"""Fields of a configuration that its images depend on, apart from the digest."""


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
        The model has another structure than the hardware (more components a pair or a larger network than the
        configuration), its grid is too large, or a constant does not fit its
        register.
    """
    _check_structure(model, config)
    other = axis_to_exchange(model.grid_size)
    model = exchanged(model, other)
    network = fitted(model, config.network)
    image.check_grid(model.grid_size)
    samples, distance = (model.step, model.sample_count), model.sample_distance * model.distance_scale
    model = for_its_mask(model)
    windows, bases = mask_windows(model)
    model = without_outliers(model, read_cells(model))
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
            getattr(model, f"{name}_planes"), getattr(model, f"{name}_lines"), config.groups[kind] * COMPONENTS
        )
        for pair, (first, second, line) in enumerate(PAIRS):
            plane = planes[pair] * shadow(bases, model.grid_size, (first, second)).T[:, :, None]
            factor = lines[pair] * shadow(bases, model.grid_size, (line,))[:, None]
            for factor_name, cut in (("plane", _plane_blocks(plane)), ("line", _line_blocks(factor))):
                packed, row = _encode_blocks(cut, payload, form)
                headers.append(((f"{kind}_headers", image.header_index(factor_name, pair)), packed))
                table[f"{kind}_{factor_name}_{pair}"] = row
    knots = _knots(model, scales["density"], distance)
    tables, network_words = _tables(model, network, config, scales["appearance"], distance)
    words |= network_words | _density_words(scales["density"], knots) | {"payload_bytes": len(payload.data)}
    sections: list[tuple[str | tuple[str, int] | None, bytes]] = [
        ("rows_offset", pack_rows(bases, model.grid_size)),
        (
            "records_offset",
            b"".join(
                image.pack_record(w, b).to_bytes(image.RECORD_BYTES, "little")
                for w, b in zip(windows, bases.values(), strict=True)
            ),
        ),
        ("tables_offset", _alpha_table(model, knots, distance) + tables),
        *headers,
        ("payload_offset", bytes(payload.data)),
    ]
    host = _host_fields(model, network, samples, other)
    return EncodedScene(image.assemble(words, host, sections), table)


def _host_fields(
    model: TensorfModel, network: Network, samples: tuple[float, int], exchanged_with: int
) -> dict[str, Any]:
    """The host header; ``samples``: distance and count."""
    host: dict[str, Any] = {
        "step": samples[0],
        "near": model.near,
        "far": model.far,
        "shading_threshold": model.shading_threshold,
        "sample_count": samples[1],
        "exchanged": exchanged_with,
        "relu": model.density_activation == "relu",
        **asdict(replace(network.size, components=max(model.app_components))),
    }
    for k, axis in enumerate("xyz"):
        host[f"low_{axis}"] = float(model.aabb[0, k])
        host[f"unit_{axis}"] = float(model.unit[k])
    return host


def required_fields(model: TensorfModel) -> dict[str, int | str]:
    """Return what a configuration needs for a model: fields, and their value or, of a number, the smallest."""
    fields: dict[str, int | str] = {
        "density_components": max(model.density_components) + -max(model.density_components) % COMPONENTS,
        "appearance_components": max(model.app_components) + -max(model.app_components) % COMPONENTS,
        "shading": model.shading,
        "colours": "network" if model.colour == "network" else "plain",
    }
    if model.colour == "network":
        own = model.network
        fields |= {name: getattr(own, name) for name in ("features", "feature_bands", "view_bands")}
        fields["hidden"] = 1 << (own.hidden - 1).bit_length()
    return fields


def _check_structure(model: TensorfModel, config: AcceleratorConfig) -> None:
    lacking = []
    for name, value in required_fields(model).items():
        has = getattr(config, name)
        if (value > has) if isinstance(value, int) else (value != has):
            lacking.append(f"{name} = {json.dumps(value)}")
    rule = f"one with {' and '.join(lacking)}, as the model needs (lines of a TOML file)"
    require(not lacking, "config", rule, config.name)
    cells = model.step / float(model.unit.min())
    require(cells < 1 << STEP.integer, "step", f"below {1 << STEP.integer} cells along each axis", f"{cells:.3g}")


# ---- Factors ----


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


def _density_words(scale: float, knots: tuple[float, float]) -> dict[str, int]:
    """Multiplier and offset that turn the integer density sum into an alpha table position; ``knots``: `_knots`."""
    start, apart = knots
    multiplier = round(scale / apart * 2.0 ** (FRACTION_BITS - PRODUCT.fraction + DENSITY_MULTIPLIER.fraction))
    require(
        0 < multiplier <= DENSITY_MULTIPLIER.high, "density factors", "of products up to 2000", scale * FACTOR.high**2
    )
    return {"density_multiplier": multiplier, "density_offset": -round(start / apart * (1 << FRACTION_BITS))}


def _knots(model: TensorfModel, scale: float, distance: float) -> tuple[float, float]:
    """Density feature at the alpha table's first knot, and between neighbours.

    After softplus the table begins where nothing is left of it. After relu it goes from 0 to where nothing passes, or
    further where the multiplier would not fit.
    """
    if model.density_activation == "softplus":
        return -ALPHA_BELOW - model.density_shift, 1 / (1 << ALPHA_STEP_BITS)
    opaque = UNIT * math.log(2) / distance
    finest = scale * 2.0 ** (FRACTION_BITS - PRODUCT.fraction + DENSITY_MULTIPLIER.fraction) / DENSITY_MULTIPLIER.high
    return 0.0, max(opaque / ALPHA_ENTRIES, finest)


def _alpha_table(model: TensorfModel, knots: tuple[float, float], distance: float) -> bytes:
    """Alpha at each table knot and its difference to the next: alpha = 1 - exp(-activation(s) * distance)."""
    start, apart = knots
    features = start + np.arange(ALPHA_ENTRIES + 1) * apart
    if model.density_activation == "softplus":
        sigma = np.logaddexp(0.0, features + model.density_shift)
    else:
        sigma = np.maximum(features, 0.0)
    alpha = np.floor(-np.expm1(-sigma * distance) * (1 << UNIT) + 0.5).astype(np.uint64)
    return (alpha[:-1] | np.diff(alpha) << np.uint64(32)).astype("<u8").tobytes()


def _calibrate(model: TensorfModel, network: Network, distance: float) -> dict[str, float]:
    """Largest magnitude of the features and the hidden activations at random occupied points."""
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        points = occupied_points(model, 16 * CALIBRATION_POINTS, generator)
        sigma = model.density(model.density_feature(model.normalise(points)))
        dense = points[sigma * distance > 1e-2]
        points = (dense if len(dense) >= 64 else points)[:CALIBRATION_POINTS]
        if len(points) == 0:
            points = model.aabb.mean(dim=0, keepdim=True)
        direction = torch.nn.functional.normalize(torch.randn(len(points), 3, generator=generator), dim=1)
        feature = model.app_products(model.normalise(points)) @ network.basis.T
        seen = {"feature": float(feature.abs().max())}
        hidden = network.inputs(feature, direction)
        for index, (weight, bias) in enumerate(network.mlp[:-1]):
            hidden = torch.relu(hidden @ weight.T + bias)
            seen[f"hidden_{index}"] = float(hidden.max())
    return {name: max(value, 1e-3) for name, value in seen.items()}


def _tables(
    model: TensorfModel, network: Network, config: AcceleratorConfig, product_scale: float, distance: float
) -> tuple[bytes, dict[str, int]]:
    """Requantisation entries and weight rows of the four layers, and the header words that go with them."""
    seen = _calibrate(model, network, distance)
    feature_fraction = math.floor(math.log2(ACTIVATION.high / (HEADROOM * max(seen["feature"], 1.0))))
    feature_fraction = min(max(feature_fraction, SINE_FRACTION - 7), SINE_FRACTION)
    input_scale = 2.0**-feature_fraction
    hidden = [HEADROOM * seen[f"hidden_{index}"] / ACTIVATION.high for index in range(2)]
    in_scales = (product_scale, input_scale, *hidden)
    out_scales = (input_scale, *hidden, 2.0**-PLAIN_COLOUR.fraction if network.size.plain else SIGMOID_STEP)

    basis = _pad_basis(network.basis, model.app_components, config.appearance_components)
    layers = [(basis, np.zeros(len(basis)))] + [(w.double().numpy(), b.double().numpy()) for w, b in network.mlp]
    quantised, entries = [], []
    for (weight, bias), in_scale, out_scale in zip(layers, in_scales, out_scales, strict=True):
        row_scale = np.maximum(np.abs(weight).max(axis=1), 1e-12) / WEIGHT.high
        quantised.append(np.floor(weight / row_scale[:, None] + 0.5).astype(np.int8))
        fields = [_requantisation(b, in_scale * s, out_scale) for b, s in zip(bias, row_scale, strict=True)]
        entries.append(np.array(fields, image.ENTRY).view("<u8"))
    table = image.pack_network(config.stages, quantised, entries)
    phase = round(2.0 ** (PHASE_SHIFT - feature_fraction) * SINE_ENTRIES / (2 * math.pi))
    return table, {"phase_multiplier": phase, "sine_shift": SINE_FRACTION - feature_fraction}


def _pad_basis(basis: torch.Tensor, of_pairs: Sequence[int], most: int) -> np.ndarray:
    """Basis (features, 3 * most): columns of absent components are zero."""
    parts, start = [], 0
    for components in of_pairs:
        part = basis[:, start : start + components].double().numpy()
        parts.append(np.pad(part, [(0, 0), (0, most - components)]))
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
