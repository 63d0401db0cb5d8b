"""The examples in the schema: parts of one program, which comes with the package in each language."""

import re
from functools import cache
from pathlib import Path

HERE = Path(__file__).parent
PACKED = HERE / "tour"
"""Where a wheel and the plugin's archive have the programs."""
IN_REPOSITORY = HERE.parents[2] / "examples" / "tour"
LANGUAGES = ("typescript", "python", "go", "csharp", "java", "yaml")
"""The names that Pulumi's generators give the languages."""
MARK = re.compile(r"\s*(?:#|//) in: (.+)")
"""A line that says in which examples the lines below it are shown, up to the next such line."""
FENCE = re.compile(r"^```(\w+)\n(.*?)\n```$", re.MULTILINE | re.DOTALL)


def with_examples(description: str, name: str) -> str:
    """The description of a resource or function, with an example in each language that can use it."""
    blocks = [f"```{language}\n{example(language, name)}\n```" for language in LANGUAGES]
    # Each generator keeps what is in its own language of this.
    around = "{{% examples %}}", "## Example Usage", "{{% example %}}", *blocks, "{{% /example %}}", "{{% /examples %}}"
    return "\n\n".join([description, *around])


def example(language: str, name: str | None = None) -> str:
    """The program that is about one resource or function; about all of them without a name."""
    kept, is_shown = [], True
    for line in _programs()[language].splitlines():
        if found := MARK.fullmatch(line):
            about = set(found[1].split())
            is_shown = bool({"all", name} & about) if name else about != {"none"}
        elif is_shown:
            kept.append(line)
    return "\n".join(kept)


@cache
def _programs() -> dict[str, str]:
    folder = PACKED if PACKED.is_dir() else IN_REPOSITORY
    yaml, others = ((folder / name).read_text(encoding="utf-8") for name in ("Pulumi.yaml", "languages.md"))
    return {**dict(FENCE.findall(others)), "yaml": yaml}
