"""``rtnerf inspect``: what a file is, and whether this version runs it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from rtnerf.base.errors import InputError
from rtnerf.base.options import PATH, check_targets, example, json_option
from rtnerf.options import save

_IMAGE_MAGIC = b"RTNF"
_STARTS = {
    b"PK": "checkpoint",
    b"\x80": "checkpoint",
    b"\x93NUMPY": "picture",
    b"\x89PNG": "picture",
    b"\xff\xd8": "picture",
}
_JSON_KEYS = {"command": "result file", "frames": "camera file", "traceEvents": "trace"}


@click.command(**example("rtnerf inspect lego.th --json file.json"))
@click.argument("file", type=PATH)
@json_option
def inspect(file: Path, json_file: Path | None) -> None:
    """Say what a file or a folder of a capture is, and whether this version runs it.

    Checkpoints, models, scene images, traces, results, camera files.
    """
    check_targets(json=json_file)
    found = described(file)
    save(json_file, "inspect", {"file": file, **found})
    for name, value in found.items():
        if value is not None:
            click.echo(f"  {name:<12} {value}")


def described(file: Path) -> dict[str, Any]:
    """What a file is: ``kind``, ``runs``, and the ``reason`` where it does not, or not everywhere; then its details.

    Raises `InputError` for a file that cannot be read.
    """
    kind = _kind(file)
    try:
        reason, details = _CHECKS[kind](file)
    except InputError as error:
        return {"kind": kind, "runs": False, "reason": str(error)}
    return {"kind": kind, "runs": kind not in _NOT_RUN, "reason": reason, **details}


def _kind(file: Path) -> str:
    if file.is_dir() or file.name == "poses_bounds.npy":
        return "capture"
    try:
        with open(file, "rb") as opened:
            start = opened.read(64)
    except OSError as error:
        raise InputError(f"file must be readable, not {file} ({error.strerror})") from None
    if start.startswith(_IMAGE_MAGIC):
        return "scene image"
    if start[8:9] == b"{":
        return "model"
    for magic, kind in _STARTS.items():
        if start.startswith(magic):
            return kind
    from rtnerf.base.files import read_json

    try:
        content = read_json("file", file)
    except InputError:
        return "unknown"
    keys = content if isinstance(content, dict) else {}
    return next((kind for key, kind in _JSON_KEYS.items() if key in keys), "unknown")


def _model(file: Path) -> tuple[str | None, dict[str, Any]]:
    from nerf.checkpoint import load_model
    from nerf.contract.config import PRESETS
    from nerf.encode import encode_model

    model = load_model(file)
    details = {
        "grid": list(model.grid_size),
        "density_components": list(model.density_components),
        "app_components": list(model.app_components),
        "shading": model.shading,
        "colour": model.colour,
        "near": model.near,
        "far": model.far,
    }
    if model.forward_facing:
        return _only_in_software(), details
    config = next(preset for preset in PRESETS.values() if preset.shading == model.shading)
    try:
        encode_model(model, config)
    except InputError as error:
        return f"not on hardware of the presets: {error}", details
    return None, details


def _only_in_software() -> str:
    from nerf.contract.scene_image import FORWARD_FACING

    return f"in software only: model is {FORWARD_FACING}"


def _image(file: Path) -> tuple[str | None, dict[str, Any]]:
    from nerf.contract.config import PRESETS
    from nerf.contract.scene_image import load_scene

    scene = load_scene(file)
    digest = scene.config_digest
    config = next((name for name, preset in PRESETS.items() if preset.digest_word == digest), None)
    details = {"grid": list(scene.grid), "live_cubes": scene.live_cubes, "bytes": len(scene.data), "config": config}
    if scene.forward_facing:
        return _only_in_software(), details
    return None if config else f"made for a configuration of its own, {digest:#010x}", details


def _cameras(file: Path) -> tuple[str | None, dict[str, Any]]:
    from nerf.cameras import load_cameras

    cameras = load_cameras(file)
    camera = cameras.camera(0, 200)
    missing = sum(cameras.no_truth(index, 200) is not None for index in range(len(cameras)))
    reason = f"{missing} of {len(cameras)} views have no picture to compare with" if missing else None
    return reason, {"views": len(cameras), "height_for_width_200": camera.height}


def _result(file: Path) -> tuple[str | None, dict[str, Any]]:
    from rtnerf.base.files import read_json

    content = read_json("file", file)
    return None, {"of_command": content["command"], "versions": content.get("versions")}


def _trace(file: Path) -> tuple[str | None, dict[str, Any]]:
    from rtnerf.base.files import read_json

    return "for Perfetto or Chrome", {"events": len(read_json("file", file)["traceEvents"])}


def _picture(file: Path) -> tuple[str | None, dict[str, Any]]:
    return "a picture is compared with, not run", {}


def _unknown(file: Path) -> tuple[str | None, dict[str, Any]]:
    from rtnerf.base.files import check_content

    kinds = "a checkpoint, model, scene image, trace, result or camera file"
    with open(file, "rb") as opened:
        check_content("file", opened.read(64), f"{kinds}, not {file}")
    raise InputError(f"file must be {kinds}, not {file}")


_NOT_RUN = ("picture", "unknown")
_CHECKS: dict[str, Callable[[Path], tuple[str | None, dict[str, Any]]]] = {
    "checkpoint": _model,
    "model": _model,
    "scene image": _image,
    "camera file": _cameras,
    "capture": _cameras,
    "result file": _result,
    "trace": _trace,
    "picture": _picture,
    "unknown": _unknown,
}
