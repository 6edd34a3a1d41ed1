"""The compact library: some 40 cells of ASAP7 as figures, so that synthesis needs no download.

``python -m rtnerf.physical.compact`` derives ``data/compact.lib`` from the ASAP7 Liberty files. Of each cell it keeps
area, leakage, the capacitance of the pins and, for each arc and edge, delay and transition as a function that is linear
in the input's transition and in the load: a table of two by two, fitted over the transitions and loads that occur.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np

from rtnerf.base.files import write_bytes
from rtnerf.physical.cells import FALL, RISE, Arc, Cell, Library, Pin, Table
from rtnerf.physical.liberty import written
from rtnerf.physical.libraries import COMPACT, load_technology

CELLS = (
    "INVx1", "INVx2", "INVx4", "BUFx2", "BUFx3", "BUFx4", "BUFx8", "BUFx12",
    "NAND2x1", "NAND3x1", "NOR2x1", "NOR2x2", "NOR3x1", "AND2x2", "AND3x1", "AND4x1", "AND5x1", "OR2x2", "OR3x1",
    "OR4x1", "OR5x1", "AO21x1", "OA21x2", "AO22x1", "OA22x2", "AOI21x1", "OAI21x1", "AOI22x1", "OAI22x1", "OA211x2",
    "AO211x2", "MAJx2", "XOR2x1", "XOR2x2", "XNOR2x1", "XNOR2x2", "DFFHQx4",
)  # fmt: skip

TRANSITIONS = 80.0
"""Up to here the fit looks, ps: few nets of our units are slower."""

LOADS = 0.25
"""Up to this share of the largest load of a table."""

NOTICE = """Figures derived from ASAP7 (7.5-track RVT, typical, 0.7 V, 25 C), a predictive kit: not of any foundry.
ASAP7 is Copyright 2020 Lawrence T. Clark, Vinay Vashishtha, or Arizona State University, BSD 3-Clause License.
Made by python -m rtnerf.physical.compact; what it errs by is in docs/silicon.md."""


def linear(table: Table) -> Table:
    """Return a table of two by two that comes closest, in relative error, to a larger one where cells are used."""
    rows, columns = table.rows[table.rows <= TRANSITIONS], table.columns
    if len(table.columns) > 2 and columns[-1] > TRANSITIONS / 2 and len(rows) < 2:
        return table
    columns = columns[columns <= max(LOADS * columns[-1], columns[min(2, len(columns) - 1)])]
    values = table.values[: len(rows), : len(columns)]
    row, column = np.meshgrid(rows, columns, indexing="ij")
    features = np.stack([np.ones_like(row), row, column, row * column], -1).reshape(-1, 4)
    weights = 1 / np.maximum(np.abs(values.ravel()), np.abs(values).max() / 20)
    fitted = np.linalg.lstsq(features * weights[:, None], values.ravel() * weights, rcond=None)[0]
    corners = np.array([[[1, s, c, s * c] for c in (columns[0], columns[-1])] for s in (rows[0], rows[-1])])
    return Table(rows[[0, -1]], columns[[0, -1]], corners @ fitted)


def _linear(table: Table | None) -> Table | None:
    return None if table is None else linear(table)


def _arc(arc: Arc) -> Arc:
    return arc._replace(
        delays=(_linear(arc.delays[RISE]), _linear(arc.delays[FALL])),
        transitions=(_linear(arc.transitions[RISE]), _linear(arc.transitions[FALL])),
    )


def _pin(pin: Pin) -> Pin:
    return replace(pin, arcs=tuple(_arc(arc) for arc in pin.arcs))


def _cells(library: Library) -> Iterator[Cell]:
    for name in CELLS:
        cell = library.cells[f"{name}_ASAP7_75t_R"]
        yield replace(cell, name=name, pins={pin.name: _pin(pin) for pin in cell.pins.values()})


def compact(library: Library) -> Library:
    """Return the compact library of ASAP7."""
    return Library("compact", {cell.name: cell for cell in _cells(library)})


if __name__ == "__main__":
    write_bytes(COMPACT, written(compact(load_technology(["asap7"]).library), NOTICE).encode())
