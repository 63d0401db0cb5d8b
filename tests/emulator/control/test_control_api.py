"""The control API and the dashboard: what a demo in another process, or a browser on this machine, can see and change."""

import json
import re
from typing import Any

import httpx
import pytest

from squarecloud_emulator.control.control_api import ANSWERS
from squarecloud_emulator.control.dashboard import FILES, STATIC
from squarecloud_emulator.service.settings import TEST_API_KEY
from tests.emulator.visit import DATABASE, Visit, told, visit, visited
from tests.support.virtual import virtual

HERE = f"databases/{DATABASE}"
SCRIPT = (STATIC / "page.js").read_text()
MARKUP = (STATIC / "index.html").read_text()


async def control(
    at: Visit, request: str, body: Any = None, **options: Any
) -> httpx.Response:
    method, path = request.split(" ")
    return await at.files.request(
        method, f"{at.emulator.base_url}/_emulator/{path}", json=body, **options
    )


async def got(at: Visit, request: str, body: Any = None, **options: Any) -> Any:
    return (await control(at, request, body, **options)).json()


async def rows(at: Visit, *statements: str, of: str = HERE) -> Any:
    return await got(at, f"POST {of}/sql", {"statements": statements})


@virtual
async def test_state_shows_everything_but_a_key_of_the_users_own() -> None:
    async with visit() as at:
        assert (await got(at, "GET state"))["public_key"] == TEST_API_KEY
    async with visit(snapshot_seconds=200, api_key="s" * 64, restore_seconds=60) as at:
        await at.create()
        await at.restore(at.added())
        at.emulator.block(60)
        answer = await control(at, "GET state")
        state = answer.json()
        (database,) = state["databases"]
        assert (database["id"], len(database["running_snapshots"])) == (DATABASE, 1)
        assert (database["restoring"], database["restore"]["ends_at"]) == (
            True,
            "2026-03-01T12:02:30Z",
        )
        assert (state["public_key"], state["blocked_until"]) == (
            None,
            "2026-03-01T12:02:30Z",
        )
        assert state["quota"] == {"used": 1, "of": 16}
        assert at.emulator.settings.api_key not in answer.text
        assert (
            state["requests"] == len(at.emulator.journal) == 2
        )  # the control API leaves no trace
        await at.clock.sleep(86400)
        state = await got(at, "GET state")
        assert (state["quota"]["used"], state["databases"][0]["restoring"]) == (
            0,
            False,
        )


@visited()
async def test_journal_can_be_read_from_a_number_on_and_emptied(at: Visit) -> None:
    await at.create()
    (entry,) = await got(at, "GET journal")
    assert (entry["kind"], entry["status"], entry["accepted"], entry["key"]) == (
        "create",
        200,
        True,
        "right",
    )
    await at.listing()
    assert [
        one["number"] for one in await got(at, "GET journal", params={"after": 1})
    ] == [2]
    assert (await control(at, "GET journal", params={"after": "x"})).status_code == 400
    assert (await control(at, "DELETE journal")).status_code == 204
    assert await got(at, "GET journal") == []


@visited()
async def test_databases_and_their_data_can_be_changed(at: Visit) -> None:
    new = "databases/new"
    assert (
        await control(at, "POST databases", {"id": "new", "type": "redis"})
    ).status_code == 201
    assert await rows(at, "CREATE TABLE t (n)", "INSERT INTO t VALUES (1)", of=new) == {
        "rows": [[], []]
    }
    assert await rows(at, "SELECT n FROM t", of=new) == {"rows": [[[1]]]}
    await control(
        at, f"PATCH {new}", {"snapshot_seconds": 300, "next_snapshot_fails": True}
    )
    changed = at.emulator.databases["new"]
    assert (changed.snapshot_seconds, changed.next_snapshot_fails) == (300, True)
    await control(at, f"PATCH {new}", {"running": False})
    assert not await at.running("new")
    assert "down" in (await rows(at, "SELECT n FROM t", of=new))["message"]
    assert (await control(at, f"DELETE {new}")).status_code == 204
    assert (await at.listing("new")).status_code == 404


@visited()
async def test_bytes_in_a_row_are_shown_as_hexadecimal(at: Visit) -> None:
    assert await rows(at, "SELECT x'00ff', 'é'") == {"rows": [[["00ff", "é"]]]}


