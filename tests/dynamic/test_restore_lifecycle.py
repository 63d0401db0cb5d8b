"""Every call that the engine makes for a Restore, in the SDK's own provider process, against an emulated service."""

from __future__ import annotations

import dataclasses
import re
from itertools import count
from typing import TYPE_CHECKING, Any

import pulumi
import pytest

from pulumi_snapshots import Restore
from pulumi_snapshots.clock import parse_rfc3339, time_text
from pulumi_snapshots.dynamic.restore_provider import RestoreProvider
from tests.support.servicer import PLENTY, Answer, Servicer, failure, kept, urn

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.dynamic.conftest import Serve
    from tools.sandbox import Service

NAME = urn("back", "squarecloud:index:Restore")
PACE = {**PLENTY, "SQUARECLOUD_POLL_EVERY": "0.2s", "SQUARECLOUD_RESTORE_SETTLE": "0.5s"}
PROVIDER = RestoreProvider()
SERVICE = (
    "--restore-seconds",
    "0.6",
    "--no-automatic",
    "--cache-world",
    "invalidated",
    "--requests-per-minute",
    "10000",
)
DATABASE, OTHER = "a14b8d5e1cb7405a851eb4c075506121", "b25c9e6f2dc8516b962fc5d186617232"
GOOD: dict[str, Any] = {"database_id": DATABASE, "version_id": "v1", "overwrite": True}
STATE: dict[str, Any] = {
    **GOOD,
    "target_database_id": DATABASE,
    "requested_at": "2026-03-01T12:00:00Z",
    "restored_at": "2026-03-01T12:01:30Z",
}
ATTEMPT = {"posted_at": "2026-03-01T12:00:00Z", "id": "5d0c", "answered": "200", "timeout": 900.0}
ID = f"{DATABASE}/restore:20260301T120000Z"
_numbers = count(1)


@dataclasses.dataclass
class Place:
    """A database of its own at the service, with a snapshot and newer rows, and a provider process."""

    emulator: Service
    servicer: Servicer
    database: str
    stored: dict[str, Any]

    def inputs(self, **changes: Any) -> dict[str, Any]:
        source = {name: self.stored[name] for name in ("version_id", "name", "runtime")}
        taken = {"created_at": self.stored["modified"]}
        return {"database_id": self.database, **source, **taken, "overwrite": True, **changes}

    def create(self, **changes: Any) -> Answer:
        return self.servicer.create(NAME, self.inputs(**changes))

    def writes(self, text: str) -> None:
        self.emulator.sql(self.database, f"UPDATE rows SET state = '{text}'")  # noqa: S608  the test's own text

    def holds(self) -> str:
        return str(self.emulator.sql(self.database, "SELECT state FROM rows")[0][0][0])

    def is_up(self) -> bool:
        databases = self.emulator.control("state")["databases"]
        return any(one["up"] for one in databases if one["id"] == self.database)

    def posts(self) -> list[dict[str, Any]]:
        return [
            one for one in self.emulator.journal() if one["database_id"] == self.database and one["kind"] == "restore"
        ]

    def requests(self) -> list[str]:
        return [one["kind"] for one in self.emulator.journal() if one["database_id"] == self.database]

    def fault(self, kind: str, **effect: Any) -> None:
        self.emulator.control("faults", {"kind": kind, "database_id": self.database, **effect})


@pytest.fixture
def place(serve: Serve, emulator: Service) -> Iterator[Place]:
    emulator.control("faults", method="DELETE")
    emulator.control("clock", {"advance": 200})  # the cooldowns of the test before are over
    database = str(emulator.control("databases", {"id": f"{next(_numbers):032x}"})["id"])
    emulator.sql(database, "CREATE TABLE rows (state)", "INSERT INTO rows VALUES ('then')")
    stored = emulator.control("snapshots", {"database_id": database})
    with serve(env={**emulator.environment, **PACE}) as servicer:
        place = Place(emulator, servicer, database, stored)
        place.writes("now")
        yield place


# Declaration, check and diff: without a request, without a key -------------------------------------------------------


@pytest.mark.parametrize(
    ("given", "reason"),
    [
        ({}, "nothing to restore is given, or a lookup has found no snapshot"),
        ({"snapshot": 7}, "snapshot is a int"),
        ({"snapshot": 7, "version_id": "v1"}, "snapshot and version_id are given"),
    ],
)
def test_what_to_restore_must_be_given_once(given: dict[str, Any], reason: str) -> None:
    with pytest.raises(pulumi.RunError) as caught:
        Restore("back", overwrite=True, **given)
    assert str(caught.value).startswith(f"Restore 'back': {reason}. Give snapshot=SNAPSHOT")
    assert str(caught.value).endswith("or instead of it database_id= and version_id=.")


@pytest.mark.parametrize(
    ("change", "property_", "reason"),
    [
        ({"overwrite": None}, "overwrite", "must be true: a restore overwrites everything that the database holds"),
        ({"version_id": None}, "version_id", "a Snapshot that is pending has none yet"),
    ],
)
def test_a_wrong_input_fails_on_its_property_in_the_preview(
    idle: Servicer, change: dict[str, Any], property_: str, reason: str
) -> None:
    ((name, told),) = idle.check(NAME, {**GOOD, **change}).failures
    assert name == property_
    assert reason in told


