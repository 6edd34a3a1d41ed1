"""Lanes: what belongs to several samples that come together, each in a datapath of its own and all in lock step.

One lane is no lane: its ports, names and layouts are those of a single sample.
"""

from amaranth.hdl import Shape, Value
from amaranth.lib import data
from amaranth.lib.wiring import Member


def samples_of(sample: data.StructLayout, lanes: int) -> data.StructLayout:
    """Return the layout of a transfer of samples of a cube, at most one a lane.

    Of several lanes it has ``cube`` and ``last`` once, and ``lanes``: ``present`` and all else of a sample.
    """
    if lanes == 1:
        return sample
    own = {name: shape for name, shape in sample.members.items() if name not in ("cube", "last")}
    lane = data.StructLayout({"present": 1} | own)
    return data.StructLayout(
        {"cube": sample.members["cube"], "lanes": data.ArrayLayout(lane, lanes), "last": sample.members["last"]}
    )


def sample_in(samples: data.View, lane: int) -> tuple[data.View, Value]:
    """Return what a transfer of `samples_of` has of a lane alone, and whether there is a sample."""
    if "lanes" not in samples.shape().members:
        return samples, ~samples.last
    return samples.lanes[lane], samples.lanes[lane].present


def pass_on(target: data.View, source: data.View, **own: list) -> list:
    """Return the statements that copy what two transfers of `samples_of` share; ``own`` fields have values by lane."""
    statements = []
    for name in target.shape().members:
        if name == "lanes":
            for lane, (to, of) in enumerate(zip(target.lanes, source.lanes, strict=True)):
                statements += pass_on(to, of, **{field: values[lane:] for field, values in own.items()})
        elif name in own:
            statements.append(target[name].eq(own[name][0]))
        elif name in source.shape().members:
            statements.append(target[name].eq(source[name]))
    return statements


def several(member: Member, lanes: int) -> Member:
    """Return a port, or an array of one for each lane."""
    return member if lanes == 1 else member.array(lanes)


def each(port, lanes: int) -> list:
    """Return the port of each lane, of what `several` has made."""
    return [port] if lanes == 1 else list(port)


def of_lane(name: str, lane: int, lanes: int) -> str:
    """Return the name of a lane's part."""
    return name if lanes == 1 else f"{name}_{lane}"


def part_of(vector: data.View, part: Value, width: int) -> data.View:
    """Return a part of a vector, of so many components; all of them if that is the width."""
    layout = vector.shape()
    if width == layout.length:
        return vector
    bits = width * Shape.cast(layout.elem_shape).width
    return data.View(data.ArrayLayout(layout.elem_shape, width), vector.as_value().word_select(part, bits))
