"""The hybrid sparse format: one block of 16 positions by 16 components of 8-bit factors.

A block is a 64-bit header and a payload. The header's position mask says which positions have any non-zero
component; absent positions cost nothing. The payload holds the present positions, in ascending order, in the
smallest of three forms (sizes are computed for each block, ties go to the earlier form):

* dense: 16 values a position;
* bitmap: a 16-bit map of non-zero components a position, all maps first, then the non-zero values packed;
* coordinate: pairs of (position * 16 + component, value), ascending, at most `COORDINATE_LIMIT` of them.

Header, from bit 0: pointer 28 (payload start in units of 8 bytes from the payload section's start), position mask 16,
count 9 (stored values: those of present positions if dense, non-zeros otherwise), form 2, zero 1, CRC-8 8 (over the
56 bits before it).

The paper names a hybrid of bitmap and coordinate formats; this layout is ours.
"""

from dataclasses import dataclass
from enum import IntEnum

import numpy as np

from nerf.contract.config import COMPONENTS

POSITIONS = 16
"""Positions in a block: 4 x 4 of a plane, 16 of a line."""
COORDINATE_LIMIT = 32
"""Most entries of a coordinate block: beyond it a bitmap is never larger."""
POINTER_UNIT = 8
"""Bytes that a payload pointer counts."""
PAYLOAD_LIMIT = POSITIONS * COMPONENTS + POSITIONS * 2
"""Bytes of the largest payload."""
HEADER_BYTES = 8
CRC_POLYNOMIAL = 0x07


class Form(IntEnum):
    """How a payload stores the present positions."""

    DENSE = 0
    BITMAP = 1
    COORDINATE = 2


class BlockError(ValueError):
    """A block that no encoder writes: wrong header checksum, unknown form, or header and payload that disagree."""


@dataclass(frozen=True)
class Header:
    """The fields of a block header, see the module's text."""

    pointer: int
    mask: int
    count: int
    form: Form

    @property
    def payload_bytes(self) -> int:
        """Bytes of the payload that the header announces."""
        if self.form == Form.DENSE:
            return self.count
        if self.form == Form.BITMAP:
            return 2 * self.mask.bit_count() + self.count
        return 2 * self.count


def _shifted(crc: int) -> int:
    """Return the CRC-8 of a byte, bit by bit."""
    for _ in range(8):
        crc = (crc << 1 & 0xFF) ^ (CRC_POLYNOMIAL if crc >> 7 else 0)
    return crc


_CRC_OF_BYTE = tuple(map(_shifted, range(256)))


def crc8(value: int, bits: int) -> int:
    """Return the CRC-8 (polynomial `CRC_POLYNOMIAL`, start 0) of an integer's bits, most significant first."""
    crc = 0
    # Leading zeros, which fill up the first byte, leave the start as it is.
    for byte in (value & (1 << bits) - 1).to_bytes(-(-bits // 8), "big"):
        crc = _CRC_OF_BYTE[crc ^ byte]
    return crc


def pack_header(header: Header) -> int:
    """Return a header as a 64-bit integer."""
    word = header.pointer | header.mask << 28 | header.count << 44 | header.form << 53
    return word | crc8(word, 56) << 56


def unpack_header(word: int) -> Header:
    """Return the fields of a 64-bit header.

    Raises
    ------
    BlockError
        Checksum, form or count that no encoder writes.
    """
    if crc8(word & (1 << 56) - 1, 56) != word >> 56:
        raise BlockError("header checksum")
    mask, count, form = word >> 28 & 0xFFFF, word >> 44 & 0x1FF, word >> 53 & 3
    if form == 3 or word >> 55 & 1:
        raise BlockError("header form")
    present = mask.bit_count()
    if not present <= count <= present * COMPONENTS or (form == Form.DENSE and count != present * COMPONENTS):
        raise BlockError("header count")
    if form == Form.COORDINATE and count > COORDINATE_LIMIT:
        raise BlockError("header count")
    return Header(word & (1 << 28) - 1, mask, count, Form(form))


def sizes(block: np.ndarray) -> dict[Form, int | None]:
    """Return the payload bytes of a block in each form; None where the form cannot hold it."""
    present = int(np.count_nonzero(block.any(axis=1)))
    count = int(np.count_nonzero(block))
    return {
        Form.DENSE: present * COMPONENTS,
        Form.BITMAP: present * 2 + count,
        Form.COORDINATE: 2 * count if count <= COORDINATE_LIMIT else None,
    }


def encode(block: np.ndarray, form: Form | None = None) -> tuple[Header, bytes]:
    """Encode one block in its smallest form, or in a given one.

    Parameters
    ----------
    block : int8 array, shape (16 positions, 16 components)
    form : Form, optional

    Returns
    -------
    (Header, bytes)
        A header with pointer 0, and the payload.
    """
    block = np.asarray(block, np.int8)
    if form is None:
        candidates = {form: size for form, size in sizes(block).items() if size is not None}
        form = min(candidates, key=candidates.__getitem__)
    present = np.flatnonzero(block.any(axis=1))
    mask = sum(1 << int(position) for position in present)
    rows = block[present]
    if form == Form.DENSE:
        return Header(0, mask, rows.size, form), rows.tobytes()
    count = int(np.count_nonzero(rows))
    if form == Form.BITMAP:
        maps = np.packbits(rows != 0, axis=1, bitorder="little").tobytes()
        return Header(0, mask, count, form), maps + rows[rows != 0].tobytes()
    position, component = np.nonzero(block)
    pairs = np.stack([position * COMPONENTS + component, block[position, component].view(np.uint8)], axis=1)
    return Header(0, mask, count, form), pairs.astype(np.uint8).tobytes()


def decode(header: Header, payload: bytes) -> np.ndarray:
    """Decode one block: the inverse of `encode`.

    Returns
    -------
    int8 array, shape (16 positions, 16 components)

    Raises
    ------
    BlockError
        The payload disagrees with the header.
    """
    block = np.zeros((POSITIONS, COMPONENTS), np.int8)
    present = [position for position in range(POSITIONS) if header.mask >> position & 1]
    if len(payload) < header.payload_bytes:
        raise BlockError("payload length")
    data = np.frombuffer(payload, np.int8)
    if header.form == Form.DENSE:
        block[present] = data[: header.count].reshape(-1, COMPONENTS)
        return block
    if header.form == Form.BITMAP:
        maps = np.frombuffer(payload, np.uint8, 2 * len(present)).reshape(-1, 2)
        nonzero = np.unpackbits(maps, axis=1, bitorder="little").astype(bool)
        if np.count_nonzero(nonzero) != header.count:
            raise BlockError("bitmap count")
        rows = np.zeros((len(present), COMPONENTS), np.int8)
        rows[nonzero] = data[maps.size : maps.size + header.count]
        block[present] = rows
        return block
    index = data[0 : 2 * header.count : 2].view(np.uint8).astype(int)
    if np.any(np.diff(index) <= 0) or {int(i) >> 4 for i in index} != set(present):
        raise BlockError("coordinate order")
    block.reshape(-1)[index] = data[1 : 2 * header.count : 2]
    return block
