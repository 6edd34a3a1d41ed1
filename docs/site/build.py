"""Build the documentation site: ``python docs/site/build.py OUT``. Nothing in it asks for anything from elsewhere.

The documents are gathered in one folder, beside the pages that are made from the code; a link to a file elsewhere in
the repository brings a copy of it. Then Sphinx makes HTML of all, and a warning is an error: no link is broken.
"""

import posixpath
import re
import shutil
import sys
import tempfile
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
sys.path[:0] = [str(ROOT), str(HERE)]

import pages  # noqa: E402
import reference  # noqa: E402
import timing  # noqa: E402

LINK = re.compile(r"(?<=\]\()(?!\w+:|#)([^)#\s]+)")
MADE = {
    "commands.md": pages.commands,
    "configuration.md": pages.configuration,
    "scene_image.md": pages.scene_image,
    "reference.md": reference.page,
    "timing.md": timing.page,
}
CONTENTS = {
    "Learn": ("tutorial", "howto", "faq", "glossary"),
    "Algorithm": ("files", "compatibility", "full_size", "knobs", "deferred", "scenes"),
    "Hardware": ("architecture", "accelerator", "simulator", "silicon", "formal", "faults", "explore", "view"),
    "Speculation": ("specdec", "serving", "rows"),
    "Reference": (
        "commands",
        "configuration",
        "scene_image",
        "registers",
        "timing",
        "api",
        "reference",
        "files/reports/results",
    ),
    "Project": ("files/CONTRIBUTING", "files/SECURITY", "files/CHANGELOG", "files/specdec/data/README"),
}
"""Pages by chapter; every page of the site must be in one."""


def place_of(path: str) -> str:
    """Return where a file of the repository is in the site."""
    if path == "README.md":
        return "index.md"
    if path.startswith("docs/"):
        return path.removeprefix("docs/")
    return f"files/{path}.md" if (ROOT / path).is_dir() else f"files/{path}"


def gather(folder: Path) -> None:
    """Write the documents, the made pages and copies of all files that they link into a folder."""
    made = {f"docs/{name}": make for name, make in MADE.items()}
    waiting = ["README.md", "CHANGELOG.md", *made, *(f"docs/{path.name}" for path in (ROOT / "docs").glob("*.md"))]
    seen = set()
    while waiting:
        path = waiting.pop()
        if path in seen:
            continue
        seen.add(path)
        place = place_of(path)
        (folder / place).parent.mkdir(parents=True, exist_ok=True)
        if not place.endswith(".md"):
            if (ROOT / path).is_file():  # What is not there is Sphinx's to complain about.
                shutil.copyfile(ROOT / path, folder / place)
            continue
        text = made[path]() if path in made else _text(ROOT / path)
        links, text = _moved(text, path)
        (folder / place).write_text(text)
        waiting += [link for link in links if link in made or (ROOT / link).exists()]
    with open(folder / "index.md", "a") as index:
        for chapter, names in CONTENTS.items():
            index.write("\n```{toctree}\n:hidden:\n:caption: " + chapter + "\n\n" + "\n".join(names) + "\n```\n")


def _text(path: Path) -> str:
    return pages.kept_results(path) if path.is_dir() else path.read_text()


def _moved(text: str, path: str) -> tuple[list[str], str]:
    """Return the files of the repository that a text links, and the text with their places in the site."""
    here, links = posixpath.dirname(place_of(path)), []

    def moved(match: re.Match) -> str:
        links.append(posixpath.normpath(posixpath.join(posixpath.dirname(path), match[1])))
        return posixpath.relpath(place_of(links[-1]), here or ".")

    return links, LINK.sub(moved, text)


def main(out: str) -> int:
    """Build the site into a folder; return Sphinx's exit status."""
    from sphinx.cmd.build import build_main

    with tempfile.TemporaryDirectory(prefix="rtnerf-docs-") as scratch:
        source = Path(scratch, "source")
        source.mkdir()
        gather(source)
        quiet = ["--quiet", "--fail-on-warning", "--keep-going", "--fresh-env"]
        return build_main([*quiet, "-c", str(HERE), "-d", f"{scratch}/cache", str(source), out])


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
