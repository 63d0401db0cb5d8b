"""What the plugin says on the wire beyond what both ways to the engine share: marks, previews, details, and trouble."""

import contextlib
import json
import socket
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import grpc
import pytest
from google.protobuf import empty_pb2
from pulumi.runtime.proto import (
    provider_pb2,
    provider_pb2_grpc,
    resource_pb2,
    resource_pb2_grpc,
)

from pulumi_snapshots.dynamic.provider import SnapshotProvider
from pulumi_snapshots.plugin.description.identity import PLUGIN_VERSION
from tests.support.near_emulator import near_emulator
from tests.support.plugin_inside import request_of, values
from tests.support.plugin_servicer import PluginServicer
from tests.support.servicer import PLENTY, UNKNOWN, CallFailedError, secret, urn

NAME, OFFSITE, BACK, PROOF = (
    urn("x", f"squarecloud:index:{kind}")
    for kind in ("Snapshot", "Archive", "Restore", "Drill")
)
DATABASE = "a14b8d5e1cb7405a851eb4c075506121"
VERSION_ID = "45ec0b49-9af6-445e-a55c-abd7ec5278b2"
URL = f"https://snapshots.test/databases/account/{DATABASE}.zip?Signature=s3cret&versionId={VERSION_ID}"
STATE = {
    "databaseId": DATABASE,
    "versionId": VERSION_ID,
    "downloadUrl": secret(URL),
    "available": True,
    "createdAt": "2026-01-01T00:00:00Z",
}
PENDING = {
    "databaseId": DATABASE,
    "available": False,
    "requestedAt": "2026-01-01T00:00:00Z",
    "attempt": {
        "postedAt": "2026-01-01T00:00:00Z",
        "answered": "202",
        "timeout": 600.0,
        "id": "5d0c",
    },
}


@pytest.fixture(autouse=True)
def _own_state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))


@pytest.fixture(scope="module")
def idle() -> Iterator[PluginServicer]:
    """A process that was really started."""
    nothing: dict[str, str | None] = dict.fromkeys(
        ("SQUARECLOUD_API_KEY", "SQUARECLOUD_API_URL")
    )
    with PluginServicer(SnapshotProvider(), env=nothing) as servicer:
        yield servicer


def ask(servicer: PluginServicer, method: str, **fields: Any) -> Any:
    return servicer._call(method, request_of(method, **fields))


def check(
    servicer: PluginServicer,
    name: str,
    inputs: dict[str, Any],
    olds: dict[str, Any] | None = None,
) -> Any:
    return ask(servicer, "Check", urn=name, news=inputs, olds=olds or {})


def wrong(
    servicer: PluginServicer,
    name: str,
    inputs: dict[str, Any],
    olds: dict[str, Any] | None = None,
) -> Any:
    """The one failure of a check."""
    (failure,) = check(servicer, name, inputs, olds).failures
    return failure


# Names and marks


@pytest.mark.parametrize(
    ("name", "inputs", "property_", "reason"),
    [
        (NAME, {"databaseId": DATABASE, "databaseID": "x"}, "databaseID", "is not an input of squarecloud:index:Snapshot; its"),
        (NAME, {"databaseId": DATABASE, "database_id": "x"}, "database_id", "is not an input of"),
        (NAME, {"databaseId": secret("a/b")}, "databaseId", "must be a bare id"),
        (NAME, {"databaseId": DATABASE, "rotateAfter": "1h", "reuseWithin": "2h"}, "rotateAfter", "longer than reuseWithin"),
        (OFFSITE, {"destination": "/x/"}, "", "snapshot is required: a Snapshot, or databaseId and versionId, or downloadUrl"),
        (OFFSITE, {"destination": "/x/", "downloadUrl": URL.replace("https", "http")}, "", "downloadUrl must use https"),
        (OFFSITE, {"destination": "/x/", "downloadUrl": secret("x")}, "downloadUrl", "must"),
        (BACK, {"databaseId": DATABASE, "versionId": VERSION_ID}, "", "overwrite must be true"),
        (BACK, {"databaseId": DATABASE, "versionId": "latest", "overwrite": True}, "versionId", "as getLatestSnapshot finds it"),
    ],
)  # fmt: skip
def test_a_wrong_input_is_named_as_programs_spell_it(
    idle: PluginServicer, name: str, inputs: dict[str, Any], property_: str, reason: str
) -> None:
    failure = wrong(idle, name, inputs)
    assert failure.property == property_
    assert reason in failure.reason
    # The engine prints the value of a property that it is given the name of.
    assert "s3cret" not in failure.reason


