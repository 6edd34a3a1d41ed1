"""A trained TensoRF (class TensorVMSplit) and how it is evaluated.

Source: Chen et al., "TensoRF: Tensorial Radiance Fields", ECCV 2022; arithmetic order as in the
authors' program, so that float32 results agree to rounding.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch.nn import functional

from nerf.contract.network import NetworkSize
from nerf.contract.scene_image import FORWARD_FACING
from rtnerf.base.errors import InputError, require

PLANE_AXES = ((0, 1), (0, 2), (1, 2))
"""First and second axis (0 = x, 1 = y, 2 = z) of each factor plane."""

LINE_AXES = (2, 1, 0)
"""Axis of the factor line that belongs to each plane."""


def encode_frequencies(values: torch.Tensor, bands: int) -> torch.Tensor:
    """Sines, then cosines, of ``values * 2^level``, all levels of a channel side by side.

    Parameters: ``values`` (n, channels) in radians; ``bands`` number of levels, 0 or more.
    Returns (n, 2 * channels * bands).
    """
    scales = 2.0 ** torch.arange(bands, dtype=values.dtype, device=values.device)
    angles = (values[:, :, None] * scales).flatten(1)
    return torch.cat([torch.sin(angles), torch.cos(angles)], dim=1)


def harmonics(direction: torch.Tensor) -> torch.Tensor:
    """The nine real spherical harmonics up to degree 2, signs as in the authors' program.

    Parameters: ``direction`` (n, 3), unit vectors. Returns (n, 9): degree 0, then the three of 1, then the five of 2.
    """
    x, y, z = direction.unbind(dim=1)
    return torch.stack(
        [
            math.sqrt(1 / 4 / math.pi) * torch.ones_like(x),
            *(math.sqrt(3 / 4 / math.pi) * one for one in (-y, z, -x)),
            *(math.sqrt(15 / 4 / math.pi) * two for two in (x * y, -y * z)),
            math.sqrt(5 / 16 / math.pi) * (2 * z * z - x * x - y * y),
            -math.sqrt(15 / 4 / math.pi) * x * z,
            math.sqrt(15 / 16 / math.pi) * (x * x - y * y),
        ],
        dim=1,
    )


HARMONICS = 9
"""What `harmonics` gives."""

COLOURS = {"network": None, "harmonics": 3 * HARMONICS, "features": 3}
"""What makes a colour of features, and how many of them it takes; None: any number."""

MOST_SAMPLES = 65536
"""Of a ray: what the accelerator's registers hold."""
MOST_DISTANCE_SCALE = 1e6
_BY_THE_OTHERS: Any = None
"""A field that is not given follows from the others."""


