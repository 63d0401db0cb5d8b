"""Every call that the engine makes to the provider, in the SDK's own provider process, against an emulated service."""

from __future__ import annotations

import dataclasses
import re
import time
from concurrent.futures import wait
from contextlib import contextmanager
from datetime import datetime
from itertools import count
from typing import TYPE_CHECKING, Any

import pytest

from pulumi_snapshots.dynamic.provider import SnapshotProvider
from pulumi_snapshots.engine.marks import SIGNATURE
from tests.support.plugin_servicer import PluginServicer
from tests.support.servicer import PLENTY, UNKNOWN, Answer, Servicer, failure, kept, urn

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.dynamic.conftest import Serve
    from tools.sandbox import Service

NAME = urn("before-release")
PACE = {**PLENTY, "SQUARECLOUD_FIRST_POLL_AFTER": "0.2s", "SQUARECLOUD_POLL_EVERY": "0.3s"}
# The service's clock is two hours behind, so what it has made is old to a client that asks nobody.
PROVIDER = SnapshotProvider()
SERVICE = ("--clock-offset", "-7200", "--snapshot-seconds", "0", "--soft-deadline", "0.1", "--no-automatic",
           "--cache-world", "invalidated", "--requests-per-minute", "10000", "--memory", "65536")  # fmt: skip
_numbers = count(1)


@dataclasses.dataclass
class Place:
    """A database of its own at the service, and a provider process."""

    emulator: Service
    servicer: Servicer
    database: str

    def create(self, **inputs: Any) -> Answer:
        return self.servicer.create(NAME, {"database_id": self.database, **inputs})

    def requests(self) -> list[dict[str, Any]]:
        return [entry for entry in self.emulator.journal() if entry["database_id"] == self.database]

    def posts(self) -> list[dict[str, Any]]:
        return [entry for entry in self.requests() if entry["kind"] == "create"]

    def started(self) -> str:
        (version,) = [entry["version_id"] for entry in self.posts() if entry["accepted"]]
        return str(version)

    def slow(self) -> None:
        self.emulator.control(f"databases/{self.database}", {"next_snapshot_seconds": 600}, "PATCH")

    def pass_time(self, seconds: float) -> None:
        self.emulator.control("clock", {"advance": seconds})

    def fault(self, kind: str, **effect: Any) -> None:
        self.emulator.control("faults", {"kind": kind, "database_id": self.database, **effect})


@pytest.fixture
def database(emulator: Service) -> str:
    return str(emulator.control("databases", {"id": f"{next(_numbers):032x}"})["id"])


@contextmanager
def placed(serve: Serve, emulator: Service, database: str, **how: Any) -> Iterator[Place]:
    emulator.control("faults", method="DELETE")
    emulator.control("clock", {"advance": 200})  # the cooldowns of the test before are over
    with serve(env={**emulator.environment, **PACE}, **how) as servicer:
        yield Place(emulator, servicer, database)


@pytest.fixture
def place(serve: Serve, emulator: Service, database: str) -> Iterator[Place]:
    with placed(serve, emulator, database) as one:
        yield one


@pytest.fixture
def started_place(serve: Serve, emulator: Service, database: str) -> Iterator[Place]:
    """One whose process was really started."""
    with placed(serve, emulator, database, forks={}) as one:
        yield one


# Check: without a request, without a key

DATABASE = "a14b8d5e1cb7405a851eb4c075506121"
ASSET = {SIGNATURE: "c44067f5952c0a294b673a41bacd8c17", "text": "x", "hash": "y"}
ARCHIVE = {SIGNATURE: "0def7320c3a5731c473e5ecbe6d01bc7", "assets": {"a": ASSET}, "hash": "z"}
REFERENCE = {SIGNATURE: "5cf8f73096256a8f31e491e813e4eb8e", "urn": urn("other"), "id": "other/1"}
WRONG: list[tuple[dict[str, Any], str, str]] = [
    ({}, "database_id", "is required: the id of the database to take a snapshot of"),
    (
        {"triggers": ["1", {"a": [ASSET]}]},
        "triggers",
        "must not hold an asset or archive: give a digest of its content",
    ),
    ({"triggers": [ARCHIVE]}, "triggers", "must not hold an asset or archive"),
    ({"timeout": "soon"}, "timeout", "must be a duration such as 90s, 45m, 1h30m or 7d"),
    ({"rotate_after": "1h", "reuse_within": "1h"}, "rotate_after", "must be longer than reuse_within"),
]


