"""Every kind of capture on every rung, against an evaluation of the formulas that is the tests' own.

``python -m tests.nerf.captures.compatibility`` prints the table of ``docs/compatibility.md``; ``test_compatibility.py``
holds it.
"""

import json
import math
import tempfile
from dataclasses import replace
from pathlib import Path

import numpy as np

from nerf.cameras import load_cameras
from nerf.checkpoint import load_model
from nerf.contract.config import load_config
from nerf.prepared import Prepared
from rtnerf.base.errors import InputError
from tests.nerf.captures.test_captures import FLIP, write_colmap, write_llff, write_nsvf

WIDTH, HEIGHT = 32, 24
SCALE = 2
"""The pictures compared are smaller by this."""
PIPELINES = {"L0": "uniform", "L1": "cubes", "L2": "integer"}


def sampled(grid, at):
    """Linear interpolation of an array (C, ...) at positions (n, axes) in cells."""
    low = np.clip(np.floor(at).astype(int), 0, np.array(grid.shape[1:]) - 2)
    share = at - low
    total = 0
    for corner in np.ndindex((2,) * at.shape[1]):
        weight = np.prod(np.where(corner, share, 1 - share), axis=1)
        total = total + weight * grid[(slice(None), *(low + corner).T)]
    return total


def encoded(values, bands):
    """Sines, then cosines, of each channel at each frequency."""
    angles = (values[:, :, None] * 2.0 ** np.arange(bands)).reshape(len(values), bands * values.shape[1])
    return np.concatenate([np.sin(angles), np.cos(angles)], axis=1)


