"""Imports point down only, time has one source, and a program that looks up nothing loads no HTTP stack."""

import ast
import graphlib
import re
import subprocess
import sys
from collections import defaultdict
from collections.abc import Callable, Collection, Iterator
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import assert_type

import pulumi
import pytest

import pulumi_snapshots
import pulumi_snapshots.plugin
from pulumi_snapshots.resources import RESOURCES, room_of

ROOT = Path(__file__).parent.parent
PACKAGE = ROOT / "pulumi_snapshots"
EMULATOR_PACKAGE = ROOT / "squarecloud_emulator"
FILES = sorted(PACKAGE.rglob("*.py"))
EMULATOR_FILES = sorted(EMULATOR_PACKAGE.rglob("*.py"))
ROOM = 12
"""Files in one folder, beside its `__init__.py`: more than that, and nobody finds one at a glance."""

APART = {("archive", "restore")}
"""A resource may use those before it in the list, but these do not."""
LAYERS = (
    "top",
    "cli",
    ("dynamic", "plugin"),
    "program",
    "engine",
    *(room_of(name) for name in reversed(RESOURCES) if name != "Snapshot"),
    ("guard", "probe", "databases"),
    "lookup",
    "snapshot",
    "run",
    ("listing", "hosts"),
    "service",
    "ledger",
    "storage",
    "properties",
    ("stopping", "errors"),
    ("clock", "first_use", "late", "resources", "state_directory"),
)
"""From the top down: each room imports from those below its own floor only; rooms of one floor do not know each other."""

FLOOR = {
    room: number
    for number, floor in enumerate(LAYERS)
    for room in ((floor,) if isinstance(floor, str) else floor)
}

EMULATOR = {
    "data": set[str](),
    "service": {"data"},
    "wire": {"data", "service"},
    "control": {"data", "service"},
}
"""What each folder of the emulator may import beside itself; the files above them may import all."""

LATE = {"cli/__main__.py"}  # it says which extra is missing
"""Files with an import inside a function; all others go by the one door, `late.py`."""

# the one source of time; sleeps in a thread of its own, without an event loop
TIME = {"clock.py", "engine/process.py"}
"""Files that may ask the machine for the time, or sleep."""

PULUMI = {"top", "program", "engine", "dynamic", "plugin"}
"""Parts that may know of Pulumi."""


def part_of(file: Path) -> str:
    first = file.relative_to(PACKAGE).parts[0]
    return "top" if first == "__init__.py" else first.removesuffix(".py")


@cache
def tree_of(file: Path) -> ast.Module:
    """What a file says; many rules ask, and it is read once."""
    return ast.parse(file.read_text())


@cache
def nodes(file: Path) -> tuple[ast.AST, ...]:
    """All that it consists of."""
    return tuple(ast.walk(tree_of(file)))


@pytest.fixture(scope="module", autouse=True)
def _forgotten() -> Iterator[None]:
    """What was read takes 50 MB, and no later test needs it."""
    yield
    tree_of.cache_clear()
    nodes.cache_clear()


@cache
def imports(file: Path, *, typing_too: bool = False) -> tuple[str, ...]:
    """Full names of the modules and names that a file imports, at its top and inside functions."""
    return tuple(_imports(tree_of(file), typing_too=typing_too))


def _imports(node: ast.AST, *, typing_too: bool) -> Iterator[str]:
    for child in ast.iter_child_nodes(node):
        if (
            isinstance(child, ast.If)
            and _is_named(child.test, "TYPE_CHECKING")
            and not typing_too
        ):
            continue
        if isinstance(child, ast.Import):
            yield from (alias.name for alias in child.names)
        elif isinstance(child, ast.ImportFrom):
            assert child.level == 0, "imports name the whole module"
            yield from (f"{child.module}.{alias.name}" for alias in child.names)
        elif isinstance(child, ast.Call) and _is_named(child.func, "late"):
            yield from (f"pulumi_snapshots.{name}" for name in _late(child.args[0]))
        else:
            yield from _imports(child, typing_too=typing_too)


def _late(argument: ast.AST) -> list[str]:
    """What a late import may load: without the room in its text, that of any resource."""
    text = argument.values[0] if isinstance(argument, ast.JoinedStr) else argument
    if isinstance(text, ast.Constant):
        return [str(text.value).replace(":", ".")]
    return [where.replace(":", ".") for where in RESOURCES.values()]


