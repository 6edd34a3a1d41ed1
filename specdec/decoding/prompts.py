"""Prompts of one's own, and outputs as they come."""

from collections.abc import Callable
from pathlib import Path

from rtnerf.base.errors import InputError, require
from rtnerf.base.files import read_json
from specdec.laws.language_model import Tokens

MOST_PROMPTS = 10_000

LARGEST = 64 << 20
"""Bytes of a file of prompts."""


def read_prompts(path: Path) -> list[str]:
    """Return the prompts of a file: a JSON list of texts where its name ends with ``.json``, else one a line.

    Raises
    ------
    InputError
        If the file cannot be read or holds none, or too many.
    """
    if path.suffix == ".json":
        prompts = read_json("prompts-file", path)
        texts = isinstance(prompts, list) and all(isinstance(prompt, str) for prompt in prompts)
        require(texts, "prompts-file", "a JSON list of texts", path)
    else:
        try:
            with path.open("rb") as file:
                content = file.read(LARGEST + 1)
            require(len(content) <= LARGEST, "prompts-file", f"a file of at most {LARGEST >> 20} MiB", path)
            prompts = content.decode("utf-8-sig").splitlines()
        except OSError as error:
            raise InputError(f"prompts-file must be a readable file, not {path} ({error.strerror})") from None
        except UnicodeDecodeError:
            raise InputError(f"prompts-file must be UTF-8 text, not {path}") from None
    found = [prompt for prompt in prompts if prompt]
    require(0 < len(found) <= MOST_PROMPTS, "prompts-file", f"of 1 to {MOST_PROMPTS} prompts", len(found))
    return found


class Printed:
    """Prints outputs as they grow, each from a new line on.

    Parameters
    ----------
    decode : callable
        From tokens to their text.
    echo : callable
        Prints a text, with ``nl=False`` without ending the line.
    """

    def __init__(self, decode: Callable[[Tokens], str], echo: Callable[..., None]):
        self._decode, self._echo = decode, echo
        self._prompt: int | None = None
        self._text = self._shown = ""

    def __call__(self, prompt: int, output: Tokens) -> None:
        """Print what a prompt's output has gained; the last bytes wait until they are a character."""
        if prompt != self._prompt:
            self.finish()
            self._prompt, self._text, self._shown = prompt, "", ""
        self._text = self._decode(output)
        whole = self._text.rstrip("\N{REPLACEMENT CHARACTER}")
        if len(whole) > len(self._shown):
            self._echo(whole[len(self._shown) :], nl=False)
            self._shown = whole

    def finish(self) -> None:
        """Print what waited, and end the line."""
        if self._prompt is not None:
            self._echo(self._text[len(self._shown) :])