@pytest.mark.parametrize(
    "modified", ["2026-02-28T03:00:00", "2026-02-28T05:00:00+02:00"]
)
@visited()
async def test_foreign_snapshots_can_be_added_and_removed(
    at: Visit, modified: str
) -> None:
    body = {
        "database_id": DATABASE,
        "origin": "automatic",
        "modified": modified,
        "size": 1000,
    }
    version_id = (await got(at, "POST snapshots", body))["version_id"]
    (entry,) = await at.entries()
    assert (entry["origin"], entry["size"], entry["modified"]) == (
        "automatic",
        1000,
        "2026-02-28T03:00:00.000Z",
    )
    await control(at, f"DELETE snapshots/{version_id}")
    assert await at.versions() == [version_id]
    await control(at, "POST cache/drop", {"database_id": DATABASE})
    assert await at.versions() == []


@visited(restore_seconds=0)
async def test_a_bad_snapshot_and_a_restore_that_does_nothing_can_be_planted(
    at: Visit,
) -> None:
    at.sql("CREATE TABLE t (n)", "INSERT INTO t VALUES (1), (2)")
    damage = {"statements": ["DELETE FROM t WHERE n = 2"]}
    changed = await got(
        at,
        f"PATCH {HERE}",
        {"next_snapshot_damage": damage, "next_restore_does_nothing": True},
    )
    assert changed["next_snapshot_damage"] == {
        "kind": None,
        "of_version": None,
        **damage,
    }
    await at.create()
    (bad,) = await at.versions()
    assert (await got(at, "GET state"))["databases"][0]["next_snapshot_damage"] is None
    empty = await got(
        at, "POST snapshots", {"database_id": DATABASE, "damage": {"kind": "empty"}}
    )
    for version, tables, left in (
        (bad, 1, 2),
        (bad, 1, 1),
        (empty["version_id"], 0, None),
    ):
        await at.restore(version)
        await at.clock.sleep(300)
        assert await rows(at, "SELECT count(*) FROM sqlite_schema") == {
            "rows": [[[tables]]]
        }
        assert left is None or at.sql("SELECT count(*) FROM t") == [[left]]
    for wrong in ({}, {"kind": "empty", "of_version": bad}, {"kind": "lost"}):
        assert (
            await control(at, f"PATCH {HERE}", {"next_snapshot_damage": wrong})
        ).status_code == 400


@visited(restore_seconds=10, restore_tail_seconds=0)
async def test_a_database_can_stay_down_after_a_restore_that_succeeded(
    at: Visit,
) -> None:
    await at.create()
    (version,) = await at.versions()
    await control(at, f"PATCH {HERE}", {"next_restore_leaves_down": True})
    for up in (False, True):  # the next restore brings it up again
        await at.restore(version)
        await at.clock.sleep(300)
        (database,) = (await got(at, "GET state"))["databases"]
        assert database["restore"]["error"] is None
        assert (database["up"], database["running"]) == (up, up)


@visited()
async def test_settings_key_and_block_can_be_changed(at: Visit) -> None:
    changed = await got(
        at,
        "PATCH settings",
        {"soft_deadline_seconds": 5, "scopes": ["snapshots:write"]},
    )
    assert changed["soft_deadline_seconds"] == 5
    assert (await at.create()).status_code == 202
    assert told(await at.listing()) == "403 MISSING_SCOPE"
    await control(at, "POST key", {"revoked": True})
    assert told(await at.listing()) == "401 ACCESS_DENIED"
    await control(at, "POST key", {"revoked": False})
    await control(at, "POST block")
    assert told(await at.listing()) == "429 RATE_LIMITED"