@pytest.mark.parametrize(("inputs", "property_", "reason"), WRONG, ids=[str(wrong[0]) for wrong in WRONG])
def test_a_wrong_input_fails_on_its_property(
    idle: Servicer, inputs: dict[str, Any], property_: str, reason: str
) -> None:
    given = inputs if property_ == "database_id" else {"database_id": DATABASE, **inputs}
    ((name, told),) = idle.check(NAME, given).failures
    assert name == property_
    assert reason in told
    assert told.endswith(". Nothing was sent.")


@pytest.mark.parametrize(
    "inputs",
    [
        {"database_id": UNKNOWN},
        {"triggers": [REFERENCE, {"a": ["b", None, True, 1.5]}]},
        {"triggers": [UNKNOWN, {"a": [UNKNOWN]}]},
        {"timeout": UNKNOWN, "reuse_within": UNKNOWN, "rotate_after": "1s"},
    ],
    ids=str,
)
def test_what_may_be_right_passes(idle: Servicer, inputs: dict[str, Any]) -> None:
    assert idle.check(NAME, {"database_id": DATABASE, **inputs}).failures == []


def test_an_error_never_prints_a_secret_value(idle: Servicer) -> None:
    given = {"database_id": DATABASE, "timeout": "pw-1", "reuse_within": "pw-2", "rotate_after": ["pw-3"]}
    answer = idle.check(NAME, given)
    assert [name for name, _ in answer.failures] == ["timeout", "reuse_within", "rotate_after"]
    assert "pw-" not in str(answer.failures)


# Diff: without a request, without a key

STATE: dict[str, Any] = {
    "database_id": DATABASE,
    "triggers": ["1", {"a": [2.0]}],
    "version_id": "v1",
    "name": DATABASE,
    "download_url": "https://snapshots.test/x?versionId=v1",
    "size": 306.0,
    "created_at": "2026-01-01T00:00:00Z",
    "expires_at": "2026-01-31T00:00:00Z",
    "available": True,
    "origin": "manual",
}
INPUTS = {"database_id": DATABASE, "triggers": ["1", {"a": [2]}]}
PENDING: dict[str, Any] = {
    **INPUTS,
    "available": False,
    "requested_at": "2026-01-01T00:00:00Z",
    "attempt": {"posted_at": "2026-01-01T00:00:00Z", "id": "5d0c", "answered": "202", "timeout": 2700.0},
}


@pytest.mark.parametrize(
    ("olds", "news", "replaces", "changes"),
    [
        (STATE, {}, [], False),
        (STATE, {"triggers": None}, ["triggers"], True),
        (STATE, {"triggers": ["1", {"a": [UNKNOWN]}]}, [], False),
        (STATE, {"rotate_after": "30d"}, ["created_at"], True),
        ({**STATE, "triggers": ["other/1"]}, {"triggers": [REFERENCE]}, [], False),
        ({**STATE, "triggers": ["other/pending:20260101T000000Z"]}, {"triggers": [REFERENCE]}, [], False),
        ({**STATE, "triggers": ["other/2"]}, {"triggers": [REFERENCE]}, ["triggers"], True),
        (PENDING, {}, [], True),
    ],
    ids=str,
)  # fmt: skip
def test_a_new_one_needs_new_inputs_or_age(
    idle: Servicer, olds: dict[str, Any], news: dict[str, Any], replaces: list[str], changes: Any
) -> None:
    answer = idle.diff(NAME, f"{DATABASE}/v1", olds, {**INPUTS, **news})
    assert (answer.replaces, answer.changes, answer.delete_before_replace) == (replaces, changes, False)


