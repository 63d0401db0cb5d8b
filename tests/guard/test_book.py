"""What a program may say of a guard, and what it is told of the snapshots that have guarded it; without an engine."""

import inspect
from datetime import timedelta
from typing import Any

import pulumi
import pytest

from pulumi_snapshots import Guard
from pulumi_snapshots.clock import Clock, ServiceClock, parse_rfc3339
from pulumi_snapshots.errors import ProviderError
from pulumi_snapshots.guard.book import MOST, MOST_CHANGES, consult
from pulumi_snapshots.guard.inputs import GuardInputs, change_of
from pulumi_snapshots.ledger.ledger import Ledger
from pulumi_snapshots.ledger.place import packed
from pulumi_snapshots.properties.checks import parse_duration
from pulumi_snapshots.snapshot.record import SnapshotRecord
from tests.support.memory import Memory
from tests.support.virtual import virtual
from tests.support.world import DATABASE, OTHER_DATABASE, START

SHOP = "organization/app/dev/shop"
OTHER = "organization/app/dev/other"
DAY = 86400.0


class Book:
    """The book of one machine, and its place."""

    def __init__(self) -> None:
        self.clock = Clock(START)
        self.place = Memory(self.clock)
        self.ledger = Ledger(self.place, ServiceClock(self.clock))

    async def asked(self, use: Any, *, writes: bool = False) -> Any:
        return await consult(self.ledger, use, writes=writes)

    def answers(self) -> None:
        """The service answers: from now on its time is known."""
        now = self.clock.utc()
        for _ in range(2):
            self.ledger.clock.observe(now, now, now)

    async def takes(
        self,
        version: str,
        *changes: str,
        guard: str = SHOP,
        database_id: str = DATABASE,
        run: str = "",
    ) -> None:
        await self.asked(
            lambda book: book.note(
                guard, record(version, database_id), changes, run=run
            ),
            writes=True,
        )

    async def says(
        self,
        guard: str = SHOP,
        database_id: str = DATABASE,
        pin: str | None = None,
        *,
        keeps: bool = True,
        run: str = "",
    ) -> str | None:
        last = await self.asked(
            lambda book: book.last(guard, database_id, pin, run=run),
            writes=bool(pin and keeps),
        )
        return str(last.version_id) if last else None


def record(version: str, database_id: str = DATABASE) -> SnapshotRecord:
    url = "https://x.test/?Signature=s3cret"
    return SnapshotRecord(
        database_id, version, download_url=url, available=True
    ).created(START)


@virtual
async def test_the_last_snapshot_of_a_guard_is_known_for_its_30_days() -> None:
    book = Book()
    assert await book.says() is None
    await book.takes("v1")
    await book.takes("v2", guard=OTHER)
    last = await book.asked(lambda book: book.last(SHOP, DATABASE))
    assert (last.id, last.available, last.created_at) == (
        f"{DATABASE}/v1",
        True,
        record("v1").created_at,
    )
    assert b"s3cret" not in (book.place.data or b"")
    await book.clock.sleep(31 * DAY)
    assert await book.says() is None
    book.answers()
    await book.takes("v3", guard=OTHER)
    assert [
        each["snapshot"]["version_id"] for each in (await book.place.read())["guards"]
    ] == ["v3"]


@virtual
async def test_a_guard_whose_database_was_changed_does_not_lead_back_to_the_other_one() -> (
    None
):
    book = Book()
    await book.takes("v1")
    await book.takes("v2", database_id=OTHER_DATABASE)
    assert [await book.says(), await book.says(database_id=OTHER_DATABASE)] == [
        "v1",
        "v2",
    ]


