"""Writes result files: each appears complete, under its name, or not at all."""

import json
import math
import os
import struct
import zlib
from collections.abc import Mapping
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np

from nerf.contract.errors import InputError

_PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"


def check_target(name: str, path: str | Path) -> Path:
    """Make the folder of ``path`` and check that a file can be written there, before the long work.

    Parameters
    ----------
    name : str
        What the path is called in the message.
    path : path
        The file to be written; it need not exist.

    Raises
    ------
    InputError
        The path is a folder, or cannot be written.
    """
    path = Path(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"{name} must be a file that can be written, not {path} ({error.strerror})") from None
    if path.is_dir():
        raise InputError(f"{name} must be a file that can be written, not {path} (a folder)")
    if not os.access(path.parent, os.W_OK):
        raise InputError(f"{name} must be a file that can be written, not {path} (no permission)")
    return path


def write_bytes(path: str | Path, content: bytes) -> None:
    """Write a file under a temporary name beside ``path``, then rename it. Folders are made.

    Raises
    ------
    InputError
        The path cannot be written.
    """
    path = Path(path)
    partial = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        partial.write_bytes(content)
        os.replace(partial, path)
    except OSError as error:
        partial.unlink(missing_ok=True)
        raise InputError(f"output must be a file that can be written, not {path} ({error.strerror})") from None


def write_json(path: str | Path, value: Mapping[str, Any]) -> None:
    """Write standard JSON, indented; NumPy numbers become numbers, infinities and NaN become null."""
    write_bytes(path, (json.dumps(_plain(value), indent=2, allow_nan=False) + "\n").encode())


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


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    if isinstance(value, np.ndarray):
        return _plain(value.tolist())
    if isinstance(value, np.generic):
        return _plain(value.item())
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if isinstance(value, Path):
        return str(value)
    return value