@dataclass(eq=False)
class TensorfModel:
    """The tensors and constants of a TensoRF radiance field. All tensors are float32, on one device.

    Lengths are in scene units. Axis order is x, y, z wherever three values stand together.

    Parameters
    ----------
    aabb : tensor (2, 3)
        Lower and upper corner of the box that the factors span.
    density_planes, density_lines : three tensors (C, N[second axis], N[first axis]); three (C, N)
        Density factors; axes as in :data:`PLANE_AXES` and :data:`LINE_AXES`.
    app_planes, app_lines
        The same for appearance.
    basis : tensor (features, sum of the appearance components)
        Appearance basis, without bias.
    mlp : three pairs (weight (outputs, inputs), bias (outputs,))
        Shading network: ReLU, ReLU, sigmoid. Empty where ``colour`` is another.
    mask : bool array (Z, Y, X) or None
        Occupancy at the vertices of a grid of its own; None = everything is occupied.
    mask_aabb : tensor (2, 3)
        Box that the vertices of ``mask`` span; equal to ``aabb`` where there is no mask.
    density_shift : float
        Added to the density feature before the activation.
    distance_scale : float
        Factor on the sample distance inside alpha.
    step_ratio : float
        Sample distance in units of the mean voxel edge, above 0.
    near, far : float
        Range that the distance of the first sample is clamped to.
    shading_threshold : float
        A sample is shaded only where its weight is above this.
    density_activation : {"softplus", "relu"}
    view_bands, feature_bands : int
        Frequency levels of the encoded direction and of the encoded features.
    shading : {"sample", "deferred"}
        Whether basis and network see every shaded sample, or once the mean appearance products of a
        ray's shaded samples, weighted as they are composited.
    colour : {"network", "harmonics", "features"}
        What makes a colour of the features: the network; spherical harmonics, nine features a channel, plus 1/2, never
        below 0; or nothing: three features are the colour.

    Raises
    ------
    InputError
        A shape or a value that contradicts the rest; the message names the tensor.
    """

    aabb: torch.Tensor
    density_planes: list[torch.Tensor]
    density_lines: list[torch.Tensor]
    app_planes: list[torch.Tensor]
    app_lines: list[torch.Tensor]
    basis: torch.Tensor
    mlp: list[tuple[torch.Tensor, torch.Tensor]]
    mask: np.ndarray | None = None
    mask_aabb: torch.Tensor = _BY_THE_OTHERS
    density_shift: float = -10.0
    distance_scale: float = 25.0
    step_ratio: float = 0.5
    near: float = 2.0
    far: float = 6.0
    shading_threshold: float = 1e-4
    density_activation: str = "softplus"
    view_bands: int = 2
    feature_bands: int = 2
    shading: str = "sample"
    colour: str = "network"

    def __post_init__(self) -> None:
        if self.mask_aabb is None:
            self.mask_aabb = self.aabb
        self.check()

    # ---- Place and sizes ----

    @property
    def device(self) -> torch.device:
        """Where the tensors are; the mask, an array, stays in main memory."""
        return self.aabb.device

    def to(self, device: torch.device | str) -> TensorfModel:
        """The model with its tensors on another device."""

        def moved(tensors: Sequence[torch.Tensor]) -> list[torch.Tensor]:
            return [tensor.to(device) for tensor in tensors]

        return replace(
            self,
            aabb=self.aabb.to(device),
            density_planes=moved(self.density_planes),
            density_lines=moved(self.density_lines),
            app_planes=moved(self.app_planes),
            app_lines=moved(self.app_lines),
            basis=self.basis.to(device),
            mlp=[(weight.to(device), bias.to(device)) for weight, bias in self.mlp],
            mask_aabb=self.mask_aabb.to(device),
        )

    @property
    def grid_size(self) -> tuple[int, int, int]:
        """Vertices of the factor grid along x, y, z."""
        x, y, z = (self.density_lines[LINE_AXES.index(axis)].shape[1] for axis in range(3))
        return x, y, z

    @property
    def density_components(self) -> tuple[int, int, int]:
        """Density components of each plane and line pair."""
        one, two, three = (plane.shape[0] for plane in self.density_planes)
        return one, two, three

    @property
    def app_components(self) -> tuple[int, int, int]:
        """Appearance components of each plane and line pair."""
        one, two, three = (plane.shape[0] for plane in self.app_planes)
        return one, two, three

    @property
    def network(self) -> NetworkSize:
        """Sizes of basis and MLP; without an MLP, InputError."""
        if self.colour != "network":
            raise InputError(f"colour must be made by a network, not {self.colour}")
        hidden = self.mlp[0][0].shape[0]
        return NetworkSize(self.basis.shape[0], hidden, self.feature_bands, self.view_bands, max(self.app_components))

    @property
    def extent(self) -> torch.Tensor:
        """Edge lengths of the box, float32 (3,)."""
        return self.aabb[1] - self.aabb[0]

    @property
    def unit(self) -> torch.Tensor:
        """Distance between neighbouring grid vertices, float32 (3,)."""
        return self.extent / (torch.tensor(self.grid_size, device=self.device) - 1)

    @property
    def step(self) -> float:
        """Distance between the samples of a ray (a float32 value)."""
        return float(self.unit.mean() * self.step_ratio)

    @property
    def sample_count(self) -> int:
        """Samples of every ray: enough to cross the box along its diagonal."""
        diagonal = torch.sqrt(torch.sum(torch.square(self.extent)))
        return int((diagonal / (self.unit.mean() * self.step_ratio)).item()) + 1

    @property
    def sample_distance(self) -> float:
        """Distance between samples inside alpha; of a forward-facing model, on the shortest of its rays."""
        return 2 / (self.sample_count - 1) if self.forward_facing else self.step

    @property
    def forward_facing(self) -> bool:
        """Whether the box is in normalised device coordinates; the original program's mark is this range."""
        return (self.near, self.far) == (0, 1)

    def refuse_forward_facing(self, where: str) -> None:
        """Raise InputError for a forward-facing model; ``where``: the place whose rays are those of the world."""
        require(not self.forward_facing, "model", f"in coordinates of the world {where}", FORWARD_FACING)

    # ---- Evaluation ----

    def normalise(self, points: torch.Tensor) -> torch.Tensor:
        """Map points of the box, (n, 3) in scene units, to [-1, 1] on each axis."""
        return (points - self.aabb[0]) * (2.0 / self.extent) - 1

    def inside(self, points: torch.Tensor) -> torch.Tensor:
        """Tell which points (..., 3) lie in the box, its faces included. Returns bool (...)."""
        return ~((self.aabb[0] > points) | (points > self.aabb[1])).any(dim=-1)

    def occupied(self, points: torch.Tensor) -> torch.Tensor:
        """Tell where the trilinear interpolation of the mask is above 0.

        Outside ``mask_aabb`` the mask counts as 0; without a mask every point is occupied.
        Parameters: ``points`` (n, 3) in scene units. Returns bool (n,).
        """
        if self.mask is None:
            return torch.ones(len(points), dtype=torch.bool, device=points.device)
        extent = self.mask_aabb[1] - self.mask_aabb[0]
        normalised = (points - self.mask_aabb[0]) * (1.0 / extent * 2) - 1
        volume = torch.from_numpy(self.mask.astype(np.float32)).to(points.device)[None, None]
        values = functional.grid_sample(volume, normalised.view(1, -1, 1, 1, 3), align_corners=True)
        return values.view(-1) > 0

    def density_feature(self, normalised: torch.Tensor) -> torch.Tensor:
        """Sum of plane times line over all density components, before the activation.

        Parameters: ``normalised`` (n, 3) in [-1, 1]. Returns (n,).
        """
        total = torch.zeros(len(normalised), device=normalised.device)
        for products in factor_products(self.density_planes, self.density_lines, normalised):
            total = total + products.sum(dim=0)
        return total

    def density(self, feature: torch.Tensor) -> torch.Tensor:
        """Activate density features (any shape). Returns densities of that shape, 0 or more."""
        if self.density_activation == "softplus":
            return functional.softplus(feature + self.density_shift)
        return functional.relu(feature)

    def app_products(self, normalised: torch.Tensor) -> torch.Tensor:
        """Appearance products, pair-major.

        Parameters: ``normalised`` (n, 3) in [-1, 1]. Returns (n, sum of the appearance components).
        """
        return torch.cat(factor_products(self.app_planes, self.app_lines, normalised)).T

    def app_feature(self, normalised: torch.Tensor) -> torch.Tensor:
        """Appearance features: all products times the basis.

        Parameters: ``normalised`` (n, 3) in [-1, 1]. Returns (n, features).
        """
        return functional.linear(self.app_products(normalised), self.basis)

    def shade(self, feature: torch.Tensor, direction: torch.Tensor) -> torch.Tensor:
        """Colour of samples.

        Parameters: ``feature`` (n, features); ``direction`` (n, 3) unit view directions.
        Returns RGB (n, 3): in 0..1 of a network, 0 or more of harmonics, anything of features.
        """
        if self.colour == "features":
            return feature
        if self.colour == "harmonics":
            terms = harmonics(direction)[:, None, :] * feature.view(-1, 3, HARMONICS)
            return functional.relu(terms.sum(dim=2) + 0.5)
        parts = [feature, direction]
        if self.feature_bands:
            parts.append(encode_frequencies(feature, self.feature_bands))
        if self.view_bands:
            parts.append(encode_frequencies(direction, self.view_bands))
        hidden = torch.cat(parts, dim=1)
        for weight, bias in self.mlp[:-1]:
            hidden = functional.relu(functional.linear(hidden, weight, bias))
        weight, bias = self.mlp[-1]
        return torch.sigmoid(functional.linear(hidden, weight, bias))

    # ---- Rules ----

    def named_tensors(self) -> dict[str, torch.Tensor]:
        """Every trained tensor under a name such as ``density_planes.0`` or ``mlp.2.bias``."""
        named = {}
        for group in ("density_planes", "density_lines", "app_planes", "app_lines"):
            for pair, tensor in enumerate(getattr(self, group)):
                named[f"{group}.{pair}"] = tensor
        named["basis"] = self.basis
        for layer, (weight, bias) in enumerate(self.mlp):
            named[f"mlp.{layer}.weight"] = weight
            named[f"mlp.{layer}.bias"] = bias
        return named

    def check(self) -> None:
        """Check every shape and value against the rest.

        Raises :class:`rtnerf.base.errors.InputError`, whose message names the first tensor at fault.
        """
        self._check_boxes()
        self._check_constants()
        self._check_factors()
        self._check_step()
        self._check_network()
        for name, tensor in self.named_tensors().items():
            if not bool(torch.isfinite(tensor).all()):
                raise InputError(f"{name} must be finite, not {_first_bad(tensor)}")

    def _check_boxes(self) -> None:
        for name in ("aabb", "mask_aabb"):
            box = getattr(self, name)
            if tuple(box.shape) != (2, 3):
                raise InputError(f"{name} must be of shape (2, 3), not {tuple(box.shape)}")
            if not bool(torch.isfinite(box).all() and (box[1] > box[0]).all()):
                corners = " ".join(f"{value:g}" for value in box.flatten().tolist())
                raise InputError(f"{name} must be a finite box of positive size, not {corners}")
        if self.mask is not None and (self.mask.ndim != 3 or min(self.mask.shape) < 1):
            raise InputError(f"mask must be of shape (Z, Y, X), not {self.mask.shape}")

    def _check_constants(self) -> None:
        for name in ("density_shift", "distance_scale", "near", "far", "shading_threshold"):
            if not math.isfinite(getattr(self, name)):
                raise InputError(f"{name} must be finite, not {getattr(self, name)}")
        if not 0 < self.distance_scale <= MOST_DISTANCE_SCALE:
            rule = f"above 0 and at most {MOST_DISTANCE_SCALE:g}"
            raise InputError(f"distance_scale must be {rule}, not {self.distance_scale:g}")
        if not 0 <= self.shading_threshold <= 1:
            raise InputError(f"shading_threshold must be from 0 to 1, not {self.shading_threshold:g}")
        if not (math.isfinite(self.step_ratio) and self.step_ratio > 0):
            raise InputError(f"step_ratio must be above 0, not {self.step_ratio}")
        if self.near < 0:
            raise InputError(f"near must be 0 or more, not {self.near:g}")
        if self.near > self.far:
            raise InputError(f"near must be at most far ({self.far:g}), not {self.near:g}")
        if self.density_activation not in ("softplus", "relu"):
            rule = "'softplus' or 'relu'"
            raise InputError(f"density_activation must be {rule}, not {self.density_activation!r}")
        if self.shading not in ("sample", "deferred"):
            raise InputError(f"shading must be 'sample' or 'deferred', not {self.shading!r}")
        if self.shading == "deferred":
            self.refuse_forward_facing("for deferred shading")
        for name in ("view_bands", "feature_bands"):
            if getattr(self, name) < 0:
                raise InputError(f"{name} must be 0 or more, not {getattr(self, name)}")

    def _check_factors(self) -> None:
        for group in ("density", "app"):
            planes, lines = getattr(self, f"{group}_planes"), getattr(self, f"{group}_lines")
            if len(planes) != 3 or len(lines) != 3:
                raise InputError(f"{group}_planes must be three planes, not {len(planes)}")
            for line in lines:
                if line.ndim != 2:
                    raise InputError(f"{group}_lines must be of shape (C, N), not {_shape(line)}")
        size = self.grid_size
        if min(size) < 2:
            raise InputError(f"grid_size must be at least 2 on each axis, not {size}")
        for group in ("density", "app"):
            planes, lines = getattr(self, f"{group}_planes"), getattr(self, f"{group}_lines")
            for pair, (first, second) in enumerate(PLANE_AXES):
                components = lines[pair].shape[0]
                _expect(f"{group}_lines.{pair}", lines[pair], (components, size[LINE_AXES[pair]]))
                _expect(f"{group}_planes.{pair}", planes[pair], (components, size[second], size[first]))

    def _check_step(self) -> None:
        diagonal = float(torch.linalg.vector_norm(self.extent))
        if not diagonal < (MOST_SAMPLES - 1) * self.step:
            rule = f"large enough for at most {MOST_SAMPLES} samples a ray"
            raise InputError(f"step_ratio must be {rule}, not {self.step_ratio:g}")

    def _check_network(self) -> None:
        features = self.basis.shape[0] if self.basis.ndim == 2 else 0
        _expect("basis", self.basis, (features, sum(self.app_components)))
        if self.colour not in COLOURS:
            raise InputError(f"colour must be one of {', '.join(COLOURS)}, not {self.colour!r}")
        if (wanted := COLOURS[self.colour]) is not None:
            if features != wanted:
                raise InputError(f"basis must have {wanted} features for colour {self.colour}, not {features}")
            if self.mlp:
                raise InputError(f"mlp must be empty for colour {self.colour}, not of {len(self.mlp)} layers")
            return
        if len(self.mlp) != 3:
            raise InputError(f"mlp must be three layers, not {len(self.mlp)}")
        inputs = features * (1 + 2 * self.feature_bands) + 3 * (1 + 2 * self.view_bands)
        for layer, (weight, bias) in enumerate(self.mlp):
            outputs = 3 if layer == 2 else len(bias)
            _expect(f"mlp.{layer}.weight", weight, (outputs, inputs))
            _expect(f"mlp.{layer}.bias", bias, (outputs,))
            inputs = outputs


