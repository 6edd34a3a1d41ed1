"""The tables of docs/compatibility.md hold: each rung is at least as near to the formulas as they say."""

from pathlib import Path

import pytest

from tests.nerf.captures import compatibility

DOCUMENT = Path(__file__).parents[3] / "docs" / "compatibility.md"


@pytest.fixture(scope="module")
def rows():
    return compatibility.measured()


def test_the_document_says_what_is_measured(rows):
    made = compatibility.table(rows, compatibility.refusals()).splitlines()
    told = DOCUMENT.read_text(encoding="utf-8").splitlines()
    start = told.index(made[0])
    for line, said in zip(made, told[start : start + len(made)], strict=True):
        cells, stated = ([cell.strip() for cell in text.split("|")] for text in (line, said))
        if line.endswith(" dB |"):
            assert cells[1] == stated[1]
            for now, then in zip(cells[2:5], stated[2:5], strict=True):
                assert abs(int(now.removesuffix(" dB")) - int(then.removesuffix(" dB"))) <= 2, line
        else:
            assert cells == stated


@pytest.mark.parametrize(("rung", "least"), [("L0", 90), ("L1", 60), ("L2", 50)])
def test_every_kind_is_near_to_the_formulas(rows, rung, least):
    for name, row in rows.items():
        assert row[rung] >= least, name
