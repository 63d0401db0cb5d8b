"""The table of faults: each way in which a POST and the looks after it can go wrong, in each world of the service."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import timedelta
from itertools import product
from typing import TYPE_CHECKING, Any

import pytest

from pulumi_snapshots.emulator import Fault
from pulumi_snapshots.snapshot.create import Pending
from pulumi_snapshots.snapshot.describe import is_pinned
from tests.support.virtual import run_virtual
from tests.support.world import DATABASE, Ending, World, world

if TYPE_CHECKING:
    from pulumi_snapshots.snapshot.record import SnapshotRecord

BEFORE, AFTER = "before", "after"
MINUTE, HOUR = 60.0, 3600.0


@dataclass(frozen=True)
class Post:
    """A way in which the POST ends.

    Attributes:
        faults: what strikes it; a dict for each try.
        when: whether it strikes before or after the service has applied the POST.
        service: the service's settings.
        posts: requests that reach the service.
        started: whether a snapshot is started.
        refused: words of the error where the service says that it started none; then nothing is kept.
        names_it: whether the answer names the version.
    """

    faults: tuple[dict[str, Any], ...] = ()
    when: str = BEFORE
    service: dict[str, Any] = field(default_factory=dict)
    posts: int = 1
    started: bool = True
    refused: str = ""
    names_it: bool = False


ANSWERED = {
    "200": Post(names_it=True),
    "200, no version": Post(service={"key_of_200_has_version": False}),
    "202": Post(service={"snapshot_seconds": 200.0}),
    "202, slow": Post(service={"snapshot_seconds": 800.0}),
    "KEEP_CALM, then 200": Post(({"status": 429, "code": "KEEP_CALM"},) * 3, posts=4, names_it=True),
    "no connection, then 202": Post(({"no_connect": True},) * 2, service={"snapshot_seconds": 200.0}),
    # The service answers only after the client has given up, and starts the snapshot only then.
    "applied late": Post(({"delay": 400.0},)),
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
    f"{name}, {when} applying": Post((fault,), when, started=when == AFTER)
    for (name, fault), when in product(DOUBTFUL.items(), (BEFORE, AFTER))
} | {
    # These work on the service's own answer, so they cannot come before it.
    "JSON stops": Post(({"truncated": True},)),
    "body stops": Post(({"cut_after": 12},)),
    "202, body stops": Post(({"cut_after": 12},), service={"snapshot_seconds": 200.0}),
    "KEEP_CALM, then dropped after applying": Post(
        ({"status": 429, "code": "KEEP_CALM"}, {"drop": True}), AFTER, posts=2
    ),
}
REFUSALS: tuple[tuple[str, dict[str, Any], str], ...] = (
    ("401", {"status": 401, "code": "ACCESS_DENIED"}, "401 ACCESS_DENIED"),
    ("401 page", {"html": 401}, "401"),
    ("403 MISSING_SCOPE", {"status": 403, "code": "MISSING_SCOPE"}, "lacks a scope"),
    ("403 RESOURCE_NOT_ALLOWED", {"status": 403, "code": "RESOURCE_NOT_ALLOWED"}, "limited to other resources"),
    ("403 RESTORE_IN_PROGRESS", {"status": 403, "code": "RESTORE_IN_PROGRESS"}, "a restore of this database"),
    ("402", {"status": 402, "code": "UPGRADE_REQUIRED"}, "does not include"),
    ("404 DATABASE_NOT_FOUND", {"status": 404, "code": "DATABASE_NOT_FOUND"}, "Check database_id"),
    ("404 SNAPSHOT_FAILED", {"status": 404, "code": "SNAPSHOT_FAILED"}, "could not capture"),
    ("409", {"status": 409, "code": "DATABASE_NOT_RUNNING"}, "Start the database"),
    ("429 quota", {"status": 429, "code": "DAILY_SNAPSHOTS_LIMIT_REACHED"}, "allowance"),
    ("429 block", {"status": 429, "code": "RATE_LIMITED"}, "blocked"),
    ("429 page", {"html": 429}, "blocked"),
    ("500", {"status": 500, "code": "INTERNAL_SERVER_ERROR"}, "500 INTERNAL_SERVER_ERROR"),
    ("418", {"status": 418, "code": "NEVER_SEEN"}, "418 NEVER_SEEN"),
    ("redirect", {"redirect": "https://elsewhere.test/v2/databases"}, "redirected"),
)
REFUSED = {name: Post((fault,), started=False, refused=words) for name, fault, words in REFUSALS} | {
    "no connection": Post(({"no_connect": True},) * 3, posts=0, started=False, refused="could not be reached")
}
POSTS = ANSWERED | IN_DOUBT | REFUSED


@dataclass(frozen=True)
class Listings:
    """A way in which the looks after the POST go wrong.

    Attributes:
        faults: what strikes them; of either listing.
        slow: whether no look is answered within 5 minutes, the time that an URL has to be pinned in after a 200.
        lasts: whether they stay so until the time is over, so that the wait ends without the snapshot.
        frozen: whether somebody has looked just before the POST, so that the service may show that page for half an hour.
    """

    faults: tuple[dict[str, Any], ...] = ()
    slow: bool = False
    lasts: bool = False
    frozen: bool = False


LOOKS = {
    "fine": Listings(),
    "frozen": Listings(frozen=True),
    "dropped": Listings(({"drop": True, "times": 5},)),
    "no connection": Listings(({"no_connect": True, "times": 5},)),
    "no answer": Listings(({"drop": True, "delay": 50.0, "times": 5},), slow=True),
    "502": Listings(({"html": 502, "times": 5},)),
    "500": Listings(({"status": 500, "code": "INTERNAL", "times": 5},)),
    "KEEP_CALM": Listings(({"status": 429, "code": "KEEP_CALM", "times": 5},)),
    "JSON stops": Listings(({"truncated": True, "times": 5},)),
    "no list": Listings(({"body": '{"status": "success", "response": {}}', "times": 5},), slow=True),
    "blocked for half an hour": Listings(({"kind": "list", "status": 429, "code": "RATE_LIMITED"},), slow=True),
    "account listing not in the plan": Listings(({"kind": "list account", "status": 402, "code": "UPGRADE_REQUIRED"},)),
    "account listing refused": Listings(({"kind": "list account", "status": 403, "code": "RESOURCE_NOT_ALLOWED"},)),
    "account listing gone": Listings(({"kind": "list account", "status": 404, "code": "NOT_FOUND"},)),
    "always 502": Listings(({"html": 502, "times": None},), slow=True, lasts=True),
    "refused key": Listings(({"status": 401, "code": "ACCESS_DENIED"},), slow=True, lasts=True),
    "missing scope": Listings(({"status": 403, "code": "MISSING_SCOPE", "times": None},), slow=True, lasts=True),
    "database gone": Listings(
        ({"kind": "list", "status": 404, "code": "DATABASE_NOT_FOUND", "times": None},), slow=True, lasts=True
    ),
}


def strike(w: World, post: Post, looks: Listings) -> None:
    for fault in post.faults:
        # Of a POST that is tried again, only the last fault is the one in doubt.
        last = fault is post.faults[-1]
        w.emulator.add_fault(Fault(kind="create", **{"when": post.when if last else BEFORE, **fault}))
    for fault in looks.faults:
        for kind in ("list", "list account"):
            if fault.get("kind", kind) == kind:
                w.emulator.add_fault(Fault(**{**fault, "kind": kind}))


async def ends_right(w: World, post: Post, looks: Listings) -> None:
    """Take a snapshot with everything that others do at the same time, then go on as a user would."""
    w.emulator.add_snapshot(DATABASE, modified=w.emulator.now() - timedelta(minutes=10))
    w.emulator.add_snapshot(DATABASE, origin="automatic", modified=w.emulator.now() - timedelta(seconds=1))
    if looks.frozen:
        other = w.another_run()
        await other.client.list_snapshots(DATABASE)
        await other.client.list_account()
    strike(w, post, looks)
    automatic = lambda: w.emulator.add_snapshot(DATABASE, origin="automatic")  # noqa: E731
    ending = await w.meanwhile(20, automatic, w.create(timeout=45 * MINUTE if post.started else 16 * MINUTE))

    assert len(w.posts) == post.posts
    if post.refused:
        assert ending.record is None, "nothing was started, so there is nothing to keep"
        assert post.refused in ending.text
    elif not post.started:
        await stays_pending_until_it_is_proven_failed(w, ending.pending)
    elif post.names_it:
        is_ours(w, ending)
        # Its version is known, so only the URL depends on the looks.
        pinned = is_pinned(ending.complete.download_url, w.started())
        stale = looks.frozen and w.emulator.settings.cache_world == "kept"
        assert pinned is not (stale or looks.slow)
        assert pinned or "serves the newest snapshot" in ending.text
    elif looks.lasts:
        pending = ending.pending
        w.emulator.clear_faults()
        is_ours(w, await w.resume(pending, session=w.another_run()))
    else:
        is_ours(w, ending)
    assert len(w.posts) == post.posts, "what follows never sends a POST"
    assert not w.transport.strayed


def is_ours(w: World, ending: Ending) -> None:
    record = ending.complete
    assert record.version_id == w.started()
    assert record.available
    assert w.emulator.settings.api_key not in ending.text


async def stays_pending_until_it_is_proven_failed(w: World, pending: SnapshotRecord) -> None:
    """Nothing was started, but nobody knows: neither a resume nor a read may lose it or take another's for it."""
    w.emulator.clear_faults()
    again = await w.resume(pending, session=w.another_run(), timeout=3 * MINUTE)
    assert isinstance(again.error, Pending)
    assert again.pending.id == pending.id
    kept = await w.read(again.pending, session=w.another_run())
    await w.clock.sleep(2 * HOUR)
    proven = await w.read(kept.record or pending, session=w.another_run())
    assert proven.record is not None
    assert proven.record.id == pending.id
    assert proven.record.attempt is not None
    assert proven.record.attempt.missing_since is not None