@pytest.mark.parametrize(
    ("request_", "body", "status", "message"),
    [
        (
            "PATCH settings",
            {"speeed": 2},
            400,
            "no such field: speeed; the fields are ",
        ),
        ("PATCH settings", {"speed": 0}, 400, "speed must be above 0"),
        ("PATCH settings", [], 400, "object"),
        ("POST faults", {"drop": True, "tims": 2}, 400, "tims"),
        (
            "POST faults",
            {"drop": True, "kind": "creat"},
            400,
            "a fault strikes create,",
        ),
        ("POST databases", {"id": DATABASE}, 400, "taken"),
        ("POST databases", {"id": "a/b"}, 400, "'a/b'"),
        ("POST databases", {"type": "oracle"}, 400, "oracle"),
        ("POST clock", {"advanced": 2}, 400, "advanced"),
        ("POST clock", {"advance": -1}, 400, "cannot go back"),
        (f"POST {HERE}/sql", {"statements": ["SELEC"]}, 400, "syntax error"),
        ("POST databases/none/sql", {"statements": []}, 404, "no such database"),
        ("POST snapshots", {"database_id": "none"}, 404, "no such database"),
        ("POST snapshots", {"database_id": DATABASE, "size": 1}, 400, "bytes"),
        (
            "POST snapshots",
            {"database_id": DATABASE, "modified": "yesterday"},
            400,
            "yesterday",
        ),
        (
            "PATCH settings",
            {"snapshot_seconds": 1e300},
            400,
            "snapshot_seconds must be 0 to ",
        ),
        (
            "PATCH settings",
            {"speed": 1e300},
            400,
            "speed must be above 0, and at most ",
        ),
        (
            "PATCH settings",
            {"clock_offset_seconds": -1e300},
            400,
            "clock_offset_seconds must be ",
        ),
        (
            "PATCH settings",
            {"requests_per_minute": 10**300},
            400,
            "requests_per_minute must be",
        ),
        (
            "PATCH settings",
            {"wrong_keys_before_block": -1},
            400,
            "wrong_keys_before_block must",
        ),
        ("POST faults", {"drop": True, "times": -1}, 400, "times must be 0 to "),
        ("POST faults", {"drop": True, "skip": -2}, 400, "skip must be 0 to "),
        ("POST faults", {"delay": 1e300}, 400, "delay must be 0 to "),
        (
            "POST faults",
            {"drop": True, "probability": 2},
            400,
            "probability must be 0 to 1",
        ),
        ("POST faults", {"status": 99}, 400, "status must be 100 to 599"),
        ("POST faults", {"huge": 10**15}, 400, "huge must be 0 to "),
        ("POST faults", {"cut_after": -1}, 400, "cut_after must be 0 to "),
        ("POST databases", {"ram": -5}, 400, "ram must be 0 to "),
        (
            "POST databases",
            {"snapshot_seconds": -5},
            400,
            "snapshot_seconds must be 0 to ",
        ),
        (
            f"PATCH {HERE}",
            {"next_snapshot_seconds": 1e300},
            400,
            "next_snapshot_seconds must be",
        ),
        ("POST clock", {"advance": 1e300}, 400, "advance must be 0 to "),
        ("POST clock", {"offset": 1e300}, 400, "clock_offset_seconds must be "),
        ("POST block", {"seconds": -1}, 400, "seconds must be 0 to "),
        ("POST block", {"seconds": 1e300}, 400, "seconds must be 0 to "),
        (
            "POST snapshots",
            {"database_id": DATABASE, "size": 10**15},
            400,
            "size must be 0 to ",
        ),
        (
            "POST snapshots",
            {"database_id": DATABASE, "size": -1},
            400,
            "size must be 0 to ",
        ),
        ("GET journal?after=-1", None, 400, "after must be 0 to "),
        (
            f"POST {HERE}/sql",
            {"statements": ["ATTACH '/tmp/elsewhere.db' AS other"]},
            400,
            "ATTACH is refused: a database holds its own data only",
        ),
        (
            f"POST {HERE}/sql",
            {"statements": ["VACUUM INTO '/tmp/elsewhere.db'"]},
            400,
            "ATTACH is refused",
        ),
    ],
)
@visited()
async def test_wrong_control_request_gets_an_error_that_explains_it(
    at: Visit, request_: str, body: Any, status: int, message: str
) -> None:
    answer = await control(at, request_, body)
    assert answer.status_code == status
    assert message in answer.json()["message"]


@pytest.mark.parametrize("path", FILES)
@visited()
async def test_dashboard_loads_and_leaves_no_trace_in_the_journal(
    at: Visit, path: str
) -> None:
    answer = await at.files.get(f"{at.emulator.base_url}{path}")
    assert answer.status_code == 200
    assert answer.headers["content-type"].partition(";")[0] == FILES[path][1]
    assert "default-src 'none'" in answer.headers["content-security-policy"]
    assert "frame-ancestors 'none'" in answer.headers["content-security-policy"]
    assert answer.content == (STATIC / FILES[path][0]).read_bytes()
    assert not at.emulator.journal


