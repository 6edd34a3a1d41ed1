"""Passes from measured kernels: tables of products, attention, experts and all-reduce in AIConfigurator's layout.

A folder holds ``gemm_perf``, ``generation_attention_perf``, ``moe_perf`` and ``custom_allreduce_perf``, each as
``.parquet`` or, with the same columns, as ``.txt`` or ``.csv``. What a table lacks, and what none has (norms, rotary
embeddings, activations; latent and linear attention), is the roofline's.
"""

from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from rtnerf.base.errors import InputError, require
from specdec.cost.architecture import Architecture
from specdec.cost.blocks import Attention, Block, Experts
from specdec.cost.deployment import ALONE, Deployment
from specdec.cost.formats import BYTES
from specdec.cost.hardware import Hardware
from specdec.cost.roofline import Roofline
from specdec.cost.tables import read_table

FORMATS = {
    "bf16": ("bfloat16", "float16"),
    "fp8": ("fp8", "fp8_block"),
    "int8": ("int8_wo", "int8"),
    "fp4": ("nvfp4", "w4a16_mxfp4"),
    "int4": ("int4_wo",),
}
"""Our formats, and what the tables call them, the first choice first."""

NEAR = 0.7
"""Sum of the ratios' logarithms up to which a measured kernel stands for another; beyond, the roofline does."""

LARGEST = 256 << 20
"""Bytes of a table."""

OTHERS = 0.5
"""Of a block's time of starting kernels, what kernels take that are in no table."""


class Curves:
    """Kernel times along one size, by other sizes.

    Parameters
    ----------
    sizes : ndarray of shape (kernels, sizes)
        That tell kernels apart.
    places : ndarray of shape (kernels,)
        The size along which times are interpolated.
    ms : ndarray of shape (kernels,)
        Their times; of several for the same sizes the shortest counts.
    """

    def __init__(self, sizes: np.ndarray, places: np.ndarray, ms: np.ndarray):
        order = np.lexsort((ms, places))
        keys, group = np.unique(sizes[order], axis=0, return_inverse=True)
        self._known: dict[tuple[float, ...], tuple[np.ndarray, np.ndarray]] = {}
        by_group = np.argsort(group.ravel(), kind="stable")
        ends = np.searchsorted(group.ravel()[by_group], np.arange(len(keys)), side="right")
        for key, rows in zip(keys.tolist(), np.split(order[by_group], ends[:-1]), strict=True):
            one, first = np.unique(places[rows], return_index=True)
            self._known[tuple(key)] = one, ms[rows][first]
        self._keys = np.log1p(keys)
        self._found: dict[tuple[float, ...], tuple[float, ...] | None] = {}

    def nearest(self, sizes: tuple[float, ...]) -> tuple[float, ...] | None:
        """Return the measured kernel of the nearest sizes, within `NEAR`."""
        if sizes not in self._found:
            apart = np.abs(self._keys - np.log1p(sizes)).sum(axis=1) if len(self._keys) else np.array([np.inf])
            near = int(apart.argmin())
            self._found[sizes] = list(self._known)[near] if apart[near] <= NEAR else None
        return self._found[sizes]

    def ms(self, key: tuple[float, ...], place: float) -> float:
        """Return the time of a measured kernel: linear between points, with the last slope beyond."""
        places, times = self._known[key]
        if place > places[-1] and len(places) > 1:
            slope = max((times[-1] - times[-2]) / (places[-1] - places[-2]), 0.0)
            return float(times[-1] + slope * (place - places[-1]))
        return float(np.interp(place, places, times))


