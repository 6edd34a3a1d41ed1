"""Block fetch against the scene image's own reader: jobs, payloads, header checks, and the payload queue's limit."""

import random
from dataclasses import replace

import numpy as np
import pytest
from amaranth.hdl import Module
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from cosim.unit import STALLS, run, shared
from nerf.contract.blocks import COORDINATE_LIMIT, POINTER_UNIT, Form, Header, crc8, encode, pack_header
from nerf.contract.scene_image import PAGE
from rtl.factors.block_fetch import BlockFetch
from rtl.parts.queue import Queue
from rtl.payloads import BlockLayouts, ReadBeat, SceneRegisters
from tests.rtl.factors.helpers_blocks import BASE, CONFIG, BurstMemory, image_words

PAYLOAD_OFFSET = 2 * PAGE
WORDS = 2048
"""Of the largest image."""
TABLES = {"density": [256 + 512 * n for n in range(6)], "appearance": [4096 + 512 * n for n in range(6)]}
"""Where the bench puts the headers of planes 0 to 2 and lines 0 to 2."""


class Harness(wiring.Component):
    """Block fetch with memories; a strobe of an error becomes a payload of ``error``."""

    def __init__(self, cfg):
        self._cfg = cfg
        self.headers, self.payload = (BurstMemory(cfg, [0] * WORDS) for _ in range(2))
        layouts = BlockLayouts(cfg)
        super().__init__(
            {
                "i_density": In(stream.Signature(layouts.BlockRequest)),
                "i_appearance": In(stream.Signature(layouts.BlockRequest)),
                "scene": In(SceneRegisters),
                "scene_base": In(cfg.address_width),
                "pauses": In(1),
                "o_job": Out(stream.Signature(layouts.DecodeJob)),
                "o_payload": Out(stream.Signature(ReadBeat)),
                "error": Out(stream.Signature(1)),
            }
        )

    def elaborate(self, platform):
        m = Module()
        m.submodules.fetch = fetch = BlockFetch(self._cfg)
        m.submodules.errors = errors = Queue(1, 128)
        for name in ("headers", "payload"):
            m.submodules[name] = memory = getattr(self, name)
            m.d.comb += memory.pauses.eq(self.pauses)
            wiring.connect(m, getattr(fetch, name), memory.port)
        for name in ("i_density", "i_appearance", "o_job", "o_payload"):
            wiring.connect(m, wiring.flipped(getattr(self, name)), getattr(fetch, name))
        wiring.connect(m, errors.o, wiring.flipped(self.error))
        m.d.comb += [
            fetch.scene.eq(self.scene),
            fetch.scene_base.eq(self.scene_base),
            errors.i.valid.eq(fetch.error_header),
        ]
        return m