def _is_named(node: ast.AST, name: str) -> bool:
    return isinstance(node, ast.Name) and node.id == name


def module_of(file: Path) -> str:
    return ".".join(file.relative_to(ROOT).with_suffix("").parts).removesuffix(
        ".__init__"
    )


def imported(name: str, modules: Collection[str]) -> str | None:
    """The module of `modules` that an import of `name` needs: itself, or the one that defines it."""
    return next(
        (module for module in (name, name.rpartition(".")[0]) if module in modules),
        None,
    )


def each_file(
    files: list[Path] = FILES,
) -> Callable[[Callable[[Path], None]], Callable[[], None]]:
    """Let a rule of one file be one test of them all, that names each file which breaks it."""

    def of_all(rule: Callable[[Path], None]) -> Callable[[], None]:
        def test() -> None:
            broken = []
            for file in files:
                try:
                    rule(file)
                except AssertionError as error:
                    broken.append(f"{file.relative_to(ROOT)}: {error}")
            assert not broken, "\n".join(broken)

        return test

    return of_all


@each_file()
def test_imports_point_down_only(file: Path) -> None:
    part = part_of(file)
    for name in imports(file, typing_too=True):
        if name.startswith("pulumi_snapshots."):
            other = name.split(".")[1]
            if other not in FLOOR and file == PACKAGE / "plugin" / "__init__.py":
                continue  # it offers the names of the top
            is_below = FLOOR[other] > FLOOR[part] and (part, other) not in APART
            assert other == part or is_below, f"{part} must not import {name}"


@cache
def needed() -> dict[str, set[str]]:
    """The modules that each module imports; those for type checkers count too, since a reader follows them like any other."""
    files = {module_of(file): file for file in FILES}
    return {
        module: {
            found
            for name in imports(file, typing_too=True)
            if (found := imported(name, files)) is not None
        }
        for module, file in files.items()
    }


@pytest.mark.parametrize(
    "room", sorted({module_of(file).rpartition(".")[0] for file in FILES} - {""})
)
def test_no_two_parts_of_a_room_need_each_other(room: str) -> None:
    """A part is a file, or a folder with all that is in it; that rooms do not need each other follows from their floors."""

    def part(module: str) -> str:
        return module.removeprefix(f"{room}.").partition(".")[0]

    parts = defaultdict[str, set[str]](set)
    for module, others in needed().items():
        if module.startswith(f"{room}."):
            parts[part(module)] |= {
                part(each) for each in others if each.startswith(f"{room}.")
            } - {part(module)}
    try:
        graphlib.TopologicalSorter(parts).prepare()
    except graphlib.CycleError as error:
        pytest.fail(" imports ".join(reversed(error.args[1])))


@pytest.mark.parametrize(
    "folder",
    sorted({file.parent for file in (*FILES, *EMULATOR_FILES)}),
    ids=lambda folder: folder.name,
)
def test_no_room_has_more_than_a_dozen_files(folder: Path) -> None:
    assert (
        len([file for file in folder.glob("*.py") if file.name != "__init__.py"])
        <= ROOM
    )


@each_file(EMULATOR_FILES)
def test_the_emulator_knows_nothing_of_the_provider_and_its_imports_point_down(
    file: Path,
) -> None:
    folder = file.relative_to(EMULATOR_PACKAGE).parts[0]
    for name in imports(file, typing_too=True):
        assert not name.startswith("pulumi_snapshots"), (
            f"the emulator must not import {name}"
        )
        if name.startswith("squarecloud_emulator.") and folder in EMULATOR:
            assert name.split(".")[1] in {folder, *EMULATOR[folder]}, (
                f"{folder} must not import {name}"
            )


@each_file()
def test_the_provider_knows_nothing_of_the_emulator(file: Path) -> None:
    assert not [
        name
        for name in imports(file, typing_too=True)
        if name.startswith("squarecloud_emulator")
    ]


@each_file()
def test_what_is_loaded_late_goes_by_one_door(file: Path) -> None:
    functions = [
        node
        for node in nodes(file)
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    ]
    inside = [
        node
        for each in functions
        for node in ast.walk(each)
        if isinstance(node, ast.Import | ast.ImportFrom)
    ]
    assert bool(inside) == (str(file.relative_to(PACKAGE)) in LATE)
    # A store's library is loaded by its name, once an archive goes to such a store.
    assert ("import_module" in file.read_text()) == (
        str(file.relative_to(PACKAGE))
        in {
            "late.py",
            "run/settings.py",
            "storage/buckets.py",
            "storage/credentials.py",
            "storage/encryption.py",
        }
    )


