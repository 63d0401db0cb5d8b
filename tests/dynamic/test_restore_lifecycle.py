"""Every call that the engine makes for a Restore, in the SDK's own provider process, against an emulated service."""

import re
from dataclasses import dataclass
from typing import Any

import pytest

from pulumi_snapshots.clock import parse_rfc3339, time_text
from tests.dynamic.conftest import NAMES, Place, Serve
from tests.support.servicer import PLENTY, kept

KIND = "Restore"
NAME = NAMES["Restore"]
PACE = {
    **PLENTY,
    "SQUARECLOUD_POLL_EVERY": "0.2s",
    "SQUARECLOUD_RESTORE_SETTLE": "0.5s",
}
SERVICE = ("--restore-seconds", "0.6")


@dataclass
class Rows:
    """The rows of the place's database, which say `now`, and a snapshot from when they said `then`."""

    place: Place
    stored: dict[str, Any]

    def inputs(self, **changes: Any) -> dict[str, Any]:
        source = {name: self.stored[name] for name in ("version_id", "name", "runtime")}
        return {
            "database_id": self.place.database,
            **source,
            "created_at": self.stored["modified"],
            **changes,
        }

    def sql(self, *texts: str) -> Any:
        return self.place.emulator.sql(self.place.database, *texts)

    def read(self) -> str:
        return str(self.sql("SELECT state FROM rows")[0][0][0])


@pytest.fixture
def rows(place: Place) -> Rows:
    found = Rows(place, {})
    found.sql("CREATE TABLE rows (state)", "INSERT INTO rows VALUES ('then')")
    found.stored = place.emulator.control("snapshots", {"database_id": place.database})
    found.sql("UPDATE rows SET state = 'now'")
    return found


def test_a_restore_brings_rows_back_and_waits_for_the_database(
    place: Place, rows: Rows
) -> None:
    inputs = rows.inputs(triggers=["v2"], timeout="10m", overwrite=True)
    created = place.servicer.create(NAME, inputs)
    assert rows.read() == "then"
    assert created.id.startswith(f"{place.database}/restore:2")
    assert created.secrets == frozenset()
    state = dict(created.outputs)
    _records_the_restore(place, rows, created.outputs)
    _says_what_was_restored(place, rows)

    rows.sql("UPDATE rows SET state = 'later'")
    before = place.requests()
    assert place.servicer.diff(NAME, created.id, state, inputs).changes is False
    assert place.servicer.read(NAME, created.id, state, inputs).outputs == given(state)
    assert place.requests() == before
    assert rows.read() == "later"


def given(outputs: dict[str, Any]) -> dict[str, Any]:
    """The outputs that have a value."""
    return {name: value for name, value in outputs.items() if value is not None}


def _records_the_restore(place: Place, rows: Rows, outputs: dict[str, Any]) -> None:
    """The outputs hold what was restored onto what and when, and nothing else."""
    assert outputs["requested_at"] <= outputs["restored_at"]
    assert given(outputs) == {
        "database_id": place.database,
        "version_id": rows.stored["version_id"],
        "target_database_id": place.database,
        "overwrite": True,
        "triggers": ["v2"],
        "timeout": "10m",
        "requested_at": outputs["requested_at"],
        "restored_at": outputs["restored_at"],
    }


def _says_what_was_restored(place: Place, rows: Rows) -> None:
    """Its row says it in short, and the lasting message in full."""
    version = rows.stored["version_id"]
    onto = place.database
    taken = time_text(parse_rfc3339(rows.stored["modified"]))
    in_short = f"restored {onto[:8]}/{version[:8]}, taken {taken}, onto {onto[:8]}"
    assert place.servicer.progress(NAME)[-1] == in_short
    assert place.servicer.diagnostics(NAME, "INFO") == [
        f"restored {onto}/{version}, taken {taken}, onto database {onto}"
    ]


def test_a_cancelled_restore_is_watched_and_not_sent_again(
    serve: Serve, place: Place, rows: Rows
) -> None:
    # it is carried out, but the answer does not come
    place.fault("restore", delay=600, when="after")
    inputs = rows.inputs(overwrite=True)
    creating = place.servicer.start(place.servicer.create, NAME, inputs)
    place.waits("sent; answer by")

    def is_over() -> bool:
        databases = place.emulator.control("state")["databases"]
        return any(one["up"] for one in databases if one["id"] == place.database)

    place.servicer.wait_for(
        lambda: place.requests("restore") and is_over(), "the end of the restore"
    )
    place.servicer.cancel()
    held = kept(creating.result, 30)
    assert (held.refresh_before_update, held.provider) == (
        True,
        place.servicer.serialized_provider,
    )
    assert held.outputs["attempt"]["answered"] == "not answered"
    (reason,) = held.reasons
    assert (
        "The wait was interrupted.\n\t  hint: The request is kept in the state"
        in reason
    )
    assert f"`pulumi up --refresh --replace '{NAME}'` restores again" in reason

    with serve(env={**place.emulator.environment, **PACE}) as later:
        read = kept(later.read, NAME, held.id, held.outputs, inputs)
        assert (read.id, read.outputs) == (held.id, held.outputs)
        assert "What database" in read.reasons[0]
        assert later.diff(
            NAME, held.id, held.outputs, {**inputs, "version_id": "v" * 24}
        ).changes
        answer = later.update(NAME, held.id, held.outputs, inputs)
        waits, found = later.diagnostics(NAME, "INFO")
    assert re.fullmatch(
        r"restore pending since [\d: -]+ UTC; will keep watching, no new request", waits
    )
    assert re.fullmatch(
        rf"restored {place.database}/\S+, taken [\d:]+ UTC, onto database {place.database}, requested at \S+ by an earlier run; no new request was sent",
        found,
    )
    assert answer.outputs["restored_at"]
    assert answer.outputs.get("attempt") is None
    assert len(place.requests("restore")) == 1
