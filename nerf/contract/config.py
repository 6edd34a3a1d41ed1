"""The accelerator's configuration: one frozen object, validated once, that travels with every artefact."""

import hashlib
import json
import tomllib
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path

from nerf.contract.network import MODULATED, NetworkSize, Stage, hidden_stage, stages
from rtnerf.base.errors import InputError, require

COMPONENTS = 16
"""Components in one factor vector: the unit that is stored, decoded and interpolated."""

CUBE = 4
"""Factor cells along the side of an occupancy cube, and factor positions along the side of a plane block."""

SHADINGS = ("sample", "deferred")
COLOURS = ("network", "plain")
WINDOWS = (4, 16)
"""Blocks along a side of the smallest and the largest window of a cube buffer."""
POWERS = {
    "tile": (4, 128),
    "tiles": (2, 8),
    "mlp_lanes": (16, 128),
    "ray_units": (1, 128),
    "sample_lanes": (1, 8),
    "density_lanes": (1, 2),
    "interpolated_components": (1, 16),
    "hidden": (32, 256),
    "sample_queue": (4, 8192),
    "payload_queue": (32, 512),
    "buffer_window": WINDOWS,
    "density_window_scale": (1, 4),
    "row_queue": (4, 64),
    "list_queue": (32, 1024),
    "record_queue": (4, 64),
    "ray_queue": (4, 64),
    "lane_queue": (4, 64),
    "cube_queue": (4, 16),
    "header_queue": (4, 64),
    "job_queue": (4, 64),
    "write_bursts": (2, 16),
}
"""Parameters that are powers of two: the smallest and the largest."""
MOST_BANDS = 6
_ADDED = {
    "feature_bands": 2,
    "view_bands": 2,
    "density_components": 16,
    "appearance_components": 48,
    "colours": "network",
    "appearance_lanes": 1,
    "tiles": 2,
    "density_lanes": 1,
    "density_window_scale": 1,
    "interpolated_components": 16,
}
"""Parameters that configurations once had not, with what the hardware was then: so they are not in the digest."""


