"""L2: the integer renderer, from a model to a picture through the encoded scene image."""

import time

import numpy as np

from nerf.cameras import Camera
from nerf.contract.config import AcceleratorConfig, load_config
from nerf.contract.registers import View, view_registers
from nerf.contract.scene_image import Scene
from nerf.encode import encode_model
from nerf.golden.frame import decode_scene, render_frame
from nerf.model import TensorfModel
from nerf.render.uniform import Rendering


def camera_view(scene: Scene, camera: Camera, termination: float = 1e-3) -> View:
    """Return the camera registers of a camera and its crop."""
    return view_registers(
        scene, camera.c2w, camera.focal, camera.width, camera.height, camera.crop, termination=termination
    )


def render(
    model: TensorfModel, camera: Camera, config: AcceleratorConfig | None = None, termination: float = 1e-3
) -> Rendering:
    """Render with the golden model, bit for bit what the accelerator returns.

    Returns
    -------
    Rendering
        The depth is NaN: the accelerator does not compute it.

    Raises
    ------
    InputError
        A model or a view that the accelerator cannot take.
    """
    config = config or load_config("tiny")
    scene = encode_model(model, config).scene
    started = time.perf_counter()
    frame = render_frame(decode_scene(scene, config), camera_view(scene, camera, termination))
    statistics = {
        "rays": frame.pixels.shape[0] * frame.pixels.shape[1],
        "samples_composited": len(frame.samples),
        "samples_shaded": len(frame.shaded),
        "live_cubes": scene.live_cubes,
        "scene_bytes": len(scene.data),
        "render_seconds": time.perf_counter() - started,
    }
    return Rendering(frame.rgb, np.full(frame.pixels.shape[:2], np.nan, np.float32), statistics)
