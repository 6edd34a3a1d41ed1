"""Compare what the RTL did with the golden model, sample by sample, and explain the first difference."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from cosim.wrapper import Transaction
from nerf.contract.registers import View
from nerf.golden.frame import SAMPLE_FIELDS, Frame

STAGES = ("samples", "opaque", "visible", "coloured", "pixels")
"""Compared streams, in the order of the data flow."""


@dataclass(frozen=True)
class Difference:
    """Where the RTL first left the golden model.

    Parameters
    ----------
    x, y : int
        Window pixel.
    sample : int
        Number of the item among the pixel's items of the stage, counted from 0.
    stage : str
        One of `STAGES`.
    expected, got : dict or None
        Fields by name; None where there is no such item.
    cycle : int or None
        When the RTL produced it.
    """

    x: int
    y: int
    sample: int
    stage: str
    expected: dict[str, int] | None
    got: dict[str, int] | None
    cycle: int | None

    def __str__(self) -> str:
        when = "" if self.cycle is None else f" in cycle {self.cycle}"
        return f"pixel ({self.x}, {self.y}), {self.stage} {self.sample}{when}: expected {self.expected}, got {self.got}"


@dataclass
class Comparison:
    """Result of `compare`: transactions per stream, mismatches per stage, and the first difference."""

    transactions: dict[str, int] = field(default_factory=dict)
    mismatches: dict[str, int] = field(default_factory=dict)
    first: Difference | None = None


def unpack(payload: int, fields: Sequence[Mapping[str, Any]]) -> dict[str, int]:
    """Return a payload's fields by dotted name, from the sidecar's description of a probe."""
    values = {}
    for entry in fields:
        value = payload >> entry["offset"] & (1 << entry["width"]) - 1
        if entry["signed"] and value >> entry["width"] - 1:
            value -= 1 << entry["width"]
        values[entry["name"]] = value
    return values


def samples_in(values: dict[str, int]) -> list[dict[str, int]]:
    """Return the samples of a transfer: those that are present of several lanes (`rtl.parts.lanes`), or it is one."""
    lanes = sorted({name.split(".")[1] for name in values if name.startswith("lanes.")})
    if not lanes or values["last"]:
        return [values]
    common = {name: value for name, value in values.items() if not name.startswith("lanes.")}
    return [
        common | {name.removeprefix(start): value for name, value in values.items() if name.startswith(start)}
        for start in (f"lanes.{lane}." for lane in lanes)
        if values[f"{start}present"]
    ]


def compare(
    transactions: Iterable[Transaction], sidecar: Mapping[str, Any], frame: Frame, view: View, tile: int
) -> Comparison:
    """Compare the recorded streams of a frame with the golden frame.

    The RTL may generate samples of a pixel that has just been terminated; the compositor drops them. Before the
    compositor, therefore, the golden items must be the first of the RTL's; from it on, all of them.
    """
    result = Comparison()
    got = _by_pixel(transactions, sidecar, view, tile, result)
    expected = _golden_items(frame)
    for stage in STAGES:
        result.mismatches[stage] = 0
        for pixel in sorted(set(expected[stage]) | set(got[stage])):
            ours, theirs = expected[stage].get(pixel, []), got[stage].get(pixel, [])
            count = len(ours) if stage in ("samples", "opaque") else max(len(ours), len(theirs))
            for index in range(count):
                want = ours[index] if index < len(ours) else None
                cycle, have = theirs[index] if index < len(theirs) else (None, None)
                if (
                    want == (None if have is None or want is None else {name: have[name] for name in want})
                    and want is not None
                ):
                    continue
                result.mismatches[stage] += 1
                if result.first is None:
                    y, x = divmod(pixel, view.window_width)
                    result.first = Difference(x, y, index, stage, want, have, cycle)
    return result


def _by_pixel(transactions, sidecar, view: View, tile: int, result: Comparison) -> dict[str, dict[int, list]]:
    """Group the recorded items by stage and window pixel; a stream's end markers tell which tile it is in.

    In each row of tiles there are samples from the first to the last tile that a footprint meets.
    """
    fields = {probe["name"]: probe["fields"] for probe in sidecar["probes"]}
    met: dict[int, list[int]] = {}
    order: list[tuple[int, int]] = []
    tiles = dict.fromkeys(STAGES, 0)
    items: dict[str, dict[int, list]] = {stage: {} for stage in STAGES}
    for transaction in transactions:
        stream = transaction.stream
        result.transactions[stream] = result.transactions.get(stream, 0) + 1
        if stream == "footprints":
            footprint = unpack(transaction.payload, fields[stream])
            if footprint["last"]:
                order = [(row, column) for row in sorted(met) for column in range(met[row][0], met[row][1] + 1)]
                continue
            first, last = footprint["first_x"] // tile, footprint["last_x"] // tile
            for row in range(footprint["first_y"] // tile, footprint["last_y"] // tile + 1):
                before = met.get(row, [first, last])
                met[row] = [min(before[0], first), max(before[1], last)]
        if stream not in items:
            continue
        for values in samples_in(unpack(transaction.payload, fields[stream])):
            if values.get("last"):
                tiles[stream] += 1
                continue
            if stream == "pixels":
                pixel = values["y"] * view.window_width + values["x"]
            else:
                row, column = divmod(values["pixel"] % tile**2, tile)
                tile_row, tile_column = order[tiles[stream]]
                pixel = (tile_row * tile + row) * view.window_width + tile_column * tile + column
            items[stream].setdefault(pixel, []).append((transaction.cycle, values))
    return items


def _golden_items(frame: Frame) -> dict[str, dict[int, list[dict[str, int]]]]:
    items: dict[str, dict[int, list[dict[str, int]]]] = {stage: {} for stage in STAGES}
    column = {name: index for index, name in enumerate(SAMPLE_FIELDS)}
    visible = set(frame.visible.tolist())
    for number, row in enumerate(frame.samples.tolist()):
        pixel = row[column["pixel"]]
        place = {}
        for axis in "xyz":
            position = row[column[axis]]
            place[f"cube.{axis}"], place[f"local.{axis}"] = position >> 18, position >> 8 & 1023
        items["samples"].setdefault(pixel, []).append(place)
        items["opaque"].setdefault(pixel, []).append({**place, "alpha": row[column["alpha"]]})
        if number in visible:
            items["visible"].setdefault(pixel, []).append({**place, "weight": row[column["weight"]]})
    for (pixel, weight), colours in zip(frame.shaded.tolist(), frame.colours.tolist(), strict=True):
        colour = {f"colour.{channel}": value for channel, value in enumerate(colours)}
        items["coloured"].setdefault(pixel, []).append({"weight": weight, **colour})
    for pixel, channels in enumerate(frame.pixels.reshape(-1, 4).tolist()):
        items["pixels"][pixel] = [{f"channels.{channel}": value for channel, value in enumerate(channels)}]
    return items
