"""Every call that the engine makes for a Snapshot, in the SDK's own provider process, against an emulated service."""

import re
from concurrent.futures import wait
from datetime import datetime
from typing import Any

from tests.dynamic.conftest import DATABASE, NAMES, Place, Serve
from tests.dynamic.test_without_requests import STATE
from tests.support.servicer import PLENTY, Answer, Kept, Servicer, failure, kept, urn
from tools.sandbox import Service

KIND = "Snapshot"
NAME = NAMES["Snapshot"]
PACE = {
    **PLENTY,
    "SQUARECLOUD_FIRST_POLL_AFTER": "0.2s",
    "SQUARECLOUD_POLL_EVERY": "0.3s",
}
# The service's clock is two hours behind, so what it has made is old to a client that asks nobody.
SERVICE = (
    "--clock-offset",
    "-7200",
    "--snapshot-seconds",
    "0",
    "--soft-deadline",
    "0.1",
    "--memory",
    "65536",
)


def create(place: Place, **inputs: Any) -> Answer:
    return place.servicer.create(NAME, {"database_id": place.database, **inputs})


def slow(place: Place) -> None:
    place.emulator.control(
        f"databases/{place.database}", {"next_snapshot_seconds": 600}, "PATCH"
    )


def started(place: Place) -> str:
    (version,) = [
        entry["version_id"] for entry in place.requests("create") if entry["accepted"]
    ]
    return str(version)


def test_create_gives_every_output_and_only_the_url_is_secret(
    started_place: Place,
) -> None:
    place = started_place
    answer = create(place, triggers=["1", 2], timeout="10m")
    version = started(place)
    assert answer.id == f"{place.database}/{version}"
    assert answer.secrets == {"download_url"}
    outputs = answer.outputs
    assert f"versionId={version}" in outputs.pop("download_url")
    for name in ("created_at", "expires_at", "requested_at", "download_url_expires_at"):
        assert datetime.fromisoformat(outputs.pop(name)).tzinfo is not None
    assert (size := outputs.pop("size")) == int(size) > 0
    # A value that is None, as `attempt` is, does not exist on the wire.
    assert outputs == {
        "database_id": place.database,
        "triggers": ["1", 2],
        "timeout": "10m",
        "version_id": version,
        "name": place.database,
        "available": True,
        "origin": "manual",
        "runtime": "postgres",
    }
    assert place.servicer.progress(NAME)[-1] == f"found snapshot {version}"
    assert place.servicer.diagnostics(NAME) == []
    # What is shown or printed never holds what opens the data.
    shown = [
        message.text for message in place.servicer.messages
    ] + place.servicer.printed
    assert not [
        text for text in shown if place.emulator.key in text or "Signature" in text
    ]


def test_a_refresh_looks_up_what_an_edited_state_lacks(place: Place) -> None:
    made = create(place, triggers=["1", 2], timeout="10m")
    lacking = {
        name: made.outputs[name] for name in made.outputs if name != "created_at"
    }
    given = {"database_id": place.database, "triggers": ["1", 2], "timeout": "10m"}
    refreshed = place.servicer.read(NAME, made.id, {**lacking, "size": "large"}, given)
    kept_outputs = {
        name: made.outputs[name]
        for name in (*given, "version_id", "created_at", "size")
    }
    assert refreshed.outputs.items() >= kept_outputs.items()
    assert refreshed.id == made.id


def test_refresh_and_get_return_the_same_snapshot(place: Place) -> None:
    created = create(place)
    refreshed = place.servicer.read(
        NAME, created.id, created.outputs, {"database_id": place.database}
    )
    assert (refreshed.id, refreshed.outputs, refreshed.secrets) == (
        created.id,
        created.outputs,
        created.secrets,
    )
    found = place.servicer.read(urn("existing"), created.id)
    assert (found.id, found.secrets) == (created.id, frozenset({"download_url"}))
    assert found.outputs["version_id"] == created.outputs["version_id"]
    assert "requested_at" not in found.outputs
    updated = place.servicer.update(
        NAME,
        created.id,
        created.outputs,
        {"database_id": place.database, "timeout": "1h"},
    )
    assert {**created.outputs, "timeout": "1h"} == updated.outputs
    assert len(place.requests("create")) == 1


def test_with_a_name_in_place_of_an_id_a_command_shows_the_ids(place: Place) -> None:
    failed = failure(place.servicer.create, NAME, {"database_id": "shop"})
    assert failed.message.startswith(
        "This account has no such database.\n"
        "No snapshot of database shop was taken. [POST /databases/shop/snapshots: 404 DATABASE_NOT_FOUND"
    )
    assert (
        "hint: `squarecloud-snapshots databases` shows the ids of all databases.\n"
        in failed.message
    )
    assert failed.kept is None


def test_cancel_keeps_the_snapshot_and_an_update_resumes_it(
    serve: Serve, place: Place
) -> None:
    partial = _cancelled(place)
    _sends_nothing_more(place)
    inputs = {"database_id": place.database, "timeout": "0.5s"}
    environment = {**place.emulator.environment, **PACE}
    with serve(env=environment) as again:
        _keeps_waiting(again, partial, inputs)
        place.emulator.control("clock", {"advance": 600})
        complete = again.update(NAME, partial.id, partial.outputs, inputs)
        assert _found(place).fullmatch(again.diagnostics(NAME, "INFO")[-1])
        again.delete(NAME, f"{DATABASE}/v1", STATE["Snapshot"])
        forgotten = f"forgotten: {DATABASE}/v1; the service keeps it until 2026-01-31T00:00:00Z. `"
        assert again.diagnostics(NAME, "INFO")[-1].startswith(forgotten)
        assert complete.outputs["version_id"] == started(place)
        assert complete.secrets == frozenset({"download_url"})
        assert "attempt" not in complete.outputs
        canonical = again.read(NAME, partial.id, complete.outputs, inputs)
        assert canonical.id == f"{place.database}/{started(place)}"
    with serve(env=environment) as another:
        read = another.read(NAME, partial.id, partial.outputs, inputs)
        assert (read.id, read.outputs) == (
            canonical.id,
            {**canonical.outputs, "timeout": "1h"},
        )
        (said,) = another.diagnostics(NAME)
        assert _found(place).fullmatch(said)
    assert len(place.requests("create")) == 1


