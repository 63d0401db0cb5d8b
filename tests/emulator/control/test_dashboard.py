"""The dashboard: for this machine only, without markup from outside, and with buttons that do what they say."""

from __future__ import annotations

import http.client
import json
import re
from contextlib import closing
from typing import TYPE_CHECKING
from urllib.parse import quote, urlsplit

import pytest

from squarecloud_emulator.control.dashboard import FILES, STATIC
from tests.emulator.control.browser import CHROMIUM, Browser, browser
from tests.emulator.served import KEY, Served, served
from tests.emulator.visit import DATABASE, Visit, visit
from tests.support.virtual import virtual

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

SCRIPT = (STATIC / "page.js").read_text()
MARKUP = (STATIC / "index.html").read_text()
NEEDED = ("API_URL", "SNAPSHOTS_URL", "API_KEY")
TIMES = "\N{MULTIPLICATION SIGN}"
EVIL = "<img src=x onerror=document.title='owned'><script>document.title='owned'</script>"


@pytest.mark.parametrize("path", FILES)
@virtual
async def test_dashboard_loads_and_leaves_no_trace_in_the_journal(path: str) -> None:
    async with visit() as at:
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


@virtual
async def test_other_pages_cannot_press_the_dashboards_buttons() -> None:
    async with visit() as at:
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


@virtual
async def test_journal_can_be_read_from_a_number_on() -> None:
    async with visit() as at:
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


def test_every_button_names_what_it_acts_on() -> None:
    things = "account database faults? listings key lines requests snapshot clock speed PostgreSQL MySQL MongoDB Redis"
    buttons = re.findall(r"<button[^>]*>(.*?)</button>", MARKUP) + re.findall(r'button\("(.*?)"', SCRIPT)
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


# In a browser --------------------------------------------------------------------------------------------------------

in_a_browser = pytest.mark.skipif(CHROMIUM is None, reason="this machine has no Chromium")


@pytest.fixture
def emulator(forks: dict[str, str]) -> Iterator[Served]:
    with served("--no-automatic", "--database", DATABASE, "--soft-deadline", "3600", forks=forks) as one:
        yield one


@pytest.fixture
def tab(emulator: Served, tmp_path: Path) -> Iterator[Browser]:
    with browser(f"{emulator.url}/", tmp_path / "profile") as one:
        yield one


def text_of(element: str) -> str:
    return f"document.getElementById({json.dumps(element)}).innerText"


def press(text: str) -> str:
    return f"[...document.querySelectorAll('button')].find((one) => one.textContent === {json.dumps(text)}).click()"


@in_a_browser
def test_dashboard_shows_new_requests_and_foreign_text_as_text(emulator: Served, tab: Browser, tmp_path: Path) -> None:
    tab.until(f"{text_of('variables')}.includes('SQUARECLOUD_API_URL={emulator.url}/v2')")
    tab.until(f"{text_of('databases')}.includes('postgres-{DATABASE[:8]}')")
    tab.evaluate("navigator.clipboard.writeText = async (text) => { window.taken = text; }")
    tab.evaluate(press("Copy lines"))
    taken = tab.until("window.taken")
    assert [line.partition("=")[0] for line in taken.splitlines()] == [f"export SQUARECLOUD_{name}" for name in NEEDED]
    assert KEY not in taken, "a key of the user's own is not shown"
    emulator.control("databases", {"id": "evil", "name": EVIL, "type": "mysql"})
    emulator.control("snapshots", {"database_id": DATABASE, "version_id": "45ec0b49-9af6-445e-a55c-abd7ec5278b2"})
    ask(emulator, f"/v2/{quote(EVIL)}")
    assert "<img" in tab.until(f"{text_of('requests')}.includes('404') && {text_of('requests')}")
    assert EVIL in tab.until(f"{text_of('databases')}.includes('onerror') && {text_of('databases')}")
    assert "45ec0b49-9af6-445e-a55c-abd7ec5278b2" in tab.until(text_of("databases"))
    assert tab.evaluate("document.querySelectorAll('main img, main script').length") == 0
    assert tab.evaluate("document.title") == "Square Cloud, emulated"
    assert "/favicon.ico" not in json.dumps(emulator.control("journal"))
    for width in (1280, 400):
        tab.picture(tmp_path / f"{width}.png", width, 1000)
        assert tab.evaluate("document.documentElement.scrollWidth <= innerWidth"), "nothing is cut off"


