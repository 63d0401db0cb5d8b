"""A Restore acts once for its owner, source and triggers, whatever was imported, renamed, woken or rolled back: stories."""

import pytest

from tests.ledger.play import params, play
from tests.support.restoring import RESTORER
from tests.support.virtual import virtual

BOUND = 45 * 60
"""The most seconds within which a way out that a message names works."""
DAY = 86400
FAILED = "the next restore fails SNAPSHOT_CORRUPT; R up v1 anyhow: SNAPSHOT_CORRUPT; wait 300"
"""A Restore that fails, which its state knows."""
FROZEN = (
    "R freezes at its claim; R starts up v1 timeout=24h refused; R is frozen; wait 20"
)
CLOCKS = {
    "suspended": "its clocks have counted",
    "paused": "only its wall clock was set",
    "unset": "nobody has set its clocks",
}

LOST = {
    "A2: a state from before two restores is imported, and the older one restores again over everything": {
        f"a rolled-back state restores nothing over newer rows: {state}": f"""
            {before}; R up v1; wait 300; R up v2; R preview v2; R imports {what}; wait {DAY}; rows change;
            R up v1 refused; rows later; sent {number}; R up v3 within={BOUND}; rows then
        """
        for state, before, what, number in (
            ("from before both", "wait 300", "nothing", 2),
            (
                "older by two versions",
                "R up v0; wait 300; R keeps its checkpoint; R preview v0",
                "it",
                3,
            ),
        )
    }
    | {
        "a rolled-back state of another machine restores nothing over newer rows": f"""
            R up v1; wait 300; R up v2; R preview v2; R imports nothing; R moves beside; wait {DAY}; rows change;
            R up v1 refused; rows later; sent 2
        """,
        "a state from before what was destroyed restores nothing over newer rows": f"""
            R up v1; wait 300; R keeps its checkpoint; R up v2; R preview v2; R destroy; R imports it; wait {DAY};
            rows change; R up v2 refused; rows later; sent 2; R up v3 within={BOUND}; rows then
        """,
    },
    "A4: a machine that wakes between its claim and its request restores over what was restored since": {
        f"a woken machine restores nothing over somebody's restore, {seconds} s after its claim: {how}": f"""
            {FROZEN}; wait {seconds - 20}; somebody restores newer; wait 1800; rows newer; R wakes {clocks}; R ends; rows newer; sent 1
        """
        for clocks, how in CLOCKS.items()
        for seconds in (20, 600)
    },
    "A4: a machine that wakes takes somebody's restore for the one before its claim": {
        "a woken machine that knows an earlier restore restores nothing over somebody's later one": f"""
            R up v0; wait 600; {FROZEN}; somebody restores newer; wait 1800; rows newer; R wakes unset; R ends; rows newer;
            sent 2
        """,
    },
    "A4, R15: a machine that stands still at its claim locks the database, and restores over a later run of its stack": {
        f"a woken machine restores nothing over a later run of its stack: {how}": f"""
            {FROZEN}; R.b becomes {RESTORER}; R.b up v2 timeout=45m within={BOUND}; rows then; rows change; wait 1800;
            R wakes {clocks}; R ends; rows later; sent 1
        """
        for clocks, how in CLOCKS.items()
    },
    "A5: a failed restore that somebody else has mended is repeated days later over everything since": {
        f"a failed restore is not repeated once the database was restored {by}": f"""
            {FAILED}; {mended}; rows then; wait {3 * DAY}; rows change; R up v1 refused; rows later; sent 2;
            R up v2 within={BOUND}; rows then; sent 3
        """
        for by, mended in (
            ("by a command", "types restore SNAPSHOT --no-keep --yes"),
            ("by another stack", "R@prod up v2"),
            ("by another Restore", "R.b up v2"),
        )
    },
    "A run that is held up restores over what a later run of its stack has restored": {
        "a run that waited out a refusal restores nothing over a later run of its stack": f"""
            fault restore status=429 code=KEEP_CALM headers={{'retry-after':'900'}} times=1;
            R starts up v1 timeout=45m refused; wait 60; R.b becomes {RESTORER}; R.b up v2; rows change;
            R ends: before this run's request could be sent; rows later; sent 2
        """,
    },
    "A machine that was paused pays for what somebody has taken meanwhile": {
        "a woken machine uses what was taken since, instead of the request that it had decided on": """
            wait 8000; S freezes at its claim; S starts up v1 reuse_within=2h timeout=24h; S is frozen; somebody takes;
            wait 1800; S wakes paused; S ends; S has theirs; sent 0
        """,
    },
    "A failed restore whose state was not saved is sent again": {
        "a failed restore whose state was not saved counts as failed": """
            the next restore fails SNAPSHOT_CORRUPT; R up v1 unsaved anyhow: SNAPSHOT_CORRUPT; wait 300; rows change;
            R up v1 anyhow: SNAPSHOT_CORRUPT; rows later; sent 1
        """,
    },
    "A6: an old snapshot is handed out for a resource that its state lost days ago": {
        f"a snapshot of ten days ago is not handed out after {how}": f"""
            S up v1; S imports nothing; wait {10 * DAY}; S up v1; S has 2; sent 2
        """
        for how in ("a state delete",)
    }
    | {
        "a snapshot of ten days ago whose state was not saved is not handed out": f"""
            S up v1 unsaved; wait {10 * DAY}; S up v1; S has 2; sent 2
        """,
        "a snapshot of ten days ago of a clone of the project is not handed out": f"""
            S.b becomes urn:pulumi:dev::shop::squarecloud:index:Snapshot::before-release; S.b up v1; wait {10 * DAY};
            S up v1; S has 2; sent 2
        """,
        "a pending snapshot of two days ago whose state was not saved is not handed out": f"""
            service snapshot_seconds=600; wait 400; S up v1 unsaved pending timeout=3m; wait {2 * DAY}; S up v1 timeout=30m;
            S has 2; sent 2
        """,
    },
    "A12: a Restore that is renamed without an alias restores again over newer rows": {
        f"a renamed Restore is refused with the alias to write: {seen}": f"""
            R up v1; {moves}; wait 600; rows change; R is renamed forth; R up v1 refused: alias & back; rows later; sent 1
        """
        for seen, moves in (
            ("its state was seen", "R preview v1"),
            ("nobody has seen its state", "wait 1"),
        )
    }
    | {
        f"a state from before two restores, in which the Restore is renamed {how}, restores nothing again": f"""
            R up v1; wait 300; R up v2; R preview v2; R imports nothing; wait 3600; rows change; R is renamed {how};
            R up v1 refused: another name & do it all the same; rows later; sent 2; R up v3 within={BOUND}; rows then
        """
        for how in ("forth with an alias", "forth")
    }
    | {
        "another name's Restore of two days ago is somebody's own": f"""
            R up v1; wait {2 * DAY}; rows change; R is renamed forth; R up v1 within={BOUND}; rows then; sent 2
        """,
        "two stacks that restore the same are not taken for one renamed": """
            R up v1; wait 600; rows change; R@prod up v1; rows then; sent 2
        """,
    },
}
KEPT = {
    "a failed restore is repeated for other triggers only": f"""
        {FAILED}; R up v1 refused: SNAPSHOT_CORRUPT; sent 1; R up v2 within={BOUND}; rows then; sent 2
    """,
    "a restore whose end nobody saw is never sent again": f"""
        fault restore drop=True when=before times=1; R up v1 unsaved pending timeout=3m; wait {2 * DAY}; rows change;
        R up v1 pending; R is undecided; rows later; sent 1; R up v2 within={BOUND}; rows then; sent 2
    """,
    "a restore whose state was deleted is not done again ten days later": f"""
        R up v1; R imports nothing; wait {10 * DAY}; rows change; R up v1 anyhow: earlier run; rows later; sent 1
    """,
    "a snapshot whose state was deleted an hour ago is handed out, and a line says so": """
        S up v1; S imports nothing; wait 3600; S up v1 continued; S has 1; sent 1
    """,
    "a pending snapshot whose state was not saved is completed within a day, and a line says so": """
        service snapshot_seconds=600; wait 400; S up v1 unsaved pending timeout=3m; wait 7200; S up v1 continued; S has 1;
        sent 1
    """,
    "a snapshot that a destroy has dropped is not handed out": """
        S up v1; S destroy; wait 600; S up v1; S has 2; sent 2
    """,
    "a pending snapshot that the state has is watched at any age": f"""
        service snapshot_seconds=600; wait 400; S up v1 pending timeout=3m; wait {3 * DAY}; S up v1; S has 1; sent 1
    """,
    "a Restore that is renamed with an alias does not act again": """
        R up v1; wait 600; rows change; R is renamed forth with an alias; R up v1; rows later; sent 1
    """,
    "a Restore that was removed after two restores acts again under another name": f"""
        R up v1; wait 300; R up v2; wait 300; R destroy; wait 600; rows change; R is renamed forth with an alias;
        R up v1 within={BOUND}; rows then; sent 3
    """,
    "a renamed Restore with other triggers acts": """
        R up v1; wait 600; rows change; R is renamed forth; R up v2; rows then; sent 2
    """,
    "a Restore of 31 days ago acts again": f"""
        service retention_days=90; R up v1 unsaved; wait {31 * DAY}; rows change; R up v1; rows then; sent 2
    """,
}


@pytest.mark.parametrize("story", params(KEPT, LOST))
@virtual
async def test_what_was_done_is_done_once(story: str) -> None:
    await play(story)
