import pytest

from rtnerf.physical.memories import IHP, MACROS, QUANTITIES, fit, ports
from rtnerf.physical.netlist import Memory

PLAIN = Memory("m", 1024, 64, 1, 1, synchronous=True, forwards=False, initialised=False)


def memory(**changes):
    return Memory(**{**PLAIN.__dict__, **changes})


@pytest.mark.parametrize(
    ("quantity", "bound"), [("area", 0.015), ("access", 0.08), ("read", 0.11), ("write", 0.06), ("leakage", 1e-4)]
)
def test_fit_comes_close_to_the_published_macros(quantity, bound):
    errors = fit(quantity)[1]
    assert len(errors) == len(MACROS) == 10
    assert abs(errors).max() < bound


def test_a_published_macro_costs_what_is_published():
    price = IHP.price(PLAIN)
    assert price["macros"] == 1
    assert price["area_um2"] == pytest.approx(263946, rel=0.02)
    assert price["access_ps"] == pytest.approx(4344, rel=0.08)


def test_large_memories_are_several_macros():
    deep, wide = IHP.price(memory(words=8192)), IHP.price(memory(bits=128))
    assert deep["macros"] == 2
    assert wide["macros"] == 2
    assert wide["area_um2"] == pytest.approx(2 * IHP.price(PLAIN)["area_um2"])
    assert wide["read_pj"] == pytest.approx(2 * IHP.price(PLAIN)["read_pj"])
    # Only one of the banks is read at a time.
    assert deep["read_pj"] == pytest.approx(IHP.price(memory(words=4096))["read_pj"])


def test_every_further_read_is_a_copy_and_is_named():
    several = memory(reads=3)
    assert IHP.price(several)["area_um2"] == pytest.approx(3 * IHP.price(PLAIN)["area_um2"])
    assert IHP.price(several)["write_pj"] == pytest.approx(3 * IHP.price(PLAIN)["write_pj"])
    assert ports(several).missing == ("3 reads: 3 copies",)
    assert ports(PLAIN).missing == ()


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"writes": 2}, "2 writes: banks"),
        ({"forwards": True}, "a read of what is being written: forwarding"),
        ({"synchronous": False}, "a read without a clock: flip-flops"),
        ({"initialised": True}, "an initial content: written after reset"),
    ],
)
def test_what_no_compiler_offers_is_named(changes, named):
    assert ports(memory(**changes)).missing == (named,)


def test_a_table_may_have_an_initial_content():
    assert ports(memory(writes=0, initialised=True)).missing == ()


def test_a_memory_s_cell_has_its_area_and_times():
    cell = IHP.cell(PLAIN, {"RD_CLK": 1, "RD_ADDR": 10, "RD_DATA": 64, "WR_DATA": 64})
    assert cell.area == pytest.approx(IHP.price(PLAIN)["area_um2"])
    assert len(cell.pins) == 139
    (access,) = cell.pins["RD_DATA_5"].arcs
    (setup,) = cell.pins["RD_ADDR_9"].arcs
    assert access.delays[0].values.item() == IHP.price(PLAIN)["access_ps"]
    assert setup.delays[1].values.item() == 300
    assert set(QUANTITIES) == {"area", "access", "read", "write", "leakage"}