@pytest.mark.parametrize(
    ("origin", "host", "status"),
    [
        (None, "127.0.0.1:8900", 200),
        (None, "evil.example:8900", 403),  # a page whose name resolves to this machine
        (None, "127.0.0.1.evil.example", 403),
        (None, "", 403),
        *(
            (f"http://{here}", here, 200)
            for here in ("127.0.0.1:8900", "localhost:8900", "[::1]:8900")
        ),
        (
            "http://evil.example",
            "127.0.0.1:8900",
            403,
        ),  # another site's page that sends here
        (
            "http://evil.example:8900",
            "evil.example:8900",
            403,
        ),  # another site whose name resolves to this machine
        ("http://127.0.0.1:9000", "127.0.0.1:8900", 403),  # another program's page
        ("http://localhost:8900", "127.0.0.1:8900", 403),
        ("https://127.0.0.1:8900", "127.0.0.1:8900", 403),
        ("http://127.0.0.1.evil.example", "127.0.0.1.evil.example", 403),
        ("null", "127.0.0.1:8900", 403),
        ("http://", "", 403),
    ],
)
@visited()
async def test_other_pages_cannot_press_the_dashboards_buttons(
    at: Visit, origin: str | None, host: str, status: int
) -> None:
    headers = {"Host": host} | ({} if origin is None else {"Origin": origin})
    assert (
        await control(at, "POST clock", {"advance": 1}, headers=headers)
    ).status_code == status


@visited()
async def test_the_clock_stops_in_its_last_year_with_a_sentence(at: Visit) -> None:
    said = ""
    for _ in range(30):
        said = (await control(at, "POST clock", {"advance": 10 * 365 * 86400})).text
    assert "the service's time ends in the year 2200" in said
    assert (await control(at, "GET state")).status_code == 200
    assert (await at.create()).status_code in {200, 202}


ROUTES = [
    f"{method} {re.sub('{.*}', DATABASE, path)}"
    for path, answers in ANSWERS.items()
    for method in answers
]


@pytest.mark.parametrize("route", [*ROUTES, "GET nothing", "PUT state"])
@visited()
async def test_no_route_of_the_control_api_answers_a_foreign_host(
    at: Visit, route: str
) -> None:
    answer = await control(at, route, {}, headers={"Host": "evil.example:8900"})
    assert answer.status_code == 403
    assert "programs on this machine" in answer.json()["message"]


@pytest.mark.parametrize("path", FILES)
@visited()
async def test_the_dashboard_answers_no_foreign_host(at: Visit, path: str) -> None:
    headers = {"Host": "evil.example:8900"}
    answer = await at.files.get(f"{at.emulator.base_url}{path}", headers=headers)
    assert answer.status_code == 403


@pytest.mark.parametrize("body", ["[" * 100_000, '{"a":' * 100_000, "1" * 5000])
@visited()
async def test_json_that_is_too_deep_or_long_is_refused(at: Visit, body: str) -> None:
    url = f"{at.emulator.base_url}/_emulator/faults"
    answer = await at.files.post(url, content=body)
    assert answer.status_code == 400
    assert answer.json()["message"]
    restore = f"databases/{DATABASE}/snapshots/restore"
    assert (await at.api.post(restore, content=body)).status_code == 400


HALF_A_CHARACTER = "half \ud83d"
"""Written as JSON: a text that no UTF-8 can hold."""


@pytest.mark.parametrize(
    ("request_", "body"),
    [
        (f"POST {HERE}/sql", {"statements": [f"select '{HALF_A_CHARACTER}'"]}),
        ("POST databases", {"name": HALF_A_CHARACTER}),
        ("POST faults", {"status": 500, "message": HALF_A_CHARACTER}),
        ("POST snapshots", {"database_id": DATABASE, "version_id": HALF_A_CHARACTER}),
        ("PATCH settings", {"plan": HALF_A_CHARACTER}),
    ],
)
@visited()
async def test_a_text_that_no_answer_can_repeat_is_refused(
    at: Visit, request_: str, body: dict[str, Any]
) -> None:
    answer = await control(at, request_, content=json.dumps(body))
    assert answer.status_code == 400
    assert "half of a surrogate pair" in answer.json()["message"]
    assert (await control(at, "GET state")).status_code == 200
    renamed = json.dumps({"name": HALF_A_CHARACTER})
    answer = await at.api.patch(f"databases/{DATABASE}", content=renamed)
    assert answer.status_code == 400
    assert (await at.api.get(f"databases/{DATABASE}")).status_code == 200


def test_script_never_makes_markup_of_text() -> None:
    """The content security policy stops scripts in markup; this test stops the markup itself."""
    for way in (
        "innerHTML",
        "outerHTML",
        "insertAdjacentHTML",
        "document.write",
        "DOMParser",
        "eval(",
        "Function(",
    ):
        assert way not in SCRIPT
    # it loads nothing from elsewhere
    assert not re.search(r"\son\w+=|<script>|<style|https?://", MARKUP)


def test_every_element_that_the_script_fills_exists() -> None:
    elements = set(re.findall(r'\b(?:at|show)\("([\w-]+)"', SCRIPT))
    assert elements
    assert {element for element in elements if f'id="{element}"' not in MARKUP} == set()
