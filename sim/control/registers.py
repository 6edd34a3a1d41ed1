"""The registers that stand still during a frame, as records that jitted functions read."""

import numpy as np

from nerf.contract.registers import AXES, CAMERA_REGISTERS, View
from nerf.contract.scene_image import Scene

_SCALARS = (
    "rows_offset",
    "records_offset",
    "payload_offset",
    "tables_offset",
    "tables_beats",
    "density_multiplier",
    "live_cubes",
    "payload_bytes",
)

SCENE = np.dtype(
    [(name, np.int64) for name in _SCALARS]
    + [("density_offset", np.int64)]
    + [(name, np.int64, (3,)) for name in ("grid", "cubes", "mask_scale", "mask_offset")]
    + [(f"{kind}_headers", np.int64, (6,)) for kind in ("density", "appearance")]
)
"""Header words, as `rtl.payloads.SceneRegisters`; ``headers``: planes 0 to 2, then lines 0 to 2."""

_VECTORS = [name[:-2] for name in CAMERA_REGISTERS if name.endswith("_x") and f"{name[:-2]}_z" in CAMERA_REGISTERS]
_PLAIN = [name for name in CAMERA_REGISTERS if name[:-2] not in _VECTORS]

VIEW = np.dtype([(name, np.int64) for name in _PLAIN] + [(name, np.int64, (3,)) for name in _VECTORS])
"""Camera registers; those of the three axes as arrays (x, y, z)."""


def scene_registers(scene: Scene) -> np.void:
    """Return the `SCENE` record of a scene image."""
    record = np.zeros(1, SCENE)[0]
    for name in _SCALARS:
        record[name] = getattr(scene, name)
    record["density_offset"] = scene.signed("density_offset")
    record["grid"], record["cubes"] = scene.grid, scene.cubes
    record["mask_scale"] = [getattr(scene, f"mask_scale_{axis}") for axis in AXES]
    record["mask_offset"] = [scene.signed(f"mask_offset_{axis}") for axis in AXES]
    for kind in ("density", "appearance"):
        record[f"{kind}_headers"] = [
            scene.headers_offset(kind, factor, pair) for factor in ("plane", "line") for pair in range(3)
        ]
    return record


def view_registers(view: View) -> np.void:
    """Return the `VIEW` record of a view."""
    record = np.zeros(1, VIEW)[0]
    for name in _PLAIN:
        record[name] = view.values[name]
    for name in _VECTORS:
        record[name] = view.vector(name)
    return record
