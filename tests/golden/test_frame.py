"""The integer pipeline against the float reference, and its own invariants."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from nerf.contract.blocks import Form
from nerf.contract.config import SHADINGS, load_config
from nerf.contract.formats import UNIT
from nerf.contract.registers import view_registers
from nerf.contract.scene_image import exchanged_axes
from nerf.encode import encode_model
from nerf.exchange import exchanged
from nerf.golden.frame import SAMPLE_FIELDS, decode_scene, registered_rays, render_bands, render_frame
from nerf.golden.occupancy_walker import axis_order, walk
from nerf.golden.projector import project
from nerf.metrics import psnr
from nerf.prepared import Prepared
from nerf.refine import for_its_mask
from nerf.render import uniform
from nerf.widen import fitted
from rtnerf.base.errors import InputError
from tests.golden.models import EDGE_CASES, look_at, small_model

TINY = load_config("tiny")


@pytest.mark.parametrize("case", EDGE_CASES)
def test_edge_cases_render_like_the_reference(case):
    factory, arguments, camera = EDGE_CASES[case]
    model = factory(**arguments)
    reference = uniform.render(model, camera).rgb
    picture = Prepared(model, TINY).render(camera, termination=0).rgb
    assert picture.shape == reference.shape
    assert psnr(picture, reference) > 42
    if case in ("all rays miss", "empty occupancy"):
        assert np.all(picture == 1)
    elif case != "one pixel":
        assert reference.std() > 0.01, "the case must show something"


@pytest.mark.parametrize(
    ("features", "hidden", "feature_bands", "view_bands", "least"),
    [
        (24, 64, 2, 2, 42),
        (32, 32, 2, 2, 42),
        (27, 256, 2, 0, 42),
        (25, 32, 1, 4, 42),
        # The highest band has 32 times the feature's rounding, and random weights give it as much say as the lowest.
        (32, 128, 6, 6, 38),
    ],
)
def test_other_networks_render_like_the_reference(features, hidden, feature_bands, view_bands, least):
    sizes = {"features": features, "hidden": hidden, "feature_bands": feature_bands, "view_bands": view_bands}
    config = replace(TINY, mlp_lanes=32, **sizes)
    model = small_model(network=config.network)
    job = Prepared(model, config)
    assert {name: job.scene.host[name] for name in sizes} == sizes
    camera = EDGE_CASES["outside"][2]
    assert psnr(job.render(camera, termination=0).rgb, uniform.render(model, camera).rgb) > least


@pytest.mark.parametrize(
    "smaller",
    [{"features": 20, "hidden": 48}, {"feature_bands": 0}, {"view_bands": 1, "feature_bands": 1}, {"view_bands": 0}],
)
def test_smaller_networks_run_in_the_room_of_a_larger_one(smaller):
    model, camera = small_model(network=replace(TINY.network, **smaller)), EDGE_CASES["outside"][2]
    job = Prepared(model, TINY)
    assert job.scene.host["features"] == 27
    assert psnr(job.render(camera, termination=0).rgb, uniform.render(model, camera).rgb) > 42
    network = fitted(model, TINY.network)
    wide = replace(model, basis=network.basis, mlp=network.mlp, feature_bands=2, view_bands=2)
    assert replace(wide.network, components=48) == TINY.network
    assert np.abs(uniform.render(wide, camera).rgb - uniform.render(model, camera).rgb).max() < 1e-5


PARTS = ("planes", "lines")


def test_a_pair_without_components_is_encoded():
    model, camera = small_model(), EDGE_CASES["outside"][2]
    parts = {f"{group}_{part}": [*getattr(model, f"{group}_{part}")] for group in ("density", "app") for part in PARTS}
    parts["basis"] = model.basis[:, : 2 * model.app_components[0]]
    for name in parts:
        if name != "basis":
            parts[name][2] = parts[name][2][:0]
    model = replace(model, **parts)
    assert (model.density_components[2], model.app_components[2]) == (0, 0)
    picture = Prepared(model, TINY).render(camera, termination=0).rgb
    assert psnr(picture, uniform.render(model, camera).rgb) > 42


@pytest.mark.parametrize(
    ("larger", "line"),
    [
        ({"features": 28}, "features = 28"),
        ({"hidden": 129}, "hidden = 256"),
        ({"feature_bands": 4}, "feature_bands = 4"),
        ({"view_bands": 4}, "view_bands = 4"),
    ],
)
def test_larger_networks_are_refused(larger, line):
    message = f"config must be one with {line}, as the model needs .lines of a TOML file., not tiny"
    with pytest.raises(InputError, match=message):
        encode_model(small_model(network=replace(TINY.network, **larger)), TINY)


@pytest.mark.parametrize("thin", [(40, 9, 20), (50, 40, 60)])
def test_a_mask_finer_than_the_factors_has_its_own_cells(thin):
    model, camera = small_model(thin=thin), EDGE_CASES["outside"][2]
    finer = for_its_mask(model)
    assert np.abs(uniform.render(finer, camera).rgb - uniform.render(model, camera).rgb).max() < 1e-5
    job = Prepared(model, TINY)
    assert job.scene.host["step"] == model.step
    assert job.scene.grid == finer.grid_size > model.grid_size
    assert psnr(job.render(camera, termination=0).rgb, uniform.render(model, camera).rgb) > 45


@pytest.mark.parametrize("colour", ["network", "harmonics"])
@pytest.mark.parametrize("axis", [1, 2])
def test_axes_are_exchanged_without_a_change_of_a_picture(colour, axis):
    model, camera = small_model(), EDGE_CASES["outside"][2]
    if colour == "harmonics":
        basis = torch.randn(27, model.basis.shape[1], generator=torch.Generator().manual_seed(2)) * 0.5
        model = replace(model, colour=colour, basis=basis, mlp=[])
    other = replace(camera, c2w=np.asarray(camera.c2w)[[*exchanged_axes(axis), 3]])
    found = uniform.render(exchanged(model, axis), other).rgb
    assert np.abs(found - uniform.render(model, camera).rgb).max() < 1e-5


@pytest.mark.parametrize(
    ("grid", "stored", "exchanged_with"),
    [((500, 13, 22), (13, 500, 22), 1), ((640, 25, 32), (25, 640, 32), 1), ((25, 640, 32), (25, 640, 32), 0),
     ((25, 32, 640), (25, 32, 640), 0), ((388, 388, 25), (25, 388, 388), 2)],
)  # fmt: skip
def test_a_grid_that_is_too_long_along_x_lies_along_another_axis(grid, stored, exchanged_with):
    model = small_model(grid=grid, thin=tuple(n * 3 // 4 for n in grid))
    camera = replace(EDGE_CASES["outside"][2], width=8, height=8, focal=9.6)
    job = Prepared(model, TINY)
    assert (job.scene.grid, job.scene.host["exchanged"]) == (stored, exchanged_with)
    assert psnr(job.render(camera, termination=0).rgb, uniform.render(model, camera).rgb) > 45
    assert np.allclose(Prepared(job.scene, TINY).centre, job.centre, atol=1e-6)


def test_a_step_over_too_many_cells_is_refused():
    with pytest.raises(InputError, match=r"^step must be below 16 cells along each axis, not 48$"):
        encode_model(small_model(grid=(8, 640, 8)), TINY)


@pytest.mark.parametrize("case", ["outside", "inside the box"])
def test_a_crop_is_the_same_pixels(case):
    factory, arguments, camera = EDGE_CASES[case]
    job = Prepared(factory(**arguments), TINY)
    whole = job.render(camera).rgb
    crop = job.render(camera.cropped(3, 5, 7, 6)).rgb
    assert np.abs(crop - whole[5:11, 3:10]).max() < 2e-3


def frame_of(case, **settings):
    factory, arguments, camera = EDGE_CASES[case]
    job = Prepared(factory(**arguments), TINY)
    view = view_registers(job.scene, camera.c2w, camera.focal, camera.width, camera.height, **settings)
    return job.scene, view, render_frame(job.decoded, view)


@pytest.mark.parametrize("form", Form)
def test_the_form_of_the_blocks_changes_bytes_only(form):
    factory, arguments, camera = EDGE_CASES["outside"]
    model = factory(**arguments)
    hybrid, one = encode_model(model, TINY), encode_model(model, TINY, form)
    frames = [
        render_frame(
            decode_scene(encoded.scene, TINY),
            view_registers(encoded.scene, camera.c2w, camera.focal, camera.width, camera.height),
        )
        for encoded in (hybrid, one)
    ]
    assert np.array_equal(frames[0].pixels, frames[1].pixels)
    assert np.array_equal(frames[0].samples, frames[1].samples)
    assert one.size_table()["total"]["hybrid_bytes"] >= hybrid.size_table()["total"]["hybrid_bytes"]


def test_bands_of_rows_are_the_frame():
    scene, view, whole = frame_of("outside")
    bands = list(render_bands(decode_scene(scene, TINY), view, *registered_rays(scene, view), rows=5))
    assert {band.pixels.shape[0] for band in bands} == {5, view.window_height % 5}
    np.testing.assert_array_equal(np.concatenate([band.pixels for band in bands]), whole.pixels)
    np.testing.assert_array_equal(np.concatenate([band.colours for band in bands]), whole.colours)


def test_weights_and_transmittance_add_up_exactly():
    _, view, frame = frame_of("outside")
    column = {name: frame.samples[:, index] for index, name in enumerate(SAMPLE_FIELDS)}
    for pixel in np.unique(column["pixel"]):
        mine = column["pixel"] == pixel
        left = (1 << UNIT) - np.cumsum(column["weight"][mine])
        assert np.array_equal(left, column["transmittance"][mine])
        assert np.all(left[:-1] >= view.termination)


def test_black_background_and_opacity():
    _, _, white = frame_of("outside")
    _, _, black = frame_of("outside", background=(0, 0, 0))
    _, _, blue = frame_of("outside", background=(0, 51, 255))
    opacity = white.pixels[..., 3].astype(int)
    assert np.abs(white.pixels[..., 0].astype(int) - black.pixels[..., 0] - (65535 - opacity)).max() <= 2
    for channel, share in enumerate((0, 0.2, 1)):
        behind = blue.pixels[..., channel].astype(int) - black.pixels[..., channel]
        assert np.abs(behind - share * (65535 - opacity)).max() <= 2
    assert np.array_equal(blue.pixels[..., 2], white.pixels[..., 2])


@pytest.mark.parametrize("case", ["outside", "inside the box", "along an axis", "no mask"])
def test_cube_order_is_front_to_back_for_every_ray(case):
    scene, view, frame = frame_of(case, termination=0)
    start = tuple(view.values[f"start_cube_{axis}"] for axis in "xyz")
    order = {(x, y, z): turn for turn, (x, y, z, _) in enumerate(walk(scene, start))}
    assert len(order) == scene.live_cubes
    turn = np.array([order[tuple(point)] for point in frame.samples[:, 2:5] >> 18])
    same_pixel = np.diff(frame.samples[:, 0]) == 0
    assert np.all(np.diff(turn)[same_pixel] >= 0)


@pytest.mark.parametrize("case", ["outside", "inside the box", "along an axis, from above", "no mask", "wide"])
def test_projection_covers_every_sample(case):
    _, view, frame = frame_of(case, termination=0)
    rectangles = {}
    for sample in frame.samples:
        cube = tuple(int(c) for c in sample[2:5] >> 18)
        rectangle = rectangles.setdefault(cube, project(cube, view))
        assert rectangle is not None
        y, x = divmod(int(sample[0]), view.window_width)
        assert rectangle[0] <= x <= rectangle[2]
        assert rectangle[1] <= y <= rectangle[3]


@pytest.mark.parametrize("start", [-1, 0, 3, 7, 8])
def test_axis_order_moves_away_from_the_camera(start):
    order = axis_order(start, 8)
    assert sorted(order) == list(range(8))
    upward, downward = [c for c in order if c >= start], [c for c in order if c < start]
    assert order == upward + downward
    assert upward == sorted(upward)
    assert downward == sorted(downward, reverse=True)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"components": (17, 6)}, "config must be one with density_components = 32, as the model needs"),
        ({"components": (4, 49)}, "config must be one with appearance_components = 64, as the model needs"),
        ({"grid": (385, 513, 513)}, "grid size along x must be at most 384, not 385"),
        (
            {"grid": (200, 20, 20), "thin": (500, 20, 20)},
            "mask grid must be at most 1.25 times as fine as the factor grid, where a finer one .598x20x20 vertices",
        ),
    ],
)
def test_models_beyond_the_hardware_are_refused(change, message):
    with pytest.raises(InputError, match=message):
        encode_model(small_model(**change), TINY)


@pytest.mark.parametrize("shading", SHADINGS)
def test_shading_other_than_the_configuration_is_refused(shading):
    other = next(each for each in SHADINGS if each != shading)
    message = f'config must be one with shading = "{other}", as the model needs'
    with pytest.raises(InputError, match=message):
        encode_model(replace(small_model(), shading=other), replace(TINY, shading=shading))


def test_deferred_shading_runs_the_network_once_a_ray_and_stays_close_to_the_float_renderer():
    model = replace(small_model(), shading="deferred", shading_threshold=1e-3)
    config = replace(TINY, shading="deferred")
    camera = look_at((3, 1, 2), width=24, height=24)
    frame = Prepared(model, config).frame(camera)
    pixels = frame.samples[frame.visible, 0]
    assert frame.shaded[:, 0].tolist() == np.unique(pixels).tolist()
    weights = np.bincount(pixels, frame.samples[frame.visible, SAMPLE_FIELDS.index("weight")])
    assert frame.shaded[:, 1].tolist() == weights[frame.shaded[:, 0]].tolist()
    assert len(frame.shaded) < len(frame.visible)
    assert psnr(frame.rgb, uniform.render(model, camera).rgb) > 45


def test_views_beyond_the_registers_are_refused():
    scene = encode_model(small_model(), TINY).scene
    far = look_at((9000.0, 0.0, 0.0))
    with pytest.raises(InputError, match="origin must be within"):
        view_registers(scene, far.c2w, far.focal, 16, 16)
    with pytest.raises(InputError, match="crop must be inside the 16x16 image, not 9,9,8,8"):
        view_registers(scene, look_at((3, 0, 0)).c2w, 20.0, 16, 16, (9, 9, 8, 8))
