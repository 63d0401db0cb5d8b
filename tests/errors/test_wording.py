"""Errors are data: every edge words every next step, spells every name, and repeats no text that it did not make."""

import dataclasses

import pytest

from pulumi_snapshots.archive.record import ARCHIVE
from pulumi_snapshots.cli.terminal.wording import COMMAND_MESSAGES, COMMAND_STEPS
from pulumi_snapshots.engine.wording import PLUGIN, PYTHON
from pulumi_snapshots.engine.wording import STEPS as ENGINE_STEPS
from pulumi_snapshots.errors import (
    _NAME,
    Hint,
    HintKind,
    Message,
    ProviderError,
    sentence,
)
from pulumi_snapshots.lookup.results import SnapshotQuery
from pulumi_snapshots.restore.record import RESTORE
from pulumi_snapshots.run.settings import Settings
from pulumi_snapshots.snapshot.record import SNAPSHOT

EDGES = {"Python": PYTHON, "plugin": PLUGIN, "command line": COMMAND_MESSAGES}
FACTS = {
    "database": "a14b8d5e1cb7405a851eb4c075506121",
    "file": "s3://bucket/state.json",
    "longer": "2h",
    "other": "a-command create d",
    "package": "boto3",
    "pip": "pip install 'pulumi-snapshots[archive]'",
    "time": "12:00:00 UTC",
    "when": "at 12:00:00 UTC",
}
"""What a `Hint` may hold."""
OF_EDGES = {"resource", "command", "machines", "get_database", "run"}
"""What an edge adds."""
PROPERTIES = {field.name for field in dataclasses.fields(SnapshotQuery)}.union(
    *(
        each.properties()
        for each in (Settings, SNAPSHOT.inputs, RESTORE.inputs, ARCHIVE.inputs)
    )
)

IN_TERMINALS = {
    HintKind.GO_BACK,
    HintKind.UNDO_RESTORE,
    HintKind.SHOW_DATABASES,
    HintKind.RESTORE_ANOTHER,
}
each_step = pytest.mark.parametrize(
    "step",
    [each for each in HintKind if each not in IN_TERMINALS],
    ids=lambda step: step.name,
)
"""All but those that every edge shows as a command for a terminal."""
each_edge = pytest.mark.parametrize("edge", EDGES)


def of(step: HintKind) -> Hint:
    return Hint(
        step,
        **{name: FACTS[name] for name in set(_NAME.findall(step.value)) & set(FACTS)},
    )


@each_step
def test_no_edge_names_a_fact_that_a_step_lacks(step: HintKind) -> None:
    neutral = set(_NAME.findall(step.value))
    assert neutral <= PROPERTIES | set(FACTS) | {"run"}
    for steps in (ENGINE_STEPS, COMMAND_STEPS):
        assert (
            set(_NAME.findall(steps.get(step, "")))
            <= (neutral & set(FACTS)) | PROPERTIES | OF_EDGES
        )


@each_edge
@each_step
def test_every_edge_says_every_step_in_its_own_words(step: HintKind, edge: str) -> None:
    said = (
        EDGES[edge]
        .about(resource="urn:x", command="squarecloud-snapshots create d")
        .text(of(step))
    )
    assert said.endswith(".")
    assert sentence(said) == said
    assert "{" not in said
    foreign = {
        "Python": ("squarecloud-snapshots", "databaseId", "--new"),
        "plugin": (
            "squarecloud-snapshots",
            "database_id",
            "reuse_within",
            "Snapshot.get",
            "get_database`",
        ),
        "command line": (
            "`pulumi",
            "squarecloud:",
            "database_id",
            "Snapshot.get",
            "the program",
        ),
    }
    assert not [word for word in foreign[edge] if word in said]


def test_the_core_names_no_command() -> None:
    for step in HintKind:
        assert "`" not in step.value, step
        assert "pulumi up" not in str(of(step))


@pytest.mark.parametrize(
    ("name", "spelled"),
    [
        ("rotate_after", ("rotate_after", "rotateAfter", "--rotate-after")),
        ("database_id", ("database_id", "databaseId", "DATABASE")),
        (
            "api_url",
            ("squarecloud:apiUrl", "squarecloud:apiUrl", "SQUARECLOUD_API_URL"),
        ),
        ("size", ("size", "size", "--size")),
    ],
)
def test_each_edge_spells_names_as_its_users_write_them(
    name: str, spelled: tuple[str, ...]
) -> None:
    text = Message(f"set {{{name}}} to {{value}}", value="{database_id}")
    assert [edge.text(text) for edge in EDGES.values()] == [
        f"set {each} to {{database_id}}" for each in spelled
    ]
    assert str(text) == f"set {name} to {{database_id}}"


def test_what_an_error_tells_comes_in_one_order() -> None:
    error = ProviderError(
        Message("no room for {size}", size="1 GB"),
        "Nothing was written.",
        [Hint(HintKind.RUN_AGAIN_LATER)],
    )
    assert str(error) == "No room for 1 GB. Nothing was written."
    assert (
        PYTHON.report(error)
        == "No room for 1 GB.\nNothing was written.\nhint: Run it again later."
    )
    assert PYTHON.report(error, [Hint(HintKind.RUN_AGAIN)]).endswith(
        "written.\nhint: Run it again."
    )
    outer = ProviderError(Message("it failed: {why}", why=error))
    assert PYTHON.report(outer) == "It failed: No room for 1 GB. Nothing was written."
    assert (
        COMMAND_MESSAGES.report(ProviderError("a: no room"))
        == str(ProviderError("a: no room"))
        == "a: no room."
    )


def test_an_edge_adds_what_it_alone_knows() -> None:
    step = Hint(HintKind.GIVE_UP)
    assert "--replace 'URN'" in PYTHON.text(step)
    assert "--replace 'urn:x'" in PYTHON.about(resource="urn:x").text(step)
    assert (
        COMMAND_MESSAGES.about(command="create d").text(Hint(HintKind.ASK_AGAIN))
        == "`create d` polls again."
    )
