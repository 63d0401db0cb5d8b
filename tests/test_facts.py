"""docs/dev/facts.md: each fact about the service names a source and existing tests, and every code has its fact."""

import re
from pathlib import Path

import pytest

from pulumi_snapshots.service import errors
from squarecloud_emulator.service import refusals

TESTS = Path(__file__).resolve().parent
PAGE = (TESTS.parent / "docs" / "dev" / "facts.md").read_text()
PUBLISHED, ASSUMED = PAGE.split("\n## Assumed\n")
FACTS, CLIENTS = (
    [
        [cell.strip() for cell in line[1:-1].split(" | ")]
        for line in part.splitlines()
        if line.startswith("|")
        and not line.startswith(("| fact |", "| client |", "| --- |"))
    ]
    for part in PUBLISHED.split("\n## Clients that others wrote\n")
)
SOURCES = {"page", "docs", "OpenAPI", "SDK", "crate"}


@pytest.mark.parametrize("row", [*FACTS, *CLIENTS], ids=lambda row: row[0][:60])
def test_a_fact_is_played_by_a_test_that_there_is(row: list[str]) -> None:
    fact, _, played_by = row
    named = re.findall(r"`([\w/]+\.py)::(\w+)`", played_by)
    assert named, fact
    for file, function in named:
        path = TESTS / file
        assert path.is_file(), file
        assert re.search(
            rf"^(async )?def {function}\(", path.read_text(), re.MULTILINE
        ), function


def test_each_assumption_says_what_happens_if_it_is_wrong() -> None:
    rows = [
        line.strip("| ").split(" | ")
        for line in ASSUMED.splitlines()
        if line.startswith("|")
    ]
    assert rows[0] == ["assumption", "if it is wrong"]
    assert [len(cells) for cells in rows[2:]] == [2] * (len(rows) - 2)
    assert len(rows) > 10


def test_each_fact_says_where_it_is_published() -> None:
    for fact, source, _ in FACTS:
        assert set(source.split(", ")) <= SOURCES, fact


def test_every_code_that_is_emulated_or_known_has_its_fact() -> None:
    codes = {*errors.KNOWN_CODES, *refusals._CODES}
    assert {code for code in codes if f"`{code}`" not in PUBLISHED} == set()
