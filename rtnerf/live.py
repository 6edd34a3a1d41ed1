"""``rtnerf view``: a scene in the browser, with what the simulator says of it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from rtnerf.base.options import PATH, Whole, check_targets, example, refuse_given
from rtnerf.options import Subject, name_of, progress_bar, subject_options

if TYPE_CHECKING:
    import numpy as np

    from nerf.cameras import Camera
    from rtnerf.api import Job
    from sim.ablation import Switches
    from sim.result import Simulation

MOST_VIEWS = 64
TIMELINE_PARTS = 48


@click.command(
    **example("rtnerf view", "rtnerf view --export scene.html", "rtnerf view --port 8000 --model lego.th --config edge")
)
@subject_options
@click.option("--export", type=PATH, help="Write the page to this file, which needs no server, in place of serving it.")
@click.option("--port", type=Whole(0, 65535), help="Of 127.0.0.1, to serve the page on; default: a free one.")
@click.option(
    "--views",
    type=Whole(1, MOST_VIEWS),
    default=8,
    show_default=True,
    help="On a circle round the scene; simulated beforehand for a file, and when they are looked at in a served page.",
)
@click.option(
    "--folder",
    "folders",
    type=PATH,
    multiple=True,
    help="Its models and configurations may be chosen in the served page; may be given several times.",
)
def view(subject: Subject, export: Path | None, port: int | None, views: int, folders: Sequence[Path]) -> None:
    """Show the scene in the browser, rendered there in the accelerator's integers.

    Beside the picture stands what the simulator says of some views: cycles, units, bytes, frames a second, with
    LPDDR4-2400 and an assumed clock of 1 GHz. A served page simulates the view on the screen, too, with any
    configuration and each idea switched off, and tells what a pixel is made of. It is served on this machine alone,
    under an address with a token.
    """
    refuse_given("with a page, which shows whole pictures", "crop")
    check_targets(export=export)
    if export is not None:
        refuse_given("with export", "port", "folder")
        subject.spare_pictures(export=export)
    from nerf.path import orbit, upright

    job, camera, up = subject.job(), subject.camera(), upright(subject.cameras.poses)
    name = name_of(subject.model)
    if export is None:
        _serve(name, job, camera, up, views, folders, port or 0)
        return
    from rtnerf.base.files import write_bytes

    cameras = orbit(camera, job.centre, up, views)
    with progress_bar("views") as advance:
        text = page_of(job, cameras, up, f"{name}, {job.config.name}", advance)
    write_bytes(export, text.encode())
    simulated = f"{len(cameras)} simulated view{'s' * (len(cameras) > 1)} of {camera.width}x{camera.height} pixels"
    click.echo(f"{export}: {len(text.encode())} bytes, {simulated}, {job.config.name}")


def _serve(name: str, job: Job, camera: Camera, up: np.ndarray, views: int, folders: Sequence[Path], port: int) -> None:
    from rtnerf.served import Served
    from rtnerf.view.server import Server

    served = Served(name, job, camera, up, views, folders)
    with Server(served.page, served.answers, port) as server:
        click.echo(f"{server.url} (Ctrl-C ends it)")
        server.serve_forever()


def page_of(
    job: Job,
    cameras: Sequence[Camera],
    up: np.ndarray,
    title: str,
    progress: Callable[[int, int], None] | None = None,
    choices: Mapping[str, Sequence[str]] | None = None,
) -> str:
    """Return the page of a scene, which simulates its views when they are looked at, or has them simulated.

    Parameters
    ----------
    job : Job
    cameras : sequence of Camera
        Of the views; they differ in their poses alone.
    up : float64 array (3,)
        Unit vector along the upright axis, which is one of the world's.
    title : str
    progress : callable, optional
        ``progress(done, all)``, in views that are simulated.
    choices : mapping, optional
        What a served page may ask for, see `rtnerf.asked.Asked.choices`; None: a page that asks for nothing, with
        everything in it.
    """
    from nerf.prepared import TERMINATION
    from rtnerf.view.page import page
    from rtnerf.view.textures import Factors

    views: list[dict[str, Any]] = []
    for number, camera in enumerate(cameras):
        views.append(simulated(job, camera) if choices is None else {"c2w": camera.c2w.tolist()})
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
        **({} if choices is None else {"live": choices}),
    }
    decoded = job.decoded
    density, appearance = (Factors(kind.planes, kind.lines) for kind in (decoded.density, decoded.appearance))
    return page(job.scene, job.config, density, appearance, about, views)


def simulated(job: Job, camera: Camera, switches: Switches | None = None) -> dict[str, Any]:
    """Simulate a view, with ideas switched as they are given, and return it as the page takes it."""
    from rtnerf.explore.cost import cost_of, synthesis_of, told
    from sim.ablation import Switches, with_ordering
    from sim.memory.dram import Dram
    from sim.simulate import simulate

    switches = switches or Switches()
    view = with_ordering(job.view(camera, switches.termination), job.scene, switches.ordering)
    uniform = switches.sampling == "uniform"
    frame = simulate(job.decoded, view, job.config, Dram(), uniform=uniform, record=True)
    cost = cost_of(frame, synthesis_of(job.config, None))
    return {
        "c2w": camera.c2w.tolist(),
        "result": frame.record(),
        "cost": told(cost),
        "energy": cost["energy_mj"],
        "timeline": _timeline(frame),
        "tiles": _tiles(frame, camera),
    }


def _timeline(frame: Simulation) -> dict[str, list[int]]:
    """Percent that each unit is busy in each of at most `TIMELINE_PARTS` parts of the frame."""
    import numpy as np

    from sim.parts.activity import BUSY

    starts = np.unique(np.linspace(0, len(frame.windows), TIMELINE_PARTS, endpoint=False).astype(int))
    spent = np.add.reduceat(frame.windows, starts, axis=0)
    shares = (100 * spent[..., BUSY] / spent.sum(axis=2)).round().astype(int)
    return {name: shares[:, at].tolist() for at, name in enumerate(frame.activity) if name in frame.units}


def _tiles(frame: Simulation, camera: Camera) -> dict[str, Any]:
    """Cycles of a frame's tiles, row by row: of each from the last pixel of the tile before it to its own."""
    import numpy as np

    assert frame.transfers is not None
    size = frame.config.tile
    across, down = (np.diff(np.append(np.arange(0, length, size), length)) for length in (camera.width, camera.height))
    last = frame.transfers["pixels"][np.outer(down, across).reshape(-1).cumsum() - 1]
    return {"size": size, "columns": len(across), "cycles": np.diff(last, prepend=0).tolist()}
