"""Pages of the documentation that are made from the code: commands, configuration, scene image, kept results."""

import inspect
import json
import re
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import click


def table(header: Sequence[object], rows: Iterable[Sequence[object]]) -> str:
    """Return a table in Markdown."""
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join("| " + " | ".join(str(cell).replace("|", "\\|") for cell in line) + " |" for line in lines)


# ---- Commands ----


def commands() -> str:
    """Return the page of all commands and options."""
    from rtnerf.command_line import cli

    parts = ["# Commands", "Made from the command line itself; `rtnerf COMMAND --help` says the same."]
    return "\n\n".join(parts + [_command(words, command) for words, command in _walk(cli, "rtnerf")])


def _walk(group: click.Group, words: str) -> Iterator[tuple[str, click.Command]]:
    for name, command in group.commands.items():
        yield f"{words} {name}", command
        if isinstance(command, click.Group):
            yield from _walk(command, f"{words} {name}")


def _command(words: str, command: click.Command) -> str:
    context = click.Context(command, info_name=words)
    parts = [f"## {words}", inspect.cleandoc(command.help or "").replace("\b", "")]
    options = [param for param in command.params if isinstance(param, click.Option) and not param.hidden]
    if options:
        parts.append(table(["option", "value", "default", "meaning"], [_option(each, context) for each in options]))
    if command.epilog:
        examples = command.epilog.replace("\b", "").strip().splitlines()[1:]
        parts.append("\n".join(["```", *(line.strip() for line in examples), "```"]))
    return "\n\n".join(parts)


def _option(option: click.Option, context: click.Context) -> tuple[str, str, str, str]:
    names = ", ".join(f"`{name}`" for name in option.opts)
    shown = option.make_metavar(context)
    value = shown.strip("{}").replace(",", ", ") if shown.startswith("{") else shown
    default = f"`{option.to_info_dict()['default']}`" if option.show_default else ""
    return names, "" if option.is_flag else f"`{value}`", "required" if option.required else default, option.help or ""


# ---- Configuration ----


def configuration() -> str:
    """Return the page of all fields of configurations and memories."""
    from nerf.contract.config import PRESETS, AcceleratorConfig
    from nerf.contract.memory import MemoryTiming
    from sim.memory.dram import PRESETS as DRAMS

    parts = [
        "# Configuration",
        "Made from the code. A configuration is a preset (`--config tiny`) or a TOML file whose keys are these fields.",
        "A file needs only those that differ from `tiny`. What breaks a rule is refused by name.",
        "## The accelerator",
        table(
            ["field", *PRESETS, "meaning"],
            [
                [f"`{name}`", *(f"`{getattr(preset, name)}`" for preset in PRESETS.values()), text]
                for name, text in _parameters(AcceleratorConfig)
                if name != "name"
            ],
        ),
    ]
    for title, memories in (("Memory `fixed`", {"default": MemoryTiming()}), ("DRAM", DRAMS)):
        kind = type(next(iter(memories.values())))
        rows = [
            [f"`{name}`", *(f"`{getattr(memory, name)}`" for memory in memories.values()), text]
            for name, text in _parameters(kind)
        ]
        parts += [f"## {title}", _summary(kind), table(["field", *memories, "meaning"], rows)]
    return "\n\n".join(parts)


def _summary(kind: type) -> str:
    return inspect.cleandoc(kind.__doc__ or "").splitlines()[0]


def _parameters(kind: type) -> Iterator[tuple[str, str]]:
    """Yield name and text of each parameter of a docstring in NumPy's form."""
    section = inspect.cleandoc(kind.__doc__ or "").partition("Parameters\n----------\n")[2]
    section = re.split(r"\n\n\w+\n---", section)[0]
    for names, body in re.findall(r"^(\w[\w, ]*) : [^\n]*\n((?:    [^\n]*\n?|\n)*)", f"{section}\n", re.MULTILINE):
        for name in names.split(", "):
            yield name, " ".join(body.split())