class Kernels:
    """The tables of one folder, read when they are first asked for.

    Parameters
    ----------
    folder : path

    Raises
    ------
    InputError
        If the folder has none of the tables, or a table is unreadable or lacks a column.
    """

    def __init__(self, folder: Path):
        self._folder = folder
        require(self._path("gemm_perf") is not None, "kernels", "a folder with gemm_perf.parquet, .txt or .csv", folder)

    def product(self, kind: str, tokens: int, rows: float, columns: float) -> float | None:
        """Return ms of multiplying so many tokens by a matrix in one of our formats; None where none is near."""
        curves = _first(self._products, kind)
        key = None if curves is None else curves.nearest((rows, columns))
        if curves is None or key is None:
            return None
        return curves.ms(key, tokens) * rows * columns / (key[0] * key[1])

    def attention(self, kind: str, batch: int, context: int, block: Attention, machines: int) -> float | None:
        """Return ms of a token of each request on its context; None where no such kernel is near."""
        heads, key_heads = max(block.heads / machines, 1), max(block.key_heads / machines, 1)
        curves = _first(self._attention, kind)
        window = float(block.window or 0)
        key = None if curves is None else curves.nearest((batch, heads, key_heads, block.head, window))
        if curves is None or key is None:
            return None
        return curves.ms(key, context) * batch / key[0]

    def experts(self, kind: str, tokens: int, block: Experts, tensor: int, spread: int) -> float | None:
        """Return ms of the experts of a layer; None where no such layer is near."""
        curves = _first(self._experts, kind)
        sizes = (block.inner_width or block.width, block.hidden, block.chosen, block.experts, tensor, spread)
        key = None if curves is None else curves.nearest(tuple(map(float, sizes)))
        if curves is None or key is None:
            return None
        return curves.ms(key, tokens)

    def all_reduce(self, machines: int, values: float) -> float | None:
        """Return ms of adding up so many bf16 values over machines; None where it was not measured."""
        curves = self._sums.get("bfloat16")
        key = None if curves is None else curves.nearest((float(machines),))
        return None if curves is None or key is None or key[0] != machines else curves.ms(key, values)

    # ---- Tables ----

    @cached_property
    def _products(self) -> dict[str, Curves]:
        return self._read("gemm_perf", "gemm_dtype", ("n", "k"), "m")

    @cached_property
    def _attention(self) -> dict[str, Curves]:
        keys = ("batch_size", "num_heads", "num_key_value_heads", "head_dim", "window_size")
        return self._read("generation_attention_perf", "kv_cache_dtype", keys, "step")

    @cached_property
    def _experts(self) -> dict[str, Curves]:
        keys = ("hidden_size", "inter_size", "topk", "num_experts", "moe_tp_size", "moe_ep_size")
        return self._read("moe_perf", "moe_dtype", keys, "num_tokens")

    @cached_property
    def _sums(self) -> dict[str, Curves]:
        return self._read("custom_allreduce_perf", "allreduce_dtype", ("num_gpus",), "message_size")

    def _path(self, name: str) -> Path | None:
        paths = (self._folder / f"{name}.{ending}" for ending in ("parquet", "txt", "csv"))
        return next((path for path in paths if path.is_file()), None)

    def _read(self, name: str, kind: str, keys: tuple[str, ...], along: str) -> dict[str, Curves]:
        """Return a table's curves by format; none where there is no such table."""
        path = self._path(name)
        if path is None:
            return {}
        numbers = (*keys, along, "latency")
        try:
            require(path.stat().st_size <= LARGEST, "kernels", f"tables of at most {LARGEST >> 20} MiB", path)
            columns = (_parquet if path.suffix == ".parquet" else _text)(path, (kind, *numbers))
            kinds = np.array(columns[kind], str)
            table = np.array([np.array(columns[column], float) for column in numbers]).T
        except InputError:
            raise
        except (OSError, KeyError, TypeError, ValueError) as error:
            needed, reason = ", ".join((kind, *numbers)), str(error).splitlines()[0][:80]
            raise InputError(f"kernels must be tables with {needed}, not {path} ({reason})") from None
        good = np.isfinite(table).all(axis=1) & (table >= 0).all(axis=1) & (table[:, -1] > 0)
        found = {}
        for one in np.unique(kinds[good]).tolist():
            rows = table[good & (kinds == one)]
            found[one] = Curves(rows[:, :-2], rows[:, -2], rows[:, -1])
        return found


