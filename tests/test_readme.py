"""The README says what is so: it names every resource, command and example."""

from __future__ import annotations

import re
from pathlib import Path

import pulumi

import pulumi_snapshots

PROJECT = Path(__file__).resolve().parent.parent
README = (PROJECT / "README.md").read_text()
EXAMPLES = sorted((PROJECT / "examples").glob("*/README.md"))


def section(title: str) -> str:
    return README.split(f"\n## {title}\n", 1)[1].split("\n## ", 1)[0]


def test_a_newcomer_sees_everything_that_there_is_at_once() -> None:
    text = section("What is in it")
    resources = [
        name
        for name in pulumi_snapshots.__all__
        if isinstance(kind := getattr(pulumi_snapshots, name), type) and issubclass(kind, pulumi.Resource)
    ]
    assert resources
    assert [name for name in resources if f"[`{name}`]" not in text] == []
    assert [name for name in ("list", "create", "download", "archive", "restore", "doctor") if name not in text] == []
    assert README.index("\n## What is in it\n") < README.index("\n## See it work\n") < README.index("\n## Use it\n")


def test_a_reader_finds_every_example() -> None:
    listed = re.findall(r"^\| \[`examples/([\w-]+)`\]\(examples/\1/README\.md\) \|", section("Examples"), re.MULTILINE)
    assert sorted(listed) == [page.parent.name for page in EXAMPLES]
    for page in EXAMPLES:
        assert (page.parent / "Pulumi.yaml").is_file()
