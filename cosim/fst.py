"""Fast Signal Trace, the compressed waveform that GTKWave and Surfer read: header, hierarchy, and one block of changes.

Source of the layout: the format as GTKWave's `fstapi` and the reader `wellen` take it. Numbers are big endian but for
varints: 7 bits a byte, the lowest first, the upper bit set where more follow.
"""

from __future__ import annotations

import gzip
import struct
import zlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

_HEADER, _CHANGES, _GEOMETRY, _HIERARCHY = 0, 1, 3, 4
_SCOPE, _UP, _MODULE, _WIRE, _IMPLICIT = 254, 255, 0, 16, 0
_NANOSECOND = -9
_WRITER_BYTES, _DATE_BYTES = 128, 119


@dataclass(frozen=True)
class Signal:
    """A signal of some bits, in a scope."""

    scope: tuple[str, ...]
    name: str
    width: int


def fst(signals: Sequence[Signal], changes: Mapping[Signal, Iterable[tuple[int, int]]], end: int) -> bytes:
    """Return a file of signals that are unknown until their first change.

    Parameters
    ----------
    signals : sequence of Signal
        Those of a scope stand together.
    changes : mapping
        Of each signal the nanoseconds, rising, and values, of 0 to ``2**width - 1``.
    end : int
        Nanoseconds of the whole.
    """
    known = {signal: list(changes.get(signal, ())) for signal in signals}
    times = sorted({time for found in known.values() for time, _ in found} | {0, end})
    places = {time: place for place, time in enumerate(times)}
    chains = [_chain(signal.width, found, places) for signal, found in known.items()]
    hierarchy, scopes = _hierarchy(signals)
    header = struct.pack(">QQ", 0, end) + struct.pack("<d", 2.718281828459045)
    header += struct.pack(">QQQQQb", 0, scopes, len(signals), len(signals), 1, _NANOSECOND)
    header += b"rtnerf".ljust(_WRITER_BYTES, b"\0") + bytes(_DATE_BYTES) + struct.pack(">Bq", 0, 0)
    widths = b"".join(_varint(signal.width) for signal in signals)
    packed = gzip.compress(hierarchy, mtime=0)
    return b"".join(
        [
            _block(_HEADER, header),
            _block(_CHANGES, _changes([signal.width for signal in signals], chains, times, end)),
            _block(_GEOMETRY, struct.pack(">QQ", len(widths), len(signals)) + widths),
            _block(_HIERARCHY, struct.pack(">Q", len(hierarchy)) + packed),
        ]
    )


def _block(kind: int, content: bytes) -> bytes:
    return struct.pack(">BQ", kind, len(content) + 8) + content


def _varint(number: int) -> bytes:
    found = bytearray()
    while number > 0x7F:
        found.append(number & 0x7F | 0x80)
        number >>= 7
    return bytes([*found, number])


def _hierarchy(signals: Sequence[Signal]) -> tuple[bytes, int]:
    """The scopes and the signals in them, and how many scopes there are."""
    found, count = bytearray(), 0
    open_scopes: tuple[str, ...] = ()
    for signal in signals:
        same = 0
        while same < min(len(open_scopes), len(signal.scope)) and open_scopes[same] == signal.scope[same]:
            same += 1
        found += bytes([_UP]) * (len(open_scopes) - same)
        for name in signal.scope[same:]:
            found += bytes([_SCOPE, _MODULE]) + name.encode() + b"\0\0"
            count += 1
        open_scopes = signal.scope
        found += bytes([_WIRE, _IMPLICIT]) + signal.name.encode() + b"\0" + _varint(signal.width) + _varint(0)
    return bytes(found) + bytes([_UP]) * len(open_scopes), count


def _chain(width: int, changes: Sequence[tuple[int, int]], places: Mapping[int, int]) -> bytes:
    """The changes of a signal: how many times on each comes, and the bits, the first on the left."""
    found, before = bytearray(), 0
    for time, value in changes:
        later, before = places[time] - before, places[time]
        if width == 1:
            found += _varint(later << 2 | value << 1)
        else:
            size = -(-width // 8)
            found += _varint(later << 1) + (value << 8 * size - width).to_bytes(size, "big")
    return bytes(found)


def _changes(widths: Sequence[int], chains: Sequence[bytes], times: Sequence[int], end: int) -> bytes:
    """The block of changes: values at the start, chains of changes, where each chain is, and the times."""
    start = b"x" * sum(widths)
    packed_start = zlib.compress(start)
    if len(packed_start) >= len(start):
        packed_start = start
    frame = _varint(len(start)) + _varint(len(packed_start)) + _varint(len(widths)) + packed_start
    data, table, at, before, empty = bytearray(b"Z"), bytearray(), 1, 0, 0
    for chain in chains:
        if not chain:
            empty += 1
            continue
        if empty:
            table += _varint(empty << 1)
            empty = 0
        packed = zlib.compress(chain)
        # Length 0: not compressed.
        data += _varint(len(chain)) + packed if len(packed) < len(chain) else _varint(0) + chain
        table += _varint(at - before << 1 | 1)
        before, at = at, len(data)
    if empty:
        table += _varint(empty << 1)
    steps = b"".join(_varint(time - earlier) for earlier, time in zip((0, *times), times, strict=False))
    packed_steps = zlib.compress(steps)
    if len(packed_steps) >= len(steps):
        packed_steps = steps
    memory = sum(map(len, chains))
    return b"".join(
        [
            struct.pack(">QQQ", 0, end, memory),
            frame,
            _varint(len(widths)),
            bytes(data),
            bytes(table),
            struct.pack(">Q", len(table)),
            packed_steps,
            struct.pack(">QQQ", len(steps), len(packed_steps), len(times)),
        ]
    )
