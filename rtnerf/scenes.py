"""One scene from pictures to frames a second: train, tune, fine-tune deferred, encode, simulate."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from nerf.cameras import Camera, Cameras, load_cameras
from nerf.checkpoint import load_model, save_model
from nerf.metrics import psnr
from nerf.model import TensorfModel
from nerf.scenes.builtin import SCENES, get_scene, write_scene
from nerf.train.settings import FINE_TUNING, TrainingSettings
from nerf.train.training import FineTuning, train_dataset
from nerf.train.tuning import RECOMMENDED, tune
from rtnerf.api import Job, prepare
from rtnerf.base.errors import InputError, require
from rtnerf.base.files import read_json, write_json
from rtnerf.explore.cost import cost_of, synthesis_of

Tell = Callable[[str], None]
CONFIGS = {"trained": "edge", "tuned": "edge", "deferred": "edge-deferred"}
"""Of each model of a scene."""


@dataclass(frozen=True)
class Plan:
    """What is done to each scene.

    Parameters
    ----------
    effort : float
        Training steps, in those of the default settings, above 0.
    size : int
        Width of the pictures that are trained on and compared with, pixels.
    frame_size : int
        Width of the simulated frames, pixels.
    views : int
        Test views, spread over all, that are compared and simulated.
    seed : int
        Of the training and of a built-in scene's cameras.
    """

    effort: float = 1.0
    size: int = 200
    frame_size: int = 800
    views: int = 3
    seed: int = 0

    def steps(self, settings: TrainingSettings) -> int:
        """Of a run with these settings."""
        return max(1, round(self.effort * settings.steps))


def scenes_of(data: Path | None) -> list[str]:
    """Return the names of the built-in scenes, or of the folders in ``data`` that hold NeRF-synthetic scenes."""
    if data is None:
        return list(SCENES)
    found = sorted(file.parent.name for file in data.glob("*/transforms_train.json"))
    require(bool(found), "data", "a folder of folders with transforms_train.json", data)
    return found


def check_plan(out: Path, plan: Plan, data: Path | None) -> None:
    """Take a folder for this plan, or go on with it. Raises `InputError` where it holds another's results."""
    wanted = {**asdict(plan), "data": None if data is None else str(data.resolve())}
    kept = out / "plan.json"
    if kept.is_file():
        found = read_json("out", kept)
        if found != wanted:
            differ = ", ".join(f"{name} {found.get(name)}" for name in wanted if found.get(name) != wanted[name])
            raise InputError(f"out must be a folder of the same plan, not {out} ({differ})")
    else:
        write_json(kept, wanted)


