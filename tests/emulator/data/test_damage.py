"""Damaged snapshots of databases in SQLite: in memory, and in a folder."""

from pathlib import Path

import pytest

from squarecloud_emulator.data.damage import Damage
from squarecloud_emulator.data.folder_store import FolderStore
from squarecloud_emulator.data.memory_store import MemoryStore
from squarecloud_emulator.data.store import Store, StoreError

SHOP = "shop"
COUNT = ("SELECT count(*) FROM t",)
TABLES = ("SELECT count(*) FROM sqlite_schema",)


@pytest.fixture(params=["memory", "folder"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Store:
    store: Store = MemoryStore() if request.param == "memory" else FolderStore(tmp_path)
    store.create(SHOP, "postgres").result()
    store.execute(
        SHOP, ("CREATE TABLE t (n)", "INSERT INTO t VALUES (1), (2)")
    ).result()
    return store


def test_a_snapshot_can_hold_other_data_than_its_database(store: Store) -> None:
    store.capture(SHOP, "earlier", None).result()
    store.execute(SHOP, ("INSERT INTO t VALUES (3)",)).result()
    store.capture(
        SHOP, "fewer", None, Damage(statements=("DELETE FROM t WHERE n > 1",))
    ).result()
    store.capture(SHOP, "old", None, Damage(of_version="earlier")).result()
    store.capture(SHOP, "empty", None, Damage(kind="empty")).result()
    assert store.execute(SHOP, COUNT).result() == [[[3]]]
    for version, rows in {"fewer": 1, "old": 2}.items():
        store.restore(SHOP, version).result()
        assert store.execute(SHOP, COUNT).result() == [[[rows]]]
    store.restore(SHOP, "empty").result()
    assert store.execute(SHOP, TABLES).result() == [[[0]]]


@pytest.mark.parametrize("kind", ["truncated", "other engine"])
def test_a_dump_that_cannot_be_read_changes_nothing_or_restores_nothing(
    store: Store, kind: str
) -> None:
    store.capture(SHOP, "bad", None, Damage(kind=kind)).result()  # type: ignore[arg-type]  # each is one of them
    with pytest.raises(StoreError, match="no whole SQLite database"):
        store.restore(SHOP, "bad").result()
    assert store.execute(SHOP, COUNT).result() == [[[2]]]
    store.restore(SHOP, "bad", careless=True).result()
    assert store.execute(SHOP, TABLES).result() == [[[0]]]
