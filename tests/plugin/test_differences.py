"""Differences between the two ways that docs/plugin.md lists and that no other test shows."""

from types import ModuleType
from typing import Any

import pulumi
import pytest

import pulumi_snapshots
from pulumi_snapshots import plugin
from pulumi_snapshots.program import lookups
from tests.support.world import DATABASE


@pytest.mark.parametrize(
    ("package", "prefix"),
    [
        (pulumi_snapshots, "pulumi-python:dynamic/squarecloud:"),
        (plugin, "squarecloud:index:"),
    ],
)
def test_each_way_has_types_of_its_own(
    package: ModuleType, prefix: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    registered: list[Any] = []

    def note(
        _self: Any, type_: str, _name: str, properties: Any, *_: Any, **__: Any
    ) -> None:
        registered.append((type_, properties["timeout"]))

    monkeypatch.setattr(pulumi.CustomResource, "__init__", note)
    # of several resources
    opts = pulumi.ResourceOptions(custom_timeouts=pulumi.CustomTimeouts(create="7d"))
    package.Snapshot("x", DATABASE, opts=opts)
    package.Archive(
        "x", database_id=DATABASE, version_id="v", destination="/x/", opts=opts
    )
    package.Restore(
        "x", database_id=DATABASE, version_id="v", overwrite=True, opts=opts
    )
    assert registered == [
        (f"{prefix}{kind}", "7d") for kind in ("Snapshot", "Archive", "Restore")
    ]
    with pytest.raises(
        TypeError,
        match=r"^Snapshot: there is no argument 'trigger'; did you mean 'triggers'",
    ):
        package.Snapshot("x", DATABASE, trigger=["x"])


def test_options_of_a_lookup_are_refused_where_no_plugin_heeds_them() -> None:
    asks: list[Any] = [
        pulumi_snapshots.get_databases,
        pulumi_snapshots.get_databases_output,
    ]
    for ask in asks:
        with pytest.raises(
            pulumi_snapshots.LookupFailed, match="opts are for the plugin"
        ):
            ask(opts=pulumi.InvokeOptions())


def test_a_lookup_by_the_plugin_fails_with_its_text_alone(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    told = (
        "This account has no such database. [GET /databases/x: 404 DATABASE_NOT_FOUND]"
    )

    def fail(token: str, *_: Any) -> Any:
        raise RuntimeError(
            f"invoke of {token} failed: invocation of {token} returned an error: {told}"
        )

    monkeypatch.setattr(lookups, "invoke", fail)
    with pytest.raises(plugin.LookupFailed) as failure:
        plugin.get_database("x")
    assert str(failure.value).startswith(f"get_database: {told}")
    assert (failure.value.function, failure.value.code, failure.value.status) == (
        "get_database",
        None,
        None,
    )