@virtual
async def test_one_value_of_a_roll_back_leads_to_the_same_snapshot_whatever_it_guards_itself() -> (
    None
):
    book = Book()
    await book.takes("v1")
    assert await book.says(pin="1", keeps=False) == "v1"
    await book.takes("v2")
    assert await book.says(pin="1", keeps=False) == "v2", (
        "only a preview has asked before"
    )
    assert await book.says(pin="1", run="back") == "v2"
    await book.takes("v3", run="back")  # by the roll-back itself, whose Restore fails
    assert [await book.says(pin="1", run="again"), await book.says(pin="2")] == [
        "v2",
        "v3",
    ]
    with pytest.raises(
        ProviderError, match=f"This guard knows no snapshot of database {DATABASE}"
    ):
        await book.says(guard="organization/app/prod/shop", pin="1")
    await book.clock.sleep(20 * DAY)
    assert await book.says(pin="3") == "v3"
    await book.clock.sleep(20 * DAY)
    assert await book.says() is None
    assert await book.says(pin="3") == "v3", (
        "a program that still names it must not fail"
    )


@virtual
async def test_a_second_incident_goes_back_to_its_own_snapshot_with_the_same_value() -> (
    None
):
    book = Book()
    await book.takes("v1", "update of Server shop", run="release 1")
    assert await book.says(pin="1", run="back") == "v1"
    await book.takes("v2", "update of Server shop", run="back")
    assert await book.says(pin="1", run="back, again") == "v1", (
        "that run has asked for it"
    )
    await book.takes(
        "v3", "update of Server other", guard=OTHER, run="of another guard"
    )
    assert await book.says(pin="1", keeps=False) == "v1"
    await book.takes("v4", "update of Server shop", run="release 2")
    assert await book.says(pin="1", run="second incident") == "v4"
    await book.takes("v5", run="release 3, whose first change fails half-way")
    assert await book.says(pin="1", run="third incident") == "v5"


@virtual
async def test_a_later_run_with_the_address_of_an_earlier_one_has_not_asked_for_its_pin() -> (
    None
):
    book = Book()
    await book.takes("v1", "update of Server shop")
    assert await book.says(pin="1", run="127.0.0.1:40001") == "v1"
    await book.clock.sleep(2 * DAY)
    await book.takes("v2", "update of Server shop", run="127.0.0.1:40001")
    assert await book.says(pin="1", run="127.0.0.1:40002") == "v2"


@virtual
async def test_runs_without_a_name_are_not_taken_for_one_run() -> None:
    book = Book()
    await book.takes("v1", "update of Server shop")
    assert await book.says(pin="1") == "v1"
    await book.takes("v2", "update of Server shop")
    assert await book.says(pin="1") == "v2"


@virtual
async def test_a_clock_that_no_answer_has_confirmed_loses_no_way_back() -> None:
    book = Book()
    fast = Book()
    fast.place = book.place
    fast.ledger = Ledger(fast.place, ServiceClock(Clock(START + timedelta(days=40))))
    await book.takes("v1", "update of Server shop")
    assert await book.says(pin="1") == "v1"
    nothing = SnapshotRecord(OTHER_DATABASE)
    await fast.asked(
        lambda it: it.note(OTHER, nothing, ["delete of Server x"]), writes=True
    )
    await fast.takes("w1", guard=OTHER)
    assert await fast.says(guard=OTHER, pin="2") == "w1"
    assert await book.says() == "v1"
    assert await book.says(pin="1") == "v1"
    # What that machine has noted lies in the future, and keeps nothing else from being known.
    await book.takes("v2", "update of Server shop")
    assert [await book.says(), await book.says(pin="3")] == ["v2", "v2"]
    assert len(await book.asked(lambda it: it.history(SHOP))) == 2


@virtual
async def test_the_history_shows_what_has_changed_after_which_snapshot() -> None:
    book = Book()
    await book.takes("v1")
    await book.clock.sleep(60.0)
    for _ in range(2):  # the answer to the first write may be lost
        await book.takes("v1", "update of Server shop", "delete of Server old")
    await book.takes("v2")
    await book.takes("v2")  # again, by the repetition of a run that has failed
    failed, good = await book.asked(lambda book: book.history(SHOP))
    assert (failed.version_id, failed.changes, failed.changed_at) == ("v2", [], None)
    assert (good.version_id, good.changes) == (
        "v1",
        ["update of Server shop", "delete of Server old"],
    )
    assert parse_rfc3339(good.changed_at) - parse_rfc3339(good.noted_at) == timedelta(
        minutes=1
    )
    assert await book.asked(lambda book: book.history(OTHER)) == []