def test_a_huge_value_is_refused_and_not_printed(idle: PluginServicer) -> None:
    # More than gRPC takes by itself, which is 4 MiB.
    failure = wrong(idle, NAME, {"databaseId": DATABASE, "triggers": ["x" * 2**23]})
    assert failure.property == ""
    assert failure.reason.startswith("triggers must be 1 MiB at most, as JSON, not 8")
    assert len(wrong(idle, NAME, {"databaseId": "x/" * 2**22}).reason) < 1000


@pytest.mark.parametrize(
    "hide", [secret, lambda value: [secret(value)]], ids=["secret", "secret inside"]
)
def test_a_reason_that_repeats_a_value_repeats_no_secret(
    idle: PluginServicer, hide: Any
) -> None:
    failure = wrong(idle, NAME, {"databaseId": DATABASE, "timeout": hide("pw")})
    assert "timeout" in failure.property + failure.reason
    assert failure.reason.endswith("1h30m or 7d. Nothing was sent.")
    (failure,) = ask(
        idle, "CheckConfig", news={"requestsPerMinute": hide("pw")}
    ).failures
    assert failure.reason.endswith("from 2 to 100000")
    with pytest.raises(CallFailedError) as caught:
        ask(
            idle,
            "Invoke",
            tok="squarecloud:index:getSnapshots",
            args={"origin": hide("pw"), "trigger": "x"},
        )
    assert caught.value.message == (
        "trigger is not an argument of squarecloud:index:getSnapshots; its arguments are database_id, origin, newerThan, "
        f"olderThan, withUrl. This plugin is version {PLUGIN_VERSION}; origin must be 'manual' or 'automatic'."
    )


def test_a_check_keeps_the_marks_of_unknowns_and_secrets(idle: PluginServicer) -> None:
    triggers = [UNKNOWN, secret("a"), {"b": [UNKNOWN, secret(UNKNOWN)]}]
    inputs = {"databaseId": UNKNOWN, "triggers": triggers, "timeout": secret(UNKNOWN)}
    answer = check(idle, NAME, inputs)
    assert not answer.failures
    assert values(answer.inputs) == inputs
    # What opens the data is a secret also where a program forgot to say so.
    checked = check(idle, OFFSITE, {"destination": "/x/", "downloadUrl": URL})
    assert values(checked.inputs)["downloadUrl"] == secret(URL)


def test_a_preview_knows_what_is_given_and_nothing_else(idle: PluginServicer) -> None:
    triggers = [UNKNOWN, secret("a"), {"b": [secret(UNKNOWN)]}]
    answer = ask(
        idle,
        "Create",
        urn=NAME,
        properties={"databaseId": DATABASE, "triggers": triggers},
        preview=True,
    )
    outputs = values(answer.properties)
    assert answer.id == ""
    assert outputs["databaseId"] == DATABASE
    assert outputs["triggers"] == triggers
    assert outputs["downloadUrl"] == secret(UNKNOWN)
    assert outputs["versionId"] == outputs["available"] == UNKNOWN
    assert "rotateAfter" not in outputs
    inputs = {"downloadUrl": secret(URL), "destination": "/x/"}
    archive = values(
        ask(idle, "Create", urn=OFFSITE, properties=inputs, preview=True).properties
    )
    assert archive["versionId"] == archive["uri"] == UNKNOWN
    assert "downloadUrl" not in archive
    resumed = {
        "id": f"{DATABASE}/pending:x",
        "olds": PENDING,
        "news": {"databaseId": DATABASE},
    }
    assert (
        values(ask(idle, "Update", urn=NAME, **resumed, preview=True).properties)[
            "versionId"
        ]
        == UNKNOWN
    )


def diff(
    servicer: PluginServicer,
    olds: dict[str, Any],
    was: dict[str, Any],
    now: dict[str, Any],
) -> Any:
    return ask(servicer, "Diff", urn=NAME, id="x", olds=olds, old_inputs=was, news=now)