def test_delete_says_what_was_forgotten_and_sends_nothing(idle: Servicer) -> None:
    back = "pulumi import" if isinstance(idle, PluginServicer) else "Snapshot.get"
    for name, state, text in (
        ("there", STATE, f"v1; the service keeps it until 2026-01-31T00:00:00Z. `{back}` brings it back."),
        ("gone", {**STATE, "available": False}, "v1, which the service no longer listed"),
        ("pending", PENDING, "pending:20260101T000000Z; if its snapshot was started, the service keeps it for 30 days"),
    ):
        idle.delete(urn(name), "any", state)
        assert idle.diagnostics(urn(name)) == [f"forgotten: {DATABASE}/{text}"]


def test_calls_that_need_a_key_say_how_to_set_one(idle: Servicer) -> None:
    set_one = "Set a valid key with `pulumi config set --secret squarecloud:apiKey` or in SQUARECLOUD_API_KEY."
    text = f"No API key is set.\nNothing was sent.\nhint: {set_one}"
    page = "\nmore: squarecloud-snapshots explain missing-key"
    assert failure(idle.create, NAME, INPUTS).message == text + page
    assert failure(idle.read, NAME, f"{DATABASE}/v1").message == text + page
    refresh = failure(idle.read, NAME, f"{DATABASE}/v1", STATE, INPUTS)
    assert refresh.message.startswith(f"No API key is set.\nNothing was sent. Snapshot {DATABASE}/v1 was not refreshed")
    assert refresh.message.endswith(f"run `pulumi refresh --run-program`.{page}")
    provisional = f"{DATABASE}/pending:20260101T000000Z"
    still = kept(idle.read, NAME, provisional, PENDING, INPUTS)
    assert still.id == provisional
    assert still.outputs["attempt"] == PENDING["attempt"]
    resumed = kept(idle.update, NAME, provisional, PENDING, INPUTS)
    lines = resumed.reasons[0].split("\n\t  ")  # the engine indents a list
    assert lines[:2] == ["No API key is set. Nothing was sent.", f"hint: {set_one}"]
    assert lines[-1] == page.lstrip()
    assert resumed.outputs["attempt"] == PENDING["attempt"]


@pytest.mark.parametrize(
    ("config", "text"),
    [
        ({"squarecloud:apiKey": "a key"}, "squarecloud:apiKey "),
        ({"squarecloud:apiUrl": "ftp://somewhere"}, "squarecloud:apiUrl must be"),
        ({"squarecloud:sharedState": "bucket/prefix"}, "squarecloud:sharedState must be s3://BUCKET/PREFIX"),
    ],
    ids=str,
)
def test_a_wrong_configuration_fails_each_call_but_a_destroy(serve: Serve, config: dict[str, Any], text: str) -> None:
    with serve(config=config) as servicer:
        for call, arguments in (
            (servicer.check, (NAME, INPUTS)),
            (servicer.create, (NAME, INPUTS)),
            (servicer.read, (NAME, f"{DATABASE}/v1")),
            (servicer.read, (NAME, f"{DATABASE}/v1", STATE, INPUTS)),
        ):
            told = failure(call, *arguments).message
            assert told.startswith(text)
            assert "a key" not in told.replace("such a key", "")
        assert kept(servicer.read, NAME, f"{DATABASE}/pending:20260101T000000Z", PENDING, INPUTS).reasons
        servicer.delete(NAME, f"{DATABASE}/v1", STATE)
        assert servicer.diff(NAME, f"{DATABASE}/v1", STATE, INPUTS).changes is False


# Create, read, update


