"""The examples in the schema: parts of one program in YAML, which comes with the package, and the same in the other languages."""

from __future__ import annotations

import json
import re
import tomllib
from functools import cache
from pathlib import Path
from textwrap import indent
from typing import TYPE_CHECKING, Any, get_args

from pulumi_snapshots.guard.book import GUARD
from pulumi_snapshots.plugin.description.identity import Identity
from pulumi_snapshots.plugin.description.package import FUNCTIONS, KINDS, token
from pulumi_snapshots.properties.catalogue import record_in

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pulumi_snapshots.properties.catalogue import Property

HERE = Path(__file__).parent
PACKED = HERE / "tour" / "Pulumi.yaml"
"""Where a wheel and the plugin's archive have the program."""
IN_REPOSITORY = HERE.parents[2] / "examples" / "tour" / "Pulumi.yaml"
FORMS = HERE / "languages.toml"
"""How each language but YAML writes a program."""
LANGUAGES = ("typescript", "python", "go", "csharp", "java", "yaml")
"""The names that Pulumi's generators give the languages."""
MARK = re.compile(r"# in: (.+)")
"""A line that says in which examples the lines below it are shown, up to the next such line."""
LINE = re.compile(r"\s*([\w:]+):(?:\s+([^#\s].*?))?(?:\s+# (.*))?")
"""A name, perhaps its value, perhaps a comment."""
Block = dict[str, tuple[Any, str]]
"""Values by their names, with comments."""


def with_examples(description: str, name: str) -> str:
    """The description of a resource or function, with an example in each language that can use it."""
    blocks = [f"```{language}\n{example(language, name)}\n```" for language in LANGUAGES]
    # Each generator keeps what is in its own language of this.
    around = "{{% examples %}}", "## Example Usage", "{{% example %}}", *blocks, "{{% /example %}}", "{{% /examples %}}"
    return "\n\n".join([description, *around])


def example(language: str, name: str | None = None) -> str:
    """The program that is about one resource or function; about all of them without a name."""
    kept, is_shown = [], True
    for line in _tour():
        if found := MARK.fullmatch(line):
            about = set(found[1].split())
            is_shown = bool({"all", name} & about) if name else about != {"none"}
        elif is_shown:
            kept.append(line)
    return "\n".join(kept) if language == "yaml" else _Translation(language, _parsed(kept)).program()


@cache
def _tour() -> list[str]:
    return (PACKED if PACKED.is_file() else IN_REPOSITORY).read_text(encoding="utf-8").splitlines()


@cache
def _forms() -> dict[str, dict[str, Any]]:
    return tomllib.loads(FORMS.read_text(encoding="utf-8"))


def _parsed(lines: list[str]) -> Any:
    """A block of YAML: values by their names, with comments, or a list."""
    depth, is_list = len(lines[0]) - len(lines[0].lstrip()), lines[0].lstrip().startswith("- ")
    groups: list[list[str]] = []
    for line in lines:
        if line[depth] != " ":
            groups.append([])
        groups[-1].append(line)
    if is_list:
        return [_parsed([first.replace("- ", "  ", 1), *rest]) for first, *rest in groups]
    found: Block = {}
    for first, *rest in groups:
        if said := LINE.fullmatch(first):
            found[said[1]] = (_parsed(rest) if rest else _value(said[2] or ""), said[3] or "")
    return found


def _value(text: str) -> Any:
    if text.startswith("["):
        return [_value(each) for each in text.strip("[]").split(", ")]
    return {} if text == "{}" else json.loads(text) if re.fullmatch(r"true|false|\d+", text) else text


