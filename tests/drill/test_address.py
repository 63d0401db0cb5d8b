"""A connection that leads to another database than the scratch one is refused, and one of which nobody knows is told."""

from __future__ import annotations

import pytest

from pulumi_snapshots.databases.kinds import kind_of
from pulumi_snapshots.drill.address import ANOTHER, Address, own_host
from pulumi_snapshots.drill.inputs import DrillInputs
from pulumi_snapshots.properties.checks import UNKNOWN
from pulumi_snapshots.properties.unfit import Unfit
from tests.drill.test_drill_inputs import GOOD
from tests.support.drilling import CONNECTION, SCRATCH
from tests.support.world import DATABASE

MINE, PRODUCTION = own_host(SCRATCH), own_host(DATABASE)
OTHER_PORT = "must be to port 7058 of the scratch database, as the service says"


@pytest.mark.parametrize(
    ("dsn", "reason", "own"),
    [
        (CONNECTION, "", True),
        (f"redis://:x@{MINE.upper()}.:7058/0", "", True),
        (f"host={MINE} port=7058 dbname=shop", "", True),
        (f"mongodb://a:b@{MINE}:7058,{MINE}:7058/shop", "", True),
        (f"mysql://a:b@{PRODUCTION}:7058/shop", ANOTHER, False),
        (f"mongodb://a:b@{MINE}:7058,{PRODUCTION}:7058/shop", ANOTHER, False),
        (f"postgresql://a:b@{MINE}:7058/shop?host={PRODUCTION}", ANOTHER, False),
        (f"dbname=shop host = '{PRODUCTION}' port=7058", ANOTHER, False),
        (f"mongodb+srv://a:b@{PRODUCTION}/shop", ANOTHER, False),
        (f"rediss://:x@{MINE}:7059/0", OTHER_PORT, True),
        (f"postgresql://a:b@{MINE}/shop", OTHER_PORT, True),
        (f"postgresql://a:b@{MINE}:7058/shop?port=7059", OTHER_PORT, True),
        (f"host={MINE} hostaddr=10.0.0.1 port=7058", "", False),
        (f"service=shop host={MINE}", "", False),
        (f"mongodb+srv://a:b@{MINE}/shop", "", False),
        ("postgresql://a:b@127.0.0.1:7059/shop", "", False),
        ("redis://[::1]:7059/0", "", False),
        (f"mysql://a:b@{MINE}.example.com:7059/shop", "", False),
        ("dbname=shop", "", False),
    ],
)
def test_an_address_says_which_database_it_leads_to(dsn: str, reason: str, *, own: bool) -> None:
    address = Address.of(dsn)
    assert address.misfit(SCRATCH, 7058) == reason
    assert address.is_own(SCRATCH) is own


def test_a_preview_refuses_the_host_of_another_database_without_showing_it() -> None:
    wrong = CONNECTION.replace(SCRATCH, DATABASE)
    (problem,) = DrillInputs.problems({**GOOD, "connection": wrong})
    assert (problem.property, problem.reason) == ("connection", ANOTHER)
    assert DrillInputs.problems({**GOOD, "connection": wrong, "scratch_database_id": UNKNOWN}) == []


@pytest.mark.parametrize("dsn", ["redis://:12?secret-word@db.example:6379/0", "redis://:12?secret-word=1@db.example/0"])
def test_a_password_that_reads_like_parameters_is_not_shown(dsn: str) -> None:
    with pytest.raises(Unfit) as refused:
        kind_of(dsn)
    assert "with %-escapes" in str(refused.value)
    assert "secret-word" not in f"{refused.value!r}"
