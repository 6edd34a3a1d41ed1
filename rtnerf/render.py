"""``rtnerf render`` and ``rtnerf encode``: a picture in software, a scene for the accelerator."""

from __future__ import annotations

import math
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from rtnerf.base.options import PATH, OneOf, check_targets, example, json_option
from rtnerf.options import (
    config_option,
    describe_view,
    load_view,
    model_option,
    name_of,
    progress_bar,
    save,
    view_options,
)

if TYPE_CHECKING:
    from nerf.cameras import Camera, Cameras
    from nerf.render.uniform import Rendering

_CHUNK_RAYS = 4096


@click.command(**example("rtnerf render --pipeline cubes --size 320x240 --index 3 --out rgb.npy --png rgb.png"))
@model_option
@view_options
@click.option(
    "--pipeline",
    type=OneOf("uniform", "cubes", "integer"),
    default="uniform",
    show_default=True,
    help="Reference, object order, or the accelerator's integers.",
)
@config_option
@click.option("--out", type=PATH, required=True, help="The picture, float32 (H, W, 3) in 0..1, as .npy.")
@click.option("--png", type=PATH, help="The picture as PNG, too.")
@json_option
def render(
    model: Path | None,
    transforms: Path | None,
    index: int,
    size: tuple[int, int | None],
    crop: tuple[int, ...] | None,
    pipeline: str,
    config: str,
    out: Path,
    png: Path | None,
    json_file: Path | None,
) -> None:
    """Render a view in software: L0, L1 or L2."""
    check_targets(out=out, png=png, json=json_file)
    from nerf.checkpoint import load_model
    from nerf.contract.config import load_config
    from nerf.metrics import psnr
    from nerf.pictures import write_npy, write_png

    accelerator = load_config(config)
    cameras, camera = load_view(transforms, index, size, crop)
    scene = load_model(model)
    started = time.perf_counter()
    if pipeline == "uniform":
        picture = _render_uniform(scene, camera)
    elif pipeline == "cubes":
        from nerf.render import cubes

        picture = cubes.render(scene, camera)
    else:
        from nerf.render import integer

        picture = integer.render(scene, camera, accelerator)
    seconds = time.perf_counter() - started
    # The embedded cameras show the embedded scene: their pictures say nothing about another model.
    truth = None if model is not None and transforms is None else _ground_truth(cameras, index, camera)
    result = {
        "pipeline": pipeline,
        **describe_view(model, transforms, index, camera),
        "config": accelerator.name,
        "config_digest": accelerator.digest,
        "psnr_db": None if truth is None else psnr(picture.rgb, truth),
        "statistics": picture.statistics,
        "seconds": seconds,
    }
    write_npy(out, picture.rgb)
    if png is not None:
        write_png(png, picture.rgb)
    save(json_file, "render", result)
    quality = "" if truth is None else f", {result['psnr_db']:.2f} dB against the data set"
    click.echo(f"{out}: {pipeline}, {seconds:.2f} s{quality}")


def _render_uniform(model: Any, camera: Camera) -> Rendering:
    """Band by band, for the bar; a band is whole chunks, so that no bit depends on it."""
    import numpy as np

    from nerf.render import uniform

    left, top, width, height = camera.window
    rows = _CHUNK_RAYS // math.gcd(width, _CHUNK_RAYS)
    parts = []
    with progress_bar("rendering") as advance:
        for row in range(0, height, rows):
            band = camera.cropped(left, top + row, width, min(rows, height - row))
            parts.append(uniform.render(model, band, chunk=_CHUNK_RAYS))
            advance(min(row + rows, height), height, "")
    counts = {key: sum(part.statistics[key] for part in parts) for key in parts[0].statistics}
    joined = (np.concatenate([getattr(part, name) for part in parts]) for name in ("rgb", "depth"))
    return uniform.Rendering(*joined, counts)


def _ground_truth(cameras: Cameras, index: int, camera: Camera) -> Any:
    truth = cameras.ground_truth(index, camera.width, camera.height)
    if truth is None:
        return None
    left, top, width, height = camera.window
    return truth[top : top + height, left : left + width]


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
    from nerf.encode import encode_model
    from rtnerf.base.files import write_bytes

    accelerator = load_config(config)
    started = time.perf_counter()
    scene = encode_model(load_model(model), accelerator)
    image, table = scene.to_bytes(), scene.size_table()
    seconds = time.perf_counter() - started
    write_bytes(out, image)
    result = {
        "model": name_of(model),
        "config": accelerator.name,
        "config_digest": accelerator.digest,
        "image_bytes": len(image),
        "tensors": table,
        "seconds": seconds,
    }
    save(json_file, "encode", result)
    click.echo(f"{out}: {len(image)} bytes, {seconds:.2f} s")
