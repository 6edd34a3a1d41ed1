"""Where a number of drafted tokens begins or ceases to pay, measured and predicted."""

from collections.abc import Mapping, Sequence
from itertools import pairwise
from math import exp, inf, log
from typing import Any

import numpy as np

from rtnerf.base.errors import require
from specdec.evidence.series import Bound, Row, Series
from specdec.evidence.step_model import Measured

CHANGE = 0.02
"""From one measured gain to the next, below which its sign is chance."""

FARTHER = 8
"""Factor beyond the measured places up to which the model's crossing is looked for."""


def crossing(
    wanted: Mapping[str, Any], name: str, source: str, rows: Sequence[Measured], fitted: Mapping[str, float]
) -> Series:
    """Compare the gain of a number of drafted tokens over the batch or the context, and where it crosses 1.

    Parameters
    ----------
    wanted : mapping
        ``over``, batch or context; ``drafted``; ``within``, the factor allowed between the crossings.
    rows : sequence of Measured
        With that number drafted and with none, at the same places; of speedups only the first.
    fitted : mapping of str to float

    Raises
    ------
    InputError
        If ``wanted`` is not of this form, or there are not two places.
    """
    fits = isinstance(wanted, Mapping) and {*wanted} == {"over", "drafted", "within"}
    fits = fits and wanted["over"] in ("batch", "context") and type(wanted["within"]) in (int, float)
    require(fits, f"crossing of {name}", 'such as {over = "batch", drafted = 3, within = 2.0}', str(wanted)[:60])
    over, drafted = wanted["over"], wanted["drafted"]
    at = {getattr(row.conditions, over): row for row in rows if row.conditions.drafted == drafted}
    plain = {getattr(row.conditions, over): row for row in rows if row.conditions.drafted == 0}
    gains = all(row.conditions.quantity == "speedup" for row in rows)
    places = sorted(at.keys() if gains else at.keys() & plain.keys())
    rule = f"over two places with {drafted} drafted, and with 0 unless it is a speedup"
    require(len(places) > 1 and places[0] > 0, f"crossing of {name}", rule, places[:4])

    def modelled(place: float) -> float:
        ratio = at[places[0]].conditions.at(over, place).predict(fitted)
        return ratio if gains else ratio / plain[places[0]].conditions.at(over, place).predict(fitted)

    measured = [at[place].value / (1 if gains else plain[place].value) for place in places]
    model = [modelled(place) for place in places]
    found = [Row(f"gain at {over} {place}", measured[index], model[index]) for index, place in enumerate(places)]
    dense = np.unique(np.geomspace(max(places[0] / FARTHER, 1), places[-1] * FARTHER, 200).round()).tolist()
    published, predicted = _where_one(places, measured), _where_one(dense, [modelled(place) for place in dense])
    found.append(Row(f"{over} at which it crosses 1", published, predicted))
    changes = zip(pairwise(measured), pairwise(model), strict=True)
    wrong = any((a > b) != (c > d) and abs(a / b - 1) > CHANGE for (a, b), (c, d) in changes)
    apart = inf if wrong or published is None or predicted is None else exp(abs(log(predicted / published)))
    bound = Bound("factor between the crossings, if no change has the wrong sign", apart, wanted["within"])
    return Series(f"{name}: where it pays", source, "as above", found, bound)


def _where_one(places: Sequence[float], ratios: Sequence[float]) -> float | None:
    """Return where ratios cross 1, between logarithms of places; beyond the last as the last two lead."""
    pairs = list(zip(places, ratios, strict=True))
    for (left, a), (right, b) in pairwise(pairs):
        if (a - 1) * (b - 1) <= 0 and a != b:
            return float(exp(log(left) + (1 - a) / (b - a) * log(right / left)))
    (left, a), (right, b) = pairs[-2:]
    distance = (1 - b) / (b - a) * log(right / left) if a != b else inf
    return float(exp(log(right) + distance)) if 0 <= distance < log(FARTHER) else None
