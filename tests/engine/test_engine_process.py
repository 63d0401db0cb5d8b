"""What a provider reads of its engine's command line; without an engine."""

from __future__ import annotations

import pytest

from pulumi_snapshots.engine import process
from pulumi_snapshots.engine.process import engine_run, forced_in


@pytest.mark.parametrize(
    ("command", "forced"),
    [
        ("pulumi up --yes", []),
        ("", []),
        ("pulumi up --replace urn:a", ["urn:a"]),
        ("pulumi up --replace=urn:a --target-replace urn:b --yes", ["urn:a", "urn:b"]),
        ("pulumi up --replace **before*", ["*before*"]),
        ("pulumi up --replace", [""]),
    ],
)
def test_a_forced_replacement_is_read_from_the_command_line(command: str, forced: list[str]) -> None:
    assert forced_in(tuple(command.split())) == forced


@pytest.mark.parametrize(
    ("name", "forced"), [("urn:a[0]", True), ("urn:a?", False), ("urn:*]", True), ("urn:a", False)]
)
def test_a_name_with_brackets_is_forced(monkeypatch: pytest.MonkeyPatch, name: str, *, forced: bool) -> None:
    monkeypatch.setattr(process, "_engine", lambda: ("1", ("pulumi", "up", "--replace", name)))
    assert engine_run("urn:a[0]").forces is forced


def test_outside_of_an_engine_nothing_is_forced() -> None:
    assert not engine_run("urn:a").forces
    assert not engine_run(None).forces
