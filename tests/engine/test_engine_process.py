"""What a provider reads of its engine's command line; without an engine."""

from __future__ import annotations

import pytest

from pulumi_snapshots.engine import process
from pulumi_snapshots.engine.process import config_files, engine_process


@pytest.mark.parametrize(
    ("command", "files"),
    [
        ("pulumi up --yes", []),
        ("", []),
        ("pulumi up --config-file a.yaml", ["a.yaml"]),
        ("pulumi up --config-file=a.yaml --yes --config-file b.yaml", ["a.yaml", "b.yaml"]),
        ("pulumi up --config-file", [""]),
    ],
)
def test_a_file_of_config_is_read_from_the_command_line(
    monkeypatch: pytest.MonkeyPatch, command: str, files: list[str]
) -> None:
    monkeypatch.setattr(process, "_engine", lambda: (7, tuple(command.split())))
    assert config_files() == files


def test_outside_of_an_engine_there_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(process, "_engine", lambda: (0, ()))
    assert engine_process() is None
    assert config_files() == []
