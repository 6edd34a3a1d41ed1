"""What a point takes and gives. What does not depend on the configuration is made once a process, and shared."""

from __future__ import annotations

import itertools
import time
from collections.abc import Iterable, Iterator
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

from nerf.cameras import Camera, Cameras, load_cameras
from nerf.checkpoint import load_model
from nerf.contract.config import AcceleratorConfig
from nerf.contract.registers import View
from nerf.encode import IMAGE_FIELDS
from nerf.metrics import psnr
from nerf.model import TensorfModel
from nerf.prepared import Prepared
from nerf.train.tuning import Knobs, tune
from rtnerf.base.errors import InputError
from rtnerf.explore.cost import record_of, synthesis_of
from rtnerf.explore.points import Point, Subject, digest, file_digest
from rtnerf.physical.inventory import macros_mm2, on_chip_bytes
from sim.ablation import with_ordering
from sim.result import Simulation
from sim.simulate import WATCHDOG_CYCLES, Values, simulate

MODELS_KEPT = 2
"""Of each kind, in a process."""
VIEWS_KEPT = 4
"""Whose samples are kept, in a process: about 100 MB each for 800x800 pixels."""


class Task(NamedTuple):
    """A point to be simulated, or a picture of it to be compared, by a worker.

    Parameters
    ----------
    point : Point
    quality : bool
        The picture.
    synthesis : Path or None
        Result of its configuration.
    on_chip : bool
        Count the bytes on chip.
    estimates : bool
        Estimate area and energy where there is no synthesis.
    """

    point: Point
    quality: bool = False
    synthesis: Path | None = None
    on_chip: bool = True
    estimates: bool = False

    @property
    def costs(self) -> dict[str, Any]:
        """What area, energy and bytes on chip come from."""
        synthesis = None if self.synthesis is None else file_digest(str(self.synthesis))
        return {"synthesis": synthesis, "estimates": self.estimates, "on_chip": self.on_chip}


def run(task: Task) -> dict[str, Any]:
    """Return what a result file says of a task; with the key ``refused`` where model and configuration do not fit."""
    started = time.perf_counter()
    try:
        found = _quality(task.point) if task.quality else _frames(task)
    except InputError as error:
        found = {"refused": str(error)}
    return {**found, "seconds": time.perf_counter() - started}


def quality_digest(point: Point) -> str:
    """Of all that the pixels depend on: equal points have equal pictures."""
    sizes = {name: getattr(point.config, name) for name in IMAGE_FIELDS if name != "mlp_lanes"}
    settings = point.settings()
    for name in ("ordering", "sampling", "encoding", "clock_mhz", "size", "crop"):
        del settings[name]
    return digest([settings, sizes, point.origins])


def prepared(point: Point) -> Prepared:
    """The model of a point, encoded: equal for all configurations that an image cannot tell apart."""
    fields = {name: getattr(point.config, name) for name in IMAGE_FIELDS}
    return _prepared(point.subject.model, point.knobs, point.switches.encoding, tuple(fields.items()))


def cameras_of(subject: Subject) -> Cameras:
    """The data set of a subject."""
    return _cameras(subject.transforms, subject.axes, subject.split, subject.background)


def camera_of(subject: Subject, view: int) -> Camera:
    """A view, with its crop."""
    camera = cameras_of(subject).camera(view, *subject.dimensions)
    return camera if subject.crop is None else camera.cropped(*subject.crop)


def frames_of(point: Point, ends: Iterable[int] = itertools.repeat(WATCHDOG_CYCLES)) -> Iterator[Simulation]:
    """Yield the simulated frame of each view of a point, each not beyond its one of the ``ends``, in cycles."""
    job, switches = prepared(point), point.switches
    uniform = switches.sampling == "uniform"
    for number, end in zip(point.subject.views, ends, strict=False):
        view = job.view(camera_of(point.subject, number), switches.termination)
        view = with_ordering(view, job.scene, switches.ordering)
        values = _values(job, tuple(view.values.items()))
        hertz = point.clock_mhz * 1e6
        yield simulate(job.decoded, view, point.config, point.timing, hertz, uniform, end=end, values=values)


def _frames(task: Task) -> dict[str, Any]:
    point = task.point
    synthesis = synthesis_of(point.config, task.synthesis, task.estimates)
    found: dict[str, Any] = {
        "frames": [record_of(frame, synthesis) for frame in frames_of(point)],
        "area_mm2": None if synthesis is None else synthesis.area_mm2,
        "area_source": None if synthesis is None else synthesis.source,
        "on_chip_bytes": None,
        "memory_mm2": None,
    }
    if task.on_chip:
        found |= {"on_chip_bytes": on_chip_bytes(point.config), "memory_mm2": macros_mm2(point.config)}
    return found


def _quality(point: Point) -> dict[str, Any]:
    """PSNR of the accelerator's pixels against the pictures of the data set, the mean over the views."""
    subject = point.subject
    if subject.model is not None and subject.transforms is None:
        return {"psnr_db": None, "why": "the embedded pictures show another scene"}
    job, cameras = prepared(point), cameras_of(subject)
    found = []
    for view in subject.views:
        truth = cameras.ground_truth(view, subject.psnr_size)
        if truth is None:
            return {"psnr_db": None, "why": cameras.no_truth(view, subject.psnr_size)}
        found.append(psnr(job.frame(cameras.camera(view, subject.psnr_size), point.switches.termination).rgb, truth))
    return {"psnr_db": sum(found) / len(found), "psnr_db_by_view": found}


@lru_cache(MODELS_KEPT)
def _model(path: str | None) -> TensorfModel:
    return load_model(path)


@lru_cache(MODELS_KEPT)
def _prepared(path: str | None, knobs: Knobs, encoding: str, sizes: tuple[tuple[str, Any], ...]) -> Prepared:
    return Prepared(tune(_model(path), knobs), AcceleratorConfig("image", **dict(sizes)), encoding)


@lru_cache(VIEWS_KEPT)
def _values(job: Prepared, registers: tuple[tuple[str, int], ...]) -> Values:
    return Values(job.decoded, View(dict(registers)))


@lru_cache(MODELS_KEPT)
def _cameras(path: str | None, axes: str | None, split: str, background: tuple[int, int, int]) -> Cameras:
    return load_cameras(path, axes, split, background)
