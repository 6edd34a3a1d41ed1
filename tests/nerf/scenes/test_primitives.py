import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nerf.scenes.primitives import Bar, Block, Material, Sphere

GREY = Material((0.5, 0.5, 0.5))


def meet(primitive, origin, direction):
    direction = np.float32([direction]) / np.linalg.norm(direction).astype(np.float32)
    return float(primitive.meet(np.float32([origin]), direction)[0])


def test_sphere():
    sphere = Sphere(np.float32([0, 0, 1]), 0.5, GREY)
    assert meet(sphere, (0, 0, 4), (0, 0, -1)) == pytest.approx(2.5)
    assert meet(sphere, (0.6, 0, 4), (0, 0, -1)) == np.inf
    assert meet(sphere, (0, 0, 4), (0, 0, 1)) == np.inf
    assert sphere.normals(np.float32([[0.5, 0, 1]])).tolist() == [[1, 0, 0]]


def test_bar_has_a_length_and_a_radius():
    bar = Bar(np.float32([-1, 0, 0]), np.float32([1, 0, 0]), 0.25, GREY)
    assert meet(bar, (0.9, 0, 3), (0, 0, -1)) == pytest.approx(2.75)
    assert meet(bar, (1.1, 0, 3), (0, 0, -1)) == np.inf
    assert meet(bar, (0, 0.3, 3), (0, 0, -1)) == np.inf
    np.testing.assert_allclose(bar.normals(np.float32([[0.5, 0, 0.25]])), [[0, 0, 1]], atol=1e-6)


def test_block():
    block = Block(np.float32([-1, -2, -3]), np.float32([1, 2, 3]), GREY)
    assert meet(block, (5, 0, 0), (-1, 0, 0)) == pytest.approx(4)
    assert meet(block, (5, 0, 0), (-1, 1, 0)) == np.inf
    assert block.normals(np.float32([[1, 0.5, 0.1]])).tolist() == [[1, 0, 0]]
    assert block.normals(np.float32([[0.2, 0.5, -3]])).tolist() == [[0, 0, -1]]


def test_checker():
    material = Material((1.0, 1.0, 1.0), (0.0, 0.0, 0.0), check=1.0)
    points = np.float32([[0.5, 0.5, 0], [1.5, 0.5, 0], [-0.5, -0.5, 0], [-0.5, 0.5, 9]])
    assert material.albedo(points)[:, 0].tolist() == [1, 0, 1, 0]


# ---- Properties ----

coordinates = st.floats(-1, 1, width=32)
points = st.tuples(coordinates, coordinates, coordinates).map(np.float32)
lengths = st.floats(0.0625, 1, width=32)
extents = st.tuples(lengths, lengths, lengths).map(np.float32)


def bar_of(start, extent, radius):
    return Bar(start, start + extent, radius, GREY)


spheres = st.builds(Sphere, points, lengths, st.just(GREY))
bars = st.builds(bar_of, points, extents, st.floats(0.0625, 0.25, width=32))
blocks = st.builds(lambda lower, extent: Block(lower, lower + extent, GREY), points, extents)


def height(primitive, points):
    """Signed distance (n,) of points from the surface, that of a bar without ends; float64."""
    if isinstance(primitive, Sphere):
        return np.linalg.norm(points - primitive.centre, axis=1) - primitive.radius
    if isinstance(primitive, Bar):
        along = np.subtract(primitive.end, primitive.start, dtype=np.float64)
        away = points - primitive.start
        place = (away @ along) / (along @ along)
        return np.linalg.norm(away - place[:, None] * along, axis=1) - primitive.radius
    centre, half = (primitive.lower + primitive.upper) / 2, (primitive.upper - primitive.lower) / 2
    return (np.abs(points - centre) - half).max(axis=1)


@settings(deadline=None)
@given(primitive=spheres | bars | blocks, seed=st.integers(0, 2**32 - 1))
def test_meetings_lie_on_the_surface_and_normals_point_out_of_it(primitive, seed):
    generator = np.random.default_rng(seed)
    eyes = generator.normal(size=(200, 3))
    eyes *= 4 / np.linalg.norm(eyes, axis=1, keepdims=True)
    directions = generator.uniform(-2, 2, (200, 3)) - eyes
    directions /= np.linalg.norm(directions, axis=1, keepdims=True)
    origins, directions = eyes.astype(np.float32), directions.astype(np.float32)
    distances = primitive.meet(origins, directions)
    hit = np.isfinite(distances)
    assert (distances > 0).all()
    met = origins[hit] + distances[hit, None] * directions[hit]
    normals = primitive.normals(met)
    np.testing.assert_allclose(height(primitive, met), 0, atol=1e-4)
    np.testing.assert_allclose(np.linalg.norm(normals, axis=1), 1, atol=1e-3)
    np.testing.assert_allclose(height(primitive, met + 0.125 * normals), 0.125, atol=1e-3)
    if isinstance(primitive, Bar):
        ends = primitive.end - primitive.start
        place = (met - primitive.start) @ ends / (ends @ ends)
        assert ((place > -1e-3) & (place < 1 + 1e-3)).all()


@settings(deadline=None)
@given(primitive=spheres | blocks, seed=st.integers(0, 2**32 - 1))
def test_nothing_aimed_at_the_inside_misses_and_nothing_lies_before_the_meeting(primitive, seed):
    generator = np.random.default_rng(seed)
    eyes = generator.normal(size=(50, 3))
    eyes *= 4 / np.linalg.norm(eyes, axis=1, keepdims=True)
    middle = primitive.centre if isinstance(primitive, Sphere) else (primitive.lower + primitive.upper) / 2
    directions = (middle - eyes) / np.linalg.norm(middle - eyes, axis=1, keepdims=True)
    distances = primitive.meet(eyes.astype(np.float32), directions.astype(np.float32))
    assert np.isfinite(distances).all()
    for share in (0.5, 0.9, 0.99):
        assert (height(primitive, eyes + share * distances[:, None] * directions) > 0).all()
