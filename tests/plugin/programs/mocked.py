"""How users test a program with Pulumi's own mocks; `test_mocks.py` runs it with both import lines."""

import asyncio
from typing import Any

import pulumi

DATABASE = "a14b8d5e1cb7405a851eb4c075506121"
FOUND = {
    "databaseId": DATABASE,
    "versionId": "v1",
    "name": "n",
    "available": True,
    "downloadUrl": "https://x.invalid/",
}
ANSWERS: dict[str, dict[str, Any]] = {
    "squarecloud:index:getSnapshots": {"snapshots": [FOUND]},
    "squarecloud:index:getLatestSnapshot": {"snapshot": FOUND},
    "squarecloud:index:getDatabase": {
        "id": DATABASE,
        "name": "shop",
        "type": "postgres",
        "running": True,
    },
    "squarecloud:index:getDatabases": {"databases": []},
}
CALLED: list[str] = []
MADE: dict[str, dict[str, Any]] = {}


class Mocks(pulumi.runtime.Mocks):
    """Answers instead of an engine."""

    def call(self, args: pulumi.runtime.MockCallArgs) -> Any:
        CALLED.append(args.token.rpartition(":")[2])
        return ANSWERS[args.token]

    def new_resource(
        self, args: pulumi.runtime.MockResourceArgs
    ) -> tuple[str, dict[str, Any]]:
        MADE[args.name] = args.inputs
        return f"{args.name}-id", {**args.inputs, "version_id": "v9", "versionId": "v9"}


# Pulumi's SDK wants one, and Python 3.14 no longer makes it unasked.
asyncio.set_event_loop(asyncio.new_event_loop())
pulumi.runtime.set_mocks(Mocks())

from pulumi_snapshots import (  # noqa: E402
    Guard,
    LookupFailed,
    Restore,
    Snapshot,
    get_database,
    get_databases,
    get_latest_snapshot,
    get_latest_snapshot_output,
    get_snapshots,
)


@pulumi.runtime.test  # type: ignore[untyped-decorator]  # the SDK has no type for it
def test_lookups_are_answered_by_the_mocks() -> None:
    latest = get_latest_snapshot(DATABASE, max_age="1d")
    assert latest is not None
    assert (latest.id, latest.download_url) == (f"{DATABASE}/v1", "https://x.invalid/")
    assert [each.version_id for each in get_snapshots(origin="manual")] == ["v1"]
    assert get_database(DATABASE).name == "shop"
    assert get_databases() == []
    assert CALLED[-4:] == [
        "getLatestSnapshot",
        "getSnapshots",
        "getDatabase",
        "getDatabases",
    ]


@pulumi.runtime.test  # type: ignore[untyped-decorator]  # the SDK has no type for it
def test_resources_have_the_outputs_of_the_mocks() -> pulumi.Output[None]:
    snapshot = Snapshot("before", DATABASE, timeout="10m")
    restore = Restore("back", snapshot, overwrite=True)
    Guard("guard", DATABASE)
    latest = get_latest_snapshot_output(snapshot.database_id)

    def check(known: list[Any]) -> None:
        assert known == ["before-id", "v9", "v9", "v1"]
        assert set(MADE) - {"guard"} == {"before", "back"}

    return pulumi.Output.all(
        snapshot.id, snapshot.version_id, restore.version_id, latest.version_id
    ).apply(check)


@pulumi.runtime.test  # type: ignore[untyped-decorator]  # the SDK has no type for it
def test_a_mistake_in_a_lookup_is_found() -> None:
    try:
        get_database(pulumi.Output.from_input(DATABASE))  # type: ignore[arg-type]  # the mistake
    except LookupFailed as failed:
        assert "Call get_database_output instead" in str(failed)  # noqa: PT017  as in a test without pytest
    else:
        raise AssertionError