@dataclass(frozen=True)
class AcceleratorConfig:
    """Every parameter of one generated accelerator.

    Parameters
    ----------
    name : str
        Preset name, or the stem of the TOML file.
    tile : int
        Side of the square image tile whose pixel state is on chip, in pixels; a power of two, 4 to 128.
    tiles : int
        Tiles that are on chip at a time, from the set-up of their rays to their last pixel; a power of two, 2 to 8.
    data_width : int
        Width of the AXI4 data bus, in bits: 128 (one decoded vector a beat).
    address_width : int
        Width of the AXI4 address, in bits, 24 to 64.
    mlp_lanes : int
        Outputs of a sample's hidden layers that the MLP engine accumulates in parallel; a power of two, 16 to 128.
        `stages` tells the lanes of the other layers.
    density_components, appearance_components : int
        Of a plane and line pair, multiples of 16: 16 to 64, and 48 to 96. Each 16 are a pass of the interpolator.
    appearance_lanes : int
        Passes of the appearance interpolator that are one: 1, or, with deferred shading, all that a sample has.
    features : int
        Outputs of the basis (TensoRF's ``app_dim``), 24 to 32.
    hidden : int
        Outputs of each hidden layer of the MLP (``featureC``); a power of two, 32 to 256, at least ``mlp_lanes``.
    feature_bands, view_bands : int
        Frequencies with which the MLP encodes features and view direction (``fea_pe``, ``view_pe``), 0 to 6. The first
        layer has to have as many inputs as ``mlp_lanes``, and the hidden layers to take as long as the basis.
    colours : str
        ``network``: the sigmoid of the MLP's output (shading modes ``MLP_Fea`` and ``MLP``); ``plain``: its output, of
        inputs that are also features times monomials of the view direction (``SH`` and ``RGB``); then at least 27
        ``features``.
    mlp_batch : int
        Samples that the MLP engine shades in lock step, 1 to 64.
    ray_units : int
        Pixels whose rays are set up at a time; a power of two, 1 to 128.
    sample_lanes : int
        Pixels whose samples are generated at a time; a power of two, 1 to 8.
    density_lanes : int
        Samples of a cube, of as many columns, that get their density and are composited at a time; 1 or 2, at most
        ``sample_lanes``.
    interpolated_components : int
        Of the components of a group, how many an interpolator computes at a time; a power of two, 1 to 16. Fewer than
        16 take one density lane and one appearance lane.
    sample_queue : int
        Depth of the queues of samples before the density and the appearance interpolators; a power of two, 4 to 8192.
    payload_queue : int
        Depth of the encoded payload queue, in beats; a power of two, 32 to 512.
    buffer_window : int
        Plane blocks along each side of what a cube buffer holds of a plane, and line blocks that it holds of a line; a
        power of two, 4 to 16.
    density_window_scale : int
        How many times as large, along a side, the window of the density buffer is; a power of two, 1 to 4. It is at
        most 16 blocks.
    row_queue : int
        Rows of the occupancy grid that are requested before they are walked; a power of two, 4 to 64.
    list_queue : int
        Entries of a cube list that are requested before they are used; a power of two, 32 to 1024.
    record_queue : int
        Cubes whose mask windows are requested before they are used; a power of two, 4 to 64.
    ray_queue : int
        Depth of a sample lane's queue of rays before the march; a power of two, 4 to 64.
    lane_queue : int
        Depth of a sample lane's queue of samples; a power of two, 4 to 64.
    cube_queue : int
        Cubes that a cube loader holds: announced, loaded ahead, and the one that is read; a power of two, 4 to 16.
    header_queue : int
        Block headers on their way at a time; a power of two, 4 to 64.
    job_queue : int
        Depth of the queue of blocks before the decoder; a power of two, 4 to 64.
    write_bursts : int
        Write bursts that are held, the one that is collected and the one that is written included; a power of two, 2 to
        16.
    shading : str
        ``sample``: the network runs on every visible sample; ``deferred``: once a ray, on its composited products.

    Raises
    ------
    InputError
        When a value breaks its rule.
    """

    name: str = "tiny"
    tile: int = 32
    tiles: int = 2
    data_width: int = 128
    address_width: int = 32
    density_components: int = 16
    appearance_components: int = 48
    appearance_lanes: int = 1
    features: int = 27
    hidden: int = 128
    feature_bands: int = 2
    view_bands: int = 2
    colours: str = "network"
    mlp_lanes: int = 64
    mlp_batch: int = 1
    ray_units: int = 1
    sample_lanes: int = 1
    density_lanes: int = 1
    interpolated_components: int = 16
    sample_queue: int = 16
    payload_queue: int = 64
    buffer_window: int = 8
    density_window_scale: int = 1
    row_queue: int = 8
    list_queue: int = 128
    record_queue: int = 8
    ray_queue: int = 16
    lane_queue: int = 8
    cube_queue: int = 8
    header_queue: int = 16
    job_queue: int = 16
    write_bursts: int = 2
    shading: str = "sample"

    def __post_init__(self) -> None:
        for field in fields(self):
            kind = type(field.default)
            value = getattr(self, field.name)
            require(type(value) is kind, field.name, f"of type {kind.__name__}", repr(value))
        for name, (low, high) in POWERS.items():
            value = getattr(self, name)
            require(
                low <= value <= high and value & (value - 1) == 0,
                name,
                f"a power of two from {low} to {high}",
                value,
            )
        require(self.shading in SHADINGS, "shading", f"one of {', '.join(SHADINGS)}", self.shading)
        require(1 <= self.mlp_batch <= 64, "mlp_batch", "from 1 to 64", self.mlp_batch)
        for name, low, high in (("density_components", 16, 64), ("appearance_components", 48, 96)):
            value = getattr(self, name)
            rule = f"a multiple of {COMPONENTS} from {low} to {high}"
            require(low <= value <= high and value % COMPONENTS == 0, name, rule, value)
        lanes = self.groups["appearance"] if self.shading == "deferred" else 1
        rule = f"1 or {lanes} (appearance_components / {COMPONENTS})" if lanes > 1 else "1 without deferred shading"
        require(self.appearance_lanes in (1, lanes), "appearance_lanes", rule, self.appearance_lanes)
        require(24 <= self.features <= 32, "features", "from 24 to 32", self.features)
        require(self.colours in COLOURS, "colours", f"one of {', '.join(COLOURS)}", self.colours)
        if self.colours == "plain":
            require(self.features >= MODULATED, "features", f"at least {MODULATED} with plain colours", self.features)
        for name in ("feature_bands", "view_bands"):
            value = getattr(self, name)
            require(0 <= value <= MOST_BANDS, name, f"from 0 to {MOST_BANDS}", value)
        require(self.mlp_lanes <= self.hidden, "mlp_lanes", f"at most hidden ({self.hidden})", self.mlp_lanes)
        basis, first, *_ = self.network.layers
        rule = f"at most the inputs of the first hidden layer ({first.inputs})"
        require(self.mlp_lanes <= first.inputs, "mlp_lanes", rule, self.mlp_lanes)
        rule = f"few enough for the hidden layers to take as long as the basis ({basis.inputs} cycles)"
        require(hidden_stage(self.mlp_lanes, self.network).cycles >= basis.inputs, "mlp_lanes", rule, self.mlp_lanes)
        rule = f"at most {WINDOWS[1]} / buffer_window ({self.buffer_window})"
        fits = self.windows["density"] <= WINDOWS[1]
        require(fits, "density_window_scale", rule, self.density_window_scale)
        require(self.data_width == 128, "data_width", "128", self.data_width)
        require(self.sample_lanes <= self.tile, "sample_lanes", "at most tile", self.sample_lanes)
        rule = f"at most sample_lanes ({self.sample_lanes})"
        require(self.density_lanes <= self.sample_lanes, "density_lanes", rule, self.density_lanes)
        require(
            self.interpolated_components == COMPONENTS or self.density_lanes == self.appearance_lanes == 1,
            "interpolated_components",
            f"{COMPONENTS} with several density or appearance lanes",
            self.interpolated_components,
        )
        require(24 <= self.address_width <= 64, "address_width", "from 24 to 64", self.address_width)

    @property
    def digest(self) -> str:
        """Hexadecimal SHA-256 of all parameters but the name."""
        parameters = {name: value for name, value in asdict(self).items() if _ADDED.get(name) != value}
        del parameters["name"]
        return hashlib.sha256(json.dumps(parameters, sort_keys=True).encode()).hexdigest()

    @property
    def digest_word(self) -> int:
        """First 32 bits of the digest: what the hardware compares with the scene image."""
        return int(self.digest[:8], 16)

    @property
    def vector_parts(self) -> int:
        """Cycles in which an interpolator makes a vector of a component group."""
        return COMPONENTS // self.interpolated_components

    @property
    def group_bits(self) -> int:
        """Bits of the number of a component group."""
        return (max(self.groups.values()) - 1).bit_length()

    @property
    def tile_bits(self) -> int:
        """Bits of a pixel coordinate inside a tile."""
        return self.tile.bit_length() - 1

    @property
    def windows(self) -> dict[str, int]:
        """Blocks along a side of the window of a cube buffer, by its kind."""
        return {"density": self.density_window_scale * self.buffer_window, "appearance": self.buffer_window}

    @property
    def window_bits(self) -> dict[str, int]:
        """Bits of a block coordinate inside the window of a cube buffer, by its kind."""
        return {kind: window.bit_length() - 1 for kind, window in self.windows.items()}

    @property
    def network(self) -> NetworkSize:
        """Sizes of the network that the MLP engine computes."""
        return NetworkSize(
            self.features,
            self.hidden,
            self.feature_bands,
            self.view_bands,
            self.appearance_components,
            self.colours == "plain",
        )

    @property
    def groups(self) -> dict[str, int]:
        """Vectors of 16 components at one position of a factor, by its kind."""
        return {
            "density": self.density_components // COMPONENTS,
            "appearance": self.appearance_components // COMPONENTS,
        }

    @property
    def appearance_transfers(self) -> int:
        """Vectors that the appearance interpolator makes of a visible sample."""
        return self.groups["appearance"] // self.appearance_lanes

    @property
    def stages(self) -> tuple[Stage, Stage, Stage]:
        """Basis, hidden layers and last layer of the MLP engine, with the lanes of each."""
        return stages(self.mlp_lanes, self.network)

    @property
    def multipliers(self) -> int:
        """Weights that the MLP engine multiplies in a cycle."""
        return self.mlp_batch * sum(stage.lanes for stage in self.stages)


