import numpy as np
import pytest
from PIL import Image

from nerf import pictures
from nerf.pictures import picture_size, read_premultiplied
from rtnerf.base.errors import InputError


def test_png_round_trips(tmp_path):
    picture = np.random.default_rng(1).random((5, 7, 3))
    pictures.write_png(tmp_path / "x.png", picture)
    assert np.array_equal(np.asarray(Image.open(tmp_path / "x.png")), np.rint(picture * 255).astype(np.uint8))
    with pytest.raises(ValueError, match=r"rgb must be of shape \(H, W, 3\), not \(5, 7\)"):
        pictures.write_png(tmp_path / "x.png", picture[..., 0])


def test_npy_keeps_its_name(tmp_path):
    pictures.write_npy(tmp_path / "picture", np.arange(3))
    assert np.load(tmp_path / "picture").tolist() == [0, 1, 2]


SIZE = (3, 2)


def levels(*shape):
    return np.random.default_rng(1).integers(0, 256, shape, np.uint8)


def read(tmp_path, image, name="x.png", **options):
    image.save(tmp_path / name, **options)
    return read_premultiplied(tmp_path / name)


def opaque(grey_or_rgb):
    colour = np.broadcast_to(grey_or_rgb, (*grey_or_rgb.shape[:2], 3))
    return np.concatenate([colour, np.ones((*colour.shape[:2], 1))], axis=-1)


def test_grey_of_8_and_16_bits(tmp_path):
    grey = levels(2, 3)
    np.testing.assert_allclose(read(tmp_path, Image.fromarray(grey)), opaque(grey[..., None] / 255))
    wide = grey.astype(np.uint16) * 257 // 2
    np.testing.assert_allclose(read(tmp_path, Image.fromarray(wide)), opaque(wide[..., None] / 65535))
    clear = read(tmp_path, Image.fromarray(wide), transparency=int(wide[1, 2]))
    assert clear[1, 2].tolist() == [0, 0, 0, 0]
    assert clear[0, 0].tolist() == [*[wide[0, 0] / 65535] * 3, 1]


def test_black_and_white(tmp_path):
    bits = levels(2, 3) > 127
    np.testing.assert_array_equal(read(tmp_path, Image.fromarray(bits)), opaque(bits[..., None].astype(float)))


def test_palette_with_a_transparent_entry(tmp_path):
    image = Image.fromarray(np.array([[0, 1, 2]], np.uint8)).convert("P")
    image.putpalette([255, 0, 0, 0, 255, 0, 0, 0, 255])
    pixels = read(tmp_path, image, transparency=1)
    np.testing.assert_allclose(pixels, [[[1, 0, 0, 1], [0, 0, 0, 0], [0, 0, 1, 1]]])


def test_grey_with_alpha(tmp_path):
    image = Image.merge("LA", [Image.new("L", SIZE, 200)] * 2)
    np.testing.assert_allclose(read(tmp_path, image)[0, 0], [(200 / 255) ** 2] * 3 + [200 / 255])


def test_colour_that_a_tiff_stores_multiplied_is_multiplied_once(tmp_path):
    path = tmp_path / "x.tif"
    Image.new("RGBA", SIZE, (100, 50, 0, 128)).save(path)
    extra_samples, straight, associated = b"\x52\x01\x03\x00\x01\x00\x00\x00", b"\x02", b"\x01"
    assert path.read_bytes().count(extra_samples + straight) == 1
    path.write_bytes(path.read_bytes().replace(extra_samples + straight, extra_samples + associated))
    np.testing.assert_allclose(read_premultiplied(path)[0, 0], np.array([100, 50, 0, 128]) / 255, atol=1 / 255)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_picture_is_turned_as_its_exif_data_say(tmp_path, orientation):
    upright = levels(2, 3, 3)
    turns = {1: [], 2: [0], 3: [3], 4: [1], 5: [5], 6: [2], 7: [6], 8: [4]}[orientation]
    stored = Image.fromarray(upright)
    for turn in turns:
        stored = stored.transpose(turn)
    exif = Image.Exif()
    exif[0x0112] = orientation
    np.testing.assert_allclose(read(tmp_path, stored, exif=exif), opaque(upright / 255))
    assert picture_size(tmp_path / "x.png") == (3, 2)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "an empty file"),
        (b"version https://git-lfs.github.com/spec/v1\n", "a Git LFS pointer"),
        (b"<html>", "a web page"),
        (b"GIF", "cannot identify"),
    ],
)
def test_what_is_no_picture_is_named(tmp_path, content, reason):
    (tmp_path / "x.png").write_bytes(content)
    for function in (read_premultiplied, picture_size):
        with pytest.raises(InputError, match=rf"^picture must be readable, not .*x\.png \({reason}"):
            function(tmp_path / "x.png")


def test_a_cut_picture_and_one_of_floats_are_refused(tmp_path):
    path = tmp_path / "x.png"
    Image.fromarray(levels(50, 50, 3)).save(path)
    path.write_bytes(path.read_bytes()[:-500])
    with pytest.raises(InputError, match=r"picture must be readable, not .*x\.png \(.*truncated"):
        read_premultiplied(path)
    with pytest.raises(InputError, match=r"picture must be readable, not .*x\.tif \(floating-point pixels\)"):
        read(tmp_path, Image.new("F", SIZE), "x.tif")
