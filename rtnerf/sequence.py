"""Pictures of several views, rendered by several processes: ``rtnerf render --frames`` and ``--path``."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from functools import cache, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from rtnerf.base.errors import InputError
from rtnerf.base.options import PATH, check_targets, refuse, refuse_given
from rtnerf.options import Subject, progress_bar, save

if TYPE_CHECKING:
    import numpy as np

    from nerf.cameras import Camera
    from rtnerf.api import Job

MOST_FRAMES = 9999


class CameraPath(click.ParamType):
    """``orbit:N``, a circle of N pictures, or a file."""

    name = "orbit:N or file"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int | Path:
        """Return the number of pictures of a circle, or the file."""
        kind, colon, count = str(value).partition(":")
        if not (kind == "orbit" and colon):
            return PATH.convert(value, param, ctx)
        if not (count.isascii() and count.isdigit() and 2 <= int(count) <= MOST_FRAMES):
            refuse(param, f"orbit:N with N from 2 to {MOST_FRAMES}, or a file", value)
        return int(count)


def render_sequence(
    subject: Subject,
    pipeline: str,
    path: int | Path | None,
    frames: int,
    out: Path,
    gif: Path | None,
    fps: int,
    workers: int,
    json_file: Path | None,
) -> None:
    """Render views, or those of a path, as ``0000.png`` and so on into a folder, and as an animation."""
    check_targets(gif=gif, json=json_file)
    if out.exists() and not out.is_dir():
        raise InputError(f"out must be a folder where several pictures are rendered, not {out} (a file)")
    job = subject.job()
    cameras = _cameras(subject, job, path, frames)
    files = [out / f"{number:04}.png" for number in range(len(cameras))]
    check_targets(**{f"picture {file.name}": file for file in (files[0], files[-1])})
    targets = {file.name: file for file in files}
    subject.spare_pictures(**targets, gif=gif, json=json_file)
    from nerf.pictures import gif as animation
    from nerf.pictures import levels_of, write_png
    from rtnerf.base.files import write_bytes

    started = time.perf_counter()
    kept = []
    with progress_bar("pictures") as advance:
        for number, rgb in enumerate(_pictures(job, subject, pipeline, cameras, workers)):
            write_png(files[number], rgb)
            if gif is not None:
                kept.append(levels_of(rgb))
            advance(number + 1, len(cameras), files[number].name)
    if gif is not None:
        write_bytes(gif, animation(kept, fps))
    seconds = time.perf_counter() - started
    shown = f"orbit:{path}" if isinstance(path, int) else path
    result = {"pipeline": pipeline, **subject.record(), "path": shown, "files": files, "seconds": seconds}
    save(json_file, "render", result)
    click.echo(f"{out}: {len(files)} pictures, {pipeline}, {seconds:.2f} s")


def _cameras(subject: Subject, job: Job, path: int | Path | None, frames: int) -> list[Camera]:
    from nerf.path import orbit, read_path, upright

    if path is None:
        return [subject.camera(ahead) for ahead in range(frames)]
    refuse_given("with a path", "frames")
    if job.forward_facing:
        raise InputError(
            "path must be absent with a forward-facing model, whose coordinates are those of its capture's views"
        )
    if isinstance(path, int):
        return orbit(subject.camera(), job.centre, upright(subject.cameras.poses), path)
    refuse_given("with a path from a file", "transforms", "index", "axes", "split")
    cameras = read_path(path, *subject.size, subject.cameras.background)
    if len(cameras) > MOST_FRAMES:
        raise InputError(f"path must be of at most {MOST_FRAMES} pictures, not {len(cameras)}")
    return cameras if subject.crop is None else [camera.cropped(*subject.crop) for camera in cameras]


def _pictures(
    job: Job, subject: Subject, pipeline: str, cameras: Sequence[Camera], workers: int
) -> Iterator[np.ndarray]:
    """The pictures in order, as they are done."""
    if workers == 1 or len(cameras) == 1:
        yield from (job.render(camera, pipeline).rgb for camera in cameras)
        return
    from rtnerf.base.processes import worker_pool

    with worker_pool(min(workers, len(cameras))) as pool:
        yield from pool.map(partial(_picture, subject.model, subject.config, pipeline), cameras)


def _picture(model: Path | None, config: str, pipeline: str, camera: Camera) -> np.ndarray:
    return _job(model, config).render(camera, pipeline).rgb


@cache
def _job(model: Path | None, config: str) -> Job:
    """Each process's own: made from the file once, not sent with each picture."""
    import torch

    from nerf.contract.config import load_config
    from nerf.prepared import load_subject
    from rtnerf.api import prepare

    torch.set_num_threads(1)
    return prepare(load_subject(model), load_config(config))
