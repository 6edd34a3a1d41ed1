import time
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from nerf.metrics import psnr
from nerf.render import cubes, shared, uniform, walk
from rtnerf.base.errors import InputError


def assert_same(model, camera, edge=cubes.CUBE_EDGE):
    """Render both ways without termination; return the object-order rendering."""
    expected = uniform.render(model, camera)
    actual = cubes.render(model, camera, 0.0, edge)
    assert actual.rgb.shape == expected.rgb.shape
    assert actual.rgb.dtype == actual.depth.dtype == np.float32
    np.testing.assert_allclose(actual.rgb, expected.rgb, atol=1e-4, rtol=0)
    np.testing.assert_allclose(actual.depth, expected.depth, atol=1e-3, rtol=0)
    for name in ("rays", "samples_occupied"):
        assert actual.statistics[name] == expected.statistics[name]
    return actual


# ---- Equal to the uniform renderer ----


@pytest.mark.data
@pytest.mark.parametrize("view", [2, 7, 13])
def test_lego_equals_the_uniform_renderer(lego_model, lego_cameras, view):
    camera = lego_cameras.camera(view, 100)
    assert_same(lego_model, camera)
    expected = uniform.render(lego_model, camera)
    terminated = cubes.render(lego_model, camera, 1e-3)
    assert 70 <= psnr(terminated.rgb, expected.rgb) < 90
    assert terminated.statistics["rays_stopped"] > 0
    assert terminated.statistics["samples_occupied"] < expected.statistics["samples_occupied"]


@pytest.mark.data
@pytest.mark.full
def test_object_order_is_twice_as_fast(lego_model, lego_cameras):
    """Processor time, so that other work on the machine does not count."""
    camera = lego_cameras.camera(7, 200)
    cubes.render(lego_model, lego_cameras.camera(7, 8))  # Compiles.
    seconds = []
    for function in (uniform.render, cubes.render):
        start = time.process_time()
        function(lego_model, camera)
        seconds.append(time.process_time() - start)
    assert seconds[0] / seconds[1] >= 2


coordinate = st.floats(-2.5, 2.5, width=32)


@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 1000),
    eye=st.tuples(coordinate, coordinate, coordinate),
    target=st.tuples(*[st.floats(-0.5, 0.5, width=32)] * 3),
    near=st.sampled_from([0.0, 0.1, 2.0]),
    edge=st.integers(1, 5),
    own_box=st.booleans(),
)
def test_any_camera_inside_or_outside(random_model, look_at, seed, eye, target, near, edge, own_box):
    if np.linalg.norm(np.subtract(eye, target)) < 1e-3:
        target = (eye[0] + 1, eye[1], eye[2])
    # A mask in a box of its own: smaller here, larger there.
    others = {"mask_aabb": torch.tensor([[-0.7, -1.5, -0.5], [1.2, 0.8, 0.6]])} if own_box else {}
    # No weight threshold: a weight at it may be shaded on one side and not on the other.
    model = random_model(seed, near=near, shading_threshold=0.0, **others)
    camera = look_at(eye, target, width=9, height=7, focal=8.0)
    assert_same(model, camera, edge)


@pytest.mark.parametrize("seed", range(3))
def test_deferred_shading(random_model, look_at, seed):
    model = random_model(seed, shading="deferred", shading_threshold=1e-3)
    camera = look_at((2.0, 1.0, 1.5), width=20, height=16)
    picture = assert_same(model, camera)
    expected = uniform.render(model, camera).statistics
    for name in ("samples_shaded", "colours"):
        assert picture.statistics[name] == expected[name]
    assert 0 < expected["colours"] < expected["samples_shaded"]


def axis_camera(look_at, axis, sign, **others):
    """A camera whose central ray is exactly parallel to an axis."""
    columns = np.roll(np.eye(3), axis - 2, axis=0)  # The last column is the axis.
    camera = look_at((1.0, 2.0, 3.0), **({"width": 5, "height": 5} | others))
    pose = np.eye(4)
    pose[:3, :3] = columns @ np.diag([1, sign, sign])
    pose[:3, 3] = np.eye(3)[axis] * 2.5 * sign
    return type(camera)(pose, camera.focal, camera.width, camera.height)