def _cancelled(place: Place) -> Kept:
    """What the state keeps of a create that is cancelled while it waits; it says so, and what goes on."""
    slow(place)
    creating = place.servicer.start(create, place, timeout="1h")
    place.waits("next poll")
    place.servicer.cancel()
    partial = kept(creating.result, 30)
    assert partial.id.startswith(f"{place.database}/pending:")
    assert partial.refresh_before_update is True
    assert partial.provider == place.servicer.serialized_provider
    attempt = partial.outputs["attempt"]
    assert attempt["answered"] == "202"
    assert attempt["timeout"] == 3600
    assert partial.outputs["available"] is False
    assert "The wait was interrupted." in partial.reasons[0]
    assert f"`pulumi up --refresh --replace '{NAME}'`" in partial.reasons[0]
    return partial


def _sends_nothing_more(place: Place) -> None:
    """The run is over for everybody: what is still to be sent never is."""
    late = failure(place.servicer.create, urn("late"), {"database_id": "f" * 32})
    assert late.kept is None
    assert late.message.startswith(
        f"No snapshot of database {'f' * 32} was taken. The wait was interrupted"
    )


def _keeps_waiting(servicer: Servicer, partial: Kept, inputs: dict[str, Any]) -> None:
    """A later run, whose wait ends too early, reads and updates what is pending and says that it waits."""
    seen = kept(servicer.read, NAME, partial.id, partial.outputs, inputs)
    assert seen.id == partial.id
    assert seen.inputs == inputs
    assert seen.outputs == {**partial.outputs, "timeout": "1h"}
    assert seen.reasons[0].endswith("is still pending.")
    still = kept(servicer.update, NAME, partial.id, partial.outputs, inputs)
    assert still.id == partial.id
    assert "The wait ended after 0.5 s." in still.reasons[0]
    for _ in range(2):  # an engine may compare it twice
        assert servicer.diff(NAME, partial.id, partial.outputs, inputs).changes
    (waits,) = servicer.diagnostics(NAME, "INFO")
    assert re.fullmatch(
        r"pending since [\d: -]+ UTC; will keep waiting, no new request", waits
    )


def _found(place: Place) -> re.Pattern[str]:
    """The line of a run that finds what an earlier one requested."""
    return re.compile(
        rf"found {place.database}/{started(place)}, taken [\d.]+ \w+ ago; no new request was sent"
    )


def test_twelve_creates_at_once_each_find_their_own(
    emulator: Service, place: Place
) -> None:
    databases = [f"c{number:02}{place.database[3:]}" for number in range(12)]
    for database_id in databases:
        emulator.control("databases", {"id": database_id})
        emulator.control("snapshots", {"database_id": database_id})
    inputs = [
        {"database_id": database_id, "reuse_within": "3h"} for database_id in databases
    ]
    calls = [
        place.servicer.start(place.servicer.create, urn(each["database_id"]), each)
        for each in inputs
    ]
    wait(calls, 60)
    for database_id, call in zip(databases, calls, strict=True):
        assert call.result().id.startswith(f"{database_id}/")
        (said,) = place.servicer.diagnostics(urn(database_id), "INFO")
        adopted = rf"adopted {call.result().id}, taken .* ago instead of taking a new snapshot \(reuse_within\)"
        assert re.fullmatch(adopted, said)


def test_the_provider_ends_soon_after_its_engine_was_killed(
    started_place: Place,
) -> None:
    slow(started_place)
    servicer = started_place.servicer
    servicer.start(create, started_place)
    servicer.wait_for(lambda: started_place.requests("create"), "a request under way")
    servicer.stop_engine()
    servicer.wait_for(lambda: servicer.process.poll() is not None, "the provider's end")


QUOTA = {"status": 429, "code": "DAILY_SNAPSHOTS_LIMIT_REACHED"}
USED_UP = "The plan's daily quota of snapshots is used up"


def test_a_create_that_succeeds_later_ends_as_not_done_and_leaves_its_text(
    place: Place,
) -> None:
    place.fault("create", **QUOTA)
    ended = failure(create, place)
    assert (ended.awaited, ended.kept) == (True, None)
    (warning,) = place.servicer.diagnostics(NAME, "WARNING")
    assert warning.startswith(USED_UP)
    assert ended.message == warning, "an engine before 3.272 shows it as an error"
    assert not any(one["accepted"] for one in place.requests("create"))


def test_a_create_that_failed_is_an_error_and_no_warning(place: Place) -> None:
    place.fault("create", status=404, code="SNAPSHOT_FAILED")
    ended = failure(create, place)
    assert not ended.awaited
    assert place.servicer.diagnostics(NAME) == []


def test_a_refresh_that_is_blocked_is_no_create_that_succeeds_later(
    place: Place,
) -> None:
    place.fault("list", status=429, code="RATE_LIMITED")
    given = {"database_id": place.database}
    ended = failure(
        place.servicer.read, NAME, f"{place.database}/{'v' * 36}", {}, given
    )
    assert not ended.awaited
