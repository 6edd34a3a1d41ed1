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
import torch

from nerf.cameras import load_cameras
from nerf.checkpoint import load_model
from nerf.contract.config import load_config
from nerf.poses import turned
from nerf.prepared import Prepared
from rtnerf.base.errors import InputError
from tests.nerf.captures.test_captures import FLIP, write_colmap, write_llff, write_nsvf
from tests.nerf.test_checkpoint import official

WIDTH, HEIGHT = 32, 24
SCALE = 2
"""The pictures compared are smaller by this."""
FORWARD = np.eye(4)
FORWARD[:3, :3], FORWARD[:3, 3] = turned((0, 1, 0), 0.1) @ turned((1, 0, 0), -0.06), (0.1, 0.05, 0.2)
"""A pose as a forward-facing model has it."""
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

    def colour(self, products, direction):
        """Colours (n, 3)."""
        feature = products.T @ self.tensors["basis"].T
        if self.model.colour == "features":
            return feature
        if self.model.colour == "harmonics":
            x, y, z = direction
            terms = [0.28209479177387814, *(0.4886025119029199 * np.array([-y, z, -x]))]
            terms += [1.0925484305920792 * x * y, -1.0925484305920792 * y * z]
            terms += [0.31539156525252005 * (3 * z * z - 1), -1.0925484305920792 * x * z]
            terms += [0.5462742152960396 * (x * x - y * y)]
            return np.maximum(feature.reshape(-1, 3, 9) @ np.array(terms) + 0.5, 0)
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
        return self.composited(points, direction, self.step, background)

    def composited(self, points, direction, step, background):
        """The colour of samples along a direction, a step apart."""
        points = points[self.occupied(points)]
        direction = direction / np.linalg.norm(direction)
        sigma = self.products("density", points).sum(axis=0)
        if self.model.density_activation == "relu":
            sigma = np.maximum(sigma, 0)
        else:
            sigma = np.logaddexp(0, sigma + self.model.density_shift)
        through = np.exp(-sigma * step * self.model.distance_scale)
        weight = (1 - through) * np.concatenate([[1], np.cumprod(through)[:-1]])
        shaded = weight > self.model.shading_threshold
        colour = self.colour(self.products("app", points[shaded]), direction)
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


# ---- The kinds of checkpoints ----


def content_of(model, shading, **state):
    """What the original program would save of a model, with another state."""
    content = official(model, shadingMode=shading)
    if shading not in ("MLP_Fea", "MLP"):
        content["state_dict"] = {k: v for k, v in content["state_dict"].items() if not k.startswith("renderModule")}
    content["state_dict"] |= state
    return content


def checkpoints(model):
    """Name and content of each kind, and of CP the planes and lines that it means."""
    random = torch.Generator().manual_seed(3)
    name, encoded_features = "renderModule.mlp.0.weight", 2 * model.feature_bands * len(model.basis)
    features = len(model.basis) + 3
    first = torch.cat([model.mlp[0][0][:, :features], model.mlp[0][0][:, features + encoded_features :]], dim=1)
    few = torch.randn(3, model.basis.shape[1], generator=random) * 0.05
    everywhere = replace(model, mask=np.ones((2, 2, 2), bool), mask_aabb=model.aabb)
    relu = official(everywhere, fea2denseAct="relu")
    for pair in range(3):
        for kind, ends in (("plane", (1, 1)), ("line", (1, 0))):
            factor = f"density_{kind}.{pair}"
            relu["state_dict"][factor] = hollow(relu["state_dict"][factor], ends)
    return {
        "`MLP_Fea`": content_of(model, "MLP_Fea"),
        "`MLP_Fea`, `relu` density": relu,
        "`MLP`": content_of(model, "MLP", **{name: first}),
        "`MLP_Fea`, `featureC` 64, `app_dim` 20, `fea_pe` 1, `view_pe` 0": sized(model, random, (20, 64, 1, 0)),
        "`SH`": content_of(model, "SH", **{"basis_mat.weight": model.basis * 0.3}),
        "`RGB`": content_of(model, "RGB", **{"basis_mat.weight": few}),
        "`TensorCP`": parallel(everywhere, random),
        LARGE: sized(model, random, (27, 256, 6, 6)),
        MANY: many(model, random),
        FORWARD_FACING: facing_forward(relu),
    }


