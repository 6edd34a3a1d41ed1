"""Pictures and arrays as files."""

import warnings
from collections.abc import Iterable, Sequence
from io import BytesIO
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps

from rtnerf.base.errors import InputError
from rtnerf.base.files import check_content, write_bytes

WHITE = (255, 255, 255)

ENDINGS = tuple(
    ending for each in ("png", "jpg", "jpeg", "webp", "tif", "tiff") for ending in (f".{each}", f".{each.upper()}")
)
"""Of the names of pictures."""

_ORIENTATION = 0x0112
_FIRST_TURNED = 5
"""Orientations of EXIF from here on exchange width and height."""


# ---- Writing ----


def write_npy(path: str | Path, array: np.ndarray) -> None:
    """Write one array in NumPy's format, under exactly this name."""
    buffer = BytesIO()
    np.save(buffer, array, allow_pickle=False)
    write_bytes(path, buffer.getvalue())


def write_png(path: str | Path, rgb: np.ndarray) -> None:
    """Write a picture as PNG; see `png`."""
    write_bytes(path, png(rgb))


def png(rgb: np.ndarray) -> bytes:
    """Return a picture of shape (H, W, 3), values 0..1 rounded to 8 bits, as PNG.

    Raises
    ------
    ValueError
        An array of another shape.
    """
    if rgb.ndim != 3 or rgb.shape[2] != 3 or rgb.size == 0:
        raise ValueError(f"rgb must be of shape (H, W, 3), not {rgb.shape}")
    buffer = BytesIO()
    Image.fromarray(levels_of(rgb)).save(buffer, "PNG", optimize=True)
    return buffer.getvalue()


def gif(pictures: Iterable[np.ndarray], frames_a_second: int) -> bytes:
    """Return uint8 pictures of one shape (H, W, 3) as an animation that repeats, of 256 colours each."""
    first, *others = (Image.fromarray(picture).quantize(256) for picture in pictures)
    buffer = BytesIO()
    duration = round(1000 / frames_a_second)
    first.save(buffer, "GIF", save_all=True, append_images=others, duration=duration, loop=0, disposal=1)
    return buffer.getvalue()


def levels_of(rgb: np.ndarray) -> np.ndarray:
    """Round values 0..1 to 8 bits."""
    return np.clip(np.rint(np.asarray(rgb, np.float64) * 255), 0, 255).astype(np.uint8)


# ---- Reading ----


def read_premultiplied(path: Path) -> np.ndarray:
    """Read a picture, turned as its EXIF data say. Returns float64 (H, W, 4) in 0..1, colour multiplied by alpha.

    8 and 16 bits, grey, palette, transparent colours and alpha of either kind.
    Raises :class:`rtnerf.base.errors.InputError` for a file that is no picture.
    """
    with _opened(path) as picture:
        picture = ImageOps.exif_transpose(picture)
        if picture.mode.startswith("I"):
            return _wide_grey(np.asarray(picture), picture.info.get("transparency"))
        if picture.mode == "F":
            raise ValueError("floating-point pixels")
        return premultiplied(np.asarray(picture.convert("RGBA")))


def picture_size(path: Path) -> tuple[int, int]:
    """Width and height of a picture, turned as its EXIF data say. Raises as :func:`read_premultiplied`."""
    with _opened(path) as picture:
        turned = picture.getexif().get(_ORIENTATION, 1) >= _FIRST_TURNED
        return (picture.height, picture.width) if turned else picture.size


def premultiplied(pixels: np.ndarray) -> np.ndarray:
    """Multiply the colour of uint8 RGBA (H, W, 4) by its alpha. Returns float64 (H, W, 4) in 0..1."""
    scaled = pixels.astype(np.float64) / 255
    return np.concatenate([scaled[..., :3] * scaled[..., 3:], scaled[..., 3:]], axis=-1)


class _opened:  # noqa: N801 - used as a function.
    """``with _opened(path) as picture``; whatever Pillow says of a bad file becomes an `InputError`."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def __enter__(self) -> Image.Image:
        try:
            with open(self._path, "rb") as file:
                check_content("picture", file.read(64), f"readable, not {self._path}")
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", Image.DecompressionBombWarning)
                self._picture = Image.open(self._path)
        except InputError:
            raise
        except Exception as error:  # noqa: BLE001 - damaged pictures fail in many ways inside Pillow.
            self._refuse(error)
        return self._picture

    def __exit__(self, kind: type | None, error: BaseException | None, trace: object) -> None:
        self._picture.close()
        if isinstance(error, Exception) and not isinstance(error, InputError):
            self._refuse(error)

    def _refuse(self, error: Exception) -> None:
        cause = str(error).partition("\n")[0] or type(error).__name__
        raise InputError(f"picture must be readable, not {self._path} ({cause})") from None


def _wide_grey(levels: np.ndarray, clear: object) -> np.ndarray:
    """Grey of 16 bits, and the level that is transparent, as premultiplied RGBA."""
    if levels.min() < 0 or levels.max() > 0xFFFF:
        raise ValueError("grey of more than 16 bits")
    alpha = (levels != clear).astype(np.float64)
    grey = levels / 0xFFFF * alpha
    return np.stack([grey, grey, grey, alpha], axis=-1)


# ---- Arithmetic ----


def resize_area(pixels: np.ndarray, width: int, height: int) -> np.ndarray:
    """Resize (H, W, channels) by area average. Returns (height, width, channels), float64."""
    if width < 1 or height < 1:
        raise InputError(f"size must be at least 1x1 pixel, not {width}x{height}")
    rows, columns, _ = pixels.shape
    across = np.tensordot(pixels, _overlaps(columns, width), axes=(1, 1))
    return np.tensordot(_overlaps(rows, height), across, axes=(1, 0)).transpose(0, 2, 1)


def on_background(pixels: np.ndarray, background: Sequence[int] = WHITE) -> np.ndarray:
    """Composite premultiplied RGBA (H, W, 4) on a colour of 8 bits a channel. Returns float32 (H, W, 3) in 0..1."""
    behind = np.array(background) / 255
    return (pixels[..., :3] + (1 - pixels[..., 3:]) * behind).astype(np.float32)


def _overlaps(before: int, after: int) -> np.ndarray:
    """Share (after, before) that each old pixel of a line has in each new one; rows sum to 1."""
    edges = np.arange(after + 1)[:, None] * (before / after)
    pixels = np.arange(before)[None]
    covered = np.minimum(edges[1:], pixels + 1) - np.maximum(edges[:-1], pixels)
    return np.maximum(covered, 0) * (after / before)
