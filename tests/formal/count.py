"""Prove everything and print what was proved: ``python -m tests.formal.count``, or ``make formal``.

A property is a claim about a unit. Claims that differ in a number only (a bit, a row, a node) are one property, and so
is a claim that is proved of several sizes of a unit. The exit status is that of pytest.
"""

import re
import sys
from collections import Counter
from pathlib import Path

import pytest

PROVED = "proved"
"""Name under which a test's report has what it proved."""


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item):
    """Note the claims of the benches that a test proves."""
    from tests.formal.prove import Bench

    prove, properties = Bench.prove, []

    def noted(bench, **options):
        fault = prove(bench, **options)
        if fault is None:
            method = "induction" if options.get("induction") else "invariants (PDR)"
            unit = (
                f"{item.path.stem.removeprefix('test_')}: {item.originalname.removeprefix('test_').replace('_', ' ')}"
            )
            properties.extend((unit, claim, method) for claim in bench.claims)
        else:
            properties.append(("", "", ""))
        return fault

    Bench.prove = noted
    try:
        result = yield
    finally:
        Bench.prove = prove
    item.user_properties.append((PROVED, properties))
    return result


class Count:
    """Collects the reports of a run, also those of its workers."""

    def __init__(self) -> None:
        self.claims: Counter[tuple[str, str, str]] = Counter()
        self.faults = 0

    def pytest_runtest_logreport(self, report) -> None:
        """Add what a test that passed has proved."""
        if report.when != "call" or not report.passed:
            return
        for unit, claim, method in dict(report.user_properties).get(PROVED, ()):
            if unit:
                self.claims[unit, re.sub(r"\d+", "#", claim), method] += 1
            else:
                self.faults += 1

    def table(self) -> str:
        """Return a line for each property, then their number."""
        lines = [f"{unit} | {claim} | {method}, unbounded" for unit, claim, method in sorted(self.claims)]
        total = f"{len(self.claims)} properties, {sum(self.claims.values())} claims; {self.faults} faults found"
        return "\n".join([*lines, total])


def main() -> int:
    """Run the tests of this folder, all marks, on two processors; print the table."""
    count = Count()
    folder = str(Path(__file__).parent)
    options = ["-q", "-p", "tests.formal.count", "-n", "2", "--dist", "worksteal", folder, *sys.argv[1:]]
    status = pytest.main(options, plugins=[count])
    print(count.table())
    return int(status)


if __name__ == "__main__":
    sys.exit(main())
