"""The control API: what a demo in another process can see and change."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest

from squarecloud_emulator.service.settings import TEST_API_KEY
from tests.emulator.visit import DATABASE, START, Visit, visit, visited
from tests.support.virtual import virtual

if TYPE_CHECKING:
    import httpx


async def control(at: Visit, method: str, path: str, body: Any = None) -> httpx.Response:
    return await at.files.request(method, f"{at.emulator.base_url}/_emulator/{path}", json=body)


@virtual
async def test_state_shows_everything_but_a_key_of_the_users_own() -> None:
    async with visit() as at:
        assert (await control(at, "GET", "state")).json()["public_key"] == TEST_API_KEY
    async with visit(snapshot_seconds=200, api_key="s" * 64) as at:
        await at.create()
        answer = await control(at, "GET", "state")
        (database,) = answer.json()["databases"]
        assert (database["id"], database["up"], len(database["running_snapshots"])) == (DATABASE, True, 1)
        assert answer.json()["public_key"] is None
        assert at.emulator.settings.api_key not in answer.text
        assert len(at.emulator.journal) == 1  # the control API leaves no trace


@visited()
async def test_journal_can_be_read_and_emptied(at: Visit) -> None:
    await at.create()
    (entry,) = (await control(at, "GET", "journal")).json()
    assert (entry["kind"], entry["status"], entry["accepted"], entry["key"]) == ("create", 200, True, "right")
    assert (await control(at, "DELETE", "journal")).status_code == 204
    assert (await control(at, "GET", "journal")).json() == []


@visited()
async def test_clock_can_be_moved(at: Visit) -> None:
    await control(at, "POST", "clock", {"advance": 3600, "offset": -60, "speed": 2})
    assert at.emulator.now() == START + timedelta(seconds=3540)
    await at.clock.sleep(10)
    assert (await control(at, "GET", "clock")).json() == {
        "now": "2026-03-01T12:59:20Z",
        "offset": -60.0,
        "speed": 2.0,
    }


@visited()
async def test_faults_can_be_set_and_cleared(at: Visit) -> None:
    answer = await control(at, "POST", "faults", {"kind": "list", "html": 502, "times": None})
    assert answer.status_code == 201
    assert (await at.listing()).status_code == 502
    assert [one["name"] for one in (await control(at, "GET", "faults")).json()] == ["html before"]
    await control(at, "DELETE", "faults")
    assert (await at.listing()).status_code == 200


@visited()
async def test_databases_and_their_data_can_be_changed(at: Visit) -> None:
    assert (await control(at, "POST", "databases", {"id": "new", "type": "redis"})).status_code == 201
    answer = await control(
        at, "POST", "databases/new/sql", {"statements": ["CREATE TABLE t (n)", "INSERT INTO t VALUES (1)"]}
    )
    assert answer.json() == {"rows": [[], []]}
    answer = await control(at, "POST", "databases/new/sql", {"statements": ["SELECT n FROM t"]})
    assert answer.json() == {"rows": [[[1]]]}
    await control(at, "PATCH", "databases/new", {"snapshot_seconds": 300, "next_snapshot_fails": True})
    assert at.emulator.databases["new"].snapshot_seconds == 300
    assert at.emulator.databases["new"].next_snapshot_fails
    await control(at, "PATCH", "databases/new", {"running": False})
    assert not await at.running("new")
    answer = await control(at, "POST", "databases/new/sql", {"statements": ["SELECT n FROM t"]})
    assert answer.status_code == 409
    assert (await control(at, "DELETE", "databases/new")).status_code == 204
    assert (await at.listing("new")).status_code == 404


@visited()
async def test_foreign_snapshots_can_be_added_and_removed(at: Visit) -> None:
    body = {"database_id": DATABASE, "origin": "automatic", "modified": "2026-02-28T03:00:00Z", "size": 1000}
    version_id = (await control(at, "POST", "snapshots", body)).json()["version_id"]
    (entry,) = (await at.listing()).json()["response"]
    assert (entry["origin"], entry["size"], entry["modified"]) == ("automatic", 1000, "2026-02-28T03:00:00.000Z")
    await control(at, "DELETE", f"snapshots/{version_id}")
    assert await at.versions() == [version_id]
    await control(at, "POST", "cache/drop", {"database_id": DATABASE})
    assert await at.versions() == []


@pytest.mark.parametrize("modified", ["2026-02-28T03:00:00", "2026-02-28T05:00:00+02:00"])
@visited()
async def test_time_of_a_foreign_snapshot_is_listed_in_utc(at: Visit, modified: str) -> None:
    at.emulator.add_snapshot(DATABASE)
    await control(at, "POST", "snapshots", {"database_id": DATABASE, "modified": modified})
    assert (await at.listing()).json()["response"][1]["modified"] == "2026-02-28T03:00:00.000Z"


@visited(restore_seconds=0)
async def test_a_bad_snapshot_and_a_restore_that_does_nothing_can_be_planted(at: Visit) -> None:
    here = f"databases/{DATABASE}"
    at.emulator.execute(DATABASE, "CREATE TABLE t (n)", "INSERT INTO t VALUES (1), (2)")
    damage = {"statements": ["DELETE FROM t WHERE n = 2"]}
    changed = await control(at, "PATCH", here, {"next_snapshot_damage": damage, "next_restore_does_nothing": True})
    assert changed.json()["next_snapshot_damage"] == {"kind": None, "of_version": None, **damage}
    await at.create()
    (bad,) = await at.versions()
    assert (await control(at, "GET", "state")).json()["databases"][0]["next_snapshot_damage"] is None
    rows = ["SELECT count(*) FROM t"]
    await at.restore(bad)
    assert (await control(at, "POST", f"{here}/sql", {"statements": rows})).json() == {"rows": [[[2]]]}
    await at.clock.sleep(300)
    await at.restore(bad)
    await at.clock.sleep(300)
    assert (await control(at, "POST", f"{here}/sql", {"statements": rows})).json() == {"rows": [[[1]]]}
    empty = {"database_id": DATABASE, "damage": {"kind": "empty"}}
    stored = (await control(at, "POST", "snapshots", empty)).json()
    await at.restore(stored["version_id"])
    await at.clock.sleep(300)
    wanted = {"statements": ["SELECT count(*) FROM sqlite_schema"]}
    assert (await control(at, "POST", f"{here}/sql", wanted)).json() == {"rows": [[[0]]]}
    for wrong in ({}, {"kind": "empty", "of_version": bad}, {"kind": "lost"}):
        assert (await control(at, "PATCH", here, {"next_snapshot_damage": wrong})).status_code == 400


@visited()
async def test_settings_key_and_block_can_be_changed(at: Visit) -> None:
    answer = await control(at, "PATCH", "settings", {"soft_deadline_seconds": 5, "scopes": ["snapshots:write"]})
    assert answer.json()["soft_deadline_seconds"] == 5
    assert (await at.create()).status_code == 202
    assert (await at.listing()).json()["code"] == "MISSING_SCOPE"
    await control(at, "POST", "key", {"revoked": True})
    assert (await at.listing()).status_code == 401
    await control(at, "POST", "key", {"revoked": False})
    await control(at, "POST", "block")
    assert (await at.listing()).json()["code"] == "RATE_LIMITED"


@pytest.mark.parametrize(
    ("method", "path", "body", "status", "message"),
    [
        ("PATCH", "settings", {"speeed": 2}, 400, "no such setting: speeed; the settings are "),
        ("PATCH", "settings", {"restore_tail": 2}, 400, "restore_tail_seconds"),
        ("PATCH", "settings", {"speed": 0}, 400, "speed must be above 0"),
        ("PATCH", "settings", {"speed": "fast"}, 400, "speed"),
        ("PATCH", "settings", [], 400, "object"),
        ("POST", "faults", {"kind": "list"}, 400, "effect"),
        ("POST", "faults", {"drop": True, "tims": 2}, 400, "tims"),
        ("POST", "faults", {"drop": True, "kind": "creat"}, 400, "a fault strikes create,"),
        ("POST", "databases", {"id": DATABASE}, 400, "taken"),
        ("POST", "databases", {"id": "a/b"}, 400, "'a/b'"),
        ("POST", "databases", {"type": "oracle"}, 400, "oracle"),
        ("POST", "clock", {"advanced": 2}, 400, "advanced"),
        ("POST", "clock", {"advance": -1}, 400, "cannot go back"),
        ("POST", f"databases/{DATABASE}/sql", {"statements": ["SELEC"]}, 400, "syntax error"),
        ("POST", "databases/none/sql", {"statements": []}, 404, "no such database"),
        ("PATCH", "databases/none", {}, 404, "no such database"),
        ("POST", "snapshots", {"database_id": "none"}, 404, "no such database"),
        ("POST", "snapshots", {"database_id": DATABASE, "size": 1}, 400, "bytes"),
        ("POST", "snapshots", {"database_id": DATABASE, "modified": "yesterday"}, 400, "yesterday"),
    ],
)
@visited()
async def test_wrong_control_request_gets_an_error_that_explains_it(  # noqa: PLR0913, PLR0917  a row
    at: Visit, method: str, path: str, body: Any, status: int, message: str
) -> None:
    answer = await control(at, method, path, body)
    assert answer.status_code == status
    assert message in answer.json()["message"]


@visited()
async def test_foreign_page_in_a_browser_cannot_use_the_control_api(at: Visit) -> None:
    url = f"{at.emulator.base_url}/_emulator/state"
    assert (await at.files.get(url, headers={"Origin": "http://elsewhere.test"})).status_code == 403
