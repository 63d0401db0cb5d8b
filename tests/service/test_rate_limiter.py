"""The rate limiter keeps every limit of the service and delays no request longer than necessary."""

import random
from dataclasses import dataclass, field
from itertools import pairwise

import anyio
import pytest

from pulumi_snapshots.service.errors import (
    Blocked,
    KeyRefused,
    ListingBlocked,
    NotSent,
    Outage,
    QuotaUsedUp,
    SquareCloudError,
    Throttled,
    error_for,
)
from pulumi_snapshots.service.limits import (
    ACCOUNT_LANE,
    CHECK,
    CREATE,
    READ,
    RESTORE_LANE,
)
from tests.support.limiter import Request, Runs
from tests.support.memory import SENT
from tests.support.virtual import virtual

A = "a" * 32
B = "b" * 32
C = "c" * 32
D = "d" * 32


def answer(
    status: int,
    code: str | None = None,
    retry_after: float | None = None,
    request: str = "X /x",
) -> SquareCloudError:
    return error_for(request, status, code=code, readable=True, retry_after=retry_after)


KEEP_CALM = answer(429, "KEEP_CALM")
BAD_GATEWAY = answer(502)
QUOTA = answer(429, "DAILY_SNAPSHOTS_LIMIT_REACHED")


@dataclass(frozen=True)
class Course:
    """Requests, when each must be sent, and which must fail how."""

    requests: list[Request]
    # seconds and name of each that is sent, in their order
    sent: list[tuple[float, str]]
    # those that are not sent
    failed: dict[str, type[SquareCloudError]] = field(default_factory=dict)
    says: str = ""  # what a request that waits says
    budget: int = 30  # requests per minute


def block(retry_after: float | None, lasts: float) -> Course:
    first = Request(
        CREATE, A, 0, answer(429, "RATE_LIMITED", retry_after), name="first"
    )
    others = [
        Request(CREATE, B, 0.5, name="waiting"),
        Request(READ, at=1, name="patient"),
        Request(READ, at=2, name="impatient", patient=False),
        Request(RESTORE_LANE, at=3),
        Request(CREATE, C, lasts - 60, name="late"),
        Request(CREATE, C, lasts + 1, name="afterwards"),
    ]
    sent = [(0.0, "first"), (lasts, "patient"), (lasts + 1, "afterwards")]
    return Course(
        [first, *others],
        sent,
        dict.fromkeys(("first", "waiting", "impatient", "restore", "late"), Blocked),
    )


def listing_block(retry_after: float | None, lasts: float) -> Course:
    blocked = answer(429, "RATE_LIMITED", retry_after, "GET /users/snapshots")
    requests = [
        Request(ACCOUNT_LANE, result=blocked, name="blocked"),
        Request(ACCOUNT_LANE, at=1, name="queued"),
        Request(CREATE, at=2),
        Request(READ, at=2.1, patient=False),
        Request(RESTORE_LANE, B, at=2.2),
        Request(ACCOUNT_LANE, at=lasts - 1, name="late"),
        Request(ACCOUNT_LANE, at=lasts + 1, name="over"),
    ]
    sent = [
        (0.0, "blocked"),
        (2.0, "create"),
        (2.1, "read"),
        (2.2, "restore"),
        (lasts + 1, "over"),
    ]
    return Course(
        requests, sent, dict.fromkeys(("blocked", "queued", "late"), ListingBlocked)
    )


def not_in_a_row(between: SquareCloudError | None) -> Course:
    results = (BAD_GATEWAY, between, BAD_GATEWAY, None)
    requests = [
        Request(CREATE, f"{n}", 10 * n, result, name=f"{n}")
        for n, result in enumerate(results)
    ]
    failed = {f"{n}": type(result) for n, result in enumerate(results) if result}
    return Course(requests, [(10.0 * n, f"{n}") for n in range(4)], failed)


