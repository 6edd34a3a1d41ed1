"""The registers that stand still during a frame, as records that jitted functions read."""

import numpy as np

from nerf.contract.registers import CAMERA_TABLE, View
from nerf.contract.scene_image import HEADER, Scene

SCENE = np.dtype([(name, np.int64, HEADER[name].shape) for name in HEADER.names or ()] + [("cubes", np.int64, (3,))])
"""Fields of the device header, and the cubes along each axis."""

VIEW = np.dtype([(register.name, np.int64, (3,) if register.vector else ()) for register in CAMERA_TABLE])
"""Camera registers; those of the three axes as arrays (x, y, z)."""


def scene_registers(scene: Scene) -> np.void:
    """Return the `SCENE` record of a scene image."""
    record = np.zeros(1, SCENE)[0]
    for name in HEADER.names or ():
        record[name] = getattr(scene, name)
    record["cubes"] = scene.cubes
    return record


def view_registers(view: View) -> np.void:
    """Return the `VIEW` record of a view."""
    record = np.zeros(1, VIEW)[0]
    for register in CAMERA_TABLE:
        record[register.name] = view.vector(register.name) if register.vector else view.values[register.name]
    return record
