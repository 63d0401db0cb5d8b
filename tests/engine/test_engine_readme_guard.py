"""The README's `guard.stack()` keeps its word: whatever an `up` does to the data first, the rows can be brought back."""

import re
import shlex
from pathlib import Path

import pytest

from tests.engine.stage import DATABASE, App, diagnostics, joined

pytestmark = pytest.mark.engine

README = (Path(__file__).resolve().parents[2] / "README.md").read_text()
(GUARD, *_) = re.findall(r"^```python\n(.*?)^```", README, re.MULTILINE | re.DOTALL)
JOBS = '''
import json
import os
import urllib.request

from pulumi.dynamic import CreateResult, DiffResult, Resource, ResourceProvider, UpdateResult

EMULATOR = os.environ["SQUARECLOUD_API_URL"].removesuffix("/v2")


def run(sql):
    """Do to the database what a migration does."""
    if sql and not pulumi.runtime.is_dry_run():
        path = f"{EMULATOR}/_emulator/databases/DATABASE/sql"
        body = json.dumps({"statements": [sql]}).encode()
        urllib.request.urlopen(urllib.request.Request(path, body)).read()


class Jobs(ResourceProvider):
    serialize_as_secret_always = False

    def create(self, props):
        run(props["at_create"])
        return CreateResult("job", props)

    def diff(self, _id, olds, news):
        changed = olds != {**olds, **news}
        return DiffResult(changes=changed, replaces=["size"] if olds["size"] != news["size"] else [])

    def update(self, _id, _olds, news):
        run(news["at_update"])
        return UpdateResult(news)

    def delete(self, _id, props):
        run(props["at_delete"])


class Job(Resource, name="Job"):
    def __init__(self, name, at_create="", at_update="", at_delete="", size=1, **options):
        props = dict(at_create=at_create, at_update=at_update, at_delete=at_delete, size=size)
        super().__init__(Jobs(), name, props, pulumi.ResourceOptions(**options))


WIPE = "DELETE FROM orders"
'''.replace("DATABASE", DATABASE)
OLD = 'Job("old", at_delete=pulumi.Config().get("wipes") or "")'
CHANGES = {
    "a new resource": f'{OLD}\nJob("new", at_create=WIPE)',
    "a changed resource": 'Job("old", at_update=WIPE)',
    "a deleted resource": "",
    "a replaced resource": 'Job("old", at_create=WIPE, size=2)',
    "a resource that is deleted first": 'Job("old", size=2, delete_before_replace=True)',
    "a part of a component": f"""{OLD}
part = pulumi.ComponentResource("shop:index:Shop", "shop")
Job("part", at_create=WIPE, parent=part)""",
}
"""What follows the README's lines in the `up` that loses the data, by the kind of change."""


def rows(app: App) -> list[object]:
    selected = app.emulator.control(
        f"databases/{DATABASE}/sql", {"statements": ["SELECT item FROM orders"]}
    )
    (found,) = selected["rows"]
    return list(found)


@pytest.mark.parametrize("guard", ["there before", "new in this up"])
@pytest.mark.parametrize("kind", CHANGES)
def test_no_change_below_the_readmes_lines_loses_data(
    app: App, kind: str, guard: str
) -> None:
    for statement in ("CREATE TABLE orders (item)", "INSERT INTO orders VALUES (1)"):
        app.emulator.control(f"databases/{DATABASE}/sql", {"statements": [statement]})
    app.emulator.control("settings", {"restore_seconds": 0.2}, "PATCH")
    before = GUARD if guard == "there before" else "import pulumi\n"
    # What a delete does stands in the state: it is that of the last program.
    wipes = "DELETE FROM orders" if "delete" in kind else ""
    app.program(f"{before}{JOBS}{OLD}")
    app.up("-c", f"wipes={wipes}")
    assert app.posts() == [], "the first resources of a stack have nothing to lose"
    held_rows = rows(app)
    assert held_rows != []

    # No snapshot, no change.
    app.program(f"{GUARD}{JOBS}{CHANGES[kind]}")
    app.fault("create", status=429, code="DAILY_SNAPSHOTS_LIMIT_REACHED")
    told = joined(app.up(fails=True))
    assert "was held back, since no snapshot guards it" in told
    assert rows(app) == held_rows
    app.mend()
    app.forget_requests()

    # One snapshot, before the first change; its way back brings the rows back.
    printed = diagnostics(app.up())
    assert len(app.started()) == 1
    assert rows(app) == []
    (back,) = set(re.findall(r"To go back: (squarecloud-snapshots .*)", printed))
    app.pass_time(600)
    app.ours(f"{shlex.join(shlex.split(back))} --yes --no-keep")
    assert rows(app) == held_rows