LARGE = "`MLP_Fea`, `featureC` 256, `fea_pe` and `view_pe` 6"
MANY = "`n_lamb_sigma` 24, `n_lamb_sh` 72"
"""As the original program's options for the components are called."""
FORWARD_FACING = "NDC, forward-facing, `relu` density"


def many(model, random):
    """A checkpoint with the components of a model, and others behind them."""
    content = content_of(model, "MLP_Fea")
    state = content["state_dict"]
    for kind, count in (("density", 24), ("app", 72)):
        for name in (f"{kind}_{part}.{pair}" for part in ("plane", "line") for pair in range(3)):
            own = state[name]
            more = torch.randn(1, count - own.shape[1], *own.shape[2:], generator=random) * own.std()
            state[name] = torch.cat([own, more], dim=1)
    basis = model.basis.view(len(model.basis), 3, -1)
    more = torch.randn(len(basis), 3, 72 - basis.shape[2], generator=random) * basis.std()
    state["basis_mat.weight"] = torch.cat([basis, more], dim=2).flatten(1)
    content["kwargs"] |= {"density_n_comp": [24] * 3, "appearance_n_comp": [72] * 3}
    return content


def facing_forward(content):
    """A checkpoint in the box of normalised device coordinates."""
    aabb = torch.tensor([[-1.5, -1.67, -1.0], [1.5, 1.67, 1.0]])
    kwargs = content["kwargs"] | {"aabb": aabb, "near_far": [0.0, 1.0]}
    return content | {"kwargs": kwargs, "alphaMask.aabb": aabb}


def sized(model, random, sizes):
    """A model with a network of random weights: ``app_dim``, ``featureC``, ``fea_pe`` and ``view_pe``."""
    features, hidden, *bands = sizes
    encoded = features * (1 + 2 * bands[0]) + 3 * (1 + 2 * bands[1])
    layers = ((hidden, encoded), (hidden, hidden), (3, hidden))
    state = {"basis_mat.weight": model.basis[:features]}
    for layer, (outputs, inputs) in zip((0, 2, 4), layers, strict=True):
        state[f"renderModule.mlp.{layer}.weight"] = torch.randn(outputs, inputs, generator=random) * inputs**-0.5
        state[f"renderModule.mlp.{layer}.bias"] = torch.randn(outputs, generator=random) * 0.3
    content = content_of(model, "MLP_Fea", **state)
    content["kwargs"] |= dict(zip(("fea_pe", "view_pe"), bands, strict=True))
    return content


def hollow(factor, ends):
    """A factor that is 0 at its ends: the first sample of a ray is at the box, and may count or not by a rounding."""
    middle = factor[:, :, ends[0] : factor.shape[2] - ends[0], ends[1] : factor.shape[3] - ends[1]]
    return torch.nn.functional.pad(middle, [ends[1], ends[1], ends[0], ends[0]])


def parallel(model, random):
    """A TensorCP in the box of a model."""
    content = content_of(model, "MLP_Fea")
    state = {k: v for k, v in content["state_dict"].items() if "_plane." not in k and "_line." not in k}
    for kind, components, size in (("density", 7, 2.2), ("app", 24, 1.0)):
        for pair, axis in enumerate((2, 1, 0)):
            line = torch.rand(1, components, model.grid_size[axis], 1, generator=random) * size
            state[f"{kind}_line.{pair}"] = hollow(line, (1, 0))
    state["basis_mat.weight"] = model.basis[:, :24]
    return content | {"state_dict": state}


class DeviceRays(Formulas):
    """A forward-facing model, whose rays are straight in normalised device coordinates too."""

    def ray(self, origin, direction, background):
        """The colour of one ray: a pinhole of depth 1 at distance 1 of the origin is the front of the box."""

        def device(point):
            return np.array([*(point[:2] * self.shown / -point[2]), 1 + 2 / point[2]])

        near = origin + direction * (-1 - origin[2]) / direction[2]
        begin, end = device(near), device(near + direction * 1e12)
        count = int(np.linalg.norm(self.high - self.low) / self.step) + 1
        share = np.linspace(0, 1, count)[:-1, None]
        points = begin + share * (end - begin)
        points = points[((points >= self.low) & (points <= self.high)).all(axis=1)]
        return self.composited(points, end - begin, np.linalg.norm(end - begin) / (count - 1), background)