def test_create_gives_every_output_and_only_the_url_is_secret(started_place: Place) -> None:
    place = started_place
    answer = place.create(triggers=["1", 2], timeout="10m")
    version = place.started()
    assert answer.id == f"{place.database}/{version}"
    assert answer.secrets == {"download_url"}
    outputs = answer.outputs
    assert f"versionId={version}" in outputs["download_url"]
    assert "attempt" not in outputs  # a value that is None does not exist on the wire
    assert {name: outputs[name] for name in ("version_id", "name", "available", "origin", "runtime")} == {
        "version_id": version,
        "name": place.database,
        "available": True,
        "origin": "manual",
        "runtime": "postgres",
    }
    assert outputs["size"] == int(outputs["size"]) > 0
    assert {outputs[name] for name in ("database_id", "timeout")} == {place.database, "10m"}
    assert outputs["triggers"] == ["1", 2]
    for name in ("created_at", "expires_at", "requested_at", "download_url_expires_at"):
        assert datetime.fromisoformat(outputs[name]).tzinfo is not None
    assert place.servicer.progress(NAME)[-1] == f"found snapshot {version}"
    assert place.servicer.diagnostics(NAME) == []
    # What is shown or printed never holds what opens the data.
    shown = [message.text for message in place.servicer.messages] + place.servicer.printed
    assert not [text for text in shown if place.emulator.key in text or "Signature" in text]


def test_refresh_and_get_return_the_same_snapshot(place: Place) -> None:
    created = place.create()
    refreshed = place.servicer.read(NAME, created.id, created.outputs, {"database_id": place.database})
    assert (refreshed.id, refreshed.outputs, refreshed.secrets) == (created.id, created.outputs, created.secrets)
    found = place.servicer.read(urn("existing"), created.id)
    assert found.id == created.id
    assert found.outputs["version_id"] == created.outputs["version_id"]
    assert "requested_at" not in found.outputs
    assert found.secrets == {"download_url"}
    updated = place.servicer.update(NAME, created.id, created.outputs, {"database_id": place.database, "timeout": "1h"})
    assert {**created.outputs, "timeout": "1h"} == updated.outputs
    assert len(place.posts()) == 1


def test_a_name_in_place_of_an_id_is_called_no_id(place: Place) -> None:
    failed = failure(place.servicer.create, NAME, {"database_id": "shop"})
    assert failed.message.startswith(
        "'shop' is no database id: an id has 32 hexadecimal digits.\n"
        "No snapshot of database shop was taken. [POST /databases/shop/snapshots: 404 DATABASE_NOT_FOUND"
    )
    assert "hint: `squarecloud-snapshots databases` shows them.\n" in failed.message
    assert failed.message.count("hint: ") == 1
    assert failed.kept is None