def test_a_changed_snapshot_alone_changes_nothing_and_warns(idle: Servicer) -> None:
    """`get_latest_snapshot` as its source: the next day it brings another one."""
    answer = idle.diff(NAME, ID, STATE, {**GOOD, "version_id": "v2", "timeout": "1h"})
    assert (answer.changes, answer.replaces) == (False, [])
    (warning,) = idle.diagnostics(NAME)
    assert warning.startswith("the snapshot changed; set triggers to restore again.")


def test_a_refresh_and_a_delete_send_nothing_and_need_no_key(idle: Servicer) -> None:
    answer = idle.read(NAME, ID, STATE, GOOD)
    assert (answer.id, answer.outputs) == (ID, STATE)
    idle.delete(NAME, ID, STATE)
    assert idle.diagnostics(NAME)[-1] == (
        f"forgotten: the restore of {DATABASE}/v1; database {DATABASE} keeps what it holds"
    )


def test_a_restore_cannot_be_looked_up(idle: Servicer) -> None:
    assert failure(idle.read, NAME, ID, None, GOOD).message.startswith("A Restore cannot be looked up or imported")


def test_without_a_key_nothing_restores_and_pending_stays(idle: Servicer) -> None:
    another = urn(
        "another", "squarecloud:index:Restore"
    )  # the process knows what other tests have shown it of the first
    assert "no API key is set" in failure(idle.create, another, GOOD).message.lower().replace("api", "API")
    pending = {**STATE, "restored_at": None, "attempt": ATTEMPT}
    held = kept(idle.update, NAME, ID, pending, GOOD)
    assert held.id == ID
    assert held.outputs["attempt"] == ATTEMPT
    assert "restored_at" not in held.outputs


# With a service ------------------------------------------------------------------------------------------------------


def test_a_restore_brings_rows_back_and_waits_for_the_database(place: Place) -> None:
    inputs = place.inputs(triggers=["v2"], timeout="10m")
    created = place.servicer.create(NAME, inputs)
    assert place.holds() == "then"
    assert created.id.startswith(f"{place.database}/restore:2")
    assert created.secrets == frozenset()
    requested, restored = (created.outputs.pop(name) for name in ("requested_at", "restored_at"))
    assert requested <= restored
    assert {name: value for name, value in created.outputs.items() if value is not None} == {
        "database_id": place.database,
        "version_id": place.stored["version_id"],
        "target_database_id": place.database,
        "overwrite": True,
        "triggers": ["v2"],
        "timeout": "10m",
    }
    version, onto = place.stored["version_id"], place.database
    taken = time_text(parse_rfc3339(place.stored["modified"]))
    assert place.servicer.progress(NAME)[-1] == f"restored, taken {taken}: {onto[:8]}/{version[:8]} onto {onto[:8]}"
    assert place.servicer.diagnostics(NAME, "INFO") == [
        f"restored {onto}/{version}, taken {taken}, onto database {onto}"
    ]
    state = {**created.outputs, "requested_at": requested, "restored_at": restored}
    place.writes("later")
    before = place.requests()
    assert place.servicer.diff(NAME, created.id, state, inputs).changes is False
    assert place.servicer.read(NAME, created.id, state, inputs).outputs == {
        name: value for name, value in state.items() if value is not None
    }
    assert place.requests() == before
    assert place.holds() == "later"


def test_a_cancelled_restore_is_watched_and_not_sent_again(serve: Serve, place: Place) -> None:
    place.fault("restore", delay=600, when="after")  # it is carried out, but the answer does not come
    creating = place.servicer.start(place.create)
    place.servicer.wait_for(
        lambda: any(text.startswith("sent; answer by") for text in place.servicer.progress(NAME)), "the request"
    )
    place.servicer.wait_for(lambda: place.posts() and place.is_up(), "the end of the restore")
    place.servicer.cancel()
    held = kept(creating.result, 30)
    assert held.refresh_before_update
    assert held.provider == place.servicer.serialized_provider
    assert held.outputs["attempt"]["answered"] == "not awaited"
    (reason,) = held.reasons
    assert "The wait was interrupted.\n\t  hint: The request is kept in the state" in reason
    assert f"`pulumi up --refresh --replace '{NAME}'` restores again" in reason

    with serve(env={**place.emulator.environment, **PACE}) as later:
        read = kept(later.read, NAME, held.id, held.outputs, place.inputs())
        assert (read.id, read.outputs) == (held.id, held.outputs)
        assert "What database" in read.reasons[0]
        assert later.diff(NAME, held.id, held.outputs, place.inputs(version_id="v" * 24)).changes
        answer = later.update(NAME, held.id, held.outputs, place.inputs())
        waits, found = later.diagnostics(NAME, "INFO")
    assert re.fullmatch(r"restore pending since [\d: -]+ UTC; will keep watching, no new request", waits)
    assert re.fullmatch(
        rf"restored {place.database}/\S+, taken [\d:]+ UTC, onto database {place.database}, requested at \S+ by an earlier run; no new request was sent",
        found,
    )
    assert answer.outputs["restored_at"]
    assert answer.outputs.get("attempt") is None
    assert len(place.posts()) == 1
