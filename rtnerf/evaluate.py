"""``rtnerf evaluate``: how near a model comes to the pictures of a data set."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import click

from rtnerf.base.errors import InputError
from rtnerf.base.options import OneOf, check_targets, example, json_option, refuse_given
from rtnerf.options import (
    Size,
    background_option,
    cameras_of,
    capture_options,
    config_option,
    forward_facing_cameras,
    name_of,
    note,
    note_remarks,
    progress_bar,
    save,
    subject_model_option,
)


@click.command(**example("rtnerf evaluate --model lego.th --transforms transforms_test.json --size 200 --json e.json"))
@subject_model_option
@capture_options("the embedded model's")
@click.option("--size", type=Size(), default="200", show_default=True, help="Of the pictures, in pixels.")
@click.option(
    "--pipeline",
    type=OneOf("uniform", "cubes", "integer"),
    default="cubes",
    show_default=True,
    help="Reference, object order, or the accelerator's integers.",
)
@background_option
@config_option
@json_option
def evaluate(
    model: Path | None,
    transforms: Path | None,
    axes: str | None,
    split: str,
    size: tuple[int, int | None],
    pipeline: str,
    background: tuple[int, ...],
    config: str,
    json_file: Path | None,
) -> None:
    """Render all views of a data set that have pictures; report PSNR and SSIM, their means over the views."""
    check_targets(json=json_file)
    if model is not None and transforms is None:
        raise InputError("transforms must be given beside model: the embedded pictures show another scene")
    if pipeline != "integer":
        refuse_given("without pipeline integer", "config")
    from nerf.metrics import LEAST_SIDE, psnr, ssim
    from nerf.prepared import load_subject
    from rtnerf.api import prepare

    job = prepare(load_subject(model), config)
    cameras = (forward_facing_cameras if job.forward_facing else cameras_of)(transforms, axes, split, background)
    note_remarks(cameras)
    truths = {index: cameras.no_truth(index, *size) for index in range(len(cameras))}
    for reason in filter(None, truths.values()):
        note(f"not compared: {reason}")
    compared = [index for index, reason in truths.items() if reason is None]
    if not compared:
        raise InputError(f"transforms must have at least one picture to compare with, not {len(cameras)} without")
    started = time.perf_counter()
    views: list[dict[str, Any]] = []
    with progress_bar("views") as advance:
        for index in compared:
            camera, truth = cameras.camera(index, *size), cameras.truth(index, *size)
            rgb = job.render(camera, pipeline).rgb
            similar = ssim(rgb, truth) if min(truth.shape[:2]) >= LEAST_SIDE else None
            views.append({"index": index, "psnr_db": psnr(rgb, truth), "ssim": similar})
            advance(len(views), len(compared), f"{views[-1]['psnr_db']:.2f} dB")
    similarities = [view["ssim"] for view in views if view["ssim"] is not None]
    result = {
        "model": name_of(model),
        "transforms": name_of(transforms),
        "split": split,
        "background": list(cameras.background),
        "pipeline": pipeline,
        "config": job.config.name,
        "width_pixels": camera.width,
        "height_pixels": camera.height,
        "psnr_db": sum(view["psnr_db"] for view in views) / len(views),
        "ssim": sum(similarities) / len(similarities) if similarities else None,
        "views": views,
        "seconds": time.perf_counter() - started,
    }
    save(json_file, "evaluate", result)
    shown = "" if result["ssim"] is None else f", SSIM {result['ssim']:.4f}"
    click.echo(f"{result['psnr_db']:.3f} dB{shown}, mean of {len(views)} views, {result['seconds']:.1f} s")
