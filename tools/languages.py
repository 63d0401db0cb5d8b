"""The tour in other languages, made of `examples/tour/Pulumi.yaml` and of the plugin's schema.

`python -m tools.languages` writes `examples/tour/languages.md`: `make generated` does, and a test
says if that file is stale. A comment behind a line of the YAML stands behind the same line
everywhere.
"""

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml  # type: ignore[import-untyped]

from pulumi_snapshots.plugin.description.identity import Identity
from pulumi_snapshots.plugin.description.package import token
from pulumi_snapshots.plugin.description.schema import MARK, schema

TOUR = Path(__file__).resolve().parent.parent / "examples" / "tour"
FILE = TOUR / "languages.md"
HEAD = """\
# The tour in other languages

The program of [Pulumi.yaml](Pulumi.yaml), as users of each SDK write it. `make generated` makes
this page. The examples in the plugin's schema are parts of these programs: a line such as
`// in: Snapshot Restore` says in which examples the lines below it appear.
"""
REFERENCE = re.compile(r"\$\{(\w+)(?:\.(\w+))?\}")
Pairs = Iterable[tuple[str, str]]
"""Names and values."""
IMPORTS = Identity().imports()
LONGEST = 88
"""Columns of a line in Python."""


@dataclass(frozen=True)
class Reference:
    """What another part of the program gives: a resource, a property, or a secret of the config."""

    path: tuple[str, ...]
    is_config: bool = False
    is_result: bool = False
    """Whether a function returns it."""


@dataclass(frozen=True)
class Given:
    """A property that a program gives."""

    name: str
    value: Any
    type: Mapping[str, Any]
    """Its type in the schema."""
    comment: str

    @property
    def item(self) -> Mapping[str, Any]:
        """The type of a value in the list."""
        found: Mapping[str, Any] = self.type["items"]
        return found

    @property
    def is_list_of_objects(self) -> bool:
        """Whether each value has a line of its own."""
        return isinstance(self.value, list) and isinstance(self.value[0], dict)


@dataclass(frozen=True)
class Call:
    """A resource, or a call of a function."""

    name: str
    marks: str
    """The examples in which it is shown."""
    what: str
    """The resource or function, in camel case."""
    title: str
    """The resource's name in the state; empty for a function."""
    given: list[Given]


@dataclass(frozen=True)
class Output:
    """An output of the program."""

    name: str
    marks: str
    value: Reference
    comment: str


@dataclass(frozen=True)
class Tour:
    """The program, as the YAML says it."""

    calls: list[Call]
    outputs: list[Output]

    @property
    def marks_of_config(self) -> str:
        """The examples that read the config."""
        return " ".join(
            call.what
            for call in self.calls
            for each in call.given
            if isinstance(each.value, Reference) and each.value.is_config
        )


class _Source:
    """The YAML's text, with what stands in comments."""

    def __init__(self, text: str) -> None:
        self._lines = text.splitlines()
        self._types = schema()
        self._root: Any = yaml.compose(text)
        self._known: Any = yaml.safe_load(text)

    def tour(self) -> Tour:
        """Read the program."""
        parts = {key.value: value for key, value in self._root.value}
        calls = [self._resource(*each) for each in parts["resources"].value]
        calls += [self._function(*each) for each in parts["variables"].value]
        outputs = [self._output(*each) for each in parts["outputs"].value]
        return Tour(calls, outputs)

    def _resource(self, key: Any, node: Any) -> Call:
        known = self._known["resources"][key.value]
        what = known["type"].rpartition(":")[2]
        types = self._types["resources"][token(what)]["inputProperties"]
        title = known.get("name", key.value)
        given = self._given(_at(node, "properties"), known["properties"], types)
        return Call(key.value, self._marks(key), what, title, given)

    def _function(self, key: Any, node: Any) -> Call:
        known = self._known["variables"][key.value]["fn::invoke"]
        what = known["function"].rpartition(":")[2]
        types = self._types["functions"][token(what)].get("inputs", {})
        arguments = _at(_at(node, "fn::invoke"), "arguments")
        given = self._given(arguments, known["arguments"], types.get("properties", {}))
        return Call(key.value, self._marks(key), what, "", given)

    def _output(self, key: Any, node: Any) -> Output:
        value = self._value(node.value)
        return Output(key.value, self._marks(key), value, self._comment(key))

    def _given(self, node: Any, known: Any, types: Any) -> list[Given]:
        return [
            Given(
                key.value,
                self._value(known[key.value]),
                types[key.value],
                self._comment(key),
            )
            for key, _ in node.value
        ]

    def _value(self, known: Any) -> Any:
        found = REFERENCE.fullmatch(known) if isinstance(known, str) else None
        if found is None:
            return known
        name = found[1]
        path = tuple(filter(None, found.groups()))
        if name in self._known["resources"]:
            return Reference(path)
        if name in self._known["config"]:
            return Reference(path, is_config=True)
        returned = self._known["variables"][name]["fn::invoke"].get("return")
        whole = (name, *filter(None, [returned]), *path[1:])
        return Reference(whole, is_result=True)

    def _marks(self, key: Any) -> str:
        """The last mark above a line."""
        above = reversed(self._lines[: key.start_mark.line])
        for line in above:
            found = MARK.fullmatch(line)
            if found:
                return found[1]
        raise ValueError(f"no mark stands above {key.value}")

    def _comment(self, key: Any) -> str:
        line: str = self._lines[key.start_mark.line]
        return line.partition(" # ")[2]


