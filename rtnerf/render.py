"""``rtnerf render`` and ``rtnerf encode``: a picture in software, a scene for the accelerator."""

from __future__ import annotations

import os
import time
from pathlib import Path

import click

from rtnerf.base.options import PATH, OneOf, Whole, check_targets, example, json_option, refuse_given
from rtnerf.options import (
    Subject,
    background_option,
    config_option,
    model_option,
    name_of,
    note,
    progress_bar,
    save,
    subject_options,
)
from rtnerf.sequence import MOST_FRAMES, CameraPath, render_sequence


@click.command(
    **example(
        "rtnerf render --pipeline cubes --size 320x240 --index 3 --out rgb.npy --png rgb.png",
        "rtnerf render --pipeline cubes --path orbit:120 --out frames --gif orbit.gif",
    )
)
@subject_options
@background_option
@click.option(
    "--pipeline",
    type=OneOf("uniform", "cubes", "integer"),
    default="uniform",
    show_default=True,
    help="Reference, object order, or the accelerator's integers.",
)
@click.option(
    "--out", type=PATH, required=True, help="The picture, float32 (H, W, 3) in 0..1, as .npy; a folder for several."
)
@click.option("--png", type=PATH, help="The picture as PNG, too.")
@click.option(
    "--frames", type=Whole(1, MOST_FRAMES), default=1, show_default=True, help="Views from this index on, as PNG."
)
@click.option(
    "--path", type=CameraPath(), help="Along orbit:N, a circle round the scene, or nerfstudio's path in JSON."
)
@click.option("--gif", type=PATH, help="Several pictures as an animation, too.")
@click.option("--fps", type=Whole(1, 50), default=25, show_default=True, help="Pictures a second in the animation.")
@click.option(
    "--workers",
    type=Whole(1),
    default=os.cpu_count() or 1,
    show_default="processors",
    help="Of several pictures at once.",
)
@json_option
def render(
    subject: Subject,
    pipeline: str,
    out: Path,
    png: Path | None,
    frames: int,
    path: int | Path | None,
    gif: Path | None,
    fps: int,
    workers: int,
    json_file: Path | None,
) -> None:
    """Render a view in software: L0, L1 or L2; or several views, or a path of the camera, into a folder."""
    if pipeline != "integer":
        refuse_given("without pipeline integer", "config")
    if gif is None:
        refuse_given("without gif", "fps")
    if path is not None or frames > 1:
        refuse_given("of several pictures, which are PNG", "png")
        render_sequence(subject, pipeline, path, frames, out, gif, fps, workers, json_file)
        return
    refuse_given("of one picture", "gif", "workers")
    check_targets(out=out, png=png, json=json_file)
    subject.spare_pictures(out=out, png=png, json=json_file)
    from nerf.metrics import psnr
    from nerf.pictures import write_npy, write_png

    job, camera = subject.job(), subject.camera()
    truth = None
    # The embedded cameras show the embedded model: their pictures say nothing about another.
    if subject.model is None or subject.transforms is not None:
        truth = subject.truth()
    started = time.perf_counter()
    with progress_bar("rendering") as advance:
        picture = job.render(camera, pipeline, progress=advance)
    seconds = time.perf_counter() - started
    result = {
        "pipeline": pipeline,
        **subject.record(),
        "psnr_db": None if truth is None else psnr(picture.rgb, truth),
        **picture.record(),
        "seconds": seconds,
    }
    write_npy(out, picture.rgb)
    if png is not None:
        write_png(png, picture.rgb)
    save(json_file, "render", result)
    quality = "" if truth is None else f", {result['psnr_db']:.2f} dB against the data set"
    click.echo(f"{out}: {pipeline}, {seconds:.2f} s{quality}")


@click.command(**example("rtnerf encode --model lego.th --out scene.rtn --json sizes.json"))
@model_option
@config_option
@click.option("--out", type=PATH, required=True, help="The scene image for the accelerator.")
@json_option
def encode(model: Path | None, config: str, out: Path, json_file: Path | None) -> None:
    """Quantise a model and encode it in the hybrid sparse format."""
    check_targets(out=out, json=json_file)
    from nerf.checkpoint import load_model
    from nerf.contract.config import load_config
    from nerf.fidelity import NOTABLE_DB, TYPICAL_DB, fidelity
    from rtnerf.api import prepare
    from rtnerf.base.files import write_bytes

    started = time.perf_counter()
    job = prepare(load_model(model), load_config(config))
    with progress_bar("encoding") as advance:
        advance(0, 2)
        image = job.scene.data
        seconds = time.perf_counter() - started
        advance(1, 2, "compared with the floats")
        kept = fidelity(job)
        advance(2, 2)
    write_bytes(out, image)
    result = {
        "model": name_of(model),
        "config": job.config.name,
        "config_digest": job.config.digest,
        **job.encoded.record(),
        "fidelity": kept.record(),
        "seconds": seconds,
    }
    save(json_file, "encode", result)
    click.echo(f"{out}: {len(image)} bytes, {seconds:.2f} s; L2 against L0, {kept.rays} rays: {kept.psnr_db:.1f} dB")
    if kept.loss_db > NOTABLE_DB:
        note(f"the integers would take {kept.loss_db:.2f} dB from a picture of {TYPICAL_DB:g} dB")