class Lines(Formulas):
    """A TensorCP."""

    def __init__(self, model, state):
        super().__init__(model)
        self.state = state

    def products(self, kind, points):
        """The three lines of each component, (components, n)."""
        at = (points - self.low) / (self.high - self.low) * (self.size - 1)
        lines = [self.state[f"{kind}_line.{pair}"][0, :, :, 0].double().numpy() for pair in range(3)]
        return math.prod(sampled(line, at[:, [axis]]) for line, axis in zip(lines, (2, 1, 0), strict=True))


REFUSED_CHECKPOINTS = [
    ("`MLP_PE`", {"kwargs": {"shadingMode": "MLP_PE"}}),
    ("`TensorVM`", {"state_dict": {"plane_coef": torch.zeros(3, 4, 5, 5), "line_coef": torch.zeros(3, 4, 5, 1)}}),
]


def measured_checkpoints():
    """PSNR against the formulas on each rung, by kind; on L2 the reason where the encoder refuses."""
    pose = load_cameras().poses[3] @ FLIP
    focal, centre = (40.0, 40.0), (WIDTH / 2, HEIGHT / 2)
    rows = {}
    with tempfile.TemporaryDirectory() as folder:
        transforms(pose @ FLIP, camera_angle_x=2 * math.atan(WIDTH / 80))(Path(folder))
        camera = load_cameras(folder).camera(0, WIDTH // SCALE)
        embedded = replace(load_model(), shading_threshold=0.0)
        for name, content in checkpoints(embedded).items():
            torch.save(content, Path(folder) / "x.th")
            model = load_model(Path(folder) / "x.th")
            formulas, view = Formulas(model), camera
            if "density_plane.0" not in content["state_dict"]:
                formulas = Lines(model, content["state_dict"])
            if name == FORWARD_FACING:
                formulas, view = DeviceRays(model), replace(camera, c2w=FORWARD)
                formulas.shown = 2 * np.array(focal) / (WIDTH, HEIGHT)
            config = load_config("tiny")
            if name == LARGE:
                config = replace(config, hidden=256, feature_bands=6, view_bands=6)
            if name in ("`SH`", "`RGB`"):
                config = replace(config, colours="plain")
            if name == MANY:
                config = replace(config, density_components=32, appearance_components=80)
            reference = formulas.picture(view.c2w @ FLIP, focal, centre, np.ones(3))
            rows[name] = {}
            for rung, way in PIPELINES.items():
                try:
                    rows[name][rung] = db(Prepared(model, config).render(view, way).rgb, reference)
                except InputError as error:
                    rows[name][rung] = f"refused: {error}"
    return rows


def refused_checkpoints():
    """What is said of each kind that is refused."""
    rows = {}
    for name, changes in REFUSED_CHECKPOINTS:
        content = official(load_model())
        if "state_dict" in changes:
            content["state_dict"] = changes["state_dict"]
        content["kwargs"] |= changes.get("kwargs", {})
        with tempfile.TemporaryDirectory() as folder:
            torch.save(content, Path(folder) / "x.th")
            try:
                load_model(Path(folder) / "x.th")
            except InputError as error:
                rows[name] = str(error).removeprefix(f"model {folder}/x.th: ")
    return rows


# ---- The kinds of captures ----


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


def table(of, rows, refused):
    """The tables of captures or checkpoints in Markdown."""
    lines = [f"| kind of {of} | L0 | L1 | L2 |", "| --- | --- | --- | --- |"]
    for name, row in rows.items():
        cells = (row[rung] for rung in PIPELINES)
        shown = (cell if isinstance(cell, str) else f"{math.floor(cell)} dB" for cell in cells)
        lines.append(f"| {name} | {' | '.join(shown)} |")
    lines += ["", "| refused | with |", "| --- | --- |"]
    lines += [f"| {name} | {text} |" for name, text in refused.items()]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    print(table("capture", measured(), refusals()))
    print(table("checkpoint", measured_checkpoints(), refused_checkpoints()), end="")
