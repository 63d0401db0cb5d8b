"""The dashboard: for this machine only, without markup from outside, and with buttons that do what they say."""

from __future__ import annotations

import re

import pytest

from squarecloud_emulator.control.dashboard import FILES, STATIC
from tests.emulator.visit import DATABASE, Visit, visited

SCRIPT = (STATIC / "page.js").read_text()
MARKUP = (STATIC / "index.html").read_text()


@pytest.mark.parametrize("path", FILES)
@visited()
async def test_dashboard_loads_and_leaves_no_trace_in_the_journal(at: Visit, path: str) -> None:
    answer = await at.files.get(f"{at.emulator.base_url}{path}")
    assert answer.status_code == 200
    assert answer.headers["content-type"].partition(";")[0] == FILES[path][1]
    assert "default-src 'none'" in answer.headers["content-security-policy"]
    assert "frame-ancestors 'none'" in answer.headers["content-security-policy"]
    assert answer.content == (STATIC / FILES[path][0]).read_bytes()
    assert not at.emulator.journal


async def pressed(at: Visit, origin: str, host: str) -> int:
    headers = {"Origin": origin, "Host": host}
    url = f"{at.emulator.base_url}/_emulator/clock"
    return (await at.files.post(url, json={"advance": 1}, headers=headers)).status_code


@visited()
async def test_other_pages_cannot_press_the_dashboards_buttons(at: Visit) -> None:
    for here in ("127.0.0.1:8900", "localhost:8900", "[::1]:8900"):
        assert await pressed(at, f"http://{here}", here) == 200
    for origin, host in (
        ("http://evil.example", "127.0.0.1:8900"),  # another site's page that sends here
        ("http://evil.example:8900", "evil.example:8900"),  # another site whose name resolves to this machine
        ("http://127.0.0.1:9000", "127.0.0.1:8900"),  # another program's page
        ("http://localhost:8900", "127.0.0.1:8900"),
        ("https://127.0.0.1:8900", "127.0.0.1:8900"),
        ("http://127.0.0.1.evil.example", "127.0.0.1.evil.example"),
        ("null", "127.0.0.1:8900"),
        ("http://", ""),
    ):
        assert await pressed(at, origin, host) == 403, origin


@visited()
async def test_journal_can_be_read_from_a_number_on(at: Visit) -> None:
    for _ in range(3):
        await at.listing()
    url = f"{at.emulator.base_url}/_emulator/journal"
    assert [one["number"] for one in (await at.files.get(url, params={"after": 1})).json()] == [2, 3]
    assert (await at.files.get(url, params={"after": "x"})).status_code == 400
    state = (await at.files.get(f"{at.emulator.base_url}/_emulator/state")).json()
    assert (state["requests"], state["blocked_until"]) == (3, None)
    at.emulator.block(60)
    state = (await at.files.get(f"{at.emulator.base_url}/_emulator/state")).json()
    assert state["blocked_until"] == "2026-03-01T12:01:00Z"


@visited(restore_seconds=60)
async def test_state_counts_the_quota_of_any_24_hours_and_shows_a_restore_under_way(at: Visit) -> None:
    url = f"{at.emulator.base_url}/_emulator/state"
    await at.create()
    await at.restore(at.emulator.snapshots(DATABASE)[0].version_id)
    state = (await at.files.get(url)).json()
    assert state["quota"] == {"used": 1, "of": 16}
    assert state["databases"][0]["restoring"]
    assert state["databases"][0]["restore"]["ends_at"] == "2026-03-01T12:01:30Z"
    await at.clock.sleep(86400)
    state = (await at.files.get(url)).json()
    assert (state["quota"]["used"], state["databases"][0]["restoring"]) == (0, False)


def test_every_button_names_what_it_acts_on() -> None:
    things = "account database faults? listings key lines requests snapshot restore clock speed PostgreSQL MySQL MongoDB Redis"
    buttons = re.findall(r"<button[^>]*>(.*?)</button>", MARKUP) + re.findall(r'\b(?:button|plan)\("(.*?)"', SCRIPT)
    assert len(buttons) > 20
    assert [text for text in buttons if not re.search(things.replace(" ", "|"), text, re.IGNORECASE)] == []


def test_script_never_makes_markup_of_text() -> None:
    """The content security policy stops scripts in markup; this test stops the markup itself."""
    for way in ("innerHTML", "outerHTML", "insertAdjacentHTML", "document.write", "DOMParser", "eval(", "Function("):
        assert way not in SCRIPT
    assert not re.search(r"\son\w+=", MARKUP)
    assert "<script>" not in MARKUP
    assert "<style" not in MARKUP
    assert not re.search(r"https?://", MARKUP)  # it loads nothing from elsewhere


def test_every_element_that_the_script_fills_exists() -> None:
    elements = set(re.findall(r'\b(?:at|show)\("([\w-]+)"', SCRIPT))
    assert elements
    assert {element for element in elements if f'id="{element}"' not in MARKUP} == set()
