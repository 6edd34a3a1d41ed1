import pytest

from rtnerf.physical.words import KINDS, Word, area_by_kind, gates_by_kind, operations, words_of


def cell(kind, **parameters):
    return {"type": kind, "parameters": {name: f"{value:b}" for name, value in parameters.items()}}


WORDS = [
    Word("$mul", 8, 4, 0, 12, 2),  # 2 products: 2 * 32 * 6 gates.
    Word("$add", 8, 8, 0, 9, 1),  # 45.
    Word("$lt", 8, 5, 0, 1, 1),  # 40.
    Word("$mux", 0, 0, 0, 7, 1),  # 21.
    Word("$pmux", 0, 0, 3, 7, 1),  # 42.
    Word("$shr", 16, 4, 0, 16, 1),  # 192.
    Word("$sdffe", 0, 0, 0, 10, 1),  # An enable and a reset: 40.
    Word("$dff", 0, 0, 0, 10, 1),  # None.
    Word("$mem_v2", 4, 8, 1, 1, 1),  # Two multiplexers a bit: 192.
    Word("$eq", 6, 6, 0, 1, 1),  # 12.
    Word("$and", 5, 5, 0, 5, 1),  # 5.
]


def test_gates_of_words_by_hand():
    assert gates_by_kind(WORDS) == {"multipliers": 384, "adders": 85, "selection": 487, "control": 17}


def test_area_is_shared_out_and_adds_up():
    area = area_by_kind(WORDS, 97.3, 20.0, 5.0)
    assert tuple(area) == KINDS
    assert area["multipliers"] == pytest.approx(38.4)
    assert (area["registers"], area["memories"]) == (20, 5)
    assert sum(area.values()) == pytest.approx(97.3 + 25)
    # Gates that no word accounts for, such as buffers of a unit of wires.
    assert area_by_kind([], 2.0, 0.0, 0.0)["control"] == 2


def test_operations_are_named_by_their_widths():
    assert operations([*WORDS, Word("$sub", 3, 3, 0, 9, 2)]) == {"add 9": 3, "mul 8x4": 2}


def test_words_of_a_module():
    memory = {"WIDTH": 8, "RD_PORTS": 1, "WR_PORTS": 1, "RD_CLK_ENABLE": 1}
    cells = [
        cell("$add", A_WIDTH=4, B_WIDTH=3, Y_WIDTH=5),
        cell("$add", A_WIDTH=4, B_WIDTH=3, Y_WIDTH=5),
        cell("$dff", WIDTH=6),
        cell("$mem_v2", SIZE=256, **memory),
        cell("$mem_v2", SIZE=4, **memory),
        cell("$mem_v2", SIZE=256, **{**memory, "RD_CLK_ENABLE": 0}),
        cell("$scopeinfo"),
        {"type": "child_1", "parameters": {}},
    ]
    # The first memory is a macro.
    assert words_of(cells, 1000) == [
        Word("$add", 4, 3, 0, 5, 2),
        Word("$dff", 0, 0, 0, 6, 1),
        Word("$mem_v2", 4, 8, 1, 1, 1),
        Word("$mem_v2", 256, 8, 1, 1, 1),
    ]
