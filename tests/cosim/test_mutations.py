"""Mutants of every block: that there is one, and that some are noticed. All: ``python -m tests.cosim.mutations``."""

import pytest
from amaranth.hdl import Const, Fragment

from cosim.unit import STALLS, run
from rtl.parts.queue import Queue
from sim.wiring import BLOCKS
from tests.cosim import mutations
from tests.cosim.late import UNTIMED, Late, LateAccelerator


def test_every_block_of_the_rtl_has_a_late_output():
    top = LateAccelerator(mutations.CONFIG)
    ((blocks, *_),) = Fragment.get(top, None).subfragments
    assert [name for _, name, _ in blocks.subfragments] == top.blocks.names
    late = {output.partition(".")[0] for output in top.blocks.late}
    assert late | set(UNTIMED) == set(top.blocks.names)
    assert not late & set(UNTIMED)
    assert {"controller.load", "read_master.axi.ar", "tree_server.client_2.response"} < set(top.blocks.late)
    assert len(top.blocks.late) < 1 << len(top.strap)


@pytest.mark.parametrize("stalls", STALLS)
def test_a_late_stream_is_one_cycle_late_and_whole(stalls):
    def transfers(late):
        component = Late(Queue(8, 4), {"o": Const(late)})
        result = run(component, {"i": range(100)}, {"o": 100}, stalls=stalls, seed=1)
        assert result.outputs["o"] == list(range(100))
        return result.cycles["o"]

    on_time, late = transfers(0), transfers(1)
    assert on_time == run(Queue(8, 4), {"i": range(100)}, {"o": 100}, stalls=stalls, seed=1).cycles["o"]
    assert late[0] == on_time[0] + 1 or stalls[1] < 1
    assert all(one <= other for one, other in zip(on_time, late, strict=True))
    assert late != on_time


def test_every_block_of_the_simulator_has_an_edit(tmp_path):
    assert set(BLOCKS.names) <= {*mutations.SIMULATOR, *mutations.MODELLED}
    stepping = {path.stem for path in (mutations.ROOT / "sim").glob("**/*.py") if "\ndef step(" in path.read_text()}
    assert stepping <= {*(file for file, _ in mutations.SIMULATOR.values()), *mutations.MODELLED}
    for name, (file, edits) in mutations.SIMULATOR.items():
        compile(mutations.plant(tmp_path / name, file, edits).read_text(), name, "exec")


def test_an_edit_must_fit(tmp_path):
    with pytest.raises(ValueError, match=r"^memory\.py must have 'no such text' once, not 0 times$"):
        mutations.plant(tmp_path, "memory", {"no such text": ""})


@pytest.mark.full
def test_an_edit_of_the_simulator_is_noticed():
    result = mutations.simulator_mutant("compositor", mutations.simulated_trace())
    assert result.mismatches > 0
    assert result.first.startswith("visible ")
