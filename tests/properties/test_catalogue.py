"""One catalogue: a class, a lookup, a setting and an error have the same properties, with the same types and meanings."""

import ast
import inspect
import re
import subprocess
import sys
from datetime import datetime
from typing import Any, get_args, get_origin

import pulumi
import pytest
from pulumi._types import resource_types

import pulumi_snapshots
from pulumi_snapshots import plugin
from pulumi_snapshots.plugin.description.package import RESOURCE_KINDS, ResourceKind
from pulumi_snapshots.properties.catalogue import (
    Bytes,
    Moment,
    Property,
    in_camel,
    record_in,
)
from pulumi_snapshots.run.calls import Rules
from pulumi_snapshots.run.settings import Settings
from tools import declarations

OF_PROGRAMS = {"self", "resource_name", "opts", "snapshot"}
"""Parameters of the classes that are no inputs: a `snapshot` becomes some."""
KINDS_BY_NAME = {kind.schema.name: kind for kind in RESOURCE_KINDS.values()}
each_kind = pytest.mark.parametrize(
    ("name", "kind"), KINDS_BY_NAME.items(), ids=KINDS_BY_NAME
)


def parameters(function: Any) -> set[str]:
    return set(inspect.signature(function).parameters) - OF_PROGRAMS


@each_kind
def test_inputs_are_those_of_both_classes(name: str, kind: ResourceKind) -> None:
    declared = set(kind.schema.inputs.properties())
    for package in (pulumi_snapshots, plugin):
        given = parameters(getattr(package, name).__init__)
        assert given <= declared
        # The others come with the snapshot.
        assert declared - given <= {"name", "runtime", "size", "created_at"}


@each_kind
def test_outputs_are_those_of_both_classes(name: str, kind: ResourceKind) -> None:
    """Their types stand in a file for type checkers and editors."""
    outputs = kind.schema.outputs
    declared = {
        each.target.id: ast.unparse(each.annotation)
        for each in declaration_of(name).body
        if isinstance(each, ast.AnnAssign) and isinstance(each.target, ast.Name)
    }
    assert declared.keys() >= {
        each
        for each, one in kind.schema.record.properties().items()
        if not one.internal
    }
    assert declared == {
        each: f"pulumi.Output[{python_type(outputs[each], seen=kind.schema.seen(outputs[each]))}]"
        for each in declared
    }
    for package in (pulumi_snapshots, plugin):
        assert set(getattr(package, name)._outputs) == declared.keys()


@each_kind
@pytest.mark.parametrize(
    "package", [pulumi_snapshots, plugin], ids=["dynamic", "plugin"]
)
def test_a_program_reads_whole_numbers(
    package: Any, name: str, kind: ResourceKind
) -> None:
    """The engine returns floats, and the SDK converts those that the class itself says so of, by the engine's names."""
    class_ = getattr(package, name)
    numbers = {
        each if package is pulumi_snapshots else in_camel(each)
        for each in class_._outputs
        if kind.schema.outputs[each].type in {int, Bytes}
    }
    types = resource_types(class_)
    assert numbers == {each for each in numbers if types.get(each) is int}


@each_kind
@pytest.mark.parametrize(
    "package", [pulumi_snapshots, plugin], ids=["dynamic", "plugin"]
)
def test_a_wrong_argument_names_the_class_that_the_user_wrote(
    package: Any, name: str, kind: ResourceKind
) -> None:
    written = getattr(package, name)
    right = min(
        each
        for each in parameters(written.__init__) & set(kind.schema.inputs.properties())
        if "_" in each
    )
    for wrong in (in_camel(right), right.replace("_", "")):
        with pytest.raises(TypeError) as raised:
            written("x", **{wrong: 1})
        # The engine's language host shows a RunError without a traceback, so the text names the line.
        assert isinstance(raised.value, pulumi.RunError)
        line = r"\(test_catalogue\.py, line \d+\)"
        assert re.fullmatch(
            rf"{name}: there is no argument '{wrong}'; did you mean '{right}'\? {line}",
            str(raised.value),
        )
    with pytest.raises(
        TypeError,
        match=f"^{name}: there is no argument 'zzz'; its arguments are resource_name, .*timeout, .*opts \\(",
    ):
        written("x", zzz=1)
    with pytest.raises(TypeError, match=f"^{name}: missing a required argument"):
        written()


@pytest.mark.parametrize(
    ("package", "wrong", "meant"),
    [
        ("pulumi_snapshots", "atleast", "at_least"),
        ("pulumi_snapshots.plugin", "match", "matches"),
    ],
)
def test_a_wrong_argument_of_a_check_names_the_right_one(
    package: str, wrong: str, meant: str
) -> None:
    """In a program of its own, which has loaded nothing but the check yet."""
    program = f"from {package} import Check\nCheck('select 1', {wrong}=3)"
    ended = subprocess.run(  # noqa: S603  this very interpreter
        [sys.executable, "-c", program], capture_output=True, text=True, check=False
    )
    assert (
        f"Check: there is no argument '{wrong}'; did you mean '{meant}'? ("
        in ended.stderr
    )