def _first(tables: dict[str, Curves], kind: str) -> Curves | None:
    return next((tables[name] for name in FORMATS[kind] if name in tables), None)


def _parquet(path: Path, columns: tuple[str, ...]) -> dict[str, Any]:
    from pyarrow import parquet

    table = parquet.read_table(path, columns=list(columns))
    return {column: table[column].to_numpy() for column in columns}


def _text(path: Path, columns: tuple[str, ...]) -> dict[str, Any]:
    _, rows = read_table("kernels", path)
    return {column: [row[column] for row in rows] for column in columns}


def passes(
    kernels: Kernels | None,
    architecture: Architecture,
    hardware: Hardware,
    context: int = 0,
    vocabulary: int | None = None,
    deployment: Deployment = ALONE,
) -> Roofline:
    """Return passes from kernels where there are some, else the roofline's; the others as of `Roofline`."""
    if kernels is None:
        return Roofline(architecture, hardware, context, vocabulary, deployment)
    return KernelPass(kernels, architecture, hardware, context, vocabulary, deployment)


class KernelPass(Roofline):
    """Passes whose parts are measured kernels where the tables have them, see `Kernels`.

    Parameters
    ----------
    kernels : Kernels
    architecture, hardware, context, vocabulary, deployment
        As of `Roofline`.
    """

    def __init__(
        self,
        kernels: Kernels,
        architecture: Architecture,
        hardware: Hardware,
        context: int = 0,
        vocabulary: int | None = None,
        deployment: Deployment = ALONE,
    ):
        super().__init__(architecture, hardware, context, vocabulary, deployment)
        self._kernels = kernels
        self._context = context
        self._parts = [
            (block, count, Roofline(replace(architecture, blocks=((block, 1),)), hardware, context, None, deployment))
            for block, count in architecture.blocks
        ]

    def body_ms(self, batch: int, tokens: int) -> float:
        """Return the time of the blocks: of every block its kernels, or its share of the roofline."""
        return sum(count * self._block_ms(block, part, batch, tokens) for block, count, part in self._parts)

    def head_ms(self, batch: int, tokens: int) -> float:
        """Return the time of the output layer."""
        rows = self._head / self._row * BYTES["bf16"]
        found = self._kernels.product("bf16", self._requests(batch) * tokens, rows, self._row / BYTES["bf16"])
        return super().head_ms(batch, tokens) if found is None else found

    def _block_ms(self, block: Block, part: Roofline, batch: int, tokens: int) -> float:
        tensor, requests = self._deployment.tensor, self._requests(batch)
        kind = self._formats.mixing if block.mixes else self._formats.feed
        passed = batch * tokens if isinstance(block, Experts) else requests * tokens
        times = [self._kernels.product(kind, passed, *matrix) for matrix in block.matrices(tensor)]
        if isinstance(block, Attention):
            alone = self._kernels.attention(self._formats.cache, requests, block.reach(self._context), block, tensor)
            times.append(None if alone is None else alone * part.mixing_ratio(requests, tokens))
        elif isinstance(block, Experts):
            spread = self._deployment.experts
            times.append(self._kernels.experts(kind, passed, block, tensor if spread == 1 else 1, spread))
        if block.mixes and not isinstance(block, Attention):
            times = [None]
        known = [time for time in times if time is not None]
        if len(known) < len(times):
            return part.body_ms(batch, tokens)
        links = part.links_ms(batch, tokens)
        if tensor > 1 and not (isinstance(block, Experts) and self._deployment.experts > 1):
            links = self._kernels.all_reduce(tensor, requests * tokens * self._row / BYTES["bf16"]) or links
        return sum(known) + links + OTHERS * self._hardware.block_us / 1000