@each_file()
def test_the_core_knows_nothing_of_pulumi(file: Path) -> None:
    if part_of(file) not in PULUMI:
        assert not [
            name
            for name in imports(file, typing_too=True)
            if name.split(".")[0] in {"pulumi", "grpc"}
        ]


@each_file()
def test_the_core_gives_no_advice_in_an_edge_s_words(file: Path) -> None:
    """Each edge words the next steps, so that no text is rewritten after it was made."""
    if part_of(file) in {*PULUMI, "cli"} or file.name == "pages.py":
        return  # one command explains errors, whichever edge shows them
    bodies = [
        body
        for node in nodes(file)
        if isinstance(body := getattr(node, "body", None), list)
    ]
    docs = {
        id(each.value) for body in bodies for each in body if isinstance(each, ast.Expr)
    }
    for node in nodes(file):
        if (
            isinstance(node, ast.Constant)
            and isinstance(node.value, str)
            and id(node) not in docs
        ):
            assert not re.search(
                r"`pulumi [a-z]+|pulumi config|--replace|Snapshot\.get|squarecloud-snapshots \w",
                node.value,
            )


@each_file()
def test_http_is_spoken_in_two_rooms(file: Path) -> None:
    """Mentions in types are allowed: whoever builds a client may be handed a transport."""
    if part_of(file) not in {"service", "hosts"}:
        assert not [name for name in imports(file) if name.split(".")[0] == "httpx"]


@each_file()
def test_time_comes_from_the_clock(file: Path) -> None:
    if str(file.relative_to(PACKAGE)) in TIME:
        return
    assert not [name for name in imports(file) if name.split(".")[0] == "time"]
    for node in nodes(file):
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
            assert f"{node.value.id}.{node.attr}" not in {
                *(
                    "anyio.current_time",
                    "anyio.sleep",
                    "anyio.sleep_until",
                    "asyncio.sleep",
                    "trio.sleep",
                ),
                *(
                    "datetime.now",
                    "datetime.utcnow",
                    "datetime.today",
                    "date.today",
                    "time.time",
                    "time.sleep",
                ),
            }


def test_the_top_holds_names_and_nothing_else() -> None:
    tree = tree_of(PACKAGE / "__init__.py")
    typed = [node for node in tree.body if isinstance(node, ast.If)]
    assert [ast.unparse(node.test) for node in typed] == [
        "TYPE_CHECKING",
        "not TYPE_CHECKING",
    ]
    assert all(
        isinstance(node, ast.Expr | ast.ImportFrom | ast.Assign | ast.If)
        for node in tree.body
    )
    assert all(isinstance(node, ast.ImportFrom) for node in typed[0].body)
    # What this loads comes before all that handles ^C.
    assert imports(PACKAGE / "late.py") == (
        "__future__.annotations",
        "importlib.import_module",
    )


def test_each_public_name_is_what_type_checkers_take_it_for() -> None:
    typed, _ = [
        node
        for node in tree_of(PACKAGE / "__init__.py").body
        if isinstance(node, ast.If)
    ]
    homes = {
        name.name: node.module
        for node in typed.body
        if isinstance(node, ast.ImportFrom)
        for name in node.names
    }
    # Of the resources and lookups there is nothing but what type checkers read.
    assert homes.pop("*") == "pulumi_snapshots.program.resources"
    declared = ast.parse((PACKAGE / "program" / "resources.pyi").read_text())
    [exported] = [each for each in declared.body if isinstance(each, ast.Assign)]
    names = ast.literal_eval(exported.value)
    assert sorted([*homes, *names]) == dir(pulumi_snapshots)
    for name, home in homes.items():
        here = getattr(pulumi_snapshots, name)
        typed_as = getattr(import_module(str(home)), name)
        assert here is typed_as or issubclass(here, typed_as)
    with pytest.raises(
        AttributeError, match="'pulumi_snapshots' has no attribute 'Snapshots'"
    ):
        pulumi_snapshots.Snapshots  # type: ignore[attr-defined]  # noqa: B018  what a misspelt name gets


