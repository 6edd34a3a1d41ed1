"""A model made ready for an accelerator: the way from factors to the image of its memory, and to views and pictures."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from nerf.cameras import Camera
from nerf.contract.blocks import Form
from nerf.contract.config import AcceleratorConfig
from nerf.contract.registers import View, view_registers
from nerf.contract.scene_image import Scene
from nerf.encode import EncodedScene, encode_model
from nerf.golden.frame import DecodedScene, Frame, decode_scene, render_frame
from nerf.model import TensorfModel
from nerf.render import cubes, uniform
from nerf.render.uniform import Rendering
from rtnerf.base.errors import require

PIPELINES = ("uniform", "cubes", "integer")
ENCODINGS = ("hybrid", *(form.name.lower() for form in Form))
TERMINATION = 1e-3
"""Transmittance below which a pixel takes no more samples, where nothing else is said."""


@dataclass(frozen=True, eq=False)
class Prepared:
    """A model for one accelerator. What is made of it is made when it is asked for, and once.

    Parameters
    ----------
    model : TensorfModel
    config : AcceleratorConfig
    encoding : str
        Form of the factor blocks, one of `ENCODINGS`; ``hybrid``: of each block the smallest.
    """

    model: TensorfModel
    config: AcceleratorConfig
    encoding: str = "hybrid"

    def __post_init__(self) -> None:
        require(self.encoding in ENCODINGS, "encoding", f"one of {', '.join(ENCODINGS)}", self.encoding)

    @cached_property
    def encoded(self) -> EncodedScene:
        """The scene image, with what its tensors take."""
        return encode_model(self.model, self.config, None if self.encoding == "hybrid" else Form[self.encoding.upper()])

    @property
    def scene(self) -> Scene:
        """The scene image: what lies in the accelerator's memory."""
        return self.encoded.scene

    @cached_property
    def decoded(self) -> DecodedScene:
        """The scene image, decoded for golden model and simulator."""
        return decode_scene(self.scene, self.config)

    def view(self, camera: Camera, termination: float = TERMINATION) -> View:
        """The registers for a camera and its crop; ``termination`` in 0..1, 0: never."""
        focal = (camera.focal, camera.focal_y)
        size = (camera.width, camera.height)
        return view_registers(self.scene, camera.c2w, focal, *size, camera.crop, camera.centre, termination=termination)

    def frame(self, camera: Camera, termination: float = TERMINATION) -> Frame:
        """Every value that the accelerator computes for a camera, in integers."""
        return render_frame(self.decoded, self.view(camera, termination))

    def render(
        self,
        camera: Camera,
        pipeline: str = "integer",
        termination: float = TERMINATION,
        progress: Callable[[int, int], None] | None = None,
    ) -> Rendering:
        """Render a picture.

        Parameters
        ----------
        camera : Camera
        pipeline : str
            ``uniform`` (L0, the reference), ``cubes`` (L1, object order) or ``integer`` (L2, the accelerator's bits).
        termination : float
            Transmittance below which a pixel takes no more samples, 0: never. The reference has none.
        progress : callable, optional
            ``progress(done, all)``, in rays; only ``uniform`` calls it.

        Returns
        -------
        Rendering
            The depth of ``integer`` is NaN: the accelerator does not compute it.

        Raises
        ------
        InputError
            Another pipeline, or a model or a view that the accelerator cannot take.
        """
        require(pipeline in PIPELINES, "pipeline", f"one of {', '.join(PIPELINES)}", pipeline)
        if pipeline == "uniform":
            return uniform.render(self.model, camera, progress=progress)
        if pipeline == "cubes":
            return cubes.render(self.model, camera, termination)
        scene = self.scene
        started = time.perf_counter()
        frame = self.frame(camera, termination)
        statistics = {
            "rays": frame.pixels.shape[0] * frame.pixels.shape[1],
            "samples_composited": len(frame.samples),
            "samples_shaded": len(frame.shaded),
            "live_cubes": scene.live_cubes,
            "scene_bytes": len(scene.data),
            "render_seconds": time.perf_counter() - started,
        }
        return Rendering(frame.rgb, np.full(frame.pixels.shape[:2], np.nan, np.float32), statistics)
