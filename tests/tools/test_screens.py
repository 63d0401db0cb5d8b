"""docs/habits.md shows what a terminal shows: screens that fit, with the words that the code has now."""

from __future__ import annotations

import re

import pytest

from pulumi_snapshots.engine.wording import PLUGIN
from pulumi_snapshots.snapshot.create import create, resume
from tests.support.virtual import virtual
from tests.support.world import Row, world
from tools.sandbox import Failed
from tools.screens import BLOCK, PAGE, Screen

URN = "urn:pulumi:dev::shop::squarecloud:index:Snapshot::before-release"
SCREENS = [(way, int(columns), moment, text) for _, way, columns, moment, text, _ in BLOCK.findall(PAGE.read_text())]


def plain(text: str) -> str:
    """Without what differs each time: ids, times and ages."""
    text = re.sub(r"[0-9a-f]{8}-[0-9a-f-]{27}|\b[0-9a-f]{32}\b", "ID", text)
    return re.sub(r"\d+", "0", re.sub(r"taken [\w ]+ ago", "taken ago", text))


async def said() -> list[str]:
    """What a row shows of a snapshot that is answered with 202, and what stays of one that is interrupted and resumed."""
    async with world(snapshot_seconds=200) as here:
        row = Row(wording=PLUGIN.about(resource=URN))
        inputs = here.inputs(timeout=100.0)
        ending = await here.ending(create(here.session, inputs, row, URN), row)
        assert ending.error is not None
        await here.ending(resume(here.another_run(), ending.pending, here.inputs(), row, owner=URN), row)
        return [*row.shown, *row.notes, *row.wording.report(ending.error).splitlines()]


@pytest.mark.parametrize(("way", "columns", "moment", "text"), SCREENS, ids=lambda value: f"{value}"[:12])
def test_a_screen_is_drawn_and_fits(way: str, columns: int, moment: str, text: str) -> None:
    lines = text.splitlines()
    assert any("before-release" in line for line in lines), (way, moment)
    rows = [line for line in lines if re.match(r"(?: [+~-]+ +|     )\S", line) and "  " in line]
    assert max(map(len, rows)) < columns, "the engine cuts a row one column before the edge"


@virtual
async def test_the_screens_show_the_words_of_the_code() -> None:
    words = [plain(each) for each in await said()]
    infos = [
        re.split(r"\d+s\)\.* +", line, maxsplit=1)[1].rpartition("]; ")[2]
        for _, _, moment, text in SCREENS
        if moment in {"waiting", "replacing"}
        for line in text.splitlines()
        if re.search(r"\d+s\)\.* +[a-z]", line)
    ]
    assert len(infos) > len(WIDE)
    for info in infos:
        assert any(word.startswith(plain(info)) for word in words), info
    stays = plain("\n".join(text for _, _, moment, text in SCREENS if moment in {"stopped", "preview", "found"}))
    for word in (word for word in words if word.startswith(("found ID/", "hint: ", "more: "))):
        assert word.partition(" 'urn")[0] in stays, word
    assert "pending since 0:0:0 UTC; will keep waiting, no new request" in re.sub(r"0-0-0 ", "", stays)


WIDE = [screen for screen in SCREENS if screen[1] >= 100]


def test_a_screen_draws_what_an_engine_draws() -> None:
    screen = Screen(20)
    screen.feed("\x1b[?25lones\r\ntwo\r\n\x1b]11;?\x07\x1b[2A\r\x1b[1mONE\x1b[0m\x1b[K\x1b")
    screen.feed("[0m\r\n\nthree")
    assert screen.text() == "ONE\ntwo\nthree\n"
    with pytest.raises(Failed, match="not known"):
        screen.feed("\x1b[5X")