TWO_BAD = [
    Request(CREATE, one, n / 1000, BAD_GATEWAY, name=f"{n}")
    for n, one in enumerate((A, B))
]
BAD = {"0": type(BAD_GATEWAY), "1": type(BAD_GATEWAY)}
COURSES = {
    "creates of an account are 5 s apart": Course(
        [Request(CREATE, f"{n}", n / 1000) for n in range(4)],
        [(5.15 * n, "create") for n in range(4)],
    ),
    "creates of a database are 180 s apart, and say so": Course(
        [Request(CREATE), Request(CREATE, at=1)],
        [(0, "create"), (181, "create")],
        says="queued until then: the service accepts one create per database in 3 min",
    ),
    "restores have cooldowns of their own": Course(
        [
            Request(RESTORE_LANE),
            Request(CREATE, at=0.1),
            Request(RESTORE_LANE, B, 0.2),
            Request(RESTORE_LANE, at=0.3),
        ],
        [(0, "restore"), (0.1, "create"), (60.5, "restore"), (121, "restore")],
        says="queued until then: the service accepts one restore per database in 2 min",
    ),
    "a 429 without a code holds up nothing but its own request": Course(
        [
            Request(READ, result=answer(429), name="throttled"),
            Request(READ, at=1, patient=False),
            Request(
                CREATE, A, at=2, result=answer(429, "SOMETHING_NEW"), name="refused"
            ),
            Request(CREATE, B, at=2.1),
            Request(RESTORE_LANE, C, at=3),
        ],
        [
            (0, "throttled"),
            (1, "read"),
            (2, "refused"),
            (3, "restore"),
            (7.15, "create"),
        ],
        {"throttled": Throttled, "refused": Throttled},
    ),
    "the account's listing is requested three times a minute": Course(
        [Request(ACCOUNT_LANE)] * 4, [(20.2 * n, "account listing") for n in range(4)]
    ),
    "a read does not wait for a queued account listing": Course(
        [Request(ACCOUNT_LANE), Request(ACCOUNT_LANE, at=0.1), Request(READ, at=1)],
        [(0, "account listing"), (1, "read"), (20.2, "account listing")],
    ),
    "the read that has waited longest is next": Course(
        [Request(READ, at=n / 10, name=f"{n}") for n in (3, 0, 2, 1)],
        [(60.5 * n, f"{n}") for n in range(4)],
        budget=1,
    ),
    "a refused create starts no cooldown of its database": Course(
        [Request(CREATE, result=KEEP_CALM, name="refused"), Request(CREATE, at=1)],
        [(0, "refused"), (5.15, "create")],
        {"refused": type(KEEP_CALM)},
    ),
    "a create whose answer was lost starts its cooldown": Course(
        [Request(CREATE, result=BAD_GATEWAY, name="lost"), Request(CREATE, at=1)],
        [(0, "lost"), (181, "create")],
        {"lost": type(BAD_GATEWAY)},
    ),
    "after KEEP_CALM the account's cooldown starts again": Course(
        [
            Request(CREATE, result=KEEP_CALM, takes=3, name="refused"),
            Request(CREATE, B, 1),
        ],
        [(0, "refused"), (8.15, "create")],
        {"refused": type(KEEP_CALM)},
    ),
    "nothing is sent with a refused key for five minutes": Course(
        [
            Request(CREATE, result=answer(401, "ACCESS_DENIED"), takes=1, name="first"),
            Request(CREATE, B, 0.5, name="waiting"),
            Request(READ, at=300, name="later"),
            Request(READ, at=302),
        ],
        [(0, "first"), (302, "read")],
        dict.fromkeys(("first", "waiting", "later"), KeyRefused),
    ),
    "a used-up quota stops queued creates, and no read or restore": Course(
        [
            Request(CREATE, result=QUOTA, takes=1, name="first"),
            Request(CREATE, B, 0.5),
            Request(READ, at=2),
            Request(RESTORE_LANE, at=3),
        ],
        [(0, "first"), (2, "read"), (3, "restore")],
        dict.fromkeys(("first", "create"), QuotaUsedUp),
    ),
    "a block stops creates, and patient reads wait it out": block(None, 1800),
    "a block lasts as long as the service says": block(600, 600),
    "a block of the account's listing holds up nothing else": listing_block(None, 300),
    "a block of the account's listing lasts as long as the service says": listing_block(
        60, 60.5
    ),
    "in an outage creates wait until a read succeeds": Course(
        [
            *TWO_BAD,
            Request(CREATE, C, 1, name="held"),
            *(
                Request(READ, at=at, result=bad, name=f"bad {at}")
                for at, bad in (
                    (20, BAD_GATEWAY),
                    (30, answer(500, "OOPS")),
                    (40, NotSent("GET /x")),
                )
            ),
            Request(READ, at=60),
        ],
        [
            (0, "0"),
            (5.15, "1"),
            (20, "bad 20"),
            (30, "bad 30"),
            (40, "bad 40"),
            (60, "read"),
            (60, "held"),
        ],
        BAD
        | {
            "bad 20": type(BAD_GATEWAY),
            "bad 30": type(answer(500, "OOPS")),
            "bad 40": NotSent,
        },
        says="service is returning errors",
    ),
    "a create fails unsent after two minutes of an outage": Course(
        [
            *TWO_BAD,
            Request(CREATE, C, 1, name="held"),
            Request(CREATE, D, 100, name="late"),
        ],
        [(0, "0"), (5.15, "1")],
        BAD | dict.fromkeys(("held", "late"), Outage),
    ),
    **{
        f"a {between} between two failures ends no outage, as there is none": not_in_a_row(
            between
        )
        for between in (
            None,
            KEEP_CALM,
            answer(404, "SNAPSHOT_FAILED"),
            NotSent("POST /x"),
            answer(408),
        )
    },
}