@pytest.mark.parametrize("sign", [1, -1])
@pytest.mark.parametrize("axis", [0, 1, 2])
def test_rays_parallel_to_an_axis(random_model, look_at, axis, sign):
    camera = axis_camera(look_at, axis, sign)
    centre = camera.rays()[1][12]
    assert sorted(np.abs(centre).tolist()) == [0, 0, 1]
    picture = assert_same(random_model(3), camera)
    assert picture.statistics["samples_occupied"] > 0


@pytest.mark.parametrize(("width", "height"), [(1, 1), (1, 13), (21, 2)])
def test_small_and_oblong_pictures(random_model, look_at, width, height):
    camera = look_at((2.0, 1.0, 1.5), width=width, height=height)
    picture = assert_same(random_model(4), camera)
    assert picture.rgb.shape == (height, width, 3)


def test_crop_is_a_part_of_the_full_picture(random_model, look_at):
    model, camera = random_model(4), look_at((2.0, 1.0, 1.5))
    whole, part = cubes.render(model, camera), cubes.render(model, camera.cropped(5, 3, 6, 4))
    np.testing.assert_allclose(part.rgb, whole.rgb[3:7, 5:11], atol=1e-6)


@pytest.mark.parametrize(
    "others", [{"focal_y": 5.0}, {"focal_y": 40.0}, {"centre": (2.5, 11.0)}, {"centre": (15.0, 1.0)}]
)
def test_two_focal_lengths_and_a_principal_point(random_model, look_at, others):
    """Each box is looked for in the pixels where such a camera sees it."""
    picture = assert_same(random_model(4), replace(look_at((2.0, 1.0, 1.5)), **others))
    assert picture.statistics["samples_occupied"] > 0


def test_a_coloured_background(random_model, look_at):
    assert_same(random_model(4), replace(look_at((2.0, 1.0, 1.5)), background=(30, 200, 0)))


def test_rays_that_miss(random_model, look_at):
    picture = assert_same(random_model(5), look_at((4.0, 0.0, 0.0), target=(9.0, 2.0, 1.0)))
    assert (picture.rgb == 1).all()
    assert picture.statistics["cubes_visited"] == 0


def test_nothing_occupied(random_model, look_at):
    model = random_model(6, mask=np.zeros((5, 6, 8), dtype=bool))
    picture = assert_same(model, look_at((2.0, 1.0, 1.5)))
    assert (picture.rgb == 1).all()
    assert picture.statistics["cubes_live"] == 0


def test_a_single_occupied_vertex(random_model, look_at):
    mask = np.zeros((9, 9, 9), dtype=bool)
    mask[4, 5, 3] = True
    model = random_model(6, size=(33, 33, 33), mask=mask)
    picture = assert_same(model, look_at((2.0, 1.0, 1.5), focal=30.0))
    assert 0 < picture.statistics["cubes_live"] <= 27 < picture.statistics["cubes"]
    assert picture.statistics["samples_occupied"] > 0
    assert (picture.rgb < 1).any()


@pytest.mark.parametrize("others", [{"mask": None}, {"mask": np.ones((1, 1, 1), dtype=bool)}])
def test_everything_occupied(random_model, look_at, others):
    picture = assert_same(random_model(7, **others), look_at((2.0, 1.0, 1.5)))
    assert picture.statistics["cubes_live"] == picture.statistics["cubes"] == 2 * 1 * 1
    assert picture.statistics["samples"] == picture.statistics["samples_occupied"]


