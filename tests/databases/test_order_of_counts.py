"""The order in which tables are counted, and a connection that ends by a time-out, without a server."""

from unittest.mock import Mock

import pytest

from pulumi_snapshots.databases.connection import BlockingConnection, Table
from pulumi_snapshots.databases.tables import TableCount, count_tables


def counted(asked: Mock) -> list[TableCount]:
    return count_tables(asked, 10.0, lambda _name: False, str, refuse_writes=False)


def connection(*tables: Table) -> Mock:
    """A connection to a database of these tables, which estimates from its list of them."""
    made = Mock(spec=BlockingConnection, counted_up_to=1000.0)
    made.tables.return_value = [*tables]
    made.is_lost = lambda _error: False
    made.estimate.side_effect = lambda table, _seconds: table.estimate
    return made


def test_the_smallest_table_is_counted_first() -> None:
    asked = connection(*(Table(f"t{size}", "", size) for size in (30, 10, 20)))
    asked.count.side_effect = lambda table, _seconds: table.size
    rows = [each.rows for each in counted(asked)]
    assert rows == [10, 20, 30]


@pytest.mark.parametrize("is_lost", [False, True])
def test_a_count_that_ends_too_late_is_estimated_unless_the_connection_has_ended(
    *, is_lost: bool
) -> None:
    asked = connection(Table("orders", "", 3, estimate=5))
    asked.count.side_effect = TimeoutError
    asked.is_lost = lambda _error: is_lost
    if is_lost:
        with pytest.raises(TimeoutError):
            counted(asked)
    else:
        (one,) = counted(asked)
        assert one == TableCount("orders", 5, is_estimate=True)
