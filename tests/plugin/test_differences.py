"""The differences between the two ways that docs/plugin.md lists: each is held by tests, and no other is listed."""

from __future__ import annotations

import ast
import re
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pulumi
import pytest
from google.protobuf.struct_pb2 import Struct
from pulumi.runtime.proto import provider_pb2

import pulumi_snapshots
from pulumi_snapshots import plugin
from pulumi_snapshots.plugin.protocol.engine import Callbacks
from pulumi_snapshots.plugin.protocol.servicer import Plugin
from pulumi_snapshots.plugin.wire import is_secret
from pulumi_snapshots.program import lookups
from tests.support.virtual import virtual
from tests.support.world import DATABASE, world

if TYPE_CHECKING:
    from types import ModuleType

PROJECT = Path(__file__).parents[2]
HERE = "tests/plugin/test_differences.py::"
PROTOCOL = "tests/plugin/protocol/test_protocol.py::"
LIFECYCLE = "tests/dynamic/test_lifecycle.py::"
PROGRAMS = "tests/dynamic/test_lookups_in_programs.py::"
ENGINE = "tests/engine/test_engine_"
PARITY = f"{ENGINE}parity.py::test_both_ways_do_the_same"

TESTS = {
    "languages": {
        f"{ENGINE}up.py::test_no_further_up_takes_another_snapshot_unasked",
        f"{ENGINE}yaml.py::test_a_yaml_program_takes_a_snapshot_and_archives_it",
        f"{ENGINE}languages.py::test_the_typescript_example_runs_with_the_installed_plugin",
        f"{ENGINE}languages.py::test_the_go_example_runs",
    },
    "type in the state": {
        f"{HERE}test_each_way_has_types_of_its_own",
        f"{ENGINE}plugin.py::test_a_changed_import_line_takes_no_snapshot_again",
    },
    "`pulumi import`": {
        f"{ENGINE}habits.py::test_a_failure_stops_only_what_depends_on_it",
        f"{ENGINE}plugin.py::test_it_serves_two_accounts_and_imports_what_is_listed",
    },
    "a secret inside `triggers`": {PARITY},
    "names of properties in messages": {
        f"{LIFECYCLE}test_a_wrong_input_fails_on_its_property",
        f"{PROTOCOL}test_a_wrong_input_is_named_as_programs_spell_it",
    },
    "outputs in a preview of a create": {PARITY, f"{PROTOCOL}test_a_preview_knows_what_is_given_and_nothing_else"},
    "settings": {
        f"{LIFECYCLE}test_a_wrong_configuration_fails_each_call_but_a_destroy",
        f"{PROTOCOL}test_settings_are_checked_before_anything_else",
        f"{ENGINE}plugin.py::test_wrong_settings_fail_in_the_preview_by_name",
    },
    "an unknown input": {
        f"{HERE}test_python_itself_refuses_an_input_that_there_is_not",
        f"{PROTOCOL}test_a_wrong_input_is_named_as_programs_spell_it",
    },
    "several accounts in one program": {
        "tests/properties/test_catalogue.py::test_both_ways_offer_the_same_names",
        f"{ENGINE}plugin.py::test_it_serves_two_accounts_and_imports_what_is_listed",
    },
    "`customTimeouts` in another language than Python": {
        f"{PROTOCOL}test_the_creates_own_timeout_is_kept_for_a_resume"
    },
    "errors of a lookup": {
        f"{PROGRAMS}test_a_failure_names_function_and_code_and_can_be_caught",
        f"{HERE}test_a_lookup_by_the_plugin_fails_with_its_text_alone",
        f"{ENGINE}plugin.py::test_it_serves_two_accounts_and_imports_what_is_listed",
    },
    "a lookup in a long program": {
        f"{PROGRAMS}test_a_program_asks_once_and_the_next_one_asks_again",
        f"{HERE}test_a_lookup_by_the_plugin_is_asked_again_after_a_minute",
    },
}
"""What shows both sides of each row, by the row's first cell."""


def test_every_row_has_its_tests() -> None:
    section = (PROJECT / "docs" / "plugin.md").read_text().partition("\n## Differences\n")[2].partition("\n## ")[0]
    _head, _line, *rows = re.findall(r"^\| *(.*?) *\|", section, re.MULTILINE)
    assert rows == list(TESTS)


