"""Numbers of README and docs that no test fills in from a result file, with where they come from: `LEDGER`.

The ledger has the numbers of each section in order, each with the word behind it. `found` says where in a result file,
below the places in `results`, the value of some stands; all others come from what `by` says: a command, a source, or
the code that defines them.

``python -m tests.stated`` writes the ledger anew from the documents. It keeps `by` and `results`, looks for numbers in
the latter, and prints the sections that have no `by` yet.
"""

import json
import re
import sys
from collections.abc import Iterator, Sequence
from decimal import Decimal, InvalidOperation
from functools import cache
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
RESULTS = ROOT / "reports" / "results"
LEDGER = RESULTS / "stated.json"
DIGITS = r"\d+(?:[.,]\d+)*(?:e-?\d+)?"
NUMBER = re.compile(rf"(?<![A-Za-z_\d.]){DIGITS}(?: (?:%|[A-Za-z]+))?|(?<=\dx){DIGITS}")
"""A number, but for those in names, and the word behind it."""
SCALES = (1, 100, 1e-3, 1e-6, 1e-9, 1e3)
"""Of a number in a document over that in a result: percent, thousands and so on."""
LEAST_DIGITS = 3
"""Of a number that is looked for: shorter ones stand everywhere."""
ELSEWHERE = {"docs/registers.md"}
"""Documents that a test compares whole with what the code prints."""


def documents() -> list[str]:
    """The documents with numbers, by their path in the repository."""
    paths = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
    return [name for path in paths if (name := path.relative_to(ROOT).as_posix()) not in ELSEWHERE]


def sections(name: str, bound: Sequence[str], tables: Sequence[str]) -> Iterator[tuple[str, str]]:
    """Yield the headings of a document and the numbers below each, as the ledger has them.

    Left out are examples of code, targets of links, and what other tests hold: the texts ``bound``, and ``tables`` by
    their first lines.
    """
    text = re.sub(r"```.*?```|(?<=\])\([^)]*\)", "", (ROOT / name).read_text(), flags=re.DOTALL)
    for table in tables:
        text = re.sub(rf"^{re.escape(table)}\n(?:\|.*\n)*", "", text, flags=re.MULTILINE)
    parts = re.split(r"^#+ (.*)$", text, flags=re.MULTILINE)
    for heading, body in zip(parts[1::2], parts[2::2], strict=True):
        line = " ".join(f"{heading} | {body}".split())
        for part in bound:
            line = line.replace(re.sub(r"(?<=\])\([^)]*\)?", "", part), "|")
        if found := [match[0] for match in NUMBER.finditer(line)]:
            yield heading, "; ".join(found)


@cache
def _result(name: str) -> Any:
    return json.loads((RESULTS / f"{name}.json").read_text())


def at(path: str) -> float:
    """Return the number at ``FILE:KEY/KEY`` of the result files; the key in a list is an index."""
    name, _, keys = path.partition(":")
    value = _result(name)
    for key in keys.split("/"):
        value = value[int(key) if isinstance(value, list) else key]
    return value


def says(text: str, value: float) -> bool:
    """Whether a number of a document is a value, rounded to as many places, in one of `SCALES`."""
    try:
        number = Decimal(re.match(DIGITS, text)[0].replace(",", ""))
    except InvalidOperation:  # A version.
        return False
    half = 0.5 * 10.0 ** number.as_tuple().exponent
    return any(abs(value * scale - float(number)) <= half * (1 + 1e-6) for scale in SCALES)


def _leaves(value: Any, path: str) -> Iterator[tuple[str, float]]:
    if isinstance(value, dict | list):
        for key, inner in value.items() if isinstance(value, dict) else enumerate(value):
            if "/" not in str(key):
                yield from _leaves(inner, f"{path}/{key}" if path[-1] != ":" else f"{path}{key}")
    elif isinstance(value, int | float) and not isinstance(value, bool):
        yield path, value


def _place_of(text: str, places: Sequence[str]) -> str | None:
    """Where the first value below some places of result files stands that a number says."""
    if len(re.sub(r"\D", "", re.match(DIGITS, text)[0]).strip("0")) < LEAST_DIGITS:
        return None
    names = dict.fromkeys(place.partition(":")[0] for place in places)
    leaves = (leaf for name in names for leaf in _leaves(_result(name), f"{name}:"))
    return next((place for place, value in leaves if place.startswith(tuple(places)) and says(text, value)), None)


def ledger() -> dict[str, dict[str, dict[str, Any]]]:
    """The entries of the ledger by document and heading."""
    return json.loads(LEDGER.read_text())["documents"]


def main() -> int:
    """Write the ledger; return 1 while a section has no `by`."""
    from tests.test_numbers import TABLES, bound

    before, documented, missing = ledger(), {}, []
    for name in documents():
        documented[name] = {}
        for heading, numbers in sections(name, bound(name), TABLES):
            known = before.get(name, {}).get(heading, {})
            places = {text: _place_of(text, known.get("results", [])) for text in numbers.split("; ")}
            entry = {"by": known.get("by", ""), "numbers": numbers}
            if "results" in known:
                found = {text: place for text, place in places.items() if place}
                entry |= {"results": known["results"], "found": found}
            documented[name][heading] = entry
            missing += [] if entry["by"] else [f"{name}: {heading}"]
    whole = {"what": __doc__.partition("\n")[0], "command": "python -m tests.stated", "documents": documented}
    LEDGER.write_text(json.dumps(whole, indent=1) + "\n")
    print("\n".join(missing))
    return int(bool(missing))


if __name__ == "__main__":
    sys.exit(main())
