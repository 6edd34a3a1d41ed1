"""Rows, records and the image container."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nerf.contract.network import NetworkSize, stages
from nerf.contract.scene_image import (
    BEAT,
    HOST_FIELDS,
    WORDS,
    Scene,
    assemble,
    check_grid,
    pack_network,
    pack_record,
    pack_row,
    stage_beats,
    unpack_network,
    unpack_record,
    unpack_row,
)
from rtnerf.base.errors import InputError


def image():
    return assemble(
        {word.name: [index % 8] * word.count for index, word in enumerate(WORDS)},
        {name: float(index) for index, name in enumerate(HOST_FIELDS)},
        [("rows_offset", b"row"), ("tables_offset", bytes(range(32))), ("payload_offset", b"payload")],
    )


@given(st.integers(0, 2**96 - 1), st.integers(0, 2**24 - 1), st.integers(0, 127))
def test_rows(bits, rank, flipped):
    word = pack_row(bits, rank)
    assert unpack_row(word) == (bits, rank)
    with pytest.raises(InputError, match="corrupt row"):
        unpack_row(word ^ 1 << flipped)


@given(st.integers(0, 2**32), st.tuples(*[st.integers(0, 1023)] * 3), st.integers(0, 255))
def test_records(seed, base, flipped):
    window = np.random.default_rng(seed).random((6, 6, 6)) < 0.5
    word = pack_record(window, base)
    got, got_base = unpack_record(word)
    assert np.array_equal(got, window)
    assert got_base == base
    if flipped not in (246, 247):
        with pytest.raises(InputError, match="corrupt record"):
            unpack_record(word ^ 1 << flipped)


@pytest.mark.parametrize(("lanes", "hidden"), [(16, 128), (32, 128), (64, 128), (128, 128), (64, 64), (16, 32)])
def test_networks(lanes, hidden):
    size = NetworkSize(hidden=hidden)
    of = stages(lanes, size)
    generator = np.random.default_rng(lanes)
    weights = [generator.integers(-128, 128, (outputs, inputs), np.int8) for _, inputs, outputs in size.layers]
    entries = [generator.integers(0, 1 << 54, outputs, np.uint64) for *_, outputs in size.layers]
    tables = pack_network(of, weights, entries)
    assert len(tables) == BEAT * sum(stage_beats(stage) for stage in of)
    got_weights, got_entries = unpack_network(of, tables)
    for got, expected in zip((*got_weights, *got_entries), (*weights, *entries), strict=True):
        assert np.array_equal(got, expected)


def test_image_keeps_words_host_fields_and_sections():
    scene = image()
    assert scene.host == {name: float(index) for index, name in enumerate(HOST_FIELDS)}
    assert scene.density_multiplier == [word.name for word in WORDS].index("density_multiplier") % 8
    assert scene.data[scene.rows_offset :][:3] == b"row"
    assert scene.payload_offset % 4096 == 0
    assert scene.data[scene.payload_offset :][:7] == b"payload"
    assert scene.tables_beats == 2
    assert Scene(scene.data) == scene


@pytest.mark.parametrize("position", [0, 5, 70, 254, 300, 600, -1])
def test_any_flipped_byte_is_noticed(position):
    data = bytearray(image().data)
    data[position] ^= 0x10
    with pytest.raises(InputError, match="scene must be"):
        Scene(bytes(data))


def test_truncated_image_is_refused():
    data = image().data
    for length in (0, 100, len(data) - 16):
        with pytest.raises(InputError, match="scene must be"):
            Scene(data[:length])


def test_grids_beyond_the_format_are_refused():
    check_grid((384, 640, 640))
    with pytest.raises(InputError, match="grid size along x must be at most 384, not 385"):
        check_grid((385, 10, 10))
