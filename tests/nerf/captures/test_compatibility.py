"""The tables of docs/compatibility.md hold: each rung is at least as near to the formulas as they say."""

from pathlib import Path

import pytest

from tests.nerf.captures import compatibility

DOCUMENT = Path(__file__).parents[3] / "docs" / "compatibility.md"


@pytest.fixture(scope="module")
def rows():
    return {
        "capture": (compatibility.measured(), compatibility.refusals()),
        "checkpoint": (compatibility.measured_checkpoints(), compatibility.refused_checkpoints()),
    }


@pytest.mark.parametrize("of", ["capture", "checkpoint"])
def test_the_document_says_what_is_measured(rows, of):
    made = compatibility.table(of, *rows[of]).splitlines()
    told = DOCUMENT.read_text(encoding="utf-8").splitlines()
    start = told.index(made[0])
    for line, said in zip(made, told[start : start + len(made)], strict=True):
        cells, stated = ([cell.strip() for cell in text.split("|")] for text in (line, said))
        for now, then in zip(cells, stated, strict=True):
            if now.endswith(" dB"):
                assert abs(int(now.removesuffix(" dB")) - int(then.removesuffix(" dB"))) <= 2, line
            else:
                assert now == then


@pytest.mark.parametrize(("rung", "least"), [("L0", 90), ("L1", 60), ("L2", 50)])
def test_every_kind_is_near_to_the_formulas(rows, rung, least):
    for of, (measured, _) in rows.items():
        for name, row in measured.items():
            assert (rung != "L0" and of == "checkpoint" and isinstance(row[rung], str)) or row[rung] >= least, name
