"""What type checkers and editors read of the resources' classes, and what makes rooms packages.

`python -m tools.declarations` writes it: `make generated` does, and a test says if it is not what
the definitions say. The classes themselves are made of the same definitions, when a program
imports them.
"""

import subprocess
import sys
import textwrap
from inspect import Parameter, getdoc, signature
from pathlib import Path
from typing import get_origin

from pulumi_snapshots.engine import schema_of
from pulumi_snapshots.lookup import results
from pulumi_snapshots.plugin.resources import Provider
from pulumi_snapshots.program import FoundById, section, with_arguments
from pulumi_snapshots.program.declaration import (
    output_type,
    outputs_of,
    signature_of,
)
from pulumi_snapshots.program.lookups import Lookups
from pulumi_snapshots.properties.catalogue import Record, ResourceSchema, record_in
from pulumi_snapshots.resources import LOOKUP_FUNCTIONS, LOOKUPS, RESOURCES, room_of

PROJECT = Path(__file__).resolve().parent.parent
PACKAGE = PROJECT / "pulumi_snapshots"
FILE = PACKAGE / "program" / "resources.pyi"
LONGEST = 100
"""Columns of a line."""
HEAD = '''\
"""The resources and lookups, as type checkers see them: `make generated` writes this file."""

from collections.abc import Mapping, Sequence
from typing import Any, Literal, Self

import pulumi

'''


def declarations() -> str:
    """Return the text of the file."""
    schemas = [schema_of(name) for name in RESOURCES]
    records = {
        record
        for schema in schemas
        for each in schema.inputs.properties().values()
        if (record := record_in(each.type))
    }
    lines = [f"from {each.__module__} import {each.__name__}" for each in records]
    lines.append(
        "from pulumi_snapshots.lookup.results import DatabaseInfo, SnapshotInfo"
    )
    names = "".join(
        f"    {name!r},\n" for name in sorted([*RESOURCES, *LOOKUP_FUNCTIONS])
    )
    text = HEAD + "\n".join(sorted(lines)) + f"\n\n__all__ = [\n{names}]\n"
    text += "".join(map(_class, schemas)) + _provider()
    return _formatted(text + "".join(map(_function, LOOKUP_FUNCTIONS)))


def _provider() -> str:
    """The plugin's explicit provider, whose arguments are the settings."""
    wanted = signature(Provider.__init__)
    lines = [
        "\nclass Provider(pulumi.ProviderResource):",
        _docstring(getdoc(Provider) or "", 1),
        "    def __init__(",
        *_parameters(list(wanted.parameters.values())),
        "    ) -> None: ...",
        "",
    ]
    return "\n".join(lines)


def _function(name: str) -> str:
    """The function of a lookup, without its object."""
    function = getattr(Lookups, name)
    lookup = getattr(results, LOOKUPS[name.removesuffix("_output")])
    answer = _answer(lookup.result)
    if name.endswith("_output"):
        answer = f"pulumi.Output[{answer}]"
    lines = [
        f"\ndef {name}(",
        *_parameters(list(signature(function).parameters.values())[1:]),
        f") -> {answer}:",
        _docstring(getdoc(function) or "", 1),
        "",
    ]
    return "\n".join(lines)


def _answer(result: type[Record]) -> str:
    """The type of an answer: the result, or the one property that is around it."""
    first, *others = result.properties().values()
    if others:
        return result.__name__
    record = record_in(first.type)
    name = "str" if record is None else record.__name__
    if get_origin(first.type) is list:
        return f"list[{name}]"
    return f"{name} | None" if first.optional else name


def _class(schema: ResourceSchema) -> str:
    wanted = signature_of(schema)
    shown = outputs_of(schema)
    attributes = {name: each.description for name, each in shown.items()}
    doc = with_arguments(schema.doc, wanted, schema.inputs)
    described = _docstring(doc + section("Attributes", attributes), 1)
    outputs = [f"    {name}: {output_type(schema, shown[name])}" for name in shown]
    found = _get() if schema.is_found_by_id else ""
    return "\n".join(
        [
            f"\nclass {schema.name}(pulumi.CustomResource):",
            described,
            *outputs,
            "    def __init__(",
            *_parameters(list(wanted.parameters.values())),
            "    ) -> None: ...",
            found,
        ]
    )


def _parameters(parameters: list[Parameter]) -> list[str]:
    """The lines of the parameters, with the mark from which on they are given by name."""
    lines = []
    for each in parameters:
        if each.kind is Parameter.KEYWORD_ONLY and "        *," not in lines:
            lines.append("        *,")
        annotation = "" if each.annotation is each.empty else f": {each.annotation}"
        default = "" if each.default is each.empty else f" = {each.default}"
        lines.append(f"        {each.name}{annotation}{default},")
    return lines


def _get() -> str:
    """The method of a resource that is found by its id."""
    lines = [
        "    @classmethod",
        "    def get(",
        "        cls,",
        "        resource_name: str,",
        "        id: pulumi.Input[str],",
        "        opts: pulumi.ResourceOptions | None = None,",
        "    ) -> Self:",
        _docstring(getdoc(FoundById.get) or "", 2),
    ]
    return "\n".join(lines)


def _docstring(text: str, depth: int) -> str:
    first, *others = text.splitlines()
    lines = [f'"""{first}', *others, '"""']
    return "\n".join(_wrapped("    " * depth + line) for line in lines)


def _wrapped(line: str) -> str:
    """A line of a docstring, folded like those of the package."""
    indent = line[: len(line) - len(line.lstrip())]
    return textwrap.fill(
        line, LONGEST, subsequent_indent=f"{indent}    ", break_on_hyphens=False
    )


def _formatted(text: str) -> str:
    """The text as the project's formatter writes it."""
    command = [sys.executable, "-m", "ruff", "format", f"--stdin-filename={FILE}", "-"]
    done = subprocess.run(  # noqa: S603  this very interpreter
        command, input=text, capture_output=True, text=True, check=True, cwd=PROJECT
    )
    return done.stdout


def main() -> None:
    """Write the file, and the `__init__.py` of each room that has none yet."""
    for name in RESOURCES:
        file = PACKAGE / room_of(name) / "__init__.py"
        if not file.exists():
            file.write_text(f'"""{schema_of(name).doc.partition(chr(10))[0]}"""\n')
    FILE.write_text(declarations())


if __name__ == "__main__":
    main()
