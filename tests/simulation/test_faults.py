"""The table of faults: every way in which a POST and the polls after it can fail, with each cache of the service."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from datetime import timedelta
from itertools import product
from typing import Any

import pytest

from pulumi_snapshots.run.session import Session
from pulumi_snapshots.snapshot.record import SnapshotRecord, is_pinned
from squarecloud_emulator import Fault
from tests.support.virtual import virtual
from tests.support.world import DATABASE, Ending, World, world

BEFORE = "before"
AFTER = "after"
MINUTE = 60.0
HOUR = 3600.0


@dataclass(frozen=True)
class PostCase:
    faults: tuple[dict[str, Any], ...] = ()  # the faults, one for each try
    # whether a fault happens before or after the service handles the POST
    when: str = BEFORE
    service: dict[str, Any] = field(default_factory=dict)  # the service's settings
    posts: int = 1  # the number of requests that reach the service
    started: bool = True  # whether a snapshot is started
    names_it: bool = False  # whether the answer contains the version


ANSWERED = {
    "200": PostCase(names_it=True),
    "200, no version": PostCase(service={"key_of_200_has_version": False}),
    "202": PostCase(service={"snapshot_seconds": 200.0}),
    "202, slow": PostCase(service={"snapshot_seconds": 800.0}),
    "KEEP_CALM, then 200": PostCase(
        ({"status": 429, "code": "KEEP_CALM"},) * 3, posts=4, names_it=True
    ),
    "RESTORE_IN_PROGRESS, then 200": PostCase(
        ({"status": 403, "code": "RESTORE_IN_PROGRESS"},) * 2, posts=3, names_it=True
    ),
    "SNAPSHOT_IN_PROGRESS, then 202": PostCase(
        ({"status": 409, "code": "SNAPSHOT_IN_PROGRESS"},) * 2,
        posts=3,
        service={"snapshot_seconds": 200.0},
    ),
    "no connection, then 202": PostCase(
        ({"no_connect": True},) * 2, service={"snapshot_seconds": 200.0}
    ),
    # The service starts the snapshot and answers after the client has given up.
    "applied late": PostCase(({"delay": 400.0},)),
}
DOUBTFUL: dict[str, dict[str, Any]] = {
    "dropped": {"drop": True},
    "dropped after 80 s": {"drop": True, "delay": 80.0},
    "no answer": {"drop": True, "delay": 400.0},
    "502 page": {"html": 502},
    "504 page after 60 s": {"html": 504, "delay": 60.0},
    "522 page": {"html": 522},
    "530 page": {"html": 530},
    "502": {"status": 502, "code": "BAD_GATEWAY"},
    "503": {"status": 503, "code": "DATABASE_UNAVAILABLE"},
    "503 KEEP_CALM": {"status": 503, "code": "KEEP_CALM"},
    "408": {"html": 408},
    "499": {"html": 499},
    "500 page": {"html": 500},
    "200 page": {"html": 200},
    "no JSON": {"malformed": True},
    "empty": {"empty": True},
    "other JSON": {"body": '{"status": ["success"]}'},
}
IN_DOUBT = {
    f"{name}, {when} applying": PostCase((fault,), when, started=when == AFTER)
    for (name, fault), when in product(DOUBTFUL.items(), (BEFORE, AFTER))
} | {
    # These faults change the service's own answer, so they cannot come before it.
    "JSON stops": PostCase(({"truncated": True},)),
    "body stops": PostCase(({"cut_after": 12},)),
    "202, body stops": PostCase(
        ({"cut_after": 12},), service={"snapshot_seconds": 200.0}
    ),
    "KEEP_CALM, then dropped after applying": PostCase(
        ({"status": 429, "code": "KEEP_CALM"}, {"drop": True}), AFTER, posts=2
    ),
}
POSTS = ANSWERED | IN_DOUBT


@dataclass(frozen=True)
class ListingCase:
    """A failure of the polls after the POST."""

    faults: tuple[dict[str, Any], ...] = ()  # the faults, for both listings
    slow: bool = False  # whether no poll succeeds within 5 minutes, in which a URL must be pinned after a 200
    lasts: bool = False  # whether the faults last until the time-out, so that the wait ends without the snapshot
    frozen: bool = False


LISTINGS = {
    "fine": ListingCase(),
    "frozen": ListingCase(frozen=True),
    "dropped": ListingCase(({"drop": True, "times": 5},)),
    "no connection": ListingCase(({"no_connect": True, "times": 5},)),
    "no answer": ListingCase(({"drop": True, "delay": 50.0, "times": 5},)),
    "502": ListingCase(({"html": 502, "times": 5},)),
    "500": ListingCase(({"status": 500, "code": "INTERNAL", "times": 5},)),
    "KEEP_CALM": ListingCase(({"status": 429, "code": "KEEP_CALM", "times": 5},)),
    "JSON stops": ListingCase(({"truncated": True, "times": 5},)),
    "no list": ListingCase(
        ({"body": '{"status": "success", "response": {}}', "times": 5},)
    ),
    "blocked for half an hour": ListingCase(
        ({"kind": "list", "status": 429, "code": "RATE_LIMITED"},), slow=True
    ),
    "account listing not in the plan": ListingCase(
        ({"kind": "list account", "status": 402, "code": "UPGRADE_REQUIRED"},)
    ),
    "account listing refused": ListingCase(
        ({"kind": "list account", "status": 403, "code": "RESOURCE_NOT_ALLOWED"},)
    ),
    "account listing gone": ListingCase(
        ({"kind": "list account", "status": 404, "code": "NOT_FOUND"},)
    ),
    "always 502": ListingCase(({"html": 502, "times": None},), slow=True, lasts=True),
    "refused key": ListingCase(
        ({"status": 401, "code": "ACCESS_DENIED"},), slow=True, lasts=True
    ),
    "missing scope": ListingCase(
        ({"status": 403, "code": "MISSING_SCOPE", "times": None},),
        slow=True,
        lasts=True,
    ),
    "database gone": ListingCase(
        ({"kind": "list", "status": 404, "code": "DATABASE_NOT_FOUND", "times": None},),
        slow=True,
        lasts=True,
    ),
}


def add_faults(w: World, post: PostCase, listings: ListingCase) -> None:
    for fault in post.faults:
        # If a POST is sent again, only the last try may have started a snapshot.
        last = fault is post.faults[-1]
        w.emulator.add_fault(
            Fault(kind="create", **{"when": post.when if last else BEFORE, **fault})
        )
    for fault in listings.faults:
        for kind in ("list", "list account"):
            if fault.get("kind", kind) == kind:
                w.emulator.add_fault(Fault(**{**fault, "kind": kind}))


async def check_ending(w: World, post: PostCase, listings: ListingCase) -> None:
    """Take a snapshot while others take theirs, check the result, and continue as a user would."""
    w.emulator.add_snapshot(DATABASE, modified=w.emulator.now() - timedelta(minutes=10))
    w.emulator.add_snapshot(
        DATABASE, origin="automatic", modified=w.emulator.now() - timedelta(seconds=1)
    )
    if listings.frozen:
        other = w.another_run()
        await other.client.list_snapshots(DATABASE)
        await other.client.list_account()
    add_faults(w, post, listings)
    automatic = lambda: w.emulator.add_snapshot(DATABASE, origin="automatic")  # noqa: E731
    ending = await w.meanwhile(
        20, automatic, w.create(timeout=45 * MINUTE if post.started else 16 * MINUTE)
    )

    assert len(w.posts) == post.posts
    if not post.started:
        await check_is_requested_again(
            w, ending.pending, w.next_run if listings.faults else w.another_run
        )
        return
    if post.names_it:
        check_own(w, ending)
        # The version is known, so only the URL depends on the polls.
        pinned = is_pinned(ending.complete.download_url, w.started())
        stale = listings.frozen and w.emulator.settings.cache_world == "kept"
        assert pinned is not (stale or listings.slow)
        assert pinned or "serves the newest snapshot" in ending.text
    elif listings.lasts:
        pending = ending.pending
        w.emulator.clear_faults()
        check_own(w, await w.create(pending, session=w.another_run()))
    else:
        check_own(w, ending)
    assert len(w.posts) == post.posts, "the next runs send no POST for what is there"
    assert not w.transport.strayed


def check_own(w: World, ending: Ending) -> None:
    record = ending.complete
    assert record.version_id == w.started()
    assert record.available
    assert w.emulator.settings.api_key not in ending.text


async def check_is_requested_again(
    w: World, pending: SnapshotRecord, run: Callable[[], Session]
) -> None:
    """Check a POST that started nothing: no resume or read drops it or matches it wrongly, until its time is over."""
    w.emulator.clear_faults()
    sent = len(w.posts)
    again = await w.create(pending, session=run(), timeout=3 * MINUTE)
    assert again.pending.id == pending.id
    kept = await w.read(again.pending, session=run())
    await w.clock.sleep(2 * HOUR)
    proven = await w.read(kept.record or pending, session=run())
    assert proven.record is not None
    assert proven.record.id == pending.id
    assert len(w.posts) == sent, (
        "it may be there still, or nobody has asked for it again"
    )
    ending = await w.create(proven.record, session=run())
    assert ending.complete.version_id == w.posts[-1].version_id
    assert len(w.posts) == sent + 1
    assert "was never taken" in ending.text


WORLDS = ("invalidated", "kept")
TIMES = [
    ("start", 0.0),
    ("end", 0.0),
    ("start", HOUR),
    ("end", HOUR),
    ("start", -HOUR),
    ("end", -HOUR),
]
"""The meaning of `modified`, and the seconds that the service's clock is ahead."""
SOME = [
    *ANSWERED,
    *(
        f"{name}, {when} applying"
        for name, when in product(("dropped", "502 page", "503"), (BEFORE, AFTER))
    ),
]