@pytest.mark.parametrize(
    ("was", "now", "property_", "detail"),
    [
        ({}, {"triggers": [UNKNOWN]}, "triggers", ("ADD_REPLACE", True)),
        ({"triggers": ["a"]}, {}, "triggers", ("DELETE_REPLACE", True)),
        (
            {"triggers": ["a"]},
            {"triggers": [secret("b")]},
            "triggers",
            ("UPDATE_REPLACE", True),
        ),
        ({"databaseId": "b" * 32}, {}, "databaseId", ("UPDATE_REPLACE", True)),
        ({}, {"rotateAfter": "1h"}, "createdAt", ("UPDATE_REPLACE", False)),
    ],
)
def test_a_diff_says_which_property_replaces(
    idle: PluginServicer,
    was: dict[str, Any],
    now: dict[str, Any],
    property_: str,
    detail: tuple[str, bool],
) -> None:
    answer = diff(
        idle,
        {**STATE, **was},
        {"databaseId": DATABASE, **was},
        {"databaseId": DATABASE, **now},
    )
    assert list(answer.replaces) == [property_]
    told = answer.detailedDiff[property_]
    assert (provider_pb2.PropertyDiff.Kind.Name(told.kind), told.inputDiff) == detail


def test_a_secret_or_unchanged_value_replaces_nothing(idle: PluginServicer) -> None:
    answer = diff(
        idle,
        {**STATE, "triggers": [secret("a"), 1.0]},
        {"databaseId": DATABASE, "triggers": [secret("a"), 1.0]},
        {
            "databaseId": secret(DATABASE),
            "triggers": ["a", 1.0],
            "timeout": "1h",
            "reuseWithin": UNKNOWN,
        },
    )
    assert answer.changes == provider_pb2.DiffResponse.DIFF_NONE
    assert not answer.replaces
    assert not answer.detailedDiff


# A Snapshot of the program as an input


SNAPSHOT_ID = f"{DATABASE}/{VERSION_ID}"
PROVISIONAL_ID = f"{DATABASE}/pending:20260101T000000Z"
REFERENCE = {
    "4dabf18193072939515e22adb298388d": "5cf8f73096256a8f31e491e813e4eb8e",
    "urn": NAME,
}
TAKERS = [(OFFSITE, {"destination": "/x/"}), (BACK, {"overwrite": True})]


@pytest.mark.parametrize(("name", "others"), TAKERS, ids=["archive", "restore"])
@pytest.mark.parametrize(
    ("given", "named"),
    [
        ({"snapshot": SNAPSHOT_ID}, (DATABASE, VERSION_ID)),
        ({"snapshot": {**REFERENCE, "id": SNAPSHOT_ID}}, (DATABASE, VERSION_ID)),
        (
            {"snapshot": SNAPSHOT_ID, "databaseId": DATABASE, "versionId": VERSION_ID},
            (DATABASE, VERSION_ID),
        ),
        ({"snapshot": UNKNOWN}, (UNKNOWN, UNKNOWN)),
        ({"snapshot": UNKNOWN, "databaseId": DATABASE}, (DATABASE, UNKNOWN)),
        ({"snapshot": {**REFERENCE, "id": UNKNOWN}}, (UNKNOWN, UNKNOWN)),
        (
            {"snapshot": None, "databaseId": DATABASE, "versionId": VERSION_ID},
            (DATABASE, VERSION_ID),
        ),
    ],
)
def test_a_snapshot_can_be_passed_for_its_database_and_version(
    idle: PluginServicer,
    name: str,
    others: dict[str, Any],
    given: dict[str, Any],
    named: tuple[str, str],
) -> None:
    answer = check(idle, name, {**others, **given})
    assert not answer.failures
    # The state keeps what it stands for, so that a program may change from one to the other.
    assert values(answer.inputs) == {
        **others,
        "databaseId": named[0],
        "versionId": named[1],
    }


