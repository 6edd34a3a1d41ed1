import pytest
from hypothesis import given
from hypothesis import strategies as st

from rtnerf.base.errors import InputError
from specdec.text.tokenizer import BpeTokenizer, ByteTokenizer

TEXTS = ["def f(x):\n    return x\n", "def g(x):\n    return f(x) + f(x)\n", "naïve ½ 数 \t'quotes'\r\n"]
BPE = BpeTokenizer.train(TEXTS, 270)


@given(st.text(st.characters(exclude_categories=["Cs"])))
def test_decoding_gives_the_text_back(text):
    for tokenizer in (ByteTokenizer(), BPE):
        tokens = tokenizer.encode(text)
        assert tokenizer.decode(tokens) == text
        assert all(0 <= token < tokenizer.vocabulary for token in tokens)


def test_bytes_are_those_of_utf_8():
    assert ByteTokenizer().vocabulary == 256
    assert ByteTokenizer().encode("aé") == (97, 0xC3, 0xA9)
    assert ByteTokenizer().decode([97, 0xC3]) == "a\N{REPLACEMENT CHARACTER}"


def test_frequent_pairs_are_merged():
    assert BPE.vocabulary == 270
    assert len(BPE.encode(TEXTS[0])) < len(TEXTS[0])


def test_training_repeats_and_a_description_is_the_tokenizer():
    assert BpeTokenizer.train(TEXTS, 270).description == BPE.description
    copy = BpeTokenizer(BPE.description)
    assert copy.description == BPE.description
    assert copy.encode(TEXTS[1]) == BPE.encode(TEXTS[1])


@pytest.mark.parametrize("description", ["", "{}", "[1, 2]", '{"model": 3}'])
def test_other_files_are_refused(description):
    with pytest.raises(InputError, match="tokenizer must be a description in JSON, not one with: "):
        BpeTokenizer(description)
