"""One HTML file: markup, style, shaders and code from ``data``, constants of the contract, a scene, simulated views."""

from __future__ import annotations

import base64
import gzip
import html
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from string import Template
from typing import Any

from nerf.contract import formats
from nerf.contract.config import CUBE, AcceleratorConfig
from nerf.contract.formats import POSITION, Format
from nerf.contract.network import COLOURS, MODULATED, MONOMIALS
from nerf.contract.registers import CAMERA_TABLE
from nerf.contract.scene_image import MASK_CELL_BITS, MASK_WINDOW, Scene
from rtnerf.base.errors import require
from rtnerf.view.textures import RECORDS_WIDTH, Factors, Table, textures

DATA = Path(__file__).parent / "data"
SHADERS = ("march.glsl", "show.glsl")
SCRIPTS = ("registers.js", "rays.js", "device.js", "camera.js", "panel.js", "live.js", "page.js")
_SCENE_WORDS = (
    "grid", "mask_scale", "mask_offset", "density_multiplier", "density_offset", "phase_multiplier", "sine_shift",
)  # fmt: skip


def page(
    scene: Scene,
    config: AcceleratorConfig,
    density: Factors,
    appearance: Factors,
    about: Mapping[str, Any],
    views: Sequence[Mapping[str, Any]],
) -> str:
    """Return the page of a scene.

    Parameters
    ----------
    scene : Scene
    config : AcceleratorConfig
        What the scene image was made for.
    density, appearance : Factors
        The scene's, decoded.
    about : mapping
        What stays the same: ``title``, ``centre`` and ``up`` of the world, ``camera`` (``width``, ``height``,
        ``focal``, ``principal`` and ``background`` of the simulated views), ``termination``; of a page that is served
        also ``live``: what may be asked for, by name, see `rtnerf.asked`. Another page asks for nothing.
    views : sequence of mapping
        Of each simulated view its pose ``c2w``, the simulator's ``result``, in a line what the frame costs in silicon
        (``cost``), its ``energy`` (lowest and highest mJ, or None), its ``timeline`` (of each unit the percent that it
        is busy in parts of equal length), and its ``tiles``: their ``size`` in pixels, ``columns``, and the
        ``cycles`` of each, row by row. Of one that a served page asks for when it is looked at, ``c2w`` alone.

    Raises
    ------
    InputError
        A scene whose rays are so long that positions on them do not fit the browser's integers.
    """
    require(scene.host["exchanged"] == 0, "scene", "of axes in their order for the page", "of exchanged ones")
    reach = int(scene.host["sample_count"]) * scene.host["step"] / min(scene.host[f"unit_{axis}"] for axis in "xyz")
    cells = 1 << 30 - POSITION.fraction
    require(reach < cells, "scene", f"of rays shorter than {cells} cells", f"{reach:.0f}")
    parts = textures(scene, config, density, appearance)
    manifest = {
        name: {"format": part.format, "size": part.size, "bytes": len(part.data)} for name, part in parts.items()
    }
    data = {
        "about": about,
        "constants": {name: value for name, value in constants(scene, config).items() if isinstance(value, int)},
        "registers": [
            {"name": line.name, "fraction": line.format.fraction, "low": line.format.low, "high": line.format.high}
            for line in CAMERA_TABLE
        ],
        "scene": {"grid": scene.grid, **scene.host},
        "textures": manifest,
        "views": views,
    }
    packed = gzip.compress(b"".join(part.data for part in parts.values()), mtime=0)
    return Template((DATA / "page.html").read_text()).substitute(
        title=html.escape(about["title"]),
        connect="; connect-src 'self'" if "live" in about else "",
        style=(DATA / "page.css").read_text(),
        shaders="\n".join(
            f'<script type="x-shader" id="{name}">\n{_source(name, scene, config)}</script>' for name in SHADERS
        ),
        data=_as_text(data),
        textures=base64.b64encode(packed).decode(),
        script="\n".join((DATA / name).read_text() for name in SCRIPTS),
    )


def constants(scene: Scene, config: AcceleratorConfig) -> dict[str, int | tuple[int, ...]]:
    """Return what shaders and scripts take from the contract, the configuration and the scene, by name.

    A format ``NAME`` gives ``NAME_FRACTION``, ``NAME_LOW`` and ``NAME_HIGH``, where these fit 32 bits.
    """
    found: dict[str, int | tuple[int, ...]] = {
        "DENSITY_COMPONENTS": config.density_components,
        "COLOURS": COLOURS,
        "MODULATED": MODULATED,
        "CUBE_BITS": CUBE.bit_length() - 1,
        "MASK_WINDOW": MASK_WINDOW,
        "MASK_CELL_BITS": MASK_CELL_BITS,
        "RECORDS_WIDTH": RECORDS_WIDTH,
        "DEFERRED": int(config.shading == "deferred"),
        "NETWORK_WIDEST": max(layer.inputs for layer in config.network.layers),
    }
    for name, value in vars(formats).items():
        if isinstance(value, Format):
            limits = {"FRACTION": value.fraction, "LOW": value.low, "HIGH": value.high}
            found |= {f"{name}_{part}": each for part, each in limits.items()}
        elif name.isupper() and isinstance(value, int):
            found[name] = value
    for table in Table:
        found[table.name] = table.value
    for name in ("features", "hidden", "feature_bands", "view_bands", "components"):
        found[f"NETWORK_{name.upper()}"] = getattr(config.network, name)
    for name in _SCENE_WORDS:
        found[f"SCENE_{name.upper()}"] = getattr(scene, name)
    return found


def _source(name: str, scene: Scene, config: AcceleratorConfig) -> str:
    """A shader behind the constants; the page puts the version and what it defines before it."""
    monomials = ", ".join(f"ivec2{pair}" for pair in MONOMIALS)
    lines = [f"#define DEFERRED {int(config.shading == 'deferred')}", f"#define PLAIN {int(config.colours == 'plain')}"]
    lines += [f"precision highp {kind};" for kind in ("float", "int", "isampler2D", "isampler3D", "isampler2DArray")]
    lines += ["precision highp usampler2D;", f"const ivec2 MONOMIALS[] = ivec2[]({monomials});"]
    for constant, value in constants(scene, config).items():
        if isinstance(value, tuple):
            lines.append(f"const ivec3 {constant} = ivec3{value};")
        elif abs(value) < 1 << 31 and constant != "DEFERRED":
            lines.append(f"const int {constant} = {value};")
    return "\n".join([*lines, (DATA / name).read_text()])


def _as_text(data: Mapping[str, Any]) -> str:
    """JSON that no markup can be in."""
    return json.dumps(data, separators=(",", ":"), allow_nan=False).replace("<", "\\u003c")