@pytest.mark.parametrize(
    ("given", "property_", "reason"),
    [
        ({"snapshot": 7}, "", "snapshot must be a Snapshot"),
        ({"snapshot": "before-release"}, "", "snapshot must be a Snapshot"),
        (
            {"snapshot": f"{'c' * 32}/pending:x"},
            "",
            "which names no version. Give databaseId and versionId instead",
        ),
        (
            {"snapshot": SNAPSHOT_ID, "versionId": "another"},
            "versionId",
            "differs from that of snapshot",
        ),
        (
            {"snapshot": SNAPSHOT_ID, "databaseId": "c" * 32},
            "databaseId",
            "differs from that of snapshot",
        ),
    ],
)
def test_a_wrong_snapshot_is_one_error_that_says_what_to_give(
    idle: PluginServicer, given: dict[str, Any], property_: str, reason: str
) -> None:
    failure = wrong(idle, OFFSITE, {"destination": "/x/", **given})
    assert failure.property == property_
    assert reason in failure.reason
    unknown = "is not an input of squarecloud:index:Snapshot; its inputs are databaseId, triggers"
    assert wrong(
        idle, NAME, {"databaseId": DATABASE, "snapshot": SNAPSHOT_ID}
    ).reason.startswith(unknown)
    assert check(
        idle,
        OFFSITE,
        {"destination": "/x/", "snapshot": SNAPSHOT_ID, "databaseId": ["a"]},
    ).failures


def test_an_ignored_change_of_a_version_stays_ignored(idle: PluginServicer) -> None:
    # the engine puts the old ones in
    kept = {"databaseId": DATABASE, "versionId": "the-old-one", "destination": "/x/"}
    answer = check(idle, OFFSITE, {**kept, "snapshot": SNAPSHOT_ID}, kept)
    assert not answer.failures
    assert values(answer.inputs) == kept


@pytest.mark.parametrize(("name", "others"), TAKERS, ids=["archive", "restore"])
def test_ignoring_changes_of_a_snapshot_says_what_to_ignore(
    idle: PluginServicer, name: str, others: dict[str, Any]
) -> None:
    """The state has what the Snapshot stands for, so the engine finds no old one, and takes the new one away."""
    hint = (
        "If ignoreChanges names snapshot, name databaseId and versionId there instead"
    )
    told = wrong(
        idle, name, others, {**others, "databaseId": DATABASE, "versionId": VERSION_ID}
    ).reason
    assert told.startswith(
        "snapshot is required: a Snapshot, or databaseId and versionId"
    )
    assert told.endswith(f"{hint}. Nothing was sent.")
    assert hint not in wrong(idle, name, others).reason, "nothing of it is in the state"


def test_a_resumed_snapshot_can_be_passed_though_its_id_names_no_version(
    idle: PluginServicer,
) -> None:
    inputs = {"destination": "/x/", "snapshot": PROVISIONAL_ID}
    asked: dict[str, Any] = {
        "urn": NAME,
        "id": PROVISIONAL_ID,
        "news": {"databaseId": DATABASE},
    }
    ask(idle, "Diff", olds=PENDING, **asked)
    assert (
        values(check(idle, OFFSITE, inputs).inputs)["versionId"] == UNKNOWN
    )  # a preview
    ask(idle, "Update", olds=STATE, **asked)
    assert values(check(idle, OFFSITE, inputs).inputs)["versionId"] == VERSION_ID


# The package


def test_who_asks_gets_version_and_schema(idle: PluginServicer) -> None:
    assert idle._call("GetPluginInfo", empty_pb2.Empty()).version == PLUGIN_VERSION
    assert json.loads(ask(idle, "GetSchema").schema)["name"] == "squarecloud"


# Settings


def check_config(
    servicer: PluginServicer, settings: dict[str, Any]
) -> list[tuple[str, str]]:
    name = "urn:pulumi:dev::project::pulumi:providers:squarecloud::default"
    answer = ask(servicer, "CheckConfig", urn=name, news=settings)
    return [(failure.property, failure.reason) for failure in answer.failures]


def test_settings_are_checked_before_anything_else(idle: PluginServicer) -> None:
    assert (
        check_config(
            idle, {"apiKey": secret("k" * 64), "apiUrl": UNKNOWN, "version": "0.1.0"}
        )
        == []
    )
    ((name, reason),) = check_config(idle, {"apiKey": secret("a key")})
    assert name == "apiKey"
    assert "must be the bare API key" in reason
    assert "a key" not in reason.replace("a key at most", "")
    # The engine would print the value of one that is no secret.
    ((name, reason),) = check_config(idle, {"apiKey": "an open key"})
    assert name == ""
    assert reason.startswith("apiKey must be the bare API key")
    assert "open" not in reason
    # Encrypted in the state, however it came.
    checked = ask(idle, "CheckConfig", news={"apiKey": "k" * 64})
    assert values(checked.inputs) == {"apiKey": secret("k" * 64)}
    bad = {
        "apiURL": "x",
        "apiUrl": "ftp://x",
        "requestsPerMinute": "many",
        "pollEvery": "0s",
        "sharedState": "s3:/x",
    }
    assert {name for name, _ in check_config(idle, bad)} == set(bad)
    ((name, reason),) = check_config(
        idle, {"requestsPerMinute": "3", "requestsForOthers": "3"}
    )
    assert "a restore needs 2 requests in a minute" in reason


