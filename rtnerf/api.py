"""The toolkit from Python. Everything here is in the package's namespace: ``rtnerf.prepare`` and so on."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nerf.cameras import Camera
from nerf.contract.config import AcceleratorConfig, load_config
from nerf.contract.memory import MemoryTiming
from nerf.contract.scene_image import Scene
from nerf.model import TensorfModel
from nerf.prepared import TERMINATION, Prepared
from rtnerf.base.errors import InputError
from rtnerf.options import MEMORIES

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from cosim.run import Cosimulation
    from sim.memory.dram import Dram
    from sim.result import Simulation


class Job(Prepared):
    """A model made ready for an accelerator, by `prepare`: render it, simulate it, hold its hardware to both."""

    def simulate(self, camera: Camera, memory: str | MemoryTiming | Dram = "lpddr4", **options: Any) -> Simulation:
        """Simulate a frame, cycle by cycle.

        Parameters
        ----------
        camera : Camera
        memory : str or MemoryTiming or sim.memory.dram.Dram
            ``lpddr4``, ``lpddr5``, ``hbm2``, ``fixed`` (latency and bandwidth), or one with values of its own.
        **options
            ``clock_hz`` (1e9), assumed; and what may be switched off, see `sim.ablation.Switches`: ``termination``
            (1e-3), ``ordering`` ("exact"), ``sampling`` ("cubes").

        Returns
        -------
        Simulation
            ``cycles``, ``units``, ``bottleneck``, ``roofline``, ``timeline()``, ``record()``; see `sim.result`.

        Raises
        ------
        InputError
            A model or a view that the accelerator cannot take, or a value that breaks its rule.

        Examples
        --------
        >>> import rtnerf
        >>> job = rtnerf.prepare(rtnerf.load_model())
        >>> frame = job.simulate(rtnerf.load_cameras().camera(0, 8), memory="fixed")
        >>> frame.bottleneck in frame.units
        True
        """
        (frame,) = self.simulate_all([camera], memory=memory, **options)
        return frame

    def simulate_all(
        self,
        cameras: Sequence[Camera],
        workers: int = 1,
        memory: str | MemoryTiming | Dram = "lpddr4",
        clock_hz: float = 1e9,
        termination: float = TERMINATION,
        ordering: str = "exact",
        sampling: str = "cubes",
        progress: Callable[[int, int], None] | None = None,
    ) -> list[Simulation]:
        """Simulate some frames as `simulate` does, each from a fresh start, in worker processes.

        ``progress(done, all)`` is called as in `sim.simulate.simulate_all`.

        Examples
        --------
        >>> import rtnerf
        >>> job, cameras = rtnerf.prepare(rtnerf.load_model()), rtnerf.load_cameras()
        >>> frames = job.simulate_all([cameras.camera(index, 4) for index in (0, 1)], memory="fixed")
        >>> len(frames)
        2
        """
        from sim.ablation import Switches, with_ordering
        from sim.simulate import simulate_all

        Switches(termination, ordering, self.encoding, sampling)  # Checks them.
        timing = memory_of(memory)
        views = [with_ordering(self.view(camera, termination), self.scene, ordering) for camera in cameras]
        options = {"timing": timing, "clock_hz": clock_hz, "uniform": sampling == "uniform"}
        return simulate_all(self.decoded, views, self.config, workers, progress, **options)

    def cosimulate(self, camera: Camera, **options: Any) -> Cosimulation:
        """Render a frame with the RTL in a Verilog simulator; compare values with the integers, cycles with `simulate`.

        Parameters
        ----------
        camera : Camera
            Of a small picture or a crop: simulating RTL is slow.
        **options
            ``engine`` ("verilator"), ``memory`` ("verilog"), ``timing``, ``build_dir``, ``termination``: those of
            `cosim.run.cosimulate`.

        Returns
        -------
        Cosimulation
            ``first_difference`` (None: there is none), ``pixel_mismatches``, ``transaction_mismatches``,
            ``cycles_rtl``, ``cycles_sim``, ``picture``, ``record()``.

        Raises
        ------
        InputError
            A model or a view that the accelerator cannot take.
        ToolMissingError, SimulationError
            The Verilog simulator is missing, or has failed.

        Examples
        --------
        >>> import rtnerf
        >>> job = rtnerf.prepare(rtnerf.load_model())
        >>> camera = rtnerf.load_cameras().camera(0, 100).cropped(40, 40, 2, 2)
        >>> print(job.cosimulate(camera).first_difference)  # doctest: +SKIP
        None
        """
        from cosim.run import cosimulate

        return cosimulate(self, camera, **options)


def prepare(
    model: TensorfModel | Scene, config: str | Path | AcceleratorConfig = "tiny", encoding: str = "hybrid"
) -> Job:
    """Make a model ready for an accelerator.

    Parameters
    ----------
    model : TensorfModel or Scene
        From `load_model`, or trained here; or a scene image from `load_scene`, for all but floats.
    config : str or path or AcceleratorConfig
        A preset (``tiny``, ``nano``, ``edge``, ``edge-deferred``, ``cloud``), a TOML file, or what `load_config`
        returned.
    encoding : str
        Form of the factor blocks: ``hybrid``, ``dense``, ``bitmap`` or ``coordinate``.

    Raises
    ------
    InputError
        An unknown configuration or encoding, or a scene image of another configuration.

    Examples
    --------
    >>> import rtnerf
    >>> job = rtnerf.prepare(rtnerf.load_model(), "edge")
    >>> job.config.multipliers
    6336
    >>> job.render(rtnerf.load_cameras().camera(0, 4), "integer").rgb.shape
    (4, 4, 3)
    """
    return Job(model, config if isinstance(config, AcceleratorConfig) else load_config(config), encoding)


def memory_of(memory: str | MemoryTiming | Dram) -> MemoryTiming | Dram:
    """The memory that a name stands for; any other value must be one."""
    from sim.memory.dram import PRESETS, Dram

    if isinstance(memory, (MemoryTiming, Dram)):
        return memory
    if memory not in MEMORIES:
        raise InputError(f"memory must be one of {', '.join(MEMORIES)}, not {memory}")
    return MemoryTiming() if memory == "fixed" else PRESETS[memory]


def plot_cycles(frame: Simulation) -> Figure:
    """Draw how each unit spends a frame's cycles, as a Matplotlib figure.

    Examples
    --------
    >>> import rtnerf
    >>> job = rtnerf.prepare(rtnerf.load_model())
    >>> frame = job.simulate(rtnerf.load_cameras().camera(0, 4), memory="fixed")
    >>> rtnerf.plot_cycles(frame).savefig("/dev/null", format="png")
    """
    from rtnerf.plots import plot_units

    return plot_units(frame.units, frame.cycles)