def one_of(number: int, *columns: Iterable[Any]) -> list[Any]:
    """All combinations of the columns, one of so many by day, in which each value meets the others, and the rest at night."""
    rows = product(*map(enumerate, columns))
    return [
        pytest.param(
            *(value for _, value in row),
            marks=[pytest.mark.nightly] * bool(sum(i for i, _ in row) % number),
        )
        for row in rows
    ]


@pytest.mark.parametrize(("post", "cache_world"), one_of(1, POSTS, WORLDS))
@virtual
async def test_each_answer_to_the_post_gives_the_right_version_or_error(
    post: str, cache_world: Any
) -> None:
    async with world(cache_world=cache_world, **POSTS[post].service) as w:
        await check_ending(w, POSTS[post], LISTINGS["fine"])


@pytest.mark.parametrize(
    ("post", "times", "cache_world"), one_of(2, SOME, TIMES, WORLDS)
)
@virtual
async def test_the_version_is_right_with_all_meanings_of_the_times(
    post: str, times: tuple[Any, float], cache_world: Any
) -> None:
    service = {
        "cache_world": cache_world,
        "modified_is": times[0],
        "clock_offset_seconds": times[1],
    }
    async with world(**service, **POSTS[post].service) as w:
        await check_ending(w, POSTS[post], LISTINGS["fine"])


@pytest.mark.parametrize(
    ("post", "listings", "cache_world"), one_of(6, SOME, LISTINGS, WORLDS)
)
@virtual
async def test_a_snapshot_is_found_or_kept_however_the_polls_fail(
    post: str, listings: str, cache_world: Any
) -> None:
    async with world(cache_world=cache_world, **POSTS[post].service) as w:
        await check_ending(w, POSTS[post], LISTINGS[listings])
