"""What decides the result of a training run."""

from dataclasses import dataclass

from rtnerf.base.errors import InputError


@dataclass(frozen=True)
class TrainingSettings:
    """Everything that decides the result of a training run.

    Fractions are of ``steps``. Grids have about ``edge ** 3`` voxels, whatever the box's shape.
    Samples are shaded where the weight is above ``shading_threshold``; a trained model shades more of
    them, a fine-tuned one the same. Rates fall by ``rate_decay`` in ``steps``, with ``rate_restarts`` from each
    upsampling on anew. ``frozen`` density keeps its factors and its mask, too.

    Raises :class:`rtnerf.base.errors.InputError` for values out of range.
    """

    steps: int = 5000
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
    rate_restarts: bool = False
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

    @property
    def upsamplings(self) -> dict[int, int]:
        """Edge after each upsampling by step, in equal ratios from the first to the last."""
        count, ratio = len(self.upsample_at), self.last_edge / self.first_edge
        return {
            max(1, round(fraction * self.steps)): round(self.first_edge * ratio ** ((number + 1) / count))
            for number, fraction in enumerate(self.upsample_at)
        }


FULL = TrainingSettings(
    steps=30000,
    batch_rays=4096,
    first_edge=128,
    last_edge=300,
    upsample_at=(2000 / 30000, 3000 / 30000, 4000 / 30000, 5500 / 30000, 7000 / 30000),
    mask_at=(500 / 30000, 2000 / 30000, 4000 / 30000, 0.5),
    rate_restarts=True,
)
"""The original program's schedule for NeRF-synthetic (its configs/lego.txt), with a mask more at the beginning, where
every sample of the box is evaluated, and one more in the middle, and shading from a weight of 1e-3 on."""

RECIPES = {"default": TrainingSettings(), "full": FULL}
"""Of a new model, by name."""

FINE_TUNING = TrainingSettings(steps=1600, upsample_at=(), mask_at=(), factor_rate=5e-3, network_rate=5e-4, frozen=True)
"""Appearance, basis and network of a model that is there go on; density stays."""
