from dataclasses import dataclass

import numpy as np
import pytest

import rtnerf


@pytest.fixture
def call(capsys):
    """Run the command line in this process; returns (exit code, stdout, stderr)."""

    def call(*arguments):
        with pytest.raises(SystemExit) as end:
            rtnerf.main([str(argument) for argument in arguments])
        captured = capsys.readouterr()
        return end.value.code or 0, captured.out, captured.err

    return call


@pytest.fixture
def fakes(monkeypatch):
    """Stand-ins of the model, the cameras and the renderers; returns what they were called with."""
    seen = {}

    class Camera:
        background = (255, 255, 255)

        def __init__(self, width, height, crop=None):
            self.width, self.height, self.crop = width, height or width, crop
            self.window = crop or (0, 0, self.width, self.height)

        def cropped(self, *crop):
            return Camera(self.width, self.height, crop)

    class Cameras:
        def __init__(self):
            self.remarks = {}
            self.pictures = []

        def look_away(self, point):
            return False

        def camera(self, index, width, height=None):
            return Camera(width, height)

        def ground_truth(self, index, width, height=None):
            seen["truth"] = (index, width, height)
            return np.full((height, width, 3), 0.5, np.float32)

    @dataclass
    class Rendering:
        rgb: np.ndarray

        def record(self):
            return {"statistics": {"pixels": self.rgb.size // 3}}

    def render(job, camera, pipeline, progress):
        seen["render"] = (job.model, camera.window, pipeline)
        return Rendering(np.full((*camera.window[:1:-1], 3), 0.6))

    monkeypatch.setattr("nerf.prepared.load_subject", lambda path: "model")
    monkeypatch.setattr("nerf.cameras.load_cameras", lambda *options: Cameras())
    monkeypatch.setattr("nerf.prepared.Prepared.render", render)
    monkeypatch.setattr("nerf.prepared.Prepared.centre", np.zeros(3))
    monkeypatch.setattr("nerf.prepared.Prepared.forward_facing", False)
    return seen