def factor_products(
    planes: list[torch.Tensor], lines: list[torch.Tensor], normalised: torch.Tensor
) -> list[torch.Tensor]:
    """Interpolated plane times interpolated line, pair by pair.

    Parameters: three ``planes`` (C, N, N), three ``lines`` (C, N), ``normalised`` (n, 3) in [-1, 1].
    Returns three tensors (C, n). Bilinear, corners aligned, zero outside.
    """
    products = []
    for plane, line, axes, axis in zip(planes, lines, PLANE_AXES, LINE_AXES, strict=True):
        at_plane = normalised[:, axes].view(1, -1, 1, 2)
        position = normalised[:, axis]
        at_line = torch.stack([torch.zeros_like(position), position], dim=1).view(1, -1, 1, 2)
        sampled_plane = functional.grid_sample(plane[None], at_plane, align_corners=True)
        sampled_line = functional.grid_sample(line[None, :, :, None], at_line, align_corners=True)
        products.append(sampled_plane[0, :, :, 0] * sampled_line[0, :, :, 0])
    return products


def _shape(tensor: torch.Tensor) -> tuple[int, ...]:
    return tuple(tensor.shape)


def _expect(name: str, tensor: torch.Tensor, shape: tuple[int, ...]) -> None:
    if _shape(tensor) != shape:
        raise InputError(f"{name} must be of shape {shape}, not {_shape(tensor)}")


def _first_bad(tensor: torch.Tensor) -> float:
    return float(tensor[~torch.isfinite(tensor)][0])