def ask(emulator: Served, path: str) -> None:
    """A client's request, whose answer does not matter."""
    with closing(http.client.HTTPConnection(urlsplit(emulator.url).netloc, timeout=10)) as connection:
        connection.request("GET", path, headers={"Authorization": KEY})
        connection.getresponse().read()


@in_a_browser
def test_every_button_does_what_it_says(emulator: Served, tab: Browser) -> None:
    tab.until(f"{text_of('databases')}.includes({json.dumps(DATABASE)})")
    before = emulator.control("clock")["now"]
    tab.evaluate(press("Clock +1 day"))
    tab.until(f"{text_of('now')}.slice(0, 10) > {json.dumps(before[:10])}")
    tab.evaluate(press(f"Speed 60{TIMES}"))
    tab.until(f"{text_of('speed')} === '60{TIMES} as fast'")
    tab.evaluate(press(f"Speed 1{TIMES}"))
    tab.until(f"{text_of('speed')} === ''")

    tab.evaluate("document.querySelector('[name=effect]').value = '502, a proxy\\'s page'")
    tab.evaluate("document.querySelector('[name=kind]').value = 'list'")
    tab.evaluate(press("Add fault"))
    tab.until(f"{text_of('faults')}.includes('list: 502, a proxy\\'s page; 1 more')")
    ask(emulator, f"/v2/databases/{DATABASE}/snapshots")
    tab.until(f"{text_of('requests')}.includes('502')")
    tab.until(f"{text_of('faults')}.includes('spent')")
    tab.evaluate(press("Clear faults"))
    tab.until(f"{text_of('faults')} === ''")

    tab.evaluate(press("Block account 30 min"))
    tab.until(f"{text_of('blocked')}.startsWith('The account is blocked until')")
    tab.evaluate(press("Unblock account"))
    tab.until(f"{text_of('blocked')} === ''")
    tab.evaluate(press("Revoke key"))
    tab.until("!document.getElementById('key').hidden")
    tab.evaluate(press("Accept key"))
    tab.until("document.getElementById('key').hidden")
    tab.evaluate(press("Drop cached listings"))

    tab.evaluate(press("Add automatic snapshot"))
    tab.until(f"{text_of('databases')}.includes('automatic')")
    tab.evaluate(press("Add manual snapshot"))
    tab.until(f"{text_of('databases')}.includes('manual')")
    tab.evaluate(press("Slow next snapshot: 5 min"))
    tab.evaluate(press("Fail next snapshot"))
    tab.until(f"{text_of('databases')}.includes('the next snapshot takes 300 s and fails')")
    tab.evaluate(press("Undo slow next snapshot"))
    tab.evaluate(press("Undo failing next snapshot"))
    tab.until(f"!{text_of('databases')}.includes('the next snapshot')")
    tab.evaluate(press("Stop database"))
    tab.until(f"{text_of('databases')}.includes('down')")
    tab.evaluate(press("Start database"))
    tab.until(f"!{text_of('databases')}.includes('down')")
    for kind in ("Add PostgreSQL", "Add MySQL", "Add MongoDB", "Add Redis"):
        tab.evaluate(press(kind))
    tab.until("document.querySelectorAll('article').length === 5")

    tab.evaluate(press("Clear requests"))
    tab.until(f"{text_of('requests')} === ''")
    assert tab.evaluate(text_of("trouble")) == ""


@in_a_browser
def test_dashboard_shows_why_a_button_or_a_poll_failed(emulator: Served, tab: Browser) -> None:
    tab.until(f"{text_of('databases')}.includes({json.dumps(DATABASE)})")
    emulator.control(f"databases/{DATABASE}", None, "DELETE")
    tab.evaluate(f"send('PATCH', 'databases/{DATABASE}', '{{}}')")
    tab.until(f"{text_of('trouble')} === 'no such database'")
    emulator.process.kill()
    emulator.process.wait()
    tab.until(f"{text_of('trouble')} === 'The emulator does not answer.'")
