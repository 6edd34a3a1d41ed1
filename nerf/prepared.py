"""A model made ready for an accelerator: the way from factors to the image of its memory, and to views and pictures."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np

from nerf.cameras import Camera
from nerf.checkpoint import WITH_FLOATS, load_model
from nerf.contract.blocks import Form
from nerf.contract.config import PRESETS, AcceleratorConfig
from nerf.contract.registers import AXES, View, view_registers
from nerf.contract.scene_image import Scene, exchanged_axes, is_scene_image, load_scene
from nerf.encode import EncodedScene, encode_model
from nerf.golden.forward_facing import picture_registers, quantised_rays
from nerf.golden.frame import DecodedScene, Frame, decode_scene, registered_rays, render_bands, render_rays
from nerf.golden.ray_setup import Rays
from nerf.model import TensorfModel
from nerf.render import cubes, uniform
from nerf.render.forward_facing import device_rays
from nerf.render.uniform import Rendering
from rtnerf.base.errors import InputError, require

PIPELINES = ("uniform", "cubes", "integer")
ENCODINGS = ("hybrid", *(form.name.lower() for form in Form))
TERMINATION = 1e-3
"""Transmittance below which a pixel takes no more samples, where nothing else is said."""


def load_subject(path: str | Path | None = None) -> TensorfModel | Scene:
    """Read a model, as `nerf.checkpoint.load_model`, or a scene image. Raises as they do."""
    if path is not None and is_scene_image(path):
        return load_scene(path)
    return load_model(path)


@dataclass(frozen=True, eq=False)
class Prepared:
    """A model for one accelerator. What is made of it is made when it is asked for, and once.

    Parameters
    ----------
    model : TensorfModel or Scene
        A scene image has no floats: only integers come of it.
    config : AcceleratorConfig
    encoding : str
        Form of the factor blocks, one of `ENCODINGS`; ``hybrid``: of each block the smallest, or as an image has it.

    Raises
    ------
    InputError
        Another encoding; a scene image of another configuration, or to be encoded.
    """

    model: TensorfModel | Scene
    config: AcceleratorConfig
    encoding: str = "hybrid"

    def __post_init__(self) -> None:
        require(self.encoding in ENCODINGS, "encoding", f"one of {', '.join(ENCODINGS)}", self.encoding)
        if isinstance(self.model, Scene):
            require(self.encoding == "hybrid", "encoding", "absent with a scene image, which is encoded", self.encoding)
            made_for, digest = self.model.config_digest, self.config.digest_word
            names = [name for name, preset in PRESETS.items() if preset.digest_word == made_for]
            rule = f"that of the scene image, {names[0] if names else 'one of its own'} ({made_for:#010x})"
            require(made_for == digest, "config", rule, f"{self.config.name} ({digest:#010x})")

    @property
    def floats(self) -> TensorfModel:
        """The model; `InputError` for a scene image, which has none."""
        if isinstance(self.model, Scene):
            raise InputError(f"model must be {WITH_FLOATS}")
        return self.model

    @property
    def forward_facing(self) -> bool:
        """Whether the model's box is in normalised device coordinates."""
        return self.model.forward_facing

    @property
    def centre(self) -> np.ndarray:
        """Middle of the box, in the world: float64 (3,)."""
        if isinstance(self.model, Scene):
            axes = exchanged_axes(int(self.model.host["exchanged"]))
            low, unit = (np.array([self.model.host[f"{name}_{axis}"] for axis in AXES]) for name in ("low", "unit"))
            return (low + unit * (np.array(self.model.grid) - 1) / 2)[axes]
        return self.model.aabb.double().mean(dim=0).cpu().numpy()

    @cached_property
    def encoded(self) -> EncodedScene:
        """The scene image, with what its tensors take."""
        return encode_model(
            self.floats, self.config, None if self.encoding == "hybrid" else Form[self.encoding.upper()]
        )

    @property
    def scene(self) -> Scene:
        """The scene image: what lies in the accelerator's memory."""
        return self.model if isinstance(self.model, Scene) else self.encoded.scene

    @cached_property
    def decoded(self) -> DecodedScene:
        """The scene image, decoded for golden model and simulator."""
        return decode_scene(self.scene, self.config)

    def view(self, camera: Camera, termination: float = TERMINATION) -> View:
        """The registers for a camera and its crop; ``termination`` in 0..1, 0: never."""
        focal = (camera.focal, camera.focal_y)
        size = (camera.width, camera.height)
        return view_registers(
            self.scene, camera.c2w, focal, *size, camera.crop, camera.centre, termination, camera.background
        )

    def frame(self, camera: Camera, termination: float = TERMINATION) -> Frame:
        """Every value that the accelerator computes for a camera, in integers."""
        return render_rays(self.decoded, *self._integers(camera, termination))

    def _integers(self, camera: Camera, termination: float) -> tuple[View, Rays, np.ndarray]:
        """Registers, rays and their laws: what :func:`nerf.golden.frame.render_rays` takes."""
        if not self.forward_facing:
            view = self.view(camera, termination)
            return view, *registered_rays(self.scene, view)
        view = picture_registers(self.scene, camera.window, termination, camera.background)
        return view, *quantised_rays(self.scene, *np.split(device_rays(camera).numpy(), 2, axis=1))

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
            ``progress(done, all)``, in rays; of ``cubes`` in rays twice, for samples are found and then shaded.

        Returns
        -------
        Rendering
            The depth of ``integer`` is NaN: the accelerator does not compute it.

        Raises
        ------
        InputError
            Another pipeline, a scene image for floats, or a model or a view that the accelerator cannot take.
        """
        require(pipeline in PIPELINES, "pipeline", f"one of {', '.join(PIPELINES)}", pipeline)
        if pipeline == "uniform":
            return uniform.render(self.floats, camera, progress=progress)
        if pipeline == "cubes":
            return cubes.render(self.floats, camera, termination, progress=progress)
        scene = self.scene
        started = time.perf_counter()
        view, rays, law = self._integers(camera, termination)
        bands, composited, shaded = [], 0, 0
        for band in render_bands(self.decoded, view, rays, law):
            bands.append(band.rgb)
            composited += len(band.samples)
            shaded += len(band.shaded)
            if progress is not None:
                progress(sum(map(len, bands)) * view.window_width, len(law))
        statistics = {
            "rays": len(law),
            "samples_composited": composited,
            "samples_shaded": shaded,
            "live_cubes": scene.live_cubes,
            "scene_bytes": len(scene.data),
            "render_seconds": time.perf_counter() - started,
        }
        rgb = np.concatenate(bands)
        return Rendering(rgb, np.full(rgb.shape[:2], np.nan, np.float32), statistics)