def _at(node: Any, name: str) -> Any:
    """A value of a mapping."""
    return next(value for key, value in node.value if key.value == name)


def _capital(name: str) -> str:
    return name[0].upper() + name[1:]


def _snake(name: str) -> str:
    return re.sub("[A-Z]", lambda found: f"_{found[0].lower()}", name)


class _Language:
    """How a language writes a program."""

    name: str
    head: str
    tail = ""
    mark = "//"
    indent = ""
    """Before each statement."""
    indent_of_outputs: str | None = None
    """The same of the program's outputs, if it is another one."""
    before_outputs: tuple[str, ...] = ()

    def __init__(self, tour: Tour) -> None:
        self._tour = tour
        self._types: Mapping[str, Any] = schema()["types"]

    def program(self) -> str:
        """Write the program, with the marks of its examples."""
        lines = self._head().splitlines()
        for call in self._tour.calls:
            made = [f"{self.mark} in: {call.marks}", *self._call(call)]
            lines += [f"{self.indent}{line}" for line in made]
        lines += self.before_outputs
        indent = self.indent_of_outputs or self.indent
        marks = ""
        for output in self._tour.outputs:
            if output.marks != marks:
                lines.append(f"{indent}{self.mark} in: {output.marks}")
            marks = output.marks
            lines.append(f"{indent}{self._output(output)}")
        return "\n".join([*lines, *self.tail.splitlines()])

    def _head(self) -> str:
        return self.head

    def _call(self, call: Call) -> list[str]:
        raise NotImplementedError

    def _properties(self, call: Call) -> list[str]:
        """The lines of all properties of a call."""
        lines = []
        for each in call.given:
            lines += self._property(each)
        return lines

    def _property(self, given: Given) -> list[str]:
        raise NotImplementedError

    def _output(self, output: Output) -> str:
        raise NotImplementedError

    def _reference(self, given: Reference) -> str:
        raise NotImplementedError

    def _object(self, name: str, values: Pairs) -> str:
        raise NotImplementedError

    def _value(self, given: Any, kind: Mapping[str, Any]) -> str:
        """A value that is no list."""
        if isinstance(given, Reference):
            return self._reference(given)
        if not isinstance(given, dict):
            return self._scalar(given, kind)
        name = kind["$ref"].rpartition(":")[2]
        types = self._types[token(name)]["properties"]
        values = {}
        for key, each in given.items():
            values[key] = self._value(each, types[key])
        return self._object(name, values.items())

    def _values(self, given: Given) -> list[str]:
        return [self._value(each, given.item) for each in given.value]

    def _scalar(self, given: Any, _kind: Mapping[str, Any]) -> str:
        return json.dumps(given)

    def _said(self, comment: str, space: str = " ") -> str:
        """A comment behind a line."""
        return f"{space}{self.mark} {comment}" if comment else ""


class _TypeScript(_Language):
    name = "typescript"
    head = """\
import * as pulumi from "@pulumi/pulumi";
import * as squarecloud from "pulumi-squarecloud";

"""

    def _call(self, call: Call) -> list[str]:
        made = f"const {call.name} = squarecloud.{call.what}Output("
        if call.title:
            made = f'const {call.name} = new squarecloud.{call.what}("{call.title}", '
        if not call.given:
            return [f"{made});"]
        return [f"{made}{{", *self._properties(call), "});"]

    def _property(self, given: Given) -> list[str]:
        if isinstance(given.value, list):
            value = f"[{', '.join(self._values(given))}]"
        else:
            value = self._value(given.value, given.type)
        return [f"    {given.name}: {value},{self._said(given.comment)}"]

    def _output(self, output: Output) -> str:
        value = self._reference(output.value)
        return f"export const {output.name} = {value};{self._said(output.comment)}"

    def _reference(self, given: Reference) -> str:
        if given.is_config:
            return f'new pulumi.Config().requireSecret("{given.path[0]}")'
        return ".".join(given.path)

    def _object(self, _name: str, values: Pairs) -> str:
        return f"{{ {', '.join(f'{key}: {value}' for key, value in values)} }}"