def test_cancel_keeps_the_snapshot_and_an_update_resumes_it(serve: Serve, place: Place) -> None:
    place.slow()
    creating = place.servicer.start(place.create, timeout="1h")
    place.servicer.wait_for(
        lambda: any("next check" in text for text in place.servicer.progress(NAME)), "an accepted create"
    )
    begun = time.monotonic()
    place.servicer.cancel()
    partial = kept(creating.result, 30)
    assert time.monotonic() - begun < 10
    assert partial.id.startswith(f"{place.database}/pending:")
    assert partial.refresh_before_update
    assert partial.provider == place.servicer.serialized_provider
    assert partial.outputs["attempt"]["answered"] == "202"
    assert partial.outputs["attempt"]["timeout"] == 3600
    assert partial.outputs["available"] is False
    assert "The wait was interrupted." in partial.reasons[0]
    assert f"`pulumi up --refresh --replace '{NAME}'`" in partial.reasons[0]
    # The run is over for everybody: what is still to be sent never is.
    late = failure(place.servicer.create, urn("late"), {"database_id": "f" * 32})
    assert late.kept is None
    assert late.message.startswith(f"No snapshot of database {'f' * 32} was taken. The wait was interrupted")

    inputs = {"database_id": place.database, "timeout": "0.5s"}
    environment = {**place.emulator.environment, **PACE}
    with serve(env=environment) as again:
        seen = kept(again.read, NAME, partial.id, partial.outputs, inputs)
        assert seen.id == partial.id
        assert seen.inputs == inputs
        assert seen.outputs == {**partial.outputs, "timeout": "1h"}
        assert seen.reasons[0].endswith("is still pending.")
        still = kept(again.update, NAME, partial.id, partial.outputs, inputs)
        assert "The wait ended after 0.5 s." in still.reasons[0]
        assert still.id == partial.id
        for _ in range(2):  # an engine may compare it twice
            assert again.diff(NAME, partial.id, partial.outputs, inputs).changes
        (waits,) = again.diagnostics(NAME, "INFO")
        assert re.fullmatch(r"pending since [\d: -]+ UTC; will keep waiting, no new request", waits)
        place.pass_time(600)
        complete = again.update(NAME, partial.id, partial.outputs, inputs)
        found = rf"found {place.database}/{place.started()}, taken [\d.]+ \w+ ago; no new request was sent"
        assert re.fullmatch(found, again.diagnostics(NAME, "INFO")[-1])
        again.delete(NAME, f"{DATABASE}/v1", STATE)
        assert again.diagnostics(NAME, "INFO")[-1].startswith(
            f"forgotten: the old record {DATABASE}/v1; the service keeps it until 2026-01-31T00:00:00Z; its replacement, which an "
            "earlier run began, is there: nothing is taken again."
        )
        assert complete.outputs["version_id"] == place.started()
        assert "attempt" not in complete.outputs
        assert complete.secrets == {"download_url"}
        canonical = again.read(NAME, partial.id, complete.outputs, inputs)
        assert canonical.id == f"{place.database}/{place.started()}"
    with serve(env=environment) as another:
        read = another.read(NAME, partial.id, partial.outputs, inputs)
        assert read.id == canonical.id
        assert read.outputs == {**canonical.outputs, "timeout": "1h"}
        (said,) = another.diagnostics(NAME)
        assert re.fullmatch(found, said)
    assert len(place.posts()) == 1


def test_twelve_creates_wait_at_once_and_each_finds_its_own(emulator: Service, place: Place) -> None:
    databases = [str(emulator.control("databases", {"id": f"c{next(_numbers):031x}"})["id"]) for _ in range(12)]
    for database_id in databases:
        emulator.control("snapshots", {"database_id": database_id})
    reuse = {"reuse_within": "3h"}
    calls = {
        database_id: place.servicer.start(
            place.servicer.create, urn(database_id), {"database_id": database_id, **reuse}
        )
        for database_id in databases
    }
    wait(calls.values(), 60)
    for database_id, call in calls.items():
        assert call.result().id.startswith(f"{database_id}/")
        assert place.servicer.progress(urn(database_id))[-1] == f"found snapshot {call.result().outputs['version_id']}"
        (said,) = place.servicer.diagnostics(urn(database_id), "INFO")
        adopted = rf"adopted {call.result().id}, taken .* ago, instead of taking one \(reuse_within\)"
        assert re.fullmatch(adopted, said)
    # Two creates of one database in one run: the second must not adopt what the first has taken.
    second = place.servicer.start(place.servicer.create, urn("second"), {"database_id": databases[0], **reuse})
    assert second.result(60).id.startswith(f"{databases[0]}/")
    assert second.result().id != calls[databases[0]].result().id


def test_the_provider_ends_soon_after_its_engine_was_killed(started_place: Place) -> None:
    started_place.slow()
    started_place.servicer.start(started_place.create)
    started_place.servicer.wait_for(started_place.posts, "a request under way")
    started_place.servicer.stop_engine()
    started_place.servicer.wait_for(lambda: started_place.servicer.process.poll() is not None, "the provider's end")