class Formulas:
    """A TensoRF in NumPy and float64, from tensors and constants alone."""

    def __init__(self, model):
        self.model = model
        self.tensors = {name: tensor.double().numpy() for name, tensor in model.named_tensors().items()}
        self.low, self.high = model.aabb.double().numpy()
        self.size = np.array(model.grid_size)
        self.step = ((self.high - self.low) / (self.size - 1)).mean() * model.step_ratio

    def products(self, kind, points):
        """Plane times line of all pairs, (components, n)."""
        at = (points - self.low) / (self.high - self.low) * (self.size - 1)
        parts = []
        for pair, (first, second, line) in enumerate(((0, 1, 2), (0, 2, 1), (1, 2, 0))):
            plane = sampled(self.tensors[f"{kind}_planes.{pair}"], at[:, [second, first]])
            parts.append(plane * sampled(self.tensors[f"{kind}_lines.{pair}"], at[:, [line]]))
        return np.concatenate(parts)

    def occupied(self, points):
        """Whether the mask is above 0."""
        low, high = self.model.mask_aabb.double().numpy()
        mask = self.model.mask.astype(float)
        at = (points - low) / (high - low) * (np.array(mask.shape[::-1]) - 1)
        return sampled(mask[None], at[:, ::-1])[0] > 0

    def network(self, products, direction):
        """Colours (n, 3)."""
        feature = products.T @ self.tensors["basis"].T
        directions = np.broadcast_to(direction, (len(feature), 3))
        bands = self.model.feature_bands, self.model.view_bands
        value = [feature, directions, encoded(feature, bands[0]), encoded(directions, bands[1])]
        value = np.concatenate(value, axis=1)
        for layer in range(3):
            value = value @ self.tensors[f"mlp.{layer}.weight"].T + self.tensors[f"mlp.{layer}.bias"]
            value = np.maximum(value, 0) if layer < 2 else 1 / (1 + np.exp(-value))
        return value

    def ray(self, origin, direction, background):
        """The colour of one ray."""
        entry = np.minimum((self.low - origin) / direction, (self.high - origin) / direction).max()
        count = int(np.linalg.norm(self.high - self.low) / self.step) + 1
        distance = np.clip(entry, self.model.near, self.model.far) + self.step * np.arange(count)
        points = origin + distance[:, None] * direction
        points = points[:-1][((points >= self.low) & (points <= self.high)).all(axis=1)[:-1]]
        points = points[self.occupied(points)]
        sigma = np.logaddexp(0, self.products("density", points).sum(axis=0) + self.model.density_shift)
        through = np.exp(-sigma * self.step * self.model.distance_scale)
        weight = (1 - through) * np.concatenate([[1], np.cumprod(through)[:-1]])
        shaded = weight > self.model.shading_threshold
        colour = self.network(self.products("app", points[shaded]), direction)
        return weight[shaded] @ colour + (1 - weight.sum()) * background

    def picture(self, pose, focal, centre, background):
        """Through pixel centres of the smaller picture, by an OpenCV pose (4, 4)."""
        focal, centre = np.array(focal) / SCALE, np.array(centre) / SCALE
        rows = []
        for y in range(HEIGHT // SCALE):
            for x in range(WIDTH // SCALE):
                local = np.array([(x + 0.5 - centre[0]) / focal[0], (y + 0.5 - centre[1]) / focal[1], 1])
                direction = pose[:3, :3] @ (local / np.linalg.norm(local))
                rows.append(self.ray(pose[:3, 3], direction, background))
        return np.clip(rows, 0, 1).reshape(HEIGHT // SCALE, WIDTH // SCALE, 3)


# ---- The kinds ----


def transforms(pose, **keys):
    """Function that writes a camera file of one view."""

    def write(folder):
        frame = {"file_path": "v", "transform_matrix": pose.tolist()}
        content = {"w": WIDTH, "h": HEIGHT, "frames": [frame], **keys}
        (folder / "transforms.json").write_text(json.dumps(content))

    return write


def kinds(pose):
    """Name, function that writes, options, focal lengths, principal point, background of each kind."""
    middle, two, beside = (WIDTH / 2, HEIGHT / 2), (40.0, 35.0), (17.0, 11.0)
    angle = {"camera_angle_x": 2 * math.atan(WIDTH / 80)}
    full = {"fl_x": 40, "fl_y": 35, "cx": 17, "cy": 11}
    one = (40.0, 40.0)
    white = (255, 255, 255)
    black, colour = {"background": (0, 0, 0)}, {"background": (20, 200, 90)}
    lens = {**full, "k1": -0.1, "p1": 0.01}
    blender = pose @ FLIP
    return [
        ("NeRF-synthetic", transforms(blender, **angle), {}, one, middle, white),
        ("nerfstudio, full intrinsics", transforms(blender, **full), {}, two, beside, white),
        ("instant-ngp, lens, `aabb_scale`", transforms(blender, **lens, aabb_scale=4), {}, two, beside, white),
        ("fisheye", transforms(blender, **full, camera_model="OPENCV_FISHEYE"), {}, two, beside, white),
        ("`--axes opencv`", transforms(pose, **full), {"axes": "opencv"}, two, beside, white),
        ("LLFF", lambda folder: write_llff(folder, [blender]), {}, one, middle, white),
        ("NSVF, Tanks and Temples", lambda folder: write_nsvf(folder, [blender], "0"), {}, one, beside, white),
        ("COLMAP, text", lambda folder: write_colmap(folder, [blender], False), {}, one, beside, white),
        ("COLMAP, binary", lambda folder: write_colmap(folder, [blender], True), {}, one, beside, white),
        ("`--background black`", transforms(blender, **full), black, two, beside, (0, 0, 0)),
        ("`--background 20,200,90`", transforms(blender, **full), colour, two, beside, (20, 200, 90)),
    ]


REFUSED = [
    ("lens with k5 or k6", {"k5": 0.1}),
    ("equirectangular and other cameras", {"camera_model": "EQUIRECTANGULAR"}),
    ("instant-ngp, world scaled or moved", {"scale": 0.33}),
    ("masks", {"mask_path": "m.png"}),
    ("FOV and thin prism of COLMAP", "FOV"),
]


def db(picture, reference):
    """PSNR."""
    return -10 * math.log10(np.square(picture - reference).mean())


def measured():
    """PSNR against the formulas on each rung, by kind."""
    model = replace(load_model(), shading_threshold=0.0)  # Nothing at a threshold for roundings to decide.
    job, formulas = Prepared(model, load_config("tiny")), Formulas(model)
    pose = load_cameras().poses[3] @ FLIP
    references = {}
    rows = {}
    for name, write, options, focal, centre, background in kinds(pose):
        with tempfile.TemporaryDirectory() as folder:
            write(Path(folder))
            camera = load_cameras(folder, **options).camera(0, WIDTH // SCALE)
        key = (focal, centre, background)
        if key not in references:
            references[key] = formulas.picture(pose, focal, centre, np.array(background) / 255)
        rows[name] = {rung: db(job.render(camera, way).rgb, references[key]) for rung, way in PIPELINES.items()}
    return rows


def refusals():
    """What is said of each kind that is refused."""
    pose = np.eye(4)
    rows = {}
    for name, keys in REFUSED:
        with tempfile.TemporaryDirectory() as folder:
            if isinstance(keys, str):
                write_colmap(Path(folder), [pose], False)
                file = Path(folder) / "sparse/0/cameras.txt"
                file.write_text(file.read_text().replace("PINHOLE", keys))
            else:
                transforms(pose, camera_angle_x=0.7, **keys)(Path(folder))
            try:
                load_cameras(folder)
            except InputError as error:
                rows[name] = str(error).replace(f"{folder}/", "")
    return rows


def table(rows, refused):
    """The tables in Markdown."""
    lines = ["| kind of capture | L0 | L1 | L2 |", "| --- | --- | --- | --- |"]
    for name, row in rows.items():
        lines.append(f"| {name} | " + " | ".join(f"{math.floor(row[rung])} dB" for rung in PIPELINES) + " |")
    lines += ["", "| refused | with |", "| --- | --- |"]
    lines += [f"| {name} | {text} |" for name, text in refused.items()]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    print(table(measured(), refusals()), end="")
