"""The CRC-8 of headers, rows and records, all bits at once."""

from amaranth.hdl import Cat, Value

from nerf.contract.blocks import crc8


def crc8_of(value: Value) -> Value:
    """Return the CRC-8 of all bits of a value, most significant first: `nerf.contract.blocks.crc8` as XOR gates.

    The code is linear, so each input bit alone tells which outputs it flips.
    """
    flips = [crc8(1 << position, len(value)) for position in range(len(value))]
    return Cat(
        Cat(value[position] for position, flipped in enumerate(flips) if flipped >> output & 1).xor()
        for output in range(8)
    )
