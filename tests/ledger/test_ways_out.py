"""Nothing holds anybody up for longer than 45 minutes, and each way out that a message names works: stories in virtual time."""

import pytest

from tests.ledger.play import UNSAVED, params, play
from tests.support.virtual import virtual

BOUND = 45 * 60
"""The most seconds for which something of others holds anybody up, and within which a way out that a message names works."""
DAY = 86400
SLOW = "service snapshot_seconds=300; wait 400"
DOWN = "the next restore leaves the database down; R up v1 anyhow timeout=5m; wait 60"
"""A restore that succeeds, and whose database does not come up."""
SECOND = f"timeout=45m within={BOUND}; sent 2; rows"
NO_START = "S freezes at its claim; S starts up v1; S is frozen; wait 2; S is killed; sent 0; wait 15"
NO_RESTORE = NO_START.replace("S ", "R ")
DEAF = "wait 400; fault create drop=True when=before times=1"

LOST = {
    "R1: after a restore whose database does not come up, nothing can be restored for 30 days": {
        "other triggers restore a database that stays down": f"{DOWN}; R up v2 {SECOND} then",
        "--refresh --replace restores a database that stays down": f"""
            {DOWN}; R up v1 refresh replace {SECOND} then
        """,
        "a Restore that is removed and declared again restores a database that stays down": f"""
            {DOWN}; R destroy; R up v1 {SECOND} then
        """,
        "another Restore restores a database that stays down": f"{DOWN}; R.b up v2 {SECOND} then",
        "another stack restores a database that stays down": f"{DOWN}; R@prod up v2 {SECOND} then",
        "another snapshot is restored onto a database that stays down": f"""
            somebody takes; {DOWN}; types restore THEIRS --no-keep --yes --timeout 45m within={BOUND}; sent 2; rows now
        """,
        "a command with --new restores the same snapshot onto a database that stays down": f"""
            {DOWN}; types restore SNAPSHOT --no-keep --yes --new --timeout 45m within={BOUND}; sent 2; rows then
        """,
    },
    "R1: after a command's restore whose database does not come up, nothing is restored for 30 days": {
        "a command's restore that left the database down holds up no command": f"""
            somebody takes; the next restore leaves the database down; anyhow types restore SNAPSHOT --no-keep --yes --timeout 5m;
            wait 60; types restore THEIRS --no-keep --yes --timeout 45m within={BOUND}; sent 2; rows now
        """,
        "a command's restore that left the database down holds up no resource": f"""
            the next restore leaves the database down; anyhow types restore SNAPSHOT --no-keep --yes --timeout 5m; wait 60;
            R up v2 {SECOND} then
        """,
        "--new restores again after a command's restore that left the database down": f"""
            the next restore leaves the database down; anyhow types restore SNAPSHOT --no-keep --yes --timeout 5m; wait 1800;
            types restore SNAPSHOT --no-keep --yes --new --timeout 45m within={BOUND}; sent 2; rows then
        """,
    },
    "R2: the second of two stacks cannot take a snapshot of the same database for 30 days": {
        f"stacks pr-101 and pr-102 both take a snapshot: triggers {triggers or 'none'}, {saved}": f"""
            S@pr-101 up {triggers} {saved}; wait 300; S@pr-102 up {triggers}; S@pr-102 has 2; sent 2
        """
        for triggers in ("", "v1")
        for saved in ("", "unsaved")
    },
    "R13: a snapshot that was accepted and silently fails holds up everybody for 2 h 8 min": {
        "a resource waits 45 minutes at most for another one's accepted snapshot that fails": f"""
            {SLOW}; the next fails; S up v1 killed=100; S.b up v1 timeout=3h within={BOUND + 600}; S.b has 2; sent 2
        """,
        "another stack waits 45 minutes at most for an accepted snapshot that fails": f"""
            {SLOW}; the next fails; S up v1 killed=100; S@prod up v2 timeout=3h within={BOUND + 600};
            S@prod has 2; sent 2
        """,
        "a command waits 45 minutes at most for a resource's accepted snapshot that fails": f"""
            {SLOW}; the next fails; S up v1 killed=100;
            types create DATABASE --timeout 3h within={BOUND + 600}; it prints 2; sent 2
        """,
        "a resource waits 45 minutes at most for a command's accepted snapshot that fails": f"""
            {SLOW}; the next fails; fails types create DATABASE --timeout 3m; S up v1 timeout=3h within={BOUND + 600};
            S has 2; sent 2
        """,
        "other triggers take a snapshot within 90 minutes after an own one that fails": f"""
            {SLOW}; the next fails; S up v1 pending timeout=10m; S up v2 timeout=2h within={2 * BOUND}; S has 2; sent 2
        """,
    },
    "a row does not say since when somebody else holds it up, and names a time hours ahead": {
        f"a row that waits says who holds it up, since when and until when: {kind}": f"""
            service snapshot_seconds=600; wait 400; {other}; S.b up v2 timeout=2h; S.b shows {by} 12:06:40 12:51:40
        """
        for kind, other, by in (
            ("a resource", "S up v1 killed=100", "before-release shop/dev"),
            (
                "a command",
                "fails types create DATABASE --timeout 100s",
                "squarecloud-snapshots_create",
            ),
        )
    },
    "a row names a time to run again that has just passed": {
        "a wait that ends with the bound of another one's request names no time": """
            service snapshot_seconds=90000; wait 400; S up v1 pending timeout=3m; wait 720;
            S.b up v1 timeout=30m refused: accepted, not listed yet. Run it again.
        """,
        "a wait that ends before the bound of another one's request names that time": """
            service snapshot_seconds=90000; wait 400; S up v1 pending timeout=3m; wait 720;
            S.b up v1 timeout=29m refused: Run it again after 12:51:40 UTC.
        """,
    },
    "somebody's restore that never ends holds up a Restore for as long as its time-out": {
        "a restore that the service reports as running is waited for 45 minutes at most": f"""
            service restore_seconds=20000; somebody restores; R up v1 timeout=3h refused within={BOUND + 60}; sent 1
        """,
    },
    "R15: a kill between claim and request locks the database for 55 minutes, and nothing was sent": {
        "a run that is killed before its request left delays its next run for seconds": f"""
            {NO_START}; S up v1 within=120; S has 1; sent 1
        """,
        "a run that is killed before its request left delays no other resource": f"""
            {NO_START}; S.b up v1 within=120; S.b has 1; sent 1
        """,
        "a run that is killed before its request left delays no command": f"""
            {NO_START}; types create DATABASE within=120; it prints 1; sent 1
        """,
        "a Restore that is killed before its request left is restored by its next run": f"""
            {NO_RESTORE}; R up v1 within=300; rows then; sent 1
        """,
        "a Restore that is killed before its request left delays no other one": f"""
            {NO_RESTORE}; R.b up v2 within=300; rows then; sent 1
        """,
        "a Restore that is killed before its request left delays no command": f"""
            {NO_RESTORE}; types restore SNAPSHOT --no-keep --yes within=300; rows then; sent 1
        """,
    },
    "the ledger remembers what the state does not show, and --refresh --replace does not replace it": {
        "--refresh --replace restores although an older state was imported, as the error says": f"""
            R up v1; R keeps its checkpoint; wait 300; R up v2; wait 300; R up v3; R preview v3; R imports it; wait 300; rows change;
            R up v2 refused: up --refresh --replace & restores again; rows later;
            R up v2 refresh replace timeout=45m within={BOUND}; rows then; sent 4
        """,
        "--refresh --replace takes a new snapshot although the last run could not save its own": f"""
            wait 400; S up v1; wait 300; S up v2 unsaved; wait 300; S up v2 refresh replace within={BOUND}; S has 3; sent 3
        """,
        "a restore by --refresh --replace that was not saved is used, and other triggers restore again": f"""
            R up v1; wait 300; R up v1 refresh replace unsaved; wait 300;
            R up v1 refresh replace: {UNSAVED} & Other triggers restore again; sent 2; wait 300;
            R up v2 timeout=45m within={BOUND}; rows then; sent 3
        """,
        "--refresh --replace takes another one than one that was interrupted and is not saved": f"""
            service snapshot_seconds=200; wait 400; S up v1; wait 300; S up v2 killed=50; wait 300;
            S up v2 refresh replace timeout=45m within={BOUND}; S has 3; sent 3
        """,
    },
    "the next run does not know its own restore, which began while no run was watching": {
        f"a restore that the service queues is known to the next run: {answer}": f"""
            service restore_queue_seconds=400.0 {held}; {fault}R up v1 pending timeout={timeout}; wait 60; rows now;
            R up v1 timeout=45m within={BOUND}; rows then; sent 1
        """
        for answer, held, fault, timeout in (
            ("after minutes of watching", "", "", "390s"),
            (
                "its answer was lost",
                "",
                "fault restore drop=True when=after times=1; ",
                "390s",
            ),
            ("it had no time to be answered", "restore_holds=True", "", "40s"),
        )
    },
    "A8: with a ledger that refuses writes an answer of the service counts as lost": {
        f"an answer {code} counts although the ledger refuses writes from the request on": f"""
            service cache_world=kept key_of_200_has_version=False snapshot_seconds={seconds}; wait 400;
            the listings freeze; S up v1 unwritable=5 pending timeout=5m: accepted ({code})
        """
        for code, seconds in ((200, 10), (202, 120))
    }
    | {
        "a slow snapshot is not paid for twice because the ledger refuses writes": """
            service snapshot_seconds=3300; wait 400; S up v1 unwritable=5 anyhow timeout=3h; S has 1; sent 1
        """,
    },
    "a restore whose outcome is known is shown as accepted, not finished": {
        "`runs` does not call a restore unfinished that has succeeded": f"""
            {DOWN}; types runs --json; it does not print not finished
        """,
    },
}
KEPT = {
    **{
        f"a 429 of a proxy without a code costs minutes: {kind}": f"""
            fault {kind} status=429 times=1; S up v1 timeout=40m within=600; S has 1
        """
        for kind in ("create", "status")
    },
    "a restore acts once although the ledger refuses writes from the request on": """
        service restore_holds=True; wait 10; R up v1 unwritable=5 anyhow; rows then; rows change; the ledger works;
        R up v1 anyhow; rows later; sent 1
    """,
    "a late entry after a lost answer is named, and nothing is requested": f"""
        {DEAF}; S up v1 pending timeout=3m; wait 1200; somebody takes; wait 3600;
        S up v1 pending timeout=10m: theirs; S is undecided; sent 1;
        S up v1 refresh replace within={BOUND}; S has 1; sent 2
    """,
    "a Restore whose database stays down does not hold up a snapshot once it is up": f"""
        {DOWN}; the database comes up; S up v1 within={BOUND}; S has 1
    """,
    "a snapshot whose answer was lost holds up others for 15 minutes at most": f"""
        {DEAF}; S up v1 killed=60; S.b up v1 timeout=3h within={15 * 60 + 60}; S.b has 1; sent 2
    """,
    "a 202 counts although the ledger refuses writes from the request on": """
        service snapshot_seconds=300; wait 400; S up v1 unwritable=5 anyhow timeout=20m; S has 1; sent 1
    """,
    "a restore that the service reports as running is waited for": """
        service restore_seconds=1200; somebody restores; R up v1 timeout=45m; it is over 1200; rows then; sent 2
    """,
    "a restore that an engine's run could not finish is in nobody's way once its outcome is known": """
        service restore_seconds=600; R up v1 pending timeout=3m; wait 900; R.b up v2 within=900; sent 2
    """,
    "a restore that failed is in nobody's way": """
        the next restore fails SNAPSHOT_CORRUPT; R up v1 anyhow: SNAPSHOT_CORRUPT; wait 120; R.b up v2 within=300; rows then;
        sent 2
    """,
}


@pytest.mark.parametrize("story", params(KEPT, LOST))
@virtual
async def test_nothing_holds_up_a_user_for_longer_than_it_must(story: str) -> None:
    await play(story)