def test_the_last_sample_of_a_ray_inside_the_box(random_model, look_at):
    """The first sample is held at ``far``, before the box, so that the last falls inside."""
    model = random_model(7, mask=None, near=0.0, far=0.4, density_shift=3.0)
    camera = look_at((4.0, 0.0, 0.0))
    last = uniform.trace(model, uniform.camera_rays(camera)).in_bbox[:, -1]
    assert last.any()
    assert_same(model, camera)


def test_relu_and_other_component_counts(random_model, look_at):
    model = random_model(8, density=1, app=9, density_activation="relu", density_shift=0.0)
    assert_same(model, look_at((2.0, 1.0, 1.5)))


# ---- Early termination ----


def test_termination_leaves_at_most_the_threshold_and_what_small_weights_share(random_model, look_at):
    model = random_model(9, distance_scale=40.0, mask=None)
    camera = look_at((2.0, 1.0, 1.5))
    whole = cubes.render(model, camera, 0.0)
    previous = whole.statistics["samples_occupied"]
    assert whole.statistics["rays_stopped"] == 0
    for threshold in (1e-4, 1e-3, 1e-2, 1e-1):
        part = cubes.render(model, camera, threshold)
        assert np.abs(part.rgb - whole.rgb).max() <= threshold + 4 * min(threshold, 1e-3)
        assert part.statistics["samples_occupied"] < previous
        previous = part.statistics["samples_occupied"]


@pytest.mark.parametrize("threshold", [-0.1, 1.0, float("nan")])
def test_threshold_must_be_a_transmittance(random_model, look_at, threshold):
    with pytest.raises(InputError, match=r"termination must be in 0\.\.1, not"):
        cubes.render(random_model(0), look_at((2, 0, 0)), threshold)


def test_small_weights_share_a_colour(random_model, look_at):
    """Fewer evaluations of the network; what they change is bounded, and nothing without termination."""
    model, camera = random_model(9, mask=None, shading_threshold=0.0), look_at((2.0, 1.0, 1.5))
    whole = cubes.render(model, camera, 0.0)
    assert whole.statistics["colours"] == whole.statistics["samples_shaded"]
    for termination in (1e-4, 1e-3):
        part = cubes.render(model, camera, termination)
        assert part.statistics["colours"] < part.statistics["samples_shaded"]
        assert np.abs(part.rgb - whole.rgb).max() <= 5 * termination


@settings(max_examples=30, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 3), st.floats(0.0, 0.015625, width=32)), max_size=60))
def test_sharing_weights_are_small_and_few(samples):
    ray, weight = (np.array([sample[part] for sample in samples], kind) for part, kind in ((0, "i4"), (1, "f4")))
    light = shared.sharing(walk.Records(ray, weight, weight), 4, 4e-3, 8e-3)
    assert (weight[light] < 4e-3).all()
    for one in range(4):
        mine = ray == one
        assert weight[mine & light].sum() <= 8e-3 + 1e-6
        if weight[mine & (weight < 4e-3)].sum() < 8e-3 - 1e-6:
            assert (light[mine] == (weight[mine] < 4e-3)).all()


# ---- Parts ----


