"""Each next step that an error or a warning names does what it promises, within 45 minutes: walked in virtual time."""

import re
from dataclasses import dataclass

import pytest

from pulumi_snapshots.errors import Hint, HintKind
from pulumi_snapshots.run.calls import ResourceNotFinished
from tests.ledger.play import Play, on_stage
from tests.support.engine_calls import Stack
from tests.support.virtual import virtual

BOUND = "timeout=45m within=2700"
"""Every way out ends within this time; a plain `up` with other triggers has twice as long."""


@dataclass(frozen=True)
class Walk:
    """What a user does who obeys a next step."""

    moves: str  # with `{who}` and `{v}` for the resource and its triggers; empty if there is nothing to type
    sends: int = 0  # how many requests that sends


LOOK = Walk("")
REPLACE = Walk(f"{{who}} up {{v}} refresh replace {BOUND}", sends=1)
WAIT = Walk("{who} up {v} anyhow timeout=40m")
AGAIN = Walk(f"{{who}} up {{v}} {BOUND}", sends=1)
OTHERWISE = Walk(f"{{who}} up v8 {BOUND}", sends=1)
WALKS = {
    HintKind.KEEP_WAITING: WAIT,
    HintKind.ASK_AGAIN: WAIT,
    HintKind.GIVE_UP: REPLACE,
    HintKind.TAKE_NEW: REPLACE,
    HintKind.RESTORE_AGAIN: REPLACE,
    HintKind.RESTORES_NEXT: AGAIN,
    HintKind.RESTORE_ANOTHER: OTHERWISE,
    HintKind.RESTORE_BY_TRIGGERS: OTHERWISE,
    HintKind.REPLACE_WITH_REFRESH: LOOK,
    HintKind.ADD_ALIAS: Walk(
        "{who} imports it; {who} is renamed forth with an alias; {who} up {v}"
    ),
    HintKind.RUN_AGAIN: AGAIN,
    HintKind.RUN_AGAIN_AFTER: Walk(
        "wait 2700; {who} up {v} timeout=45m within=2700", sends=1
    ),
    HintKind.BY_TRIGGERS: Walk("{who} up v9 timeout=90m within=5400", sends=1),
    HintKind.CHECK_RESTORED: Walk("{who} destroy"),
    HintKind.OPEN_VERSION: Walk("types show THEIRS"),
    HintKind.CHECK_DATA: LOOK,
    HintKind.CHECK_HEALTH: LOOK,
}
"""What each next step asks of its reader. A step that is new needs a walk."""
SLOW = "service snapshot_seconds=300; wait 400"
PLAIN = {
    "a snapshot that is pending": "S: service snapshot_seconds=600; wait 400; S up v1 pending timeout=3m",
    "a snapshot whose answer was lost": """
        S: wait 400; fault create drop=True when=before times=1; S up v1 pending timeout=3m
    """,
    "a snapshot of which two could be": """
        S: wait 400; fault create drop=True when=after times=1; S up v1 pending timeout=5s; somebody takes 1; wait 3600;
        S up v1 pending: theirs
    """,
    "a snapshot of an unsaved run": "S: S up v1 unsaved; wait 300; S up v1 anyhow",
    "a restore that is pending": "R: service restore_seconds=600; R up v1 pending timeout=3m",
    "a restore whose end nobody saw": """
        R: fault restore drop=True when=before times=1; R up v1 pending timeout=3m; wait 7200; R up v1 pending
    """,
    "a restore that failed": "R: the next restore fails SNAPSHOT_CORRUPT; R up v1 anyhow; wait 120",
    "a restore of an unsaved run": "R: R up v1 unsaved; wait 300; R up v1 anyhow",
    "a restore of an older checkpoint": """
        R: R up v1; R up v2; R imports nothing; wait 86400; R up v1 refused
    """,
    "a restore that waits for another one": """
        R.b: service restore_seconds=900; R up v1 killed=30; R.b up v2 timeout=3m anyhow
    """,
    "a snapshot that waits for another one": """
        S.b: service snapshot_seconds=600; wait 400; S up v1 killed=100; S.b up v1 timeout=3m refused
    """,
    "a restore under another name": "R: R up v1; R keeps its checkpoint; wait 600; R is renamed forth; R up v1 refused",
    "a restore whose database stays down": """
        R: the next restore leaves the database down; R up v1 anyhow timeout=5m; wait 60
    """,
    "a snapshot that waits for one that fails": f"""
        S.b: {SLOW}; the next fails; S up v1 killed=100; S.b up v1 timeout=5m refused
    """,
}
"""What goes wrong, by its name: the resource, and the moves that end with its error or warning."""


@pytest.mark.parametrize(
    "told",
    [pytest.param(" ".join(told.split()), id=name) for name, told in PLAIN.items()],
)
@virtual
async def test_each_next_step_does_what_it_promises(told: str) -> None:
    who, _, story = told.partition(": ")
    async with on_stage(story) as stage:
        steps = steps_of(stage.stack(who))
    assert steps, "it names no next step"
    assert [each for each in steps if each not in WALKS] == [], (
        "a next step without a walk"
    )
    triggers = re.findall(r" (v\d) ", f"{story} ")[-1]
    for step in steps:
        walk = WALKS[step]
        async with on_stage(story) as stage:
            before = sent(stage)
            for move in filter(
                None, walk.moves.format(who=who, v=triggers).split("; ")
            ):
                await stage.move(move)
            assert sent(stage) - before == walk.sends, step


@pytest.mark.parametrize(
    ("who", "step"),
    [("S", HintKind.TAKE_NEW), ("R", HintKind.RESTORE_AGAIN)],
    ids=["Snapshot", "Restore"],
)
@virtual
async def test_replace_right_after_an_up_acts_or_names_what_does(
    who: str, step: HintKind
) -> None:
    """The engine shows nothing of the state with `--replace`, so it looks like a create that was not saved."""
    story = f"{who} up v1; wait 300; {who} up v1 replace anyhow"
    async with on_stage(story) as stage:
        if sent(stage) == 2:
            return
        assert step in steps_of(stage.stack(who))
        await stage.move(f"{who} up v1 refresh replace {BOUND}")
        assert sent(stage) == 2


def sent(stage: Play) -> int:
    """How many requests the service has got."""
    return len(stage.at.here.posts) + len(stage.at.posts)


def steps_of(stack: Stack) -> list[HintKind]:
    """The next steps that the last run of a stack has named."""
    end = (
        stack.error.error
        if isinstance(stack.error, ResourceNotFinished)
        else stack.error
    )
    named = [each.step for each in getattr(end, "then", ())]
    said = "\n".join(stack.row.warnings)
    named += [step for step in WALKS if stack.row.wording.text(Hint(step)) in said]
    return list(dict.fromkeys(named))
