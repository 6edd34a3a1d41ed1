"""Where outputs end, and what is printed of them as they come."""

from collections import defaultdict
from fractions import Fraction

import pytest

from rtnerf.base.errors import InputError
from specdec.decoding.decode import decode, decode_plain
from specdec.decoding.ending import Ending
from specdec.decoding.output_law import plain_law
from specdec.decoding.prompts import Printed, read_prompts
from specdec.laws.chance import outcomes
from specdec.proposers.static import rsd_constant
from specdec.text.tokenizer import ByteTokenizer
from specdec.verifiers.multi_step import WithoutReplacement
from tests.specdec.helpers import CONTEXT, random_model

LETTERS = Ending(frozenset({0}), ("bab",), lambda tokens: "".join("_ab"[token] for token in tokens))


def test_the_first_end_counts():
    assert LETTERS.length((1, 2, 1, 1)) is None
    assert LETTERS.length((1, 2, 0, 0)) == 3
    assert LETTERS.length((1, 2, 1, 2, 0, 2)) == 4
    assert LETTERS.length((2, 1, 2, 0)) == 3
    assert LETTERS.length((2, 1, 2, 2), known=2) == 3
    with pytest.raises(InputError, match="stop must be a text, not an empty one"):
        Ending(strings=("bab", ""))


def test_ended_outputs_have_the_law_of_ended_plain_outputs():
    """By enumeration of a loop of several steps, with an end that falls within them."""
    target, draft = random_model(3, 3, 5), random_model(4, 3, 5)
    ending = Ending(frozenset({0}), ("bb",), LETTERS.decode)
    expected = defaultdict(Fraction)
    for output, mass in plain_law(target, CONTEXT, 3).items():
        expected[output[: ending.length(output)]] += mass
    found = defaultdict(Fraction)
    proposer = rsd_constant(draft, [2])
    for mass, output in outcomes(
        lambda chance: decode(target, proposer, WithoutReplacement(), CONTEXT, 3, chance, ending=ending)[0]
    ):
        found[output] += mass
    assert {output: mass for output, mass in found.items() if mass} == expected
    plain = defaultdict(Fraction)
    for mass, output in outcomes(lambda chance: decode_plain(target, CONTEXT, 3, chance, ending)):
        plain[output] += mass
    assert plain == expected


def test_outputs_are_printed_whole_characters_at_a_time():
    printed = []
    show = Printed(ByteTokenizer().decode, lambda text, nl=True: printed.append(text + "\n" * nl))
    whole = tuple("aé".encode())
    for prompt, output in ((0, whole[:1]), (0, whole[:2]), (0, whole), (1, whole[:2])):
        show(prompt, output)
    show.finish()
    assert printed == ["a", "é", "\n", "a", "\N{REPLACEMENT CHARACTER}\n"]


def test_prompts_are_lines_or_a_list(tmp_path):
    (tmp_path / "p.txt").write_text("one\n\ntwo\n")
    (tmp_path / "p.json").write_text('["one\\ntwo"]')
    assert read_prompts(tmp_path / "p.txt") == ["one", "two"]
    assert read_prompts(tmp_path / "p.json") == ["one\ntwo"]


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.txt", b"\n", "prompts-file must be of 1 to 10000 prompts, not 0"),
        ("a.txt", b"\xff\xfe\xfa", "prompts-file must be UTF-8 text, not "),
        ("a.json", b'{"a": 1}', "prompts-file must be a JSON list of texts, not "),
        ("a.json", b"[1]", "prompts-file must be a JSON list of texts, not "),
        ("b.txt", None, "prompts-file must be a readable file, not "),
    ],
)
def test_other_prompts_are_refused(tmp_path, name, content, message):
    if content is not None:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(InputError) as raised:
        read_prompts(tmp_path / name)
    assert str(raised.value).startswith(message)