@pytest.mark.parametrize(
    "package", [pulumi_snapshots, plugin], ids=["dynamic", "plugin"]
)
def test_a_programs_own_subclass_keeps_what_it_says_for_itself(package: Any) -> None:
    class Nightly(package.Snapshot):  # type: ignore[misc]
        """Ours."""

        kept: list[str] = []  # noqa: RUF012  only looked at

        def __init__(self, name: str) -> None:
            self.kept.append(name)

    class Renamed(package.Snapshot):  # type: ignore[misc]
        pass

    Nightly("before-release")
    assert Nightly.kept == ["before-release"]
    assert Nightly.__doc__ == "Ours."
    assert Renamed.__doc__ == package.Snapshot.__doc__
    with pytest.raises(
        TypeError,
        match=r"^Renamed: there is no argument 'trigger'; did you mean 'triggers'\?",
    ):
        Renamed("x", trigger=1)


@each_kind
def test_the_class_says_of_each_input_what_the_catalogue_says(
    name: str, kind: ResourceKind
) -> None:
    doc = inspect.getdoc(getattr(pulumi_snapshots, name)) or ""
    assert doc.startswith(kind.schema.doc)
    assert arguments_in(doc) == {
        each: kind.schema.inputs.properties()[each].description
        for each in parameters(getattr(pulumi_snapshots, name).__init__)
    }


def declaration_of(name: str) -> ast.ClassDef:
    """The class as type checkers read it."""
    body = ast.parse(declarations.FILE.read_text()).body
    (found,) = [
        each for each in body if isinstance(each, ast.ClassDef) and each.name == name
    ]
    return found


def test_type_checkers_read_what_the_definitions_say() -> None:
    assert declarations.FILE.read_text() == declarations.declarations(), (
        "`make generated` writes it"
    )


@each_kind
def test_type_checkers_read_what_a_program_may_give(
    name: str, kind: ResourceKind
) -> None:
    made = getattr(pulumi_snapshots, name)
    (init,) = [
        each
        for each in declaration_of(name).body
        if isinstance(each, ast.FunctionDef) and each.name == "__init__"
    ]
    wanted = inspect.signature(made.__init__).parameters
    assert [each.arg for each in (*init.args.args, *init.args.kwonlyargs)] == [*wanted]
    by_name = [each.arg for each in init.args.kwonlyargs]
    assert by_name == [
        each.name for each in wanted.values() if each.kind is each.KEYWORD_ONLY
    ]
    assert not by_name or kind.schema.positional == ()


def python_type(each: Property, *, seen: bool) -> str:
    kinds = {Bytes: "int", Moment: "str", datetime: "str"}
    kind = (
        "dict[str, Any]"
        if record_in(each.type)
        else kinds.get(each.type, getattr(each.type, "__name__", ""))
    )
    if get_origin(each.type) is list:
        item = getattr(get_args(each.type)[0], "__name__", "Any")
        kind = f"list[{kind if record_in(each.type) else item}]"
    return kind if seen else f"{kind} | None"


def arguments_in(doc: str) -> dict[str, str]:
    """What a docstring says of each argument, but for those that are no properties."""
    section = re.split(r"\n\n", doc.partition("Args:\n")[2])[0]
    found = dict(
        re.findall(r"^    (\w+): (.*(?:\n        .*)*)", section, re.MULTILINE)
    )
    texts = {
        name: " ".join(text.split())
        for name, text in found.items()
        if name not in OF_PROGRAMS
    }
    return {name: text[0].upper() + text[1:] for name, text in texts.items()}


@each_kind
def test_each_input_is_checked_as_what_it_is_described_as(
    name: str, kind: ResourceKind
) -> None:
    """A value that no input may have is told on its property, whichever it is."""
    inputs = kind.schema.inputs
    checked = {
        problem.property
        for input_ in inputs.properties()
        for problem in inputs.problems({input_: object()})
    }
    assert checked >= set(inputs.properties()), name


def test_settings_are_those_of_the_provider_class() -> None:
    assert parameters(plugin.Provider.__init__) == set(Settings.properties())
    assert set(arguments_in(inspect.getdoc(plugin.Provider) or "")) == set(
        Settings.properties()
    )
    [init] = [
        each
        for each in declaration_of("Provider").body
        if isinstance(each, ast.FunctionDef)
    ]
    for each in init.args.kwonlyargs:
        if each.arg in Settings.properties():
            kind = "int" if Settings.properties()[each.arg].type is int else "str"
            assert each.annotation is not None
            assert ast.unparse(each.annotation) == f"pulumi.Input[{kind}] | None"


def test_every_rule_has_a_resource() -> None:
    assert {type(kind.rules) for kind in RESOURCE_KINDS.values()} == set(
        Rules.__subclasses__()
    )
