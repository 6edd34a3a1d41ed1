"""What decides the result of a training run."""

from dataclasses import dataclass

from rtnerf.base.errors import InputError


@dataclass(frozen=True)
class TrainingSettings:
    """Everything that decides the result of a training run.

    Fractions are of ``steps``. Grids have about ``edge ** 3`` voxels, whatever the box's shape.
    Samples are shaded where the weight is above ``shading_threshold``; a trained model shades more of
    them, a fine-tuned one the same. ``frozen`` density keeps its factors and its mask, too.

    Raises :class:`rtnerf.base.errors.InputError` for values out of range.
    """

    steps: int = 3000
    seed: int = 0
    batch_rays: int = 1024
    first_edge: int = 32
    last_edge: int = 128
    upsample_at: tuple[float, ...] = (0.07, 0.11, 0.15, 0.2)
    mask_at: tuple[float, ...] = (0.05, 0.11, 0.2, 0.5)
    shading_threshold: float = 1e-3
    density_components: int = 16
    app_components: int = 48
    features: int = 27
    hidden: int = 128
    bands: int = 2
    factor_rate: float = 0.02
    network_rate: float = 1e-3
    rate_decay: float = 0.1
    sparsity: tuple[float, float] = (8e-5, 4e-5)
    box: tuple[tuple[float, ...], tuple[float, ...]] = ((-1.5, -1.5, -1.5), (1.5, 1.5, 1.5))
    near: float = 2.0
    far: float = 6.0
    frozen: bool = False

    def __post_init__(self) -> None:
        lowest = {"steps": 1, "seed": 0, "batch_rays": 1, "first_edge": 2, "density_components": 1}
        lowest |= {"app_components": 1, "features": 1, "hidden": 1, "bands": 0}
        lowest["last_edge"] = self.first_edge
        for name, least in lowest.items():
            if getattr(self, name) < least:
                raise InputError(f"{name} must be at least {least}, not {getattr(self, name)}")


FINE_TUNING = TrainingSettings(steps=1600, upsample_at=(), mask_at=(), factor_rate=5e-3, network_rate=5e-4, frozen=True)
"""Appearance, basis and network of a model that is there go on; density stays."""
