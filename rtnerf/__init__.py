"""The open RT-NeRF: from a trained TensoRF to pictures, cycles and hardware.

>>> import rtnerf
>>> job = rtnerf.prepare(rtnerf.load_model(), "tiny")
>>> camera = rtnerf.load_cameras().camera(0, 8)
>>> frame = job.simulate(camera, memory="lpddr4")
>>> picture = job.render(camera, "integer")
>>> picture.rgb.shape
(8, 8, 3)

Names are loaded when they are first used: importing the package is quick. `main` is the command line, and `rtnerf.base`
what all of the project may use.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any, NoReturn

if TYPE_CHECKING:
    from nerf.cameras import load_cameras
    from nerf.checkpoint import load_model
    from nerf.contract.config import load_config
    from nerf.contract.scene_image import load_scene
    from rtnerf.api import Job, plot_cycles, prepare
    from rtnerf.base.errors import InputError

_HOMES = {
    "InputError": "rtnerf.base.errors",
    "Job": "rtnerf.api",
    "load_cameras": "nerf.cameras",
    "load_config": "nerf.contract.config",
    "load_model": "nerf.checkpoint",
    "load_scene": "nerf.contract.scene_image",
    "plot_cycles": "rtnerf.api",
    "prepare": "rtnerf.api",
}

__all__ = [
    "InputError", "Job", "load_cameras", "load_config", "load_model", "load_scene", "main", "plot_cycles", "prepare",
]  # fmt: skip


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'rtnerf' has no attribute {name!r}")
    value = globals()[name] = getattr(import_module(_HOMES[name]), name)
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})


def main(arguments: list[str] | None = None) -> NoReturn:
    """Run the command line; see `rtnerf.command_line.main`."""
    from rtnerf.command_line import main as run

    run(arguments)