@pytest.mark.parametrize("course", COURSES.values(), ids=COURSES)
@virtual
async def test_each_request_is_sent_as_soon_as_the_limits_allow_it(
    course: Course,
) -> None:
    runs = Runs()
    run = runs.run(budget=course.budget)
    await run.send_all(*course.requests)
    assert runs.order == [name for _, name in course.sent]
    assert runs.times == pytest.approx([at for at, _ in course.sent], abs=0.02)
    assert {name: type(error) for name, error in run.failed.items()} == course.failed
    unsent = {
        name
        for name, error in run.failed.items()
        if error.unsent or isinstance(error, Outage)
    }
    assert unsent == course.failed.keys() - set(runs.order)
    assert any(course.says in text for text in run.reasons) or not course.says


def a_request(chance: random.Random) -> Request:
    """One of many, some of which are wanted in the same moment, or take whole seconds."""
    at, takes = (
        round(chance.uniform(0, most), chance.choice([0, 3])) for most in (200, 20)
    )
    lane = chance.choice([CREATE, READ, READ, READ, ACCOUNT_LANE])
    answer = chance.choice([None, None, None, KEEP_CALM, BAD_GATEWAY])
    return Request(lane, chance.choice([A, B, C]), at, answer, takes)


@pytest.mark.parametrize("seed", range(40))
@virtual
async def test_no_limit_of_the_service_is_exceeded_under_any_load(seed: int) -> None:
    chance = random.Random(seed)
    load = [a_request(chance) for _ in range(chance.randint(5, 60))]
    budget = chance.choice([1, 2, 5, 30])
    run = Runs().run(budget=budget)
    await run.send_all(*load)
    times = run.runs.times
    assert len(times) == len(load) or any(
        "service is returning errors" in each for each in run.reasons
    )
    for first, later in zip(times, times[budget:], strict=False):
        assert later - first > 60, f"{budget + 1} requests within a minute"
    for lane, gap in ((CREATE, 5.0), (ACCOUNT_LANE, 20.0)):
        of_lane = [at for at, name in run.runs.sent if name == lane.name]
        assert all(later - earlier > gap for earlier, later in pairwise(of_lane))


@virtual
async def test_a_check_goes_before_reads_that_wait_for_longer() -> None:
    runs = Runs()
    reads = [Request(READ)] * 12
    await runs.run(budget=10).send_all(*reads, Request(CHECK, at=1.0))
    assert 0 < runs.order.index("check") < len(reads)


@virtual
async def test_creates_go_before_reads_but_do_not_starve_them() -> None:
    runs = Runs()
    reads = [Request(READ, at=0.1)] * 40
    await runs.run(budget=10).send_all(
        *reads, *(Request(CREATE, f"{n}") for n in range(40))
    )
    minute = [name for at, name in runs.sent if 60.5 <= at < 121]
    assert min(minute.count("create"), minute.count("read")) >= 4
    assert max(runs.times) < 600
    assert runs.order[0] == "create"


@pytest.mark.parametrize("victim", [0, 1, 5])
@pytest.mark.parametrize("moment", [0.006, 2.0, 5.15, 7.0])
@virtual
async def test_after_a_cancelled_request_the_others_are_sent(
    victim: int, moment: float
) -> None:
    runs = Runs()
    scopes = [anyio.CancelScope() for _ in range(6)]
    run = runs.run()

    async def one(number: int) -> None:
        with scopes[number]:
            await run.send_all(
                Request(CREATE, f"{number}", number / 1000, name=f"{number}")
            )

    async with anyio.create_task_group() as tasks:
        for number in range(6):
            tasks.start_soon(one, number)
        await anyio.sleep(moment)
        scopes[victim].cancel()
    others = [f"{number}" for number in range(6) if number != victim]
    assert [name for name in runs.order if name != f"{victim}"] == others
    assert max(runs.times) < 6 * 5.2


@virtual
async def test_a_create_that_is_cancelled_before_its_body_was_certainly_not_sent() -> (
    None
):
    run = Runs().run()
    _, slot = await run.limiter.claim("POST /x", CREATE, A, lambda _: SENT, None)
    causes = list[object]()
    with anyio.CancelScope() as scope:
        scope.cancel()
        try:
            async with slot:
                raise AssertionError
        except anyio.get_cancelled_exc_class() as cancelled:
            causes.append(type(cancelled.__cause__))
            raise
    assert causes == [NotSent]


@virtual
async def test_a_create_that_was_cancelled_under_way_counts() -> None:
    run = Runs().run()
    with anyio.move_on_after(10):
        await run.send(takes=90)
    await run.send()
    assert run.runs.times[1] > 180