class _Python(_Language):
    name = "python"
    mark = "#"
    head = """\
import pulumi
import pulumi_squarecloud as squarecloud

"""

    def _call(self, call: Call) -> list[str]:
        what = call.what if call.title else f"{_snake(call.what)}_output"
        made = f"{call.name} = squarecloud.{what}("
        lines = [f'    "{call.title}",'] if call.title else []
        lines += self._properties(call)
        return [made, *lines, ")"] if lines else [f"{made})"]

    def _property(self, given: Given) -> list[str]:
        name = f"    {_snake(given.name)}="
        if not isinstance(given.value, list):
            line = f"{name}{self._value(given.value, given.type)},"
        else:
            line = f"{name}[{', '.join(self._values(given))}],"
            if len(line) > LONGEST:
                values = [f"        {each}," for each in self._values(given)]
                return [f"{name}[", *values, "    ],"]
        whole = line + self._said(given.comment, "  ")
        if len(whole) <= LONGEST:
            return [whole]
        return [f"    # {given.comment}", line]

    def _output(self, output: Output) -> str:
        value = self._reference(output.value)
        said = self._said(output.comment, "  ")
        return f'pulumi.export("{output.name}", {value}){said}'

    def _reference(self, given: Reference) -> str:
        if given.is_config:
            return f'pulumi.Config().require_secret("{given.path[0]}")'
        return ".".join([given.path[0], *map(_snake, given.path[1:])])

    def _object(self, name: str, values: Pairs) -> str:
        given = ", ".join(f"{_snake(key)}={value}" for key, value in values)
        return f"squarecloud.{name}Args({given})"

    def _scalar(self, given: Any, _kind: Mapping[str, Any]) -> str:
        return str(given) if isinstance(given, bool) else json.dumps(given)


class _Go(_Language):
    name = "go"
    indent = "\t\t"
    head = """\
package main

import (
	"github.com/pulumi/pulumi/sdk/v3/go/pulumi"
	// in: CONFIG
	"github.com/pulumi/pulumi/sdk/v3/go/pulumi/config"
	// in: all
	GO_MODULE
)

func main() {
	pulumi.Run(func(ctx *pulumi.Context) error {
"""
    tail = """\
		// in: all
		return nil
	})
}
"""

    def _head(self) -> str:
        head = self.head.replace("GO_MODULE", IMPORTS["go"].removeprefix("import "))
        return head.replace("CONFIG", self._tour.marks_of_config)

    def _call(self, call: Call) -> list[str]:
        what = _capital(call.what)
        lines = self._properties(call)
        if call.title:
            made = (
                f'squarecloud.New{what}(ctx, "{call.title}", &squarecloud.{what}Args{{'
            )
            failed = ["if err != nil {", "\treturn err", "}"]
            return [f"{call.name}, err := {made}", *lines, "})", *failed]
        made = f"{call.name} := squarecloud.{what}Output(ctx"
        if not lines:
            return [f"{made})"]
        return [f"{made}, squarecloud.{what}OutputArgs{{", *lines, "})"]

    def _property(self, given: Given) -> list[str]:
        name = f"\t{_capital(given.name)}: "
        said = self._said(given.comment)
        if not isinstance(given.value, list):
            return [f"{name}{self._value(given.value, given.type)},{said}"]
        if given.is_list_of_objects:
            kind = given.item["$ref"].rpartition(":")[2]
            values = [f"\t\t{each}," for each in self._values(given)]
            return [f"{name}squarecloud.{kind}Array{{", *values, "\t},"]
        kind = "StringArray" if given.item.get("type") == "string" else "Array"
        values = self._values(given)
        return [f"{name}pulumi.{kind}{{{', '.join(values)}}},{said}"]

    def _output(self, output: Output) -> str:
        value = self._reference(output.value)
        return f'ctx.Export("{output.name}", {value}){self._said(output.comment)}'

    def _reference(self, given: Reference) -> str:
        if given.is_config:
            return f'config.RequireSecret(ctx, "{given.path[0]}")'
        call = "()" if given.is_result else ""
        names = [f"{_capital(each)}{call}" for each in given.path[1:]]
        return ".".join([given.path[0], *names])

    def _object(self, name: str, values: Pairs) -> str:
        given = ", ".join(f"{_capital(key)}: {value}" for key, value in values)
        return f"&squarecloud.{name}Args{{{given}}}"

    def _scalar(self, given: Any, kind: Mapping[str, Any]) -> str:
        names = {"boolean": "Bool", "integer": "Int", "number": "Float64"}
        return (
            f"pulumi.{names.get(kind.get('type', ''), 'String')}({json.dumps(given)})"
        )


