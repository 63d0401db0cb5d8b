"""What type checkers and editors read of the resources' classes, and what makes rooms packages.

`python -m tools.declarations` writes it: `make generated` does, and a test says if it is not what
the definitions say. The classes themselves are made of the same definitions, when a program
imports them.
"""

import subprocess
import sys
import textwrap
from collections.abc import Mapping
from inspect import Parameter, Signature, getdoc, signature
from pathlib import Path
from typing import Any, get_args, get_origin

from pulumi_snapshots.engine import schema_of
from pulumi_snapshots.lookup import results
from pulumi_snapshots.plugin.resources import Provider
from pulumi_snapshots.program import FoundById, section, with_arguments
from pulumi_snapshots.program.declaration import (
    WHOLE_NUMBERS,
    outputs_of,
    signature_of,
)
from pulumi_snapshots.program.lookups import Lookups
from pulumi_snapshots.properties.catalogue import (
    Duration,
    Property,
    Record,
    ResourceSchema,
    record_in,
)
from pulumi_snapshots.resources import LOOKUP_FUNCTIONS, LOOKUPS, RESOURCES, room_of
from pulumi_snapshots.run.settings import Settings

PROJECT = Path(__file__).resolve().parent.parent
PACKAGE = PROJECT / "pulumi_snapshots"
FILE = PACKAGE / "program" / "resources.pyi"
SNAPSHOT = "Snapshot | SnapshotInfo | pulumi.Output[SnapshotInfo | None]"
TYPES: dict[Any, str] = {
    **dict.fromkeys(WHOLE_NUMBERS, "int"),
    float: "float",
    bool: "bool",
    Duration: "str | float",
    Any: "Any",
}
"""What programs write for the types of properties; a string for every other type."""
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
    types = {"opts": "pulumi.ResourceOptions"}
    for name, each in Settings.properties().items():
        # The engine takes the settings of a provider as texts, durations too.
        types[name] = f"pulumi.Input[{'int' if each.type is int else 'str'}]"
    lines = [
        "\nclass Provider(pulumi.ProviderResource):",
        _docstring(getdoc(Provider) or "", 1),
        "    def __init__(",
        *_parameters(wanted, types),
        "    ) -> None: ...",
        "",
    ]
    return "\n".join(lines)


def _function(name: str) -> str:
    """The function of a lookup, without its object."""
    function = getattr(Lookups, name)
    lookup = getattr(results, LOOKUPS[name.removesuffix("_output")])
    answer = _answer(lookup.result)
    types = {
        given: _input_type(each) for given, each in lookup.query.properties().items()
    }
    types["opts"] = "pulumi.InvokeOptions"
    if name.endswith("_output"):
        answer = f"pulumi.Output[{answer}]"
        types = {given: f"pulumi.Input[{kind}]" for given, kind in types.items()}
        types["opts"] = "pulumi.InvokeOutputOptions"
    lines = [
        f"\ndef {name}(",
        *_parameters(signature(function), types)[1:],
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
    types = {"snapshot": SNAPSHOT, "opts": "pulumi.ResourceOptions"}
    for name, each in schema.inputs.properties().items():
        types[name] = f"pulumi.Input[{_input_type(each)}]"
    shown = outputs_of(schema)
    attributes = {name: each.description for name, each in shown.items()}
    doc = with_arguments(schema.doc, wanted, schema.inputs)
    described = _docstring(doc + section("Attributes", attributes), 1)
    outputs = [
        f"    {name}: {_output_type(schema, each)}" for name, each in shown.items()
    ]
    found = _get() if schema.is_found_by_id else ""
    return "\n".join(
        [
            f"\nclass {schema.name}(pulumi.CustomResource):",
            described,
            *outputs,
            "    def __init__(",
            *_parameters(wanted, types),
            "    ) -> None: ...",
            found,
        ]
    )


def _parameters(wanted: Signature, types: Mapping[str, str]) -> list[str]:
    """The lines of the parameters, with the mark from which on they are given by name."""
    lines = ["        self,"]
    for each in list(wanted.parameters.values())[1:]:
        if each.kind is Parameter.KEYWORD_ONLY and "        *," not in lines:
            lines.append("        *,")
        kind = types.get(each.name, "str")
        if each.default is None:
            kind += " | None = None"
        lines.append(f"        {each.name}: {kind},")
    return lines


def _input_type(each: Property) -> str:
    if each.choices is not None:
        return f"Literal[{', '.join(map(repr, each.choices.meanings))}]"
    return _written_type(each.type)


def _written_type(kind: Any) -> str:
    """The type of what a program writes, an object also as a mapping."""
    record = record_in(kind)
    if get_origin(kind) in {list, tuple}:
        return f"Sequence[pulumi.Input[{_written_type(get_args(kind)[0])}]]"
    if record is None:
        return TYPES.get(kind, "str")
    kinds = {_written_type(each.type) for each in record.properties().values()}
    value = f"pulumi.Input[{kinds.pop()}]" if len(kinds) == 1 else "Any"
    return f"{record.__name__} | Mapping[str, {value}]"


def _output_type(schema: ResourceSchema, each: Property) -> str:
    kind = _read_type(each.type)
    return f"pulumi.Output[{kind if schema.seen(each) else f'{kind} | None'}]"


def _read_type(kind: Any) -> str:
    if get_origin(kind) in {list, tuple}:
        return f"list[{_read_type(get_args(kind)[0])}]"
    return "dict[str, Any]" if record_in(kind) else TYPES.get(kind, "str")


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
