"""Faults of every kind are made, and each bad end is noticed. The campaign: ``python -m tests.cosim.faults``."""

from collections import Counter
from dataclasses import replace

import numpy as np
import pytest

from cosim import cxxrtl, toolchain
from cosim.cxxrtl import HarnessRun
from cosim.simulation import SimulationError
from nerf.contract.registers import STATUS_CODE_SHIFT, ErrorCode
from nerf.contract.scene_image import Scene
from nerf.golden.frame import decode_scene, render_frame
from rtnerf.base.errors import InputError
from tests.cosim import faults
from tests.cosim.faults import Fault


@pytest.fixture(scope="module")
def campaign():
    return faults.Campaign()


def test_faults_of_every_kind_are_made_and_damage_what_they_say(campaign):
    made = list(campaign.faults(140, seed=3))
    assert set(Counter(fault.kind for fault in made).values()) == {10}
    assert {f"flips in {section}" for section in campaign.sections} < {fault.kind for fault in made}
    for fault in made:
        if fault.kind.startswith("flips"):
            first, end = campaign.sections[fault.kind.removeprefix("flips in ")]
            changed = np.flatnonzero(
                np.frombuffer(fault.image, np.uint8) != np.frombuffer(campaign.scene.data, np.uint8)
            )
            assert 1 <= len(changed) <= 2
            assert first <= changed[0] <= changed[-1] < end
    assert [fault.image for fault in campaign.faults(140, seed=3)] == [fault.image for fault in made]


@pytest.fixture
def ends_with(campaign, monkeypatch):
    """The outcome of a fault after which the hardware leaves a status code, pixels, or other bytes in memory."""

    def outcome(fault, code=ErrorCode.NONE, pixels=campaign.right, place=None, raises=None):
        def run(library, sidecar, memory, view, regions, **settings):
            if raises is not None:
                raise SimulationError(raises)
            memory[regions.frame_base :][: regions.frame_bytes] = np.ascontiguousarray(pixels).view(np.uint8).ravel()
            if place is not None:
                memory[place] ^= 1
            return HarnessRun({"status": 2 | code << STATUS_CODE_SHIFT}, [], 1000)

        monkeypatch.setattr(faults.cxxrtl, "run", run)
        monkeypatch.setattr(faults.Campaign, "rtl", (None, {}))
        return campaign.outcome(fault)

    return outcome


def test_bad_ends_are_told_from_good_ones(campaign, ends_with):
    whole, wrong = Fault("slow memory", set()), campaign.right ^ 1
    assert ends_with(whole) == faults.RIGHT
    assert ends_with(whole, pixels=wrong) == faults.WRONG
    assert ends_with(whole, place=5) == faults.ASTRAY
    assert ends_with(whole, place=campaign.regions.frame_base - 1) == faults.ASTRAY
    assert ends_with(whole, raises="rtnerf: no interrupt in 9 cycles") == faults.HANG
    assert ends_with(whole, raises=f"rtnerf: cycle 9: {cxxrtl.FAULTS[4]}") == faults.ASTRAY
    failing = Fault("read error", {ErrorCode.BUS})
    assert ends_with(failing, code=ErrorCode.BUS) == "error BUS"
    assert ends_with(failing, code=ErrorCode.ROW) == faults.MISTAKEN
    assert ends_with(whole, code=ErrorCode.BUS) == faults.MISTAKEN


def golden_of(campaign, data):
    """Return the pixels of a damaged image, whose checksums are not looked at."""
    scene = object.__new__(Scene)
    object.__setattr__(scene, "data", bytes(data))
    return render_frame(decode_scene(scene, faults.CONFIG), campaign.view).pixels


def test_a_damaged_payload_may_give_the_golden_picture_of_the_damage_and_no_other(campaign, ends_with):
    first, end = campaign.sections["payload"]
    for place in range(first, end, 97):
        damaged = bytearray(campaign.scene.data)
        damaged[place] ^= 64
        try:
            pixels = golden_of(campaign, damaged)
        except InputError:
            continue
        if not np.array_equal(pixels, campaign.right):
            break
    fault = Fault("flips in payload", set(), bytes(damaged))
    assert ends_with(fault, pixels=pixels) == faults.DAMAGED
    assert ends_with(fault, pixels=campaign.right ^ 1) == faults.WRONG
    assert ends_with(replace(fault, kind="flips in rows"), pixels=pixels) == faults.WRONG


@pytest.mark.full
@pytest.mark.simulator
@pytest.mark.skipif(toolchain.find_compiler() is None, reason="the C++ compiler is not installed")
def test_no_fault_of_a_sample_has_a_bad_end(campaign):
    table = faults.run(campaign, 28, seed=2)
    assert sum(sum(row.values()) for row in table.values()) == 28
    assert not sum(row[outcome] for row in table.values() for outcome in faults.BAD)