def test_an_old_engine_gets_the_version_that_is_needed(forks: dict[str, str]) -> None:
    with PluginServicer(SnapshotProvider(), forks=forks) as servicer:
        servicer._call(
            "Handshake",
            provider_pb2.ProviderHandshakeRequest(engine_address=servicer.address),
        )
        with pytest.raises(CallFailedError, match=r"needs Pulumi 3\.178 or later"):
            ask(servicer, "Configure")


def test_an_engine_that_knows_no_later_gets_an_error_without_a_warning(
    forks: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(PluginServicer, "is_new", False)
    with (
        near_emulator(*SERVICE, "--database", DATABASE) as service,
        PluginServicer(
            SnapshotProvider(), env=service.environment, forks=forks
        ) as servicer,
    ):
        service.control(
            "faults",
            {"kind": "create", "status": 429, "code": "DAILY_SNAPSHOTS_LIMIT_REACHED"},
        )
        with pytest.raises(
            CallFailedError, match="daily quota of snapshots is used up"
        ) as caught:
            servicer.create(NAME, {"database_id": DATABASE})
        assert not caught.value.awaited
        assert servicer.diagnostics(NAME) == []


# Trouble


def test_a_call_that_it_does_not_have_prints_nothing(idle: PluginServicer) -> None:
    """The engine shows what a plugin prints."""
    idle.forget()
    for method in ("Parameterize", "Call", "GetMapping", "GetMappings", "DiffConfig"):
        with pytest.raises(CallFailedError) as caught:
            ask(idle, method)
        assert caught.value.code == "UNIMPLEMENTED"
        assert caught.value.message.startswith("This package takes no parameters")
    assert idle.printed == []


def test_started_by_hand_it_explains_itself_serves_who_attaches_and_ends_when_asked() -> (
    None
):
    code = "from pulumi_snapshots.plugin.serve import main; main()"
    with subprocess.Popen(  # noqa: S603  this very interpreter
        [sys.executable, "-c", code],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        port = process.stdout.readline().strip()
        with grpc.insecure_channel(
            f"127.0.0.1:{port}", options=[("grpc.enable_http_proxy", 0)]
        ) as channel:
            stub = provider_pb2_grpc.ResourceProviderStub(channel)
            with pytest.raises(grpc.RpcError, match="Run the command again"):
                stub.GetPluginInfo(empty_pb2.Empty(), timeout=30)
            stub.Handshake(provider_pb2.ProviderHandshakeRequest(), timeout=30)
            assert (
                stub.GetPluginInfo(empty_pb2.Empty(), timeout=30).version
                == PLUGIN_VERSION
            )
            with pytest.raises(grpc.RpcError, match="This package cannot list"):
                list(stub.List(provider_pb2.ListRequest(), timeout=30))
        process.terminate()
        _, printed = process.communicate(timeout=30)
    assert process.returncode == 0
    assert "`pulumi` starts it by itself" in printed


def test_it_does_not_outlive_an_engine_that_never_speaks() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        nobody = f"127.0.0.1:{server.getsockname()[1]}"
    code = "from pulumi_snapshots.plugin.serve import main; main()"
    with subprocess.Popen(  # noqa: S603  this very interpreter
        [sys.executable, "-c", code, nobody], stdout=subprocess.PIPE
    ) as process:
        try:
            assert process.wait(30) == 1
        finally:
            process.kill()


SERVICE = ("--clock-offset", "-7200", "--snapshot-seconds", "600", "--soft-deadline", "0.1", "--no-automatic",
           "--memory", "65536", "--requests-per-minute", "10000")  # fmt: skip
PACE = {
    **PLENTY,
    "SQUARECLOUD_FIRST_POLL_AFTER": "0.2s",
    "SQUARECLOUD_POLL_EVERY": "30s",
}


@pytest.fixture
def alone() -> Iterator[PluginServicer]:
    """A plugin whose snapshots are accepted and not there yet, really started, for signals; it polls as rarely as in real life."""
    with (
        near_emulator(*SERVICE, "--database", DATABASE) as service,
        PluginServicer(
            SnapshotProvider(), env={**service.environment, **PACE}
        ) as servicer,
    ):
        yield servicer


def looks(servicer: PluginServicer) -> bool:
    return any("next poll" in text for text in servicer.progress(NAME))


def test_sigterm_ends_waits_with_their_state(alone: PluginServicer) -> None:
    creating = alone.start(alone.create, NAME, {"database_id": DATABASE})
    alone.wait_for(lambda: looks(alone), "an accepted create")
    alone.process.terminate()
    with pytest.raises(CallFailedError, match="The wait was interrupted") as caught:
        creating.result(30)
    assert caught.value.kept is not None
    assert caught.value.kept.outputs["attempt"]["answered"] == "202"
    alone.wait_for(lambda: alone.process.poll() is not None, "the plugin's end")
    assert alone.process.returncode == 0


def test_a_call_that_the_engine_hangs_up_is_remembered_as_unheard(
    alone: PluginServicer, tmp_path: Path
) -> None:
    request = request_of("Create", urn=NAME, properties={"databaseId": DATABASE})
    creating = alone._stub.Create.future(request)
    alone.wait_for(lambda: looks(alone), "an accepted create")
    creating.cancel()
    # on the same connection: it has heard of the end before
    alone._call("GetPluginInfo", empty_pb2.Empty())
    alone.process.terminate()
    alone.wait_for(lambda: alone.process.poll() is not None, "the plugin's end")
    (file,) = tmp_path.rglob("*.ledger")
    with contextlib.closing(sqlite3.connect(file)) as ledger:
        ((document,),) = ledger.execute("SELECT document FROM ledger")
    (entry,) = json.loads(document)["attempts"].values()
    assert not entry.get("proved")


class OldMonitor(resource_pb2_grpc.ResourceMonitorServicer):
    """An engine's before 3.182."""

    def SupportsFeature(self, request: Any, _context: Any) -> Any:  # noqa: N802  the protocol's name
        return resource_pb2.SupportsFeatureResponse(
            hasSupport=request.id != "resourceHooks"
        )


def test_a_guard_needs_hooks_and_a_database_that_no_drill_overwrites_whichever_comes_first(
    idle: PluginServicer,
) -> None:
    monitor = grpc.server(ThreadPoolExecutor(1))
    resource_pb2_grpc.add_ResourceMonitorServicer_to_server(OldMonitor(), monitor)
    address = f"127.0.0.1:{monitor.add_insecure_port('127.0.0.1:0')}"
    monitor.start()

    def refused(database_id: str = DATABASE, type_: str = "Guard") -> str:
        asked = {
            "type": f"squarecloud:index:{type_}",
            "name": "guard",
            "inputs": {"databaseId": database_id},
        }
        with pytest.raises(grpc.RpcError) as caught:
            idle._stub.Construct(
                request_of("Construct", monitorEndpoint=address, **asked), timeout=60
            )
        return str(caught.value.details())

    drilled = "1" * 32
    guarded = "2" * 32
    inputs = {
        "databaseId": DATABASE,
        "versionId": VERSION_ID,
        "connection": secret("postgresql://nobody@127.0.0.1:1/x"),
        "checks": [{"query": "select 1", "equals": 1}],
        "overwriteScratch": True,
    }
    assert not check(idle, PROOF, {**inputs, "scratchDatabaseId": drilled}).failures
    told = "Guard 'guard': databaseId must not be the scratch database of Drill 'x'"
    assert refused(drilled).startswith(told)
    assert refused(guarded).startswith("A Guard needs Pulumi 3.238.0 or later")
    told = wrong(idle, PROOF, {**inputs, "scratchDatabaseId": guarded}).reason
    assert "must be used for drills only, but Guard 'guard' uses it too" in told
    assert "This package has no component squarecloud:index:Gard" in refused(
        type_="Gard"
    )
    monitor.stop(None)