@pytest.mark.parametrize("test", sorted(set().union(*TESTS.values())))
def test_what_a_row_is_held_by_is_there(test: str) -> None:
    path, name = test.split("::")
    functions = (ast.FunctionDef, ast.AsyncFunctionDef)
    assert name in {each.name for each in ast.parse((PROJECT / path).read_text()).body if isinstance(each, functions)}


both_ways = pytest.mark.parametrize("package", [pulumi_snapshots, plugin], ids=lambda package: package.__name__)


# What no other test shows ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("package", "prefix"), [(pulumi_snapshots, "pulumi-python:dynamic/squarecloud:"), (plugin, "squarecloud:index:")]
)
def test_each_way_has_types_of_its_own(package: ModuleType, prefix: str, monkeypatch: pytest.MonkeyPatch) -> None:
    registered: list[str] = []
    monkeypatch.setattr(pulumi.CustomResource, "__init__", lambda _self, type_, *_, **__: registered.append(type_))
    package.Snapshot("x", DATABASE)
    package.Archive("x", database_id=DATABASE, version_id="v", destination="/x/")
    package.Restore("x", database_id=DATABASE, version_id="v", overwrite=True)
    assert registered == [f"{prefix}{kind}" for kind in ("Snapshot", "Archive", "Restore")]


@both_ways
def test_python_itself_refuses_an_input_that_there_is_not(package: ModuleType) -> None:
    with pytest.raises(TypeError, match=r"^Snapshot: there is no argument 'trigger'; did you mean 'triggers'"):
        package.Snapshot("x", DATABASE, trigger=["x"])


def test_options_of_a_lookup_are_refused_where_no_plugin_heeds_them() -> None:
    asks: list[Any] = [pulumi_snapshots.get_databases, pulumi_snapshots.get_databases_output]
    for ask in asks:
        with pytest.raises(pulumi_snapshots.LookupFailed, match="opts are for the plugin"):
            ask(opts=pulumi.InvokeOptions())


def test_a_lookup_by_the_plugin_fails_with_its_text_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    told = "This account has no such database. [GET /databases/x: 404 DATABASE_NOT_FOUND]"

    def fail(token: str, *_: Any) -> Any:
        raise RuntimeError(f"invoke of {token} failed: invocation of {token} returned an error: {told}")

    monkeypatch.setattr(lookups, "invoke", fail)
    with pytest.raises(plugin.LookupFailed) as failure:
        plugin.get_database("x")
    assert str(failure.value).startswith(f"get_database: {told}")
    assert (failure.value.function, failure.value.code, failure.value.status) == ("get_database", None, None)


class Mute:
    """An engine to which nothing needs to be said."""

    def say(self, *_: Any, **__: Any) -> None:
        pass

    async def flush(self) -> None:
        pass


@virtual
async def test_a_lookup_by_the_plugin_is_asked_again_after_a_minute(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SQUARECLOUD_API_KEY", "k" * 64)
    async with world() as w:
        w.emulator.add_snapshot(DATABASE)
        shared: Any = SimpleNamespace(session=lambda _: w.session)
        served = Plugin(Mute(), shared, Callbacks(""))  # type: ignore[arg-type]  # as far as a lookup uses an engine
        arguments = Struct()
        arguments.update({"databaseId": DATABASE})
        request = provider_pb2.InvokeRequest(tok="squarecloud:index:getLatestSnapshot", args=arguments)
        for wait, asked in ((0, 1), (50, 1), (20, 2)):
            await w.clock.sleep(wait)
            answer = await served.Invoke(request, None)
            assert getattr(answer, "return")["snapshot"]["databaseId"] == DATABASE
            assert len(w.listings) == asked


@virtual
async def test_only_a_url_that_is_asked_for_is_a_secret_of_a_lookup(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SQUARECLOUD_API_KEY", "k" * 64)
    async with world() as w:
        w.emulator.add_snapshot(DATABASE)
        shared: Any = SimpleNamespace(session=lambda _: w.session)
        served = Plugin(Mute(), shared, Callbacks(""))  # type: ignore[arg-type]  # as far as a lookup uses an engine
        for with_url in (False, True):
            arguments = Struct()
            arguments.update({"databaseId": DATABASE, "withUrl": with_url})
            request = provider_pb2.InvokeRequest(tok="squarecloud:index:getLatestSnapshot", args=arguments)
            found = getattr(await served.Invoke(request, None), "return").fields["snapshot"].struct_value.fields
            assert [name for name, value in found.items() if is_secret(value)] == ["downloadUrl"] * with_url
            assert ("Signature=" in str(found)) is with_url
