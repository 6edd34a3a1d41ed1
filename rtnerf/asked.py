"""What the served page asks: to simulate a view, with a configuration and ideas switched off; of what a pixel is."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from rtnerf.base.errors import InputError, require

if TYPE_CHECKING:
    from nerf.cameras import Camera
    from nerf.contract.config import AcceleratorConfig
    from rtnerf.api import Job
    from sim.ablation import Switches

CHOICES = ("config", "encoding", "ordering", "sampling", "termination")
"""What a question may choose, besides its camera."""
OF_ALL = ("samples", "opaque")
OF_VISIBLE = ("visible", "shade_jobs", "coloured")
STREAMS = (*OF_ALL, *OF_VISIBLE, "pixels")
"""Stages of a pixel whose cycles are told, in the order of the data flow; of all samples, and of visible ones alone."""


class Asked:
    """The answers about a scene.

    Parameters
    ----------
    job : Job
    camera : Camera
        Size, focal lengths and background of all views.
    configs : mapping
        Configurations that may be asked for by name besides the job's own, where they shade as it does.
    models : sequence of str
        Names of models that the page offers, its own first.
    """

    def __init__(
        self, job: Job, camera: Camera, configs: Mapping[str, AcceleratorConfig], models: Sequence[str] = ()
    ) -> None:
        self.job, self._camera, self._models = job, camera, list(models)
        fitting = {name: config for name, config in configs.items() if config.shading == job.config.shading}
        self._configs = {job.config.name: job.config} | fitting
        self._jobs = {(job.config.name, job.encoding): job}

    @property
    def choices(self) -> dict[str, list[str]]:
        """What may be asked for, by name; the first is what the page shows without asking."""
        from nerf.prepared import ENCODINGS
        from sim.ablation import ORDERINGS, SAMPLINGS

        encodings = ["hybrid"] if self._is_image else list(ENCODINGS)
        models = {"model": self._models} if len(self._models) > 1 else {}
        found = {"config": self._configs, "encoding": encodings, "ordering": ORDERINGS, "sampling": SAMPLINGS}
        return models | {name: list(values) for name, values in found.items()} | {"termination": ["0.001", "0"]}

    @property
    def _is_image(self) -> bool:
        from nerf.contract.scene_image import Scene

        return isinstance(self.job.model, Scene)

    def simulate(self, asked: Mapping[str, str]) -> dict[str, Any]:
        """Return a simulated view as the page has its own, of ``camera``, with the choices; see `choices`."""
        from rtnerf.live import simulated

        self._check(asked, "camera", *CHOICES)
        return simulated(self._job_of(asked), self._camera_of(asked), self._switches(asked))

    def pixel(self, asked: Mapping[str, str]) -> dict[str, Any]:
        """Return the samples of a pixel, ``x`` and ``y`` of ``camera``, and their cycles in a frame of it alone."""
        from nerf.contract.formats import COLOUR_BITS, POSITION, UNIT
        from nerf.golden.frame import SAMPLE_FIELDS
        from sim.memory.dram import Dram
        from sim.simulate import simulate

        self._check(asked, "camera", "x", "y", *CHOICES)
        job, switches = self._job_of(asked), self._switches(asked)
        x, y = (self._whole(asked, name) for name in ("x", "y"))
        camera = self._camera_of(asked).cropped(x, y, 1, 1)
        view = job.view(camera, switches.termination)
        frame = job.frame(camera, switches.termination)
        run = simulate(job.decoded, view, job.config, Dram(), record=True)
        assert run.transfers is not None
        one, cell = 1 << UNIT, 1 << POSITION.fraction
        column = {name: frame.samples[:, at].tolist() for at, name in enumerate(SAMPLE_FIELDS)}
        come = {name: run.transfers[name].tolist() for name in STREAMS}
        seen = {row: number for number, row in enumerate(frame.visible.tolist())}
        # With deferred shading the network runs once a ray, and no sample has a colour of its own.
        own = (
            OF_VISIBLE if len(frame.shaded) == len(frame.visible) and job.config.shading != "deferred" else ("visible",)
        )
        samples = [
            {
                "index": column["index"][row],
                "cell": [column[axis][row] / cell for axis in "xyz"],
                **{name: column[name][row] / one for name in ("alpha", "weight", "transmittance")},
                "cycles": {name: come[name][row] for name in OF_ALL}
                | ({name: come[name][seen[row]] for name in own} if row in seen else {}),
                **(
                    {"rgb": (frame.colours[seen[row]] / (1 << COLOUR_BITS)).tolist()}
                    if row in seen and len(own) > 1
                    else {}
                ),
            }
            for row in range(len(frame.samples))
        ]
        return {
            "x": x,
            "y": y,
            "rgba": (frame.pixels[0, 0] / 65535).round(5).tolist(),
            "samples": samples,
            "shaded": len(frame.shaded),
            "cycles": run.cycles,
            "stages": {name: [cycles[0], cycles[-1]] for name, cycles in come.items() if cycles},
        }

    def _check(self, asked: Mapping[str, str], *names: str) -> None:
        for name in asked:
            require(name in names, "question", f"made of {', '.join(names)}", name)

    def _switches(self, asked: Mapping[str, str]) -> Switches:
        from sim.ablation import Switches

        given = {name: asked[name] for name in ("ordering", "encoding", "sampling") if name in asked}
        try:
            termination = float(asked.get("termination", "0.001"))
        except ValueError:
            raise InputError(f"termination must be a number, not {asked['termination']}") from None
        return Switches(termination, **given)

    def _job_of(self, asked: Mapping[str, str]) -> Job:
        from rtnerf.api import prepare

        config, encoding = asked.get("config", self.job.config.name), asked.get("encoding", self.job.encoding)
        require(config in self._configs, "config", f"one of {', '.join(self._configs)}", config)
        if (config, encoding) not in self._jobs:
            self._jobs[config, encoding] = prepare(self.job.model, self._configs[config], encoding)
        return self._jobs[config, encoding]

    def _camera_of(self, asked: Mapping[str, str]) -> Camera:
        rule = "12 finite numbers, position and rotation in rows"
        try:
            numbers = np.array([float(word) for word in asked.get("camera", "").split(",")])
        except ValueError:
            raise InputError(f"camera must be {rule}, not {asked.get('camera') or 'missing'}") from None
        require(len(numbers) == 12 and np.isfinite(numbers).all(), "camera", rule, asked["camera"])
        pose = np.eye(4)
        pose[:3, 3], pose[:3, :3] = numbers[:3], numbers[3:].reshape(3, 3)
        return replace(self._camera, c2w=pose)

    def _whole(self, asked: Mapping[str, str], name: str) -> int:
        value = asked.get(name, "missing")
        require(value.isascii() and value.isdigit() and len(value) < 6, name, "a pixel's whole number", value)
        return int(value)
