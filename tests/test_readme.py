"""The README is short and says what is so: it names every resource, and how to install what is not published yet."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pulumi

import pulumi_snapshots
from pulumi_snapshots import errors
from pulumi_snapshots.plugin.description.identity import NO_UPLOAD

PROJECT = Path(__file__).resolve().parent.parent
README = (PROJECT / "README.md").read_text()
HOWTO = (PROJECT / "docs" / "howto.md").read_text()
PAGES = sorted((PROJECT / "docs").rglob("*.md"))
EXAMPLES = sorted((PROJECT / "examples").glob("*/README.md"))
PUBLISHED = NO_UPLOAD not in tomllib.loads((PROJECT / "pyproject.toml").read_text())["project"]["classifiers"]
MOST_WORDS = 480


def section(title: str) -> str:
    return README.split(f"\n## {title}\n", 1)[1].split("\n## ", 1)[0]


def test_a_newcomer_sees_every_resource() -> None:
    resources = [
        name
        for name in dir(pulumi_snapshots)
        if isinstance(kind := getattr(pulumi_snapshots, name), type) and issubclass(kind, pulumi.Resource)
    ]
    assert resources
    assert [name for name in resources if not re.search(rf"(?:`|\[){name}\b", README)] == []


def test_a_newcomer_reads_it_in_two_minutes() -> None:
    prose = re.sub(r"^```.*?^```", "", README, flags=re.MULTILINE | re.DOTALL)
    assert len(re.sub(r"\]\([^)]*\)", "]", prose).split()) <= MOST_WORDS


def test_the_install_command_works_today() -> None:
    """A classifier in pyproject.toml decides: once it is gone, this test names what the pages must say then."""
    assert errors.PUBLISHED is PUBLISHED, "what errors say to install works today too"
    clone, index = "pip install '/path/to/clone[cli]'", "pip install 'pulumi-snapshots[cli]'"
    first = section("Install").partition("```sh\n")[2].partition("```")[0]
    assert first == (f"{index}\n" if PUBLISHED else f"{clone}    # once published: {index}\n")
    for page in PAGES:
        text = page.read_text()
        if "pip install 'pulumi-snapshots" in text:
            assert ("/path/to/clone[" in text) is not PUBLISHED, page.name


def test_a_reader_learns_what_was_tried_and_what_was_not() -> None:
    version = tomllib.loads((PROJECT / "pyproject.toml").read_text())["project"]["version"]
    status = section("Status")
    assert f"Version {version}, {'' if PUBLISHED else 'not '}published" in status
    assert "not yet run against the real service" in status
    assert "docs/probe.md" in status


def test_a_reader_whose_data_is_gone_finds_the_way_back_first() -> None:
    back = "howto/get-my-data-back.md"
    assert f"(docs/{back})" in README
    assert re.findall(r"\]\(([^)]*)\)", HOWTO)[0] == back


def test_a_reader_finds_every_example() -> None:
    assert sorted(folder / "README.md" for folder in (PROJECT / "examples").iterdir()) == EXAMPLES
    listed = re.findall(r"^\| \[`examples/([\w-]+)`\]\(\.\./examples/\1/README\.md\) \|", HOWTO, re.MULTILINE)
    assert sorted(listed) == [page.parent.name for page in EXAMPLES]
    for page in EXAMPLES:
        first = next(folder for folder in page.parents if (folder / "Pulumi.yaml").is_file())
        main = re.search(r"^main: (.+)$", (first / "Pulumi.yaml").read_text(), re.MULTILINE)
        assert (first / main[1] if main else first) == page.parent
