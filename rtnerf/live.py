"""``rtnerf view``: a scene in the browser, with what the simulator says of it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from rtnerf.base.options import PATH, Whole, check_targets, example, refuse_given
from rtnerf.options import Subject, name_of, progress_bar, subject_options

if TYPE_CHECKING:
    import numpy as np

    from nerf.cameras import Camera
    from rtnerf.api import Job
    from sim.result import Simulation

MOST_VIEWS = 64


@click.command(
    **example("rtnerf view --export scene.html", "rtnerf view --export lego.html --model lego.th --config edge")
)
@subject_options
@click.option("--export", type=PATH, required=True, help="The page: one HTML file that needs no server.")
@click.option(
    "--views", type=Whole(1, MOST_VIEWS), default=8, show_default=True, help="Simulated, on a circle round the scene."
)
def view(subject: Subject, export: Path, views: int) -> None:
    """Make a page that renders the scene in the browser, in the accelerator's integers.

    Beside the picture it shows what the simulator says of some views: cycles, units, bytes, frames a second, with
    LPDDR4-2400 and an assumed clock of 1 GHz.
    """
    refuse_given("with a page, which shows whole pictures", "crop")
    check_targets(export=export)
    subject.spare_pictures(export=export)
    from nerf.path import orbit, upright
    from rtnerf.base.files import write_bytes

    job, camera, up = subject.job(), subject.camera(), upright(subject.cameras.poses)
    cameras = orbit(camera, job.centre, up, views)
    with progress_bar("views") as advance:
        text = page_of(job, cameras, up, f"{name_of(subject.model)}, {job.config.name}", advance).encode()
    write_bytes(export, text)
    simulated = f"{views} simulated view{'s' * (views > 1)} of {camera.width}x{camera.height} pixels"
    click.echo(f"{export}: {len(text)} bytes, {simulated}, {job.config.name}")


def page_of(
    job: Job, cameras: Sequence[Camera], up: np.ndarray, title: str, progress: Callable[[int, int], None] | None = None
) -> str:
    """Simulate views and return the page of a scene.

    Parameters
    ----------
    job : Job
    cameras : sequence of Camera
        Of the views; they differ in their poses alone.
    up : float64 array (3,)
        Unit vector along the upright axis, which is one of the world's.
    title : str
    progress : callable, optional
        ``progress(done, all)``, in views.
    """
    from nerf.prepared import TERMINATION
    from rtnerf.view.page import page
    from rtnerf.view.textures import Factors

    views = []
    for number, camera in enumerate(cameras):
        views.append(_simulated(job, camera))
        if progress is not None:
            progress(number + 1, len(cameras))
    camera = cameras[0]
    about = {
        "title": title,
        "centre": job.centre.tolist(),
        "up": up.tolist(),
        "camera": {
            "width": camera.width,
            "height": camera.height,
            "focal": [camera.focal, camera.focal_y],
            "principal": camera.centre,
            "background": camera.background,
        },
        "termination": TERMINATION,
    }
    decoded = job.decoded
    density, appearance = (Factors(kind.planes, kind.lines) for kind in (decoded.density, decoded.appearance))
    return page(job.scene, job.config, density, appearance, about, views)


def _simulated(job: Job, camera: Camera) -> dict[str, Any]:
    """A view as the page takes it."""
    from rtnerf.explore.cost import cost_of, synthesis_of, told
    from sim.memory.dram import Dram
    from sim.simulate import simulate

    frame = simulate(job.decoded, job.view(camera), job.config, Dram(), record=True)
    return {
        "c2w": camera.c2w.tolist(),
        "result": frame.record(),
        "cost": told(cost_of(frame, synthesis_of(job.config, None))),
        "tiles": _tiles(frame, camera),
    }


def _tiles(frame: Simulation, camera: Camera) -> dict[str, Any]:
    """Cycles of a frame's tiles, row by row: of each from the last pixel of the tile before it to its own."""
    import numpy as np

    assert frame.transfers is not None
    size = frame.config.tile
    across, down = (np.diff(np.append(np.arange(0, length, size), length)) for length in (camera.width, camera.height))
    last = frame.transfers["pixels"][np.outer(down, across).reshape(-1).cumsum() - 1]
    return {"size": size, "columns": len(across), "cycles": np.diff(last, prepend=0).tolist()}
