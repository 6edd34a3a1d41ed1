"""The page of the API: signatures and docstrings of what is public, read from the source without running it."""

import ast
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
MODULES = (
    "rtnerf.api", "nerf.cameras", "nerf.checkpoint", "nerf.contract.config", "nerf.contract.memory",
    "nerf.contract.scene_image", "nerf.contract.blocks", "nerf.contract.registers", "nerf.encode", "nerf.prepared",
    "nerf.metrics", "sim.result", "sim.memory.dram", "cosim.run", "cosim.unit", "specdec.api",
    "specdec.proposers.base", "specdec.cost.hardware",
)  # fmt: skip
SHORT = 90
"""Characters of a signature in one line."""


def page() -> str:
    """Return the page."""
    parts = ["# API", "Read from the docstrings, whose examples run in `make test`. To begin with: [api.md](api.md)."]
    for name in MODULES:
        module = ast.parse((ROOT / f"{name.replace('.', '/')}.py").read_text())
        parts += [f"## {name}", *_text(module)]
        for node in _public(module):
            parts += _entry(node, "###", node.name)
            if isinstance(node, ast.ClassDef):
                for inner in _public(node):
                    parts += _entry(inner, "####", f"{node.name}.{inner.name}")
    return "\n\n".join(parts)


def _public(owner: ast.Module | ast.ClassDef) -> Iterator[ast.ClassDef | ast.FunctionDef]:
    """Return what a module or class defines for others, and describes."""
    for node in owner.body:
        if isinstance(node, ast.ClassDef | ast.FunctionDef) and node.name[0] != "_" and ast.get_docstring(node):
            yield node


def _entry(node: ast.ClassDef | ast.FunctionDef, level: str, name: str) -> list[str]:
    parts = [f"{level} {name}"]
    if isinstance(node, ast.FunctionDef) and "property" not in map(ast.unparse, node.decorator_list):
        arguments, result = ast.unparse(node.args), f" -> {ast.unparse(node.returns)}" if node.returns else ""
        signature = f"{name}({arguments}){result}"
        if len(signature) > SHORT:
            lines = ",\n    ".join(_split(arguments))
            signature = f"{name}(\n    {lines},\n){result}"
        parts.append(f"```python\n{signature}\n```")
    return parts + _text(node)


def _split(arguments: str) -> list[str]:
    """Return arguments one by one: commas in brackets do not part them."""
    parts, depth = [""], 0
    for letter in arguments:
        depth += (letter in "([{") - (letter in ")]}")
        if letter == "," and depth == 0:
            parts.append("")
        else:
            parts[-1] += letter
    return [part.strip() for part in parts]


def _text(node: ast.Module | ast.ClassDef | ast.FunctionDef) -> list[str]:
    """The first paragraph of a docstring, and the rest as it stands."""
    summary, _, rest = (ast.get_docstring(node) or "").partition("\n\n")
    return [summary, *([f"```text\n{rest}\n```"] if rest else [])]