class _Translation:
    """One program in one language."""

    def __init__(self, language: str, block: Block) -> None:
        self._way, self._block = _forms()[language], block
        self._import = Identity.of_this_package().imports()[language]
        self._found: dict[str, list[str]] = {}
        """The variables of what functions find, each with the path to what is meant of it."""

    def program(self) -> str:
        """The whole text."""
        body, exports = [], []
        for var, made in self._part("resources").items():
            kind, name = made["type"][0].rpartition(":")[2], made.get("name", (var,))[0]
            body.append(
                self._said("resource", var=var, kind=kind, name=name, args=self._inputs(made["properties"][0], kind))
            )
        for var, made in self._part("variables").items():
            asked = {name: value for name, (value, _) in made["fn::invoke"][0].items()}
            name = asked["function"].rpartition(":")[2]
            kind, args = _pascal(name), self._inputs(asked["arguments"], name)
            args = args and self._said("arguments", kind=kind, args=args)
            name = _snake(name) if self._way["names"] == "snake" else name
            body.append(self._said("function", var=var, kind=kind, name=name, args=args))
            self._found[var] = [asked["return"]] if "return" in asked else []
        for name, (value, comment) in self._block["outputs"][0].items():
            exports.append(self._commented(self._said("export", name=name, value=self._told(value)), comment))
        is_go = "config" in self._way
        parts = {
            "body": "\n".join(body),
            "exports": "\n".join(exports),
            "import": self._import.removeprefix("import ") if is_go else self._import,
            "config": self._way["config"] if is_go and self._part("config") else "",
        }
        return self._filled(self._way["frame"], parts)

    def _part(self, name: str) -> dict[str, Any]:
        return {each: value for each, (value, _) in self._block.get(name, ({}, ""))[0].items()}

    def _said(self, form: str, *, args: str = "", **values: str) -> str:
        return self._filled(self._way[form].format(args="{args}", **values), {"args": args})

    def _filled(self, frame: str, parts: Mapping[str, str]) -> str:
        """A frame with its parts: each as far to the right as its line if it has one of its own."""
        lines = []
        for line in frame.split("\n"):
            part = parts.get(line.strip()[1:-1])
            if part is None:
                lines.append(line.replace("{args}", parts.get("args", "")))
            elif part:
                lines.append(indent(part, line[: -len(line.strip())]))
        return "\n".join(lines)

    def _commented(self, line: str, comment: str) -> str:
        return line + (comment and self._way["comment"] + comment)

    def _inputs(self, values: Block, about: str) -> str:
        """The inputs of a resource or function, each on a line of its own."""
        inputs = _properties(about)
        return "\n".join(
            self._commented(self._input(name, value, inputs) + self._way["end"], comment)
            for name, (value, comment) in values.items()
        )

    def _input(self, name: str, value: Any, inputs: Mapping[str, Property]) -> str:
        kind = inputs[name].type if name in inputs else None
        return str(self._way["input"].format(name=self._spelled(name), value=self._told(value, kind)))

    def _spelled(self, name: str) -> str:
        names = self._way["names"]
        return _pascal(name) if names == "pascal" else _snake(name) if names == "snake" else name

    def _told(self, value: Any, kind: Any = None) -> str:
        """One value of an input of this type, or of an output."""
        record = record_in(kind)
        if isinstance(value, list):
            item = next(iter(get_args(kind)), str)
            array = (
                f"squarecloud.{record.__name__}Array" if record else f"pulumi.{'' if item is Any else 'String'}Array"
            )
            return self._said("list", array=array, values=", ".join(self._told(each, item) for each in value))
        if isinstance(value, dict) and record is not None:
            inputs = {each.camel: each for each in record.properties().values()}
            given = [self._input(name, each, inputs) for name, (each, _) in value.items()]
            return self._said("object", kind=record.__name__, values=(self._way["end"] and ", ").join(given))
        if not str(value).startswith("${"):
            known = kind if kind in {bool, int, float} else type(value)
            form = self._way.get("scalars", {}).get(known.__name__, "{value}")
            return str(form.format(value=json.dumps(value), plain=value))
        var, *path = value[2:-1].split(".")
        if var in self._part("config"):
            return self._said("secret", name=var)
        form = "found" if var in self._found else "output"
        step = self._way.get(f"{form}_step", self._way["step"])
        path = [step.format(name=self._spelled(each)) for each in (*self._found.get(var, ()), *path)]
        return self._said(form, var=var, path="".join(path)) if path else var


def _properties(about: str) -> dict[str, Property]:
    """The inputs of a resource or function by their names in programs."""
    named, inputs = token(about), GUARD.inputs
    if about != GUARD.name:
        inputs = KINDS[named].schema.inputs if named in KINDS else FUNCTIONS[named].lookup.query
    return {each.camel: each for each in inputs.properties().values()}


def _pascal(name: str) -> str:
    return name[0].upper() + name[1:]


def _snake(name: str) -> str:
    return re.sub(r"[A-Z]", lambda letter: f"_{letter[0].lower()}", name)