@given(st.integers(1, 30), st.data())
def test_visiting_order_goes_outwards_from_the_camera(count, data):
    own = data.draw(st.integers(0, count - 1))
    order = walk.visiting_order(own, count).tolist()
    assert order == [*range(own, count), *range(own - 1, -1, -1)]


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 99), edge=st.integers(1, 6), share=st.floats(0.0, 0.1))
def test_live_cubes_hold_every_occupied_point(random_model, seed, edge, share):
    generator = np.random.default_rng(seed)
    box = torch.tensor([[-0.8, -1.5, -0.6], [1.3, 0.9, 0.7]])
    mask = generator.random((9, 8, 10)) < share
    model = random_model(seed, size=(17, 14, 19), mask=mask, mask_aabb=box)
    grid = cubes.cube_grid(model, edge)
    low, high = model.aabb.numpy()
    points = generator.uniform(low, high, (3000, 3)).astype(np.float32)
    occupied = model.occupied(torch.from_numpy(points)).numpy()
    cells = np.minimum((points - low) / model.unit.numpy(), np.array(model.grid_size) - 2)
    x, y, z = (cells.astype(int) // edge).T
    assert grid.live[z, y, x][occupied].all()
    assert grid.live.any() == mask.any() or not occupied.any()


@pytest.mark.parametrize(
    ("vertex", "first", "last"),
    [
        ((6, 6, 6), (1, 1, 1), (1, 1, 1)),  # Cells 5 and 6: inside cube 1.
        ((8, 6, 16), (1, 1, 3), (2, 1, 3)),  # Cells 7 and 8, 5 and 6, 15.
        ((0, 1, 4), (0, 0, 0), (0, 0, 1)),
    ],
)
def test_live_cubes_are_those_that_an_occupied_cell_overlaps(random_model, vertex, first, last):
    mask = np.zeros((17, 17, 17), dtype=bool)  # On the grid of the factors; vertex is z, y, x.
    mask[vertex] = True
    model = random_model(0, size=(17, 17, 17), mask=mask)
    live = cubes.cube_grid(model, 4).live
    expected = np.zeros((4, 4, 4), dtype=bool)
    expected[tuple(slice(a, b + 1) for a, b in zip(first, last, strict=True))] = True
    assert np.array_equal(live, expected)


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 999))
def test_mask_on_the_grid_of_the_factors(random_model, look_at, seed):
    mask = np.random.default_rng(seed).random((7, 11, 9)) < 0.1
    model = random_model(seed, mask=mask, shading_threshold=0.0, near=0.0)
    assert_same(model, look_at((1.9, -1.0, 1.2), width=12, height=9, focal=14.0), 2)


def test_faces_of_cubes(random_model):
    model = random_model(0, size=(10, 11, 7))
    grid = cubes.cube_grid(model, 4)
    np.testing.assert_allclose(grid.bounds[0], -1 + 2 * np.array([[0, 4], [4, 8], [8, 9]]) / 9)
    assert [len(bounds) for bounds in grid.bounds] == [3, 3, 2]
    with pytest.raises(InputError, match="cube edge must be at least 1 cell, not 0"):
        cubes.cube_grid(model, 0)


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 999))
def test_occupancy_test_agrees_with_the_model(random_model, seed):
    generator = np.random.default_rng(seed)
    shape = tuple(generator.integers(1, 6, 3))
    box = np.float32([[-0.5, -0.5, -0.5], [0.75, 0.5, 0.5]])
    mask = generator.random(shape) < 0.3
    model = random_model(0, mask=mask, mask_aabb=torch.from_numpy(box))
    # Quarters hit vertices exactly.
    points = np.concatenate([generator.uniform(-1, 1, (100, 3)), generator.integers(-4, 5, (100, 3)) / 4]).astype(
        np.float32
    )
    expected = model.occupied(torch.from_numpy(points)).tolist()
    scale = np.float32(1) / (box[1] - box[0]) * np.float32(2)
    walked = walk.Mask(mask, cubes.mask_cells(mask), box[0], scale)
    actual = [walk.is_occupied(*point, walked) for point in points]
    assert actual == expected


@pytest.mark.parametrize("shading", ["sample", "deferred"])
@pytest.mark.parametrize("density_shift", [0, -90])
def test_progress_is_told_layer_by_layer_and_up_to_the_last_sample(random_model, look_at, shading, density_shift):
    told = []
    model = replace(random_model(0, density_shift=density_shift), shading=shading)
    camera = look_at((2, 1.5, 1))
    rendering = cubes.render(model, camera, edge=2, progress=lambda *so_far: told.append(so_far))
    assert told == sorted(told)
    half, whole = rendering.statistics["rays"], 2 * rendering.statistics["rays"]
    assert told[-1] == (whole, whole)
    assert len({done for done, _ in told if done <= half}) == len(cubes.cube_grid(model, 2).live)
    assert (rendering.statistics["samples_shaded"] == 0) == (density_shift == -90)