def types_that_programs_see() -> None:
    """Types, which mypy compares when it checks this file: nothing calls this."""
    assert_type(pulumi_snapshots.Snapshot("a", "b").version_id, pulumi.Output[str])
    assert_type(
        pulumi_snapshots.plugin.Snapshot("a", "b").version_id, pulumi.Output[str]
    )
    assert_type(
        pulumi_snapshots.plugin.get_databases(), list[pulumi_snapshots.DatabaseInfo]
    )


LOADED = """
import sys
{program}
print(*sys.modules)
"""
EVERYTHING = "import pulumi_snapshots; [getattr(pulumi_snapshots, name) for name in pulumi_snapshots.__all__]"
PROVIDERS = ", ".join(
    f"pulumi_snapshots.dynamic.{each}" for each in ("provider", "run")
)
SERVERS = {"squarecloud_emulator", "starlette", "uvicorn"}
HTTP = {"httpx", "httpcore", "pydantic", "pydantic_core", "trio", "obstore", *SERVERS}
OTHERS = {*map(room_of, RESOURCES)} - {"snapshot"}
ROOMS = {f"pulumi_snapshots.{each}" for each in (*OTHERS, "guard", "lookup")}
PROCESSES = {
    "a dynamic provider": (f"{EVERYTHING}; import {PROVIDERS}", HTTP),
    "a plugin": ("import pulumi_snapshots.plugin.protocol.server", HTTP),
    "the command line": ("import pulumi_snapshots.cli.commands", {"pulumi", "grpc"}),
    "the command line before it can tell of ^C": (
        "import pulumi_snapshots.cli.__main__",
        {"typing", "collections"},
    ),
    "an emulator": ("import squarecloud_emulator.app", {"pulumi", "grpc"}),
    "a session": (
        "import pulumi_snapshots.run.session",
        {"starlette", "uvicorn", "obstore"},
    ),
    "a check": (
        "import pulumi_snapshots.databases.database",
        {"psycopg", "pymysql", "pymongo", "bson", "redis"},
    ),
    "a program with one resource": ("from pulumi_snapshots import Snapshot", ROOMS),
    "a program with a restore": (
        "from pulumi_snapshots import Restore",
        ROOMS - {"pulumi_snapshots.restore"},
    ),
    "a program with one resource of the plugin": (
        "from pulumi_snapshots.plugin import Snapshot",
        {*ROOMS, "sqlite3"},
    ),
}
"""What each process has loaded before it sends a request, and what it must not: a preview, and an `up` without a change, never
send one, and a program loads only the resources that it declares."""


def loaded_by(program: str) -> set[str]:
    code = LOADED.format(program=program)
    done = subprocess.run(  # noqa: S603  this very interpreter
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=True,
        cwd=ROOT,
    )
    return set(done.stdout.split())


@pytest.mark.parametrize(("program", "unwanted"), PROCESSES.values(), ids=PROCESSES)
def test_a_process_loads_what_it_needs_and_nothing_else(
    program: str, unwanted: set[str]
) -> None:
    assert not loaded_by(program) & unwanted


def test_the_plugin_s_process_loads_the_protocol_and_nothing_else_of_the_sdk() -> None:
    serve = "from pulumi_snapshots.plugin.serve import leave_out_the_sdk; leave_out_the_sdk()"
    loaded = loaded_by(f"{serve}; import pulumi_snapshots.plugin.protocol.server")
    around = {"pulumi", "pulumi.runtime", "pulumi.runtime.proto"}
    assert "pulumi.runtime.proto.provider_pb2" in loaded
    assert {
        name
        for name in loaded
        if name.partition(".")[0] == "pulumi"
        and not name.endswith(("_pb2", "_pb2_grpc"))
    } == around
    assert not {"opentelemetry", "yaml", "dill"} & loaded
    # What it loads late must be content with that, too.
    plugin = PACKAGE / "plugin"
    for each in (
        *plugin.glob("protocol/*.py"),
        *plugin.glob("description/*.py"),
        plugin / "wire.py",
        plugin / "serve.py",
    ):
        own = [
            name
            for name in imports(each, typing_too=True)
            if name.split(".")[0] == "pulumi"
        ]
        assert all(name.startswith("pulumi.runtime.proto") for name in own), each
