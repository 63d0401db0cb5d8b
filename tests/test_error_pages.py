"""Every error that a user reads has a section, every section has an error, and the sections say what the code does."""

import ast
import importlib
import pkgutil
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

import pulumi_snapshots
from pulumi_snapshots.archive.archive import NotArchived
from pulumi_snapshots.cli.pages import page_text
from pulumi_snapshots.errors.pages import page_name, page_of, with_pointer
from pulumi_snapshots.hosts.download import Served, WrongContent
from pulumi_snapshots.run.operation import UNSENT_TRIES
from pulumi_snapshots.run.settings import MissingKey
from pulumi_snapshots.service import errors
from pulumi_snapshots.service.errors import SquareCloudError, error_for
from pulumi_snapshots.storage.store import StoreTrouble

FOLDER = Path(__file__).parents[1] / "docs" / "errors"
INDEX = (FOLDER / "index.md").read_text()
SECTIONS = {
    name: (path.name, text)
    for path in sorted(FOLDER.glob("*.md"))
    if path.name != "index.md"
    for name, text in re.findall(
        r"^## (\w+)\n\n(.*?)(?=^## |\Z)", path.read_text(), re.MULTILINE | re.DOTALL
    )
}
"""The page and the text of each section, by its heading."""
WITHOUT_PAGE = {
    *(
        "ProviderError",
        "SquareCloudError",
        "NotFinished",
        "ResourceNotFinished",
        "ClaimRefused",
    ),
    *("Overtaken", "Unfit", "TimeIsUp", "WrongArgument", "Refused"),
}
"""Errors that users do not meet by these names, or that say all that there is to say."""


def the_errors() -> Iterator[type[Exception]]:
    """Every public exception class of the package beside the emulator, which has users of its own."""
    for module in pkgutil.walk_packages(pulumi_snapshots.__path__, "pulumi_snapshots."):
        if ".emulator" in module.name or module.name.endswith("__main__"):
            continue
        for kind in vars(importlib.import_module(module.name)).values():
            # Its module says where it is made; others only import it.
            made_here = (
                isinstance(kind, type)
                and kind.__module__ == module.name
                and issubclass(kind, Exception)
            )
            if (
                made_here
                and not kind.__name__.startswith("_")
                and kind.__name__ not in WITHOUT_PAGE
            ):
                yield kind


ERRORS = sorted(the_errors(), key=lambda kind: kind.__name__)


def test_every_error_has_its_section_and_every_section_its_error() -> None:
    assert sorted(SECTIONS) == [kind.__name__ for kind in ERRORS]
    headings = [
        line
        for path in FOLDER.glob("*.md")
        for line in path.read_text().splitlines()
        if line.startswith("## ")
    ]
    assert len(headings) == len(SECTIONS), "no error has two sections"


@pytest.mark.parametrize("kind", ERRORS, ids=lambda kind: kind.__name__)
def test_a_section_says_what_happened_what_was_done_and_what_to_do(
    kind: type[Exception],
) -> None:
    page, text = SECTIONS[kind.__name__]
    quote, *parts = re.split(r"^\*\*(\w+):\*\*", text, flags=re.MULTILINE)
    assert quote.startswith("> ")
    assert parts[::2] == ["Cause", "Done", "Next"]
    assert all(part.strip() for part in parts[1::2])
    assert f"[{kind.__name__}]({page}#{kind.__name__.lower()})" in INDEX
    # The text that a user searches for.
    words = " ".join(text.replace("\n> ", " ").split()).lower()
    assert vars(kind).get("meaning", "").lower() in words or not issubclass(
        kind, SquareCloudError
    )
    shown = page_text(kind.__name__)
    assert shown == page_text(page_name(kind.__name__))
    assert shown is not None
    assert shown.startswith(f"# {kind.__name__}\n\n> ")
    assert shown.count("**Next:**") == 1, "one section alone"
    assert "](" not in shown, "a terminal shows no links"


def threes(text: str) -> list[tuple[str, ...]]:
    """Each three words in a row, except across punctuation, paths, code, numbers and placeholders."""
    runs = re.split(r"`[^`]*`|\S*[/\d_]\S*|[A-Z]{2,}\S*|[.:;()…]", text)
    words = [re.findall(r"[a-z']+", run.lower()) for run in runs]
    return [tuple(run[at : at + 3]) for run in words for at in range(len(run) - 2)]


@pytest.fixture(scope="module")
def said() -> set[tuple[str, ...]]:
    """What the package's strings say, each three words in a row."""
    package = Path(pulumi_snapshots.__file__).parent
    trees = [
        ast.parse(path.read_text())
        for path in package.rglob("*.py")
        if "emulator" not in path.parts
    ]
    nodes = [node for tree in trees for node in ast.walk(tree)]
    texts = [
        node.value
        for node in nodes
        if isinstance(node, ast.Constant) and isinstance(node.value, str)
    ]
    return {three for text in texts for three in threes(text)}


@pytest.mark.parametrize("name", SECTIONS)
def test_a_section_quotes_a_message_that_exists(
    name: str, said: set[tuple[str, ...]]
) -> None:
    quoted = (
        SECTIONS[name][1].partition("\n\n")[0].removeprefix("> ").replace("\n> ", " ")
    )
    shown = threes(quoted)
    # Words around a fact, such as "must be" after a property's name, stand in no single string.
    assert sum(three in said for three in shown) >= 0.6 * len(shown), [
        three for three in shown if three not in said
    ]


def test_the_section_of_an_unreachable_service_counts_the_tries() -> None:
    count = {2: "twice", 3: "three times", 4: "four times"}[UNSENT_TRIES]
    assert f"tried {count}" in SECTIONS["NotSent"][1]


def test_the_section_of_other_content_quotes_its_error_to_the_letter() -> None:
    now, before = (
        Served(total=size, version=None, etag=None, modified=None)
        for size in (1001, 1000)
    )
    error = WrongContent(
        "GET /databases/ACCOUNT_ID/DATABASE_ID.zip",
        meaning=f"the host now serves a different object: {now.differs_from(before)}",
        status=206,
    )
    assert f"> {error}\n" in SECTIONS["WrongContent"][1]


def test_every_code_of_the_service_stands_in_the_section_of_its_error() -> None:
    for code in errors.KNOWN_CODES:
        error = error_for("POST /x", 400, code=code, readable=True)
        assert f"`{code}`" in SECTIONS[type(error).__name__][1]


def test_the_command_that_explains_the_best_cause_ends_the_message() -> None:
    told = with_pointer("No API key is set.", MissingKey())
    assert told == "No API key is set.\nmore: squarecloud-snapshots explain missing-key"
    caused = NotArchived("it was not archived: no room")
    caused.__cause__ = StoreTrouble("no room")
    caused.__cause__.__cause__ = OSError("of no page here")
    assert page_of(caused) == "store-trouble"
    assert page_of(NotArchived("it was interrupted")) == "not-archived"


def test_what_is_no_error_is_not_explained() -> None:
    assert (
        page_text("index")
        is page_text("../index")
        is page_text("")
        is page_text("key")
        is None
    )