@virtual
async def test_a_used_up_quota_is_known_until_it_is_free_again() -> None:
    book = Book()
    ends = book.clock.utc() + timedelta(hours=1)
    await book.asked(lambda book: book.note_used_up(ends), writes=True)
    assert await book.asked(lambda book: book.used_up) == ends
    await book.clock.sleep(3601.0)
    assert await book.asked(lambda book: book.used_up) is None


@virtual
async def test_the_book_stays_small_and_keeps_each_way_back_and_when_a_database_has_changed() -> (
    None
):
    book = Book()
    await book.takes("v1")
    await book.takes("v1", *(f"update of Server {number}" for number in range(1000)))
    changed = book.clock.utc()
    for number in range(MOST + 5):
        await book.clock.sleep(1800.0)
        await book.takes(
            f"w{number}",
            guard=f"organization/other/prod/{number % 50}",
            database_id=OTHER_DATABASE,
        )
        await book.says(pin=str(number))
    assert await book.says() == "v1"
    assert await book.asked(lambda book: book.spent(DATABASE)) == changed
    document = await book.place.read()
    assert (len(document["guards"]), len(document["roll-backs"])) == (MOST + 1, MOST)
    assert (
        len((await book.asked(lambda book: book.history(SHOP)))[0].changes)
        == MOST_CHANGES
    )
    assert len(book.place.data or b"") < 250_000


@pytest.mark.parametrize(
    "guards",
    [
        1,
        {"g": 1},
        [1],
        [{"guard": SHOP}],
        [{"guard": SHOP, "snapshot": {}, "noted_at": ""}],
    ],
)
@virtual
async def test_an_unreadable_book_counts_as_none(guards: object) -> None:
    book = Book()
    book.place.data = packed({"guards": guards, "roll-backs": guards})
    assert await book.says() is None
    await book.takes("v1")
    assert await book.says(pin="1") == "v1"


@pytest.mark.parametrize(
    ("wrong", "named"),
    [
        ({"database_id": ""}, "database_id must not be empty"),
        ({"database_id": "a/b"}, "database_id must be a bare id"),
        ({"database_id": None}, "database_id is required"),
        ({"reuse_within": "soon"}, "reuse_within must be"),
        ({"reuse_within": "31d"}, "reuse_within must be at most 30d"),
        ({"timeout": 0}, "timeout must be longer than zero"),
        (
            {"before": []},
            "before must be a list of 'create', 'update', 'delete', not []",
        ),
        (
            {"before": ["replace"]},
            "before must be a list of 'create', 'update', 'delete', not 'replace'",
        ),
        ({"before": "update"}, "before must be a list"),
        ({"name": " "}, "name must be a text"),
    ],
)
def test_a_wrong_argument_fails_where_the_guard_is_made(
    wrong: dict[str, Any], named: str
) -> None:
    with pytest.raises(pulumi.RunError, match=r"^Guard") as refused:
        Guard(**{"name": "shop", "database_id": DATABASE, **wrong})
    assert named in str(refused.value)


def test_a_wrong_setting_fails_where_the_guard_is_made(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("SQUARECLOUD_POLL_EVERY", "often")
    with pytest.raises(pulumi.RunError, match="SQUARECLOUD_POLL_EVERY must be"):
        Guard("shop", DATABASE)


def test_the_signature_shows_the_defaults_that_are_used() -> None:
    given = inspect.signature(Guard).parameters
    declared = GuardInputs.properties()
    assert set(given) - {"name"} == set(declared)
    assert (
        parse_duration(given["reuse_within"].default)
        == declared["reuse_within"].default
    )
    assert parse_duration(given["timeout"].default) == declared["timeout"].default
    assert given["before"].default == declared["before"].default


@pytest.mark.parametrize(
    ("urn", "said"),
    [
        (
            "urn:pulumi:dev::app::aws:ec2/instance:Instance::shop",
            "update of Instance shop",
        ),
        (
            "urn:pulumi:dev::app::my:shop:Shop$servers:index:Server::a::b",
            "update of Server a::b",
        ),
        ("strange", "update of strange"),
    ],
)
def test_an_error_names_the_change_as_a_reader_would(urn: str, said: str) -> None:
    assert change_of(urn, "update") == said
