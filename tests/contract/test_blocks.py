"""The hybrid block format: encoder and decoder are inverse, the smallest form is chosen, corruption is noticed."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nerf.contract.blocks import (
    COORDINATE_LIMIT,
    BlockError,
    Form,
    Header,
    crc8,
    decode,
    encode,
    pack_header,
    sizes,
    unpack_header,
)


@st.composite
def sparse_blocks(draw):
    """Blocks with empty positions and scattered zeros, from empty to full."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    positions, elements = draw(st.sampled_from([0, 0.05, 0.3, 0.7, 1])), draw(st.sampled_from([0.02, 0.2, 0.9, 1]))
    block = rng.integers(-127, 128, (16, 16))
    keep = (rng.random((16, 1)) < positions) & (rng.random((16, 16)) < elements)
    return (block * keep).astype(np.int8)


@given(sparse_blocks(), st.sampled_from([None, *Form]))
def test_decode_inverts_encode(block, form):
    if form == Form.COORDINATE and np.count_nonzero(block) > COORDINATE_LIMIT:
        form = None
    header, payload = encode(block, form)
    assert len(payload) == header.payload_bytes
    assert np.array_equal(decode(unpack_header(pack_header(header)), payload), block)


@given(sparse_blocks())
def test_the_smallest_form_is_chosen(block):
    _, payload = encode(block)
    assert len(payload) == min(size for size in sizes(block).values() if size is not None)


def test_empty_positions_cost_nothing():
    block = np.zeros((16, 16), np.int8)
    assert encode(block)[1] == b""
    block[3] = 1
    header, payload = encode(block)
    assert (header.form, len(payload)) == (Form.DENSE, 16)


@pytest.mark.parametrize(("nonzeros", "form"), [(1, Form.COORDINATE), (16, Form.DENSE), (8, Form.BITMAP)])
def test_break_even_in_one_position(nonzeros, form):
    # One position: dense 16 bytes, bitmap 2 + n, coordinate 2 n.
    block = np.zeros((16, 16), np.int8)
    block[5, :nonzeros] = 7
    assert encode(block)[0].form == form


@given(st.binary(min_size=16, max_size=16), st.integers(1, 127))
def test_crc_notices_every_short_burst(data, error):
    # CRC-8 notices every error burst of at most 8 bits.
    word = int.from_bytes(data, "little") & (1 << 56) - 1
    for shift in range(50):
        assert crc8(word, 56) != crc8(word ^ (error << shift & (1 << 56) - 1), 56) or error << shift >> 56


@given(sparse_blocks(), st.integers(0, 63))
def test_every_flipped_header_bit_is_refused(block, bit):
    with pytest.raises(BlockError):
        unpack_header(pack_header(encode(block)[0]) ^ 1 << bit)


@pytest.mark.parametrize(
    "header",
    [
        Header(0, 1, 15, Form.DENSE),
        Header(0, 1, 17, Form.BITMAP),
        Header(0, 3, 1, Form.BITMAP),
        Header(0, 0xFFFF, 33, Form.COORDINATE),
        Header(0, 0, 1, Form.COORDINATE),
    ],
)
def test_inconsistent_headers_are_refused(header):
    with pytest.raises(BlockError, match="count"):
        unpack_header(pack_header(header))


def test_payloads_that_disagree_are_refused():
    block = np.zeros((16, 16), np.int8)
    block[:, 0] = 1
    header, payload = encode(block, Form.BITMAP)
    with pytest.raises(BlockError, match="bitmap"):
        decode(header, b"\xff" + payload[1:])
    with pytest.raises(BlockError, match="length"):
        decode(header, payload[:-1])
    header, payload = encode(block, Form.COORDINATE)
    with pytest.raises(BlockError, match="order"):
        decode(header, payload[2:4] + payload[:2] + payload[4:])