def measure(name: str, data: Path | None, out: Path, plan: Plan, workers: int, tell: Tell) -> dict[str, Any]:
    """Return what a scene gives, from ``out`` where it has been measured.

    Parameters
    ----------
    name : str
        One of `scenes_of`.
    data : Path, optional
        The folder with the scenes; None: they are built in.
    out : Path
        Keeps pictures, models and results in a folder of the scene's name; what was stopped goes on.
    tell : function
        Called with what is being done.
    """
    folder = out / name
    result = folder / "result.json"
    if result.is_file():
        return read_json("out", result)
    started = time.perf_counter()
    capture = _pictures(name, folder / "pictures", plan, tell) if data is None else data / name
    models = _models(
        load_cameras(capture / "transforms_train.json"), folder, plan, lambda text: tell(f"{name}: {text}")
    )
    cameras = load_cameras(capture / "transforms_test.json")
    count = min(plan.views, len(cameras))
    views = [len(cameras) * (2 * number + 1) // (2 * count) for number in range(count)]
    jobs = {kind: prepare(model, CONFIGS[kind]) for kind, model in models.items()}
    tell(f"{name}: pictures of {count} views")
    found: dict[str, Any] = {"scene": name, "views": views}
    found["psnr_db"] = _quality(jobs, cameras, views, plan.size)
    tell(f"{name}: frames of {count} views")
    found["frames"] = {kind: _frames(job, cameras, views, plan.frame_size, workers) for kind, job in jobs.items()}
    tell(f"{name}: ideas switched off")
    found["ideas"] = _ideas(models["deferred"], cameras.camera(views[0], plan.frame_size))
    found["seconds"] = time.perf_counter() - started
    write_json(result, found)
    return found


def _pictures(name: str, folder: Path, plan: Plan, tell: Tell) -> Path:
    """Draw a built-in scene, unless that is done."""
    if not (folder / "transforms_test.json").is_file():
        tell(f"{name}: drawing")
        write_scene(get_scene(name), folder, plan.size, seed=plan.seed)
    return folder


def _models(cameras: Cameras, folder: Path, plan: Plan, tell: Tell) -> dict[str, TensorfModel]:
    """Train, tune, fine-tune; each model is kept."""
    folder.mkdir(parents=True, exist_ok=True)
    files = {kind: folder / f"{kind}.safetensors" for kind in CONFIGS}

    def progress(done: int, total: int, psnr_db: float) -> None:
        tell(f"step {done} of {total}, {psnr_db:.2f} dB")

    options: dict[str, Any] = {"seed": plan.seed, "size": plan.size, "progress": progress}
    if not files["trained"].is_file():
        train_dataset(cameras, files["trained"], plan.steps(TrainingSettings()), **options)
    if not files["tuned"].is_file():
        save_model(tune(load_model(files["trained"]), RECOMMENDED), files["tuned"])
    if not files["deferred"].is_file():
        start = FineTuning(load_model(files["tuned"]), "deferred")
        train_dataset(cameras, files["deferred"], plan.steps(FINE_TUNING), finetune=start, **options)
    return {kind: load_model(file) for kind, file in files.items()}


def _quality(jobs: dict[str, Job], cameras: Cameras, views: Sequence[int], size: int) -> dict[str, float]:
    """Mean PSNR against the pictures: of floats, then of the integers of each model."""
    rungs = {"l0": (jobs["trained"], "uniform"), "l2": (jobs["trained"], "integer")}
    rungs |= {kind: (jobs[kind], "integer") for kind in ("tuned", "deferred")}
    truths = {view: cameras.truth(view, size) for view in views}
    found = {}
    for rung, (job, pipeline) in rungs.items():
        values = [psnr(job.render(cameras.camera(view, size), pipeline).rgb, truth) for view, truth in truths.items()]
        found[rung] = sum(values) / len(values)
    return found


def _frames(job: Job, cameras: Cameras, views: Sequence[int], size: int, workers: int) -> dict[str, Any]:
    """What whole frames take, and what is moved for them."""
    from sim.ablation import Ablation, Switches

    frames = job.simulate_all([cameras.camera(view, size) for view in views], min(workers, len(views)))
    found = Ablation(Switches(), frames).record()
    slowest = max(frames, key=lambda frame: frame.cycles)
    return {
        "config": job.config.name,
        "cycles": found["frame_cycles"],
        "fps_at_clock_lowest": found["fps_at_clock_lowest"],
        "fps_at_clock_mean": found["fps_at_clock_mean"],
        "assumed_clock_hz": slowest.clock_hz,
        "fps_at_library_clock_lowest": cost_of(slowest, synthesis_of(job.config, None))["fps_at_library_clock"],
        "image_bytes": len(job.scene.data),
        "moved_bytes": found["dram_bytes"],
        "live_cubes": job.scene.live_cubes,
        "bottleneck": found["bottleneck"],
        "bottleneck_share": found["bottleneck_share"],
    }


def _ideas(model: TensorfModel, camera: Camera) -> dict[str, float]:
    """Frames a second, at the assumed clock, with each idea switched off, of one view."""
    from sim.ablation import IDEAS

    rates = {}
    for name, switches in IDEAS.items():
        job = prepare(model, CONFIGS["deferred"], switches.encoding)
        rates[name] = job.simulate(camera, **switches.of_frame).fps_at_clock
    return rates