# ---- Scene image ----


def scene_image() -> str:
    """Return the page of the scene image."""
    from nerf.contract import blocks
    from nerf.contract import scene_image as image

    overview, _, text = inspect.cleandoc(image.__doc__ or "").partition("\n\n")
    _, layout, order = re.split(r"^=+  =+$\n?", text, flags=re.MULTILINE)
    entry = [[image.ENTRY.fields[name][1], f"`{name}`", image.ENTRY.fields[name][0].name] for name in image.ENTRY.names]
    host = [[image.HEADER.itemsize + 8 * at, f"`{name}`"] for at, name in enumerate(image.HOST_FIELDS)]
    checksums = f"""`magic` is {image.MAGIC:#010x}, `version` {image.VERSION}. `crc` is the CRC-32 of all that follows
the header; `checksum` makes the sum of the header's words 0 modulo 2**32."""
    parts = [
        "# Scene image, byte by byte",
        "Made from `nerf/contract`; `rtnerf encode` writes this, the accelerator reads it.",
        overview + " Little-endian; offsets in bytes from the image's start.",
        table(["section", "holds"], _layout(layout)),
        order.strip(),
        "## Device header",
        table(["offset", "bytes", "field", "value", "held for the frame"], _header(image)),
        checksums,
        "## Host header",
        "Float64 each: the geometry of which camera registers are made.",
        table(["offset", "field"], host),
        "## A row of cubes, 16 bytes",
        table(["bit", "bits", "meaning"], [
            [0, image.ROW_BITS, "occupied cubes of the row, bit = cube's x"],
            [image.ROW_BITS, image.RANK_BITS, "rank of the row's first live cube"],
            [120, 8, "CRC-8 of the bits before"],
        ]),
        f"## A cube's record, {image.RECORD_BYTES} bytes",
        table(["bit", "bits", "meaning"], _record(image)),
        "## Requantisation of an output, 8 bytes",
        table(["offset", "field", "type"], entry),
        "## Blocks",
        f"```text\n{inspect.cleandoc(blocks.__doc__ or '')}\n```",
    ]  # fmt: skip
    return "\n\n".join(parts)


def _layout(text: str) -> list[list[str]]:
    """Return the rows of the one table of the module's docstring."""
    rows: list[list[str]] = []
    for line in text.splitlines():
        name, told = line[:22].strip(), line[22:].strip()
        if name:
            rows.append([name, told])
        else:
            rows[-1][1] += f" {told}"
    return rows


def _header(image) -> Iterator[list[object]]:
    words = {word.name: word for word in image.WORDS}
    for name in image.HEADER.names:
        kind, offset = image.HEADER.fields[name][:2]
        count, word = kind.itemsize // 4, words.get(name)
        shown = f"`{name}`" + (f" x {count}" if count > 1 else "")
        form = word and f"{'signed' if word.format.signed else 'unsigned'}, {word.format.width} bits"
        if word and word.format.fraction:
            form += f", {word.format.fraction} behind the point"
        yield [offset, kind.itemsize, shown, form or "", "yes" if word and word.held else ""]


def _record(image) -> list[list[object]]:
    window = image.MASK_WINDOW**3
    corner = [
        [window + axis * image.MASK_CELL_BITS, image.MASK_CELL_BITS, f"{name} of the window's first mask cell"]
        for axis, name in enumerate("xyz")
    ]
    whole = [0, window, "occupied mask cells of the window, x fastest"]
    return [whole, *corner, [248, 8, "CRC-8 of the bits before"]]


# ---- Kept results ----


def kept_results(folder: Path) -> str:
    """Return the list of the kept results, each with the command that made it."""
    rows = []
    for path in sorted(folder.glob("*.json")):
        kept = json.loads(path.read_text())
        first = kept[0] if isinstance(kept, list) else kept
        rows.append([f"[{path.name}](results/{path.name})", f"`{first['command']}`" if "command" in first else ""])
    return "# Kept results\n\n" + table(["file", "made by"], rows)