CACHE_WORLDS = pytest.mark.parametrize("cache_world", ["invalidated", "kept"])
TIMES = [("start", 0.0), ("end", 0.0), ("start", HOUR), ("end", HOUR), ("start", -HOUR), ("end", -HOUR)]
"""What `modified` is, and how far the service's clock is ahead."""
SOME_IN_DOUBT = [f"{name}, {when} applying" for name, when in product(("dropped", "502 page", "503"), (BEFORE, AFTER))]


@CACHE_WORLDS
@pytest.mark.parametrize("post", POSTS)
def test_however_the_post_ends_the_user_gets_the_right_version_or_the_right_error(post: str, cache_world: Any) -> None:
    async def body() -> None:
        async with world(cache_world=cache_world, **POSTS[post].service) as w:
            await ends_right(w, POSTS[post], LOOKS["fine"])

    run_virtual(body)


@CACHE_WORLDS
@pytest.mark.parametrize(("modified_is", "clock_offset"), TIMES)
@pytest.mark.parametrize("post", [*ANSWERED, *SOME_IN_DOUBT])
def test_whatever_the_times_of_the_service_mean_the_version_is_right(
    post: str, modified_is: Any, clock_offset: float, cache_world: Any
) -> None:
    async def body() -> None:
        async with world(
            cache_world=cache_world,
            modified_is=modified_is,
            clock_offset_seconds=clock_offset,
            **POSTS[post].service,
        ) as w:
            await ends_right(w, POSTS[post], LOOKS["fine"])

    run_virtual(body)


@CACHE_WORLDS
@pytest.mark.parametrize("looks", LOOKS)
@pytest.mark.parametrize("post", [*ANSWERED, *SOME_IN_DOUBT])
def test_however_the_looks_go_wrong_the_snapshot_is_found_or_kept(post: str, looks: str, cache_world: Any) -> None:
    async def body() -> None:
        async with world(cache_world=cache_world, **POSTS[post].service) as w:
            await ends_right(w, POSTS[post], LOOKS[looks])

    run_virtual(body)