def request(number, kind):
    to = {"line": number & 1, "pair": number % 3, "group": (number // 3) % (3 if kind else 1), "slot": number % 16}
    return {"to": to, "index": number // 6 + 1}


def header_place(number, kind):
    to = request(number, kind)["to"]
    table = TABLES["appearance" if kind else "density"]
    return table[to["pair"] + 3 * to["line"]] + 8 * request(number, kind)["index"]


def build(blocks, noise):
    """Return (image, payload bytes) of blocks by (kind, number): (header word or Header, payload)."""
    image, payload = bytearray(PAYLOAD_OFFSET), bytearray()
    for (kind, number), (header, content) in blocks.items():
        payload += bytes(-len(payload) % POINTER_UNIT)
        if noise.random() < 0.3:
            payload += noise.bytes(POINTER_UNIT)
        if len(payload) % PAGE + len(content) > PAGE:
            payload += bytes(-len(payload) % PAGE)
        if isinstance(header, Header):
            header = pack_header(replace(header, pointer=len(payload) // POINTER_UNIT))
        place = header_place(number, kind)
        image[place : place + 8] = header.to_bytes(8, "little")
        payload += content
    return bytes(image + payload), len(payload)


def memories(image):
    """Return the contents of both memories of a `Harness`."""
    return {f"{name}.words": image_words(image) for name in ("headers", "payload")}


def constants(payload_bytes):
    scene = {"payload_offset": PAYLOAD_OFFSET, "payload_bytes": payload_bytes}
    scene |= {f"{kind}_headers": offsets for kind, offsets in TABLES.items()}
    return {"scene": scene, "scene_base": BASE}


def random_block(noise):
    values = noise.integers(-128, 128, (16, 16)) * (noise.random((16, 16)) < noise.choice([0, 0.05, 0.5, 1]))
    return encode(values.astype(np.int8))


def fetch(blocks, wrong=(), stalls=(1.0, 1.0), pauses=False, cfg=CONFIG):
    """Fetch all blocks, and compare jobs and payloads; ``wrong``: keys of those whose header must be refused."""
    noise = np.random.default_rng(3)
    image, payload_bytes = build(blocks, noise)
    good = {key: block for key, block in blocks.items() if key not in wrong and block[1]}
    beats = {}
    for (kind, number), (_, content) in good.items():
        place = header_place(number, kind)
        pointer = int.from_bytes(image[place : place + 4], "little") & (1 << 28) - 1
        start = PAYLOAD_OFFSET + POINTER_UNIT * pointer
        beats[kind, number] = range(start & -16, start + len(content), 16)
    inputs = {"i_density": [], "i_appearance": []}
    keys = ([], [])
    for kind, number in blocks:
        inputs["i_appearance" if kind else "i_density"].append(request(number, kind))
        keys[kind].append(number)
    total = sum(len(places) for places in beats.values())
    result = run(
        shared(Harness, cfg),
        inputs,
        {"o_job": len(blocks), "o_payload": total, "error": len(wrong)},
        constants(payload_bytes) | {"pauses": pauses},
        stalls,
        memories=memories(image),
    )
    payload = iter(result.outputs["o_payload"])
    for job in result.outputs["o_job"]:
        kind = job.appearance
        number = keys[kind].pop(0)
        to = request(number, kind)["to"]
        assert {name: job.to[name] for name in to} == to
        header, content = blocks[kind, number]
        if (kind, number) in wrong or not content:
            assert job.mask == 0
            continue
        places = beats[kind, number]
        assert (job.form, job.mask, job.count) == (header.form, header.mask, header.count)
        read = [next(payload) for _ in places]
        assert [beat.last for beat in read] == [0] * (len(places) - 1) + [1]
        assert [beat.data for beat in read] == [
            int.from_bytes(image[place : place + 16].ljust(16, b"\0"), "little") for place in places
        ]
        data = b"".join(int(beat.data).to_bytes(16, "little") for beat in read)
        assert data[8 * job.skip :][: len(content)] == content
    return result


@pytest.mark.parametrize(("stalls", "pauses"), [(stalls, index % 2 == 1) for index, stalls in enumerate(STALLS)])
def test_jobs_and_payloads_of_both_requesters(stalls, pauses):
    noise = np.random.default_rng(random.Random(f"{stalls}").getrandbits(32))
    blocks = {(kind, number): random_block(noise) for number in range(30) for kind in range(2)}
    fetch(blocks, stalls=stalls, pauses=pauses)


def test_the_payload_queue_never_overflows():
    noise = np.random.default_rng(4)
    full = noise.integers(1, 128, (16, 16)).astype(np.int8)
    blocks = {(0, number): encode(full, Form.BITMAP) for number in range(20)}
    fetch(blocks, stalls=(1.0, 0.05), cfg=replace(CONFIG, payload_queue=32))


def test_both_requesters_get_their_turn():
    noise = np.random.default_rng(4)
    blocks = {(kind, number): random_block(noise) for number in range(20) for kind in range(2)}
    jobs = fetch(blocks).outputs["o_job"]
    assert [job.appearance for job in jobs[2:]] == [index % 2 for index in range(38)]


def with_checksum(word):
    return word | crc8(word, 56) << 56


def wrong_headers():
    """Return headers that are to be refused, by name, each as a 64-bit word."""
    header, _ = encode(np.ones((16, 16), np.int8), Form.BITMAP)
    good = pack_header(replace(header, pointer=1))
    body = good & (1 << 56) - 1
    words = {f"bit {bit} turned": good ^ 1 << bit for bit in (0, 27, 28, 43, 44, 52, 53, 54, 55, 56, 63)}
    words["form 3"] = with_checksum(body | 3 << 53)
    words["bit 55 set"] = with_checksum(body | 1 << 55)

    def word(**changes):
        return pack_header(replace(header, **{"pointer": 1, **changes}))

    words["fewer values than positions"] = word(count=15)
    words["more values than components"] = word(count=257)
    words["values of no position"] = word(mask=0, count=1)
    words["dense, not full"] = word(form=Form.DENSE, count=255)
    words["too many coordinates"] = word(form=Form.COORDINATE, count=COORDINATE_LIMIT + 1)
    words["beyond the section"] = word(pointer=(1 << 28) - 1)
    words["across a page"] = word(pointer=(PAGE - 280) // POINTER_UNIT)
    return words


def test_wrong_headers_are_refused_and_nothing_else():
    noise = np.random.default_rng(5)
    blocks, wrong = {}, set()
    for number, word in enumerate(wrong_headers().values()):
        wrong.add((0, number))
        blocks[0, number] = (word, b"")
        blocks[1, number] = random_block(noise)
    # Something after it, so that only the page is crossed and not the end of the section.
    blocks[1, 40] = (encode(np.ones((16, 16), np.int8))[0], bytes([1] * 256))
    for extra in range(41, 60):
        blocks[1, extra] = encode(noise.integers(1, 100, (16, 16)).astype(np.int8))
    fetch(blocks, wrong)


@pytest.mark.parametrize(("name", "word"), [*wrong_headers().items()][::6])
def test_a_wrong_header_alone_is_refused(name, word):
    noise = np.random.default_rng(5)
    blocks = {(1, extra): encode(noise.integers(1, 100, (16, 16)).astype(np.int8)) for extra in range(20)}
    fetch({(0, 0): (word, b"")} | blocks, {(0, 0)})


def test_a_payload_may_end_with_its_section_and_its_page():
    full = np.ones((16, 16), np.int8)
    dense, content = encode(full, Form.DENSE)
    place = header_place(0, 0)
    for size, refused in ((256, 0), (255, 1)):
        image = bytearray(PAYLOAD_OFFSET) + content
        place = header_place(0, 0)
        image[place : place + 8] = pack_header(dense).to_bytes(8, "little")
        run(
            shared(Harness, CONFIG),
            {"i_density": [request(0, 0)]},
            {"o_job": 1, "o_payload": 0 if refused else 16, "error": refused},
            constants(size),
            memories=memories(bytes(image)),
        )
    for pointer, refused in ((PAGE - 256, 0), (PAGE - 248, 1)):
        image = bytearray(PAYLOAD_OFFSET + 2 * PAGE)
        image[place : place + 8] = pack_header(replace(dense, pointer=pointer // POINTER_UNIT)).to_bytes(8, "little")
        run(
            shared(Harness, CONFIG),
            {"i_density": [request(0, 0)]},
            {"o_job": 1, "o_payload": 0 if refused else 16, "error": refused},
            constants(2 * PAGE),
            memories=memories(bytes(image)),
        )


def test_latencies():
    header, content = encode(np.ones((16, 16), np.int8), Form.DENSE)
    word = pack_header(header)
    beat = {"data": word | word << 64, "last": 1}
    result = run(
        shared(BlockFetch, CONFIG),
        {"i_density": [request(0, 0)], "headers.beats": [beat]},
        {"headers.request": 1, "payload.request": 1, "o_job": 1},
        constants(len(content)),
    )
    cycles = {name: cycle for name, (cycle,) in result.cycles.items()}
    assert cycles["headers.request"] - cycles["i_density"] == BlockFetch.LATENCY_HEADER
    assert cycles["payload.request"] - cycles["headers.beats"] == BlockFetch.LATENCY_PAYLOAD
    assert cycles["o_job"] - cycles["headers.beats"] == BlockFetch.LATENCY_JOB
    result = run(shared(BlockFetch, CONFIG), {"payload.beats": [beat]}, {"o_payload": 1})
    assert result.cycles["o_payload"][0] - result.cycles["payload.beats"][0] == BlockFetch.LATENCY_BEAT
