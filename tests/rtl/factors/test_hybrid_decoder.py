"""The hybrid decoder against `nerf.contract.blocks.decode`: all forms, alignments and stalls, rates, and errors."""

import random
from dataclasses import replace

import numpy as np
import pytest
from amaranth.hdl import Cat, Module, Signal
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from cosim.unit import STALLS, run, shared
from nerf.contract.blocks import COORDINATE_LIMIT, Form, Header, decode, encode
from nerf.contract.config import COMPONENTS
from rtl.factors.hybrid_decoder import HybridDecoder
from rtl.factors.tree_server import TreeServer
from rtl.payloads import BlockLayouts, ReadBeat
from tests.sizes import TINY

LAYOUTS = BlockLayouts(TINY)
"""Those of the streams; with vectors whole."""


class Harness(wiring.Component):
    """A decoder with the tree that it needs; ``error``: there was a strobe for this block.

    Vectors, which the decoder makes in ``parts``, are put together.
    """

    i_job: In(stream.Signature(LAYOUTS.DecodeJob))
    i_payload: In(stream.Signature(ReadBeat))
    o: Out(stream.Signature(data.StructLayout({"vector": LAYOUTS.DecodedVector, "error": 1})))

    def __init__(self, parts=1):
        self._parts = parts
        super().__init__()

    def elaborate(self, platform):
        m = Module()
        config = replace(TINY, interpolated_components=COMPONENTS // self._parts)
        m.submodules.decoder = decoder = HybridDecoder(config)
        m.submodules.server = server = TreeServer(2)
        strobed = Signal()
        m.d.comb += self.o.payload.error.eq(strobed | decoder.error_payload)
        m.d.sync += strobed.eq(self.o.payload.error)
        with m.If(self.o.valid & self.o.ready & decoder.o.payload.block_last):
            m.d.sync += strobed.eq(0)
        wiring.connect(m, decoder.tree, server.client_1)
        wiring.connect(m, wiring.flipped(self.i_job), decoder.i_job)
        wiring.connect(m, wiring.flipped(self.i_payload), decoder.i_payload)
        part, vector = decoder.o.payload, self.o.payload.vector
        values = part.write.values.as_value()
        earlier = Signal(8 * COMPONENTS)
        last = part.write.part == self._parts - 1
        whole = Cat(earlier, values)[len(values) :]
        with m.If(decoder.o.valid & decoder.o.ready):
            m.d.sync += earlier.eq(whole)
        m.d.comb += [
            vector.appearance.eq(part.appearance),
            vector.block_last.eq(part.block_last),
            vector.write.to.eq(part.write.to),
            vector.write.position.eq(part.write.position),
            vector.write.values.eq(whole),
            self.o.valid.eq(decoder.o.valid & last),
            decoder.o.ready.eq(self.o.ready | ~last),
        ]
        return m


def block(noise, density, vectors=1.0):
    """Return a random block; ``density``: of non-zeros in a position that is not zero, of which ``vectors`` are."""
    values = noise.integers(-128, 128, (16, 16))
    keep = (noise.random((16, 16)) < density) & (noise.random((16, 1)) < vectors)
    return (values * keep).astype(np.int8)


def beats_of(payload, skip, noise):
    """Return a payload as beats, with noise before its start and after its end."""
    padded = noise.bytes(8 * skip) + payload
    padded += noise.bytes(-len(padded) % 16)
    parts = [int.from_bytes(padded[start : start + 16], "little") for start in range(0, len(padded), 16)]
    return [{"data": part, "last": index == len(parts) - 1} for index, part in enumerate(parts)]


def make_job(header, skip, number):
    to = {"line": number & 1, "pair": number % 3, "group": number // 3 % 3, "slot": number & 15}
    return {
        "appearance": number >> 2 & 1,
        "to": to,
        "form": header.form,
        "mask": header.mask,
        "count": header.count,
        "skip": skip,
    }


def build(blocks, noise, skips=None):
    """Return (jobs, beats, expected blocks) of a list of (header, payload)."""
    jobs, beats, expected = [], [], []
    for number, (header, payload) in enumerate(blocks):
        skip = int(noise.integers(0, 2)) if skips is None else skips
        jobs.append(make_job(header, skip, number))
        if payload:
            beats += beats_of(payload, skip, noise)
        expected.append(decode(header, payload))
    return jobs, beats, expected


def check(jobs, expected, vectors):
    assert len(vectors) == 16 * len(jobs)
    for number, (job, block) in enumerate(zip(jobs, expected, strict=True)):
        for position in range(16):
            assert not vectors[16 * number + position].error
            vector = vectors[16 * number + position].vector
            to = vector.write.to
            assert {name: to[name] for name in job["to"]} == job["to"]
            assert (vector.appearance, vector.write.position) == (job["appearance"], position)
            assert vector.block_last == (position == 15)
            assert [vector.write.values[c] for c in range(16)] == block[position].tolist()


def edge_blocks(noise):
    full = np.full((16, 16), -128, np.int8)
    one = np.zeros((16, 16), np.int8)
    one[15, 15] = -1
    first = np.zeros((16, 16), np.int8)
    first[0, 0] = 127
    yield encode(np.zeros((16, 16), np.int8))
    for form in Form:
        for values in (one, first, one + first):
            yield encode(values, form)
        yield encode(np.zeros((16, 16), np.int8), form)
    yield encode(full)
    yield encode(full, Form.BITMAP)
    for count in (1, 7, 8, 9, 31, COORDINATE_LIMIT):
        values = np.zeros(256, np.int8)
        values[noise.permutation(256)[:count]] = noise.integers(1, 127, count)
        yield encode(values.reshape(16, 16), Form.COORDINATE)
    # A map without any bit, at a present position, is in no encoder's output but is no error either.
    yield Header(0, 0b11, 2, Form.BITMAP), bytes([0, 0, 0x01, 0x80, 5, 250])


def random_blocks(noise, count):
    for _ in range(count):
        values = block(noise, noise.choice([0.02, 0.1, 0.4, 0.9, 1.0]), noise.choice([0.1, 0.6, 1.0]))
        forms = [Form.DENSE, Form.BITMAP]
        if np.count_nonzero(values) <= COORDINATE_LIMIT:
            forms.append(Form.COORDINATE)
        yield encode(values, Form(noise.choice(forms)))


def decode_all(blocks, noise, stalls=(1.0, 1.0), skips=None, parts=1):
    jobs, beats, expected = build(blocks, noise, skips)
    inputs, outputs = {"i_job": jobs, "i_payload": beats}, {"o": 16 * len(jobs)}
    result = run(shared(Harness, parts), inputs, outputs, stalls=stalls, watchdog=50_000)
    assert len(result.cycles["i_payload"]) == len(beats)
    check(jobs, expected, result.outputs["o"])
    return result


@pytest.mark.parametrize("parts", [1, 4, 16])
@pytest.mark.parametrize("stalls", STALLS)
def test_blocks_of_every_form_are_decoded(stalls, parts):
    noise = np.random.default_rng(random.Random(str(stalls)).getrandbits(32))
    blocks = [*edge_blocks(noise), *random_blocks(noise, 14)]
    decode_all(blocks, noise, stalls, parts=parts)


@pytest.mark.parametrize("skip", [0, 1])
def test_edge_blocks_at_both_alignments(skip):
    noise = np.random.default_rng(skip)
    decode_all([*edge_blocks(noise)], noise, skips=skip)


@pytest.mark.parametrize("parts", [1, 2, 16])
def test_dense_blocks_come_without_a_gap(parts):
    noise = np.random.default_rng(2)
    blocks = [encode(block(noise, 1.0), Form.DENSE) for _ in range(5)]
    result = decode_all(blocks, noise, skips=0, parts=parts)
    out = result.cycles["o"]
    assert out[0] - result.cycles["i_payload"][0] == HybridDecoder.LATENCY + parts - 1
    assert out == list(range(out[0], out[0] + 80 * parts, parts))


def test_empty_blocks_come_without_a_gap():
    noise = np.random.default_rng(2)
    result = decode_all([encode(np.zeros((16, 16), np.int8))] * 4, noise)
    out = result.cycles["o"]
    assert out == list(range(out[0], out[0] + 64))


@pytest.mark.parametrize(("form", "density", "gap"), [(Form.BITMAP, 0.5, 7), (Form.COORDINATE, 0.06, 6)])
def test_sparse_blocks_take_16_cycles_and_a_few(form, density, gap):
    noise = np.random.default_rng(4)
    blocks = [encode(block(noise, density), form) for _ in range(8)]
    out = decode_all(blocks, noise).cycles["o"]
    assert out[-1] - out[0] < 8 * (16 + gap)


def corrupt_blocks():
    """Yield (name, header, payload) of payloads that disagree with their headers."""
    noise = np.random.default_rng(8)
    header, payload = encode(block(noise, 0.5), Form.BITMAP)
    yield "a map bit lost", header, bytes([payload[0] & payload[0] - 1]) + payload[1:]
    yield "too few values counted", Header(0, header.mask, header.count - 1, header.form), payload
    yield "too many values counted", Header(0, header.mask, header.count + 1, header.form), payload
    yield "bitmap cut", header, payload[: len(payload) // 2]
    header, payload = encode(block(noise, 1.0), Form.DENSE)
    yield "dense cut", header, payload[:100]
    yield "dense too long", header, payload + bytes(40)
    values = np.zeros((16, 16), np.int8)
    values[[2, 2, 3, 5, 7, 7, 7, 7, 9, 9], [1, 5, 0, 15, 1, 2, 3, 4, 0, 1]] = 3
    header, payload = encode(values, Form.COORDINATE)
    yield "coordinate cut", header, payload[:8]
    for name, changes in {
        "entries repeated": {2: payload[0]},
        "entries exchanged": {0: payload[2], 2: payload[0]},
        "descent between loads": {16: payload[14]},
        "an absent position": {18: 0xFF},
        "no entry for a position": {4: 0x26},
    }.items():
        changed = bytearray(payload)
        for place, value in changes.items():
            changed[place] = value
        yield name, header, bytes(changed)


@pytest.mark.parametrize("parts", [1, 16])
@pytest.mark.parametrize("skip", [0, 1])
def test_a_payload_that_disagrees_strobes_and_passes(skip, parts):
    noise = np.random.default_rng(1)
    jobs, beats, names, good = [], [], [], []
    for name, header, payload in corrupt_blocks():
        good.append(encode(block(noise, 0.3)))
        names.append(name)
        jobs += [make_job(header, skip, 0), make_job(good[-1][0], 0, 1)]
        beats += beats_of(payload, skip, noise) + beats_of(good[-1][1], 0, noise)
    result = run(shared(Harness, parts), {"i_job": jobs, "i_payload": beats}, {"o": 16 * len(jobs)}, watchdog=50_000)
    assert len(result.cycles["i_payload"]) == len(beats)
    vectors = result.outputs["o"]
    for number, name in enumerate(names):
        assert vectors[32 * number + 15].error, name
        check([jobs[2 * number + 1]], [decode(*good[number])], vectors[32 * number + 16 :][:16])