_EDGE = AcceleratorConfig(
    "edge", tiles=4, mlp_lanes=128, mlp_batch=44, ray_units=32, sample_lanes=4, sample_queue=1024, payload_queue=256
)
PRESETS = {
    preset.name: preset
    for preset in (
        AcceleratorConfig(),
        # What an LFE5U-85F holds.
        AcceleratorConfig("nano", tile=16, mlp_lanes=16, interpolated_components=1, buffer_window=4),
        _EDGE,
        # Rays are few beside their samples, so the lanes of samples and the factors that they find decide.
        replace(
            _EDGE,
            name="edge-deferred",
            shading="deferred",
            mlp_batch=28,
            sample_lanes=8,
            density_lanes=2,
            appearance_lanes=3,
            density_window_scale=2,
            sample_queue=2048,
            record_queue=16,
            list_queue=64,
            ray_queue=8,
            cube_queue=16,
        ),
        replace(_EDGE, name="cloud", mlp_batch=64, sample_lanes=8, sample_queue=2048, payload_queue=512),
    )
}


def load_config(source: str | Path) -> AcceleratorConfig:
    """Return a preset by name, or the configuration of a TOML file whose keys are the parameters.

    Raises
    ------
    InputError
        Unknown preset, unreadable file, unknown key or a value that breaks its rule.

    Examples
    --------
    >>> import rtnerf
    >>> rtnerf.load_config("edge").multipliers
    6336
    """
    if str(source) in PRESETS:
        return PRESETS[str(source)]
    path = Path(source)
    if path.suffix != ".toml" or not path.is_file():
        raise InputError(f"config must be one of {', '.join(PRESETS)} or an existing TOML file, not {source}")
    try:
        values = tomllib.loads(path.read_text())
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise InputError(f"config must be valid TOML, not {path} ({error})") from None
    known = {field.name for field in fields(AcceleratorConfig)}
    for key in values:
        require(key in known, "config", f"made of the keys {', '.join(sorted(known))}", key)
    return AcceleratorConfig(**{"name": path.stem, **values})


def to_toml(config: AcceleratorConfig) -> str:
    """Return a configuration as TOML that `load_config` reads; the name is that of the file."""
    values = {name: value for name, value in asdict(config).items() if name != "name"}
    return "".join(f"{name} = {json.dumps(value)}\n" for name, value in values.items())
