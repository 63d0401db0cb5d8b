"""The examples in the schema: parts of the programs in examples/tour, which come with the package."""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path

PACKED = Path(__file__).parent / "tour"
"""Where a wheel and the plugin's archive have the programs."""
IN_REPOSITORY = Path(__file__).parents[3] / "examples" / "tour"
PROGRAMS = {
    "typescript": "typescript/index.ts",
    "python": "python/program.py",
    "go": "go/main.go",
    "csharp": "csharp/Program.cs",
    "java": "java/App.java",
    "yaml": "Pulumi.yaml",
}
"""By the names that Pulumi's generators give the languages."""
MARK = re.compile(r"\s*(?://|#) in: (.+)")
"""A line that says in which examples the lines below it are shown, up to the next such line."""


def with_examples(description: str, name: str) -> str:
    """A description with an example in each language that can use it.

    Args:
        description: of a resource or function.
        name: its own.
    """
    blocks = [f"```{language}\n{example(language, name)}\n```" for language in PROGRAMS]
    # Each generator keeps what is in its own language of this.
    parts = (
        "{{% examples %}}",
        "## Example Usage",
        "{{% example %}}",
        *blocks,
        "{{% /example %}}",
        "{{% /examples %}}",
    )
    return "\n\n".join([description, *parts])


def example(language: str, name: str) -> str:
    """The lines of a language's program that are about one resource or function."""
    kept, is_shown = [], True
    for line in _program(language):
        if found := MARK.fullmatch(line):
            is_shown = bool({"all", name} & set(found[1].split()))
        elif is_shown:
            kept.append(line)
    return re.sub(r"\n{3,}", "\n\n", "\n".join(kept)).strip()


@cache
def _program(language: str) -> list[str]:
    folder = PACKED if PACKED.is_dir() else IN_REPOSITORY
    return (folder / PROGRAMS[language]).read_text(encoding="utf-8").splitlines()
