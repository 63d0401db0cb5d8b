"""What a program may say of a guard, and what it remembers of the last one; without an engine."""

from __future__ import annotations

import inspect
from typing import Any

import pulumi
import pytest

from pulumi_snapshots import Guard
from pulumi_snapshots.guard.inputs import GuardInputs
from pulumi_snapshots.guard.once import change_of
from pulumi_snapshots.properties.durations import parse_duration
from tests.support.world import DATABASE


@pytest.mark.parametrize(
    ("wrong", "named"),
    [
        ({"database_id": ""}, "database_id must not be empty"),
        ({"database_id": "a/b"}, "database_id must be a bare id"),
        ({"database_id": None}, "database_id is required"),
        ({"reuse_within": "soon"}, "reuse_within must be"),
        ({"reuse_within": "10", "timeout": 0}, "Guard 'shop': timeout must be longer than zero"),  # 10 are seconds
        ({"reuse_within": "31d"}, "reuse_within must be at most 30d"),
        ({"timeout": 0}, "timeout must be longer than zero"),
        ({"before": []}, "before must be a list of 'create', 'update', 'delete', not []"),
        ({"before": ["replace"]}, "before must be a list of 'create', 'update', 'delete', not 'replace'"),
        ({"before": "update"}, "before must be a list"),
        ({"name": " "}, "name must be a text"),
    ],
)
def test_a_wrong_argument_fails_where_the_guard_is_made(wrong: dict[str, Any], named: str) -> None:
    with pytest.raises(pulumi.RunError, match=r"^Guard") as refused:
        Guard(**{"name": "shop", "database_id": DATABASE, **wrong})
    assert named in str(refused.value)


def test_a_wrong_setting_fails_where_the_guard_is_made(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SQUARECLOUD_POLL_EVERY", "often")
    with pytest.raises(pulumi.RunError, match="SQUARECLOUD_POLL_EVERY must be"):
        Guard("shop", DATABASE)


def test_the_signature_shows_the_defaults_that_are_used() -> None:
    given = inspect.signature(Guard).parameters
    declared = GuardInputs.properties()
    assert set(given) - {"name"} == set(declared)
    assert parse_duration(given["reuse_within"].default) == declared["reuse_within"].default
    assert parse_duration(given["timeout"].default) == declared["timeout"].default
    assert given["before"].default == declared["before"].default


@pytest.mark.parametrize(
    ("urn", "said"),
    [
        ("urn:pulumi:dev::app::aws:ec2/instance:Instance::shop", "update of Instance shop"),
        ("urn:pulumi:dev::app::my:shop:Shop$servers:index:Server::a::b", "update of Server a::b"),
        ("strange", "update of strange"),
    ],
)
def test_an_error_names_the_change_as_a_reader_would(urn: str, said: str) -> None:
    assert change_of(urn, "update") == said