class _CSharp(_Language):
    name = "csharp"
    indent = "    "
    indent_of_outputs = "        "
    head = """\
using System.Collections.Generic;
using Pulumi;
using PulumiSnapshots.SquareCloud;
using PulumiSnapshots.SquareCloud.Inputs;

return await Deployment.RunAsync(() =>
{
"""
    before_outputs = (
        "    // in: all",
        "",
        "    return new Dictionary<string, object?>",
        "    {",
    )
    tail = """\
    // in: all
    };
});
"""

    def _call(self, call: Call) -> list[str]:
        what = _capital(call.what)
        lines = self._properties(call)
        if call.title:
            made = f'var {call.name} = new {what}("{call.title}", new {what}Args'
            return [made, "{", *lines, "});"]
        made = f"var {call.name} = {what}.Invoke("
        if not lines:
            return [f"{made});"]
        return [f"{made}new {what}InvokeArgs", "{", *lines, "});"]

    def _property(self, given: Given) -> list[str]:
        name = f"    {_capital(given.name)} ="
        said = self._said(given.comment)
        if not isinstance(given.value, list):
            return [f"{name} {self._value(given.value, given.type)},{said}"]
        if given.is_list_of_objects:
            values = [f"        {each}," for each in self._values(given)]
            return [name, "    {", *values, "    },"]
        return [f"{name} {{ {', '.join(self._values(given))} }},{said}"]

    def _output(self, output: Output) -> str:
        value = self._reference(output.value)
        return f'["{output.name}"] = {value},{self._said(output.comment)}'

    def _reference(self, given: Reference) -> str:
        name, *others = given.path
        if given.is_config:
            return f'new Config().RequireSecret("{name}")'
        if given.is_result:
            return (
                f"{name}.Apply(found => {'.'.join(['found', *map(_capital, others)])})"
            )
        return ".".join([name, *map(_capital, others)])

    def _object(self, name: str, values: Pairs) -> str:
        given = ", ".join(f"{_capital(key)} = {value}" for key, value in values)
        return f"new {name}Args {{ {given} }}"


class _Java(_Language):
    name = "java"
    indent = "        "
    head = f"""\
import com.pulumi.Context;
import com.pulumi.Pulumi;
{IMPORTS["java"]}
{IMPORTS["java"].replace("*", "inputs.*")}

public class App {{
    public static void main(String[] args) {{
        Pulumi.run(App::stack);
    }}

    private static void stack(Context ctx) {{
"""
    tail = """\
    // in: all
    }
}
"""

    def _call(self, call: Call) -> list[str]:
        what = _capital(call.what)
        lines = self._properties(call)
        if call.title:
            made = f'var {call.name} = new {what}("{call.title}", '
        else:
            made = f"var {call.name} = SquarecloudFunctions.{call.what}("
        if not lines:
            return [f"{made});"]
        return [f"{made}{what}Args.builder()", *lines, "    .build());"]

    def _property(self, given: Given) -> list[str]:
        name = f"    .{given.name}("
        said = self._said(given.comment)
        if not isinstance(given.value, list):
            return [f"{name}{self._value(given.value, given.type)}){said}"]
        values = self._values(given)
        if given.is_list_of_objects:
            *first, last = [f"        {each}" for each in values]
            return [name, *(f"{each}," for each in first), f"{last})"]
        return [f"{name}{', '.join(values)}){said}"]

    def _output(self, output: Output) -> str:
        value = self._reference(output.value)
        return f'ctx.export("{output.name}", {value});{self._said(output.comment)}'

    def _reference(self, given: Reference) -> str:
        name, *others = given.path
        if given.is_config:
            return f'ctx.config().requireSecret("{name}")'
        calls = "".join(f".{each}()" for each in others)
        return (
            f"{name}.applyValue(found -> found{calls})"
            if given.is_result
            else f"{name}{calls}"
        )

    def _object(self, name: str, values: Pairs) -> str:
        given = "".join(f".{key}({value})" for key, value in values)
        return f"{name}Args.builder(){given}.build()"

    def _scalar(self, given: Any, kind: Mapping[str, Any]) -> str:
        is_whole = kind.get("type") == "number" and isinstance(given, int)
        return f"{given}.0" if is_whole else json.dumps(given)


def page() -> str:
    """Return what the file has to hold."""
    tour = _Source((TOUR / "Pulumi.yaml").read_text()).tour()
    ways: list[type[_Language]] = [_TypeScript, _Python, _Go, _CSharp, _Java]
    blocks = [f"\n```{way.name}\n{way(tour).program()}\n```\n" for way in ways]
    return HEAD + "".join(blocks)


def main() -> None:
    """Write the file."""
    FILE.write_text(page())


if __name__ == "__main__":
    main()
