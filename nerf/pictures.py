"""Pictures and arrays as files."""

import struct
import zlib
from io import BytesIO
from pathlib import Path

import numpy as np

from rtnerf.base.files import write_bytes

_PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"


def write_npy(path: str | Path, array: np.ndarray) -> None:
    """Write one array in NumPy's format, under exactly this name."""
    buffer = BytesIO()
    np.save(buffer, array, allow_pickle=False)
    write_bytes(path, buffer.getvalue())


def write_png(path: str | Path, rgb: np.ndarray) -> None:
    """Write a picture of shape (H, W, 3), values 0..1 rounded to 8 bits, as PNG."""
    write_bytes(path, png(rgb))


def png(rgb: np.ndarray) -> bytes:
    """The bytes of a PNG file of a picture of shape (H, W, 3), values 0..1 rounded to 8 bits."""
    if rgb.ndim != 3 or rgb.shape[2] != 3 or rgb.size == 0:
        raise ValueError(f"rgb must be of shape (H, W, 3), not {rgb.shape}")
    levels = np.clip(np.rint(np.asarray(rgb, np.float64) * 255), 0, 255).astype(np.uint8)
    height, width, _ = levels.shape
    # Each row begins with its filter type; 0 = none.
    rows = np.concatenate([np.zeros((height, 1), np.uint8), levels.reshape(height, -1)], axis=1)
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    chunks = ((b"IHDR", header), (b"IDAT", zlib.compress(rows.tobytes(), 9)), (b"IEND", b""))
    return _PNG_SIGNATURE + b"".join(_chunk(kind, content) for kind, content in chunks)


def _chunk(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))
