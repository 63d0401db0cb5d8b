"""A real PostgreSQL snapshot, drilled by a real engine: the example as it stands, a bad backup, and what stays in the state."""

import json
import os

import pytest

from tests.engine.stage import DATABASE, EXAMPLES, App, diagnostics
from tests.support.real_data import sql_at
from tools import language_hosts
from tools.servers import Server

pytestmark = pytest.mark.engine
SCRATCH = "c36daf7f3ed9627ca73fd6e297728343"
WEEKLY = "urn:pulumi:drill::drill::pulumi-python:dynamic/squarecloud:Snapshot::weekly"


@pytest.fixture
def service(server: Server) -> tuple[str, ...]:
    return (
        "--postgres-dsn",
        server.dsn(),
        "--restore-seconds",
        "0.5",
        "--database",
        f"{SCRATCH}:postgres",
    )


def test_the_example_proves_a_snapshot_once_and_a_bad_one_fails_beside_the_last_good_one(
    app: App, server: Server
) -> None:
    sql_at(
        server.url(DATABASE),
        "CREATE TABLE orders (id int); INSERT INTO orders SELECT generate_series(1, 1000)",
    )
    app.example("drill", "drill")
    app.run("config", "set", "--secret", "scratchUrl", server.dsn(SCRATCH))
    for name, value in (("databaseId", DATABASE), ("scratchId", SCRATCH)):
        app.run("config", "set", name, value)
    _passes_once_its_check_is_corrected(app)
    _runs_other_checks_on_the_same_restore(app)
    app.forget_requests()
    assert "4 unchanged" in app.up()
    assert app.requests() == []

    # The next week's backup has lost rows: the `up` fails, and runs the checks again without another restore.
    sql_at(server.url(DATABASE), "DELETE FROM orders WHERE id > 10")
    app.pass_time(600)
    told = diagnostics(app.up("--refresh", "--replace", WEEKLY, fails=True))
    assert "'enough rows' expected at least 999 and found 10;" in told
    assert "and found: public.orders has 10 of 1,000 rows." in told
    assert "The last good drill was of snapshot" in told
    assert len(app.restores()) == 1
    assert "'enough rows' expected at least 999 and found 10;" in diagnostics(
        app.up(fails=True)
    )
    _continues_by_the_plugin(app)
    _continues_in_another_language(app, server)


def _passes_once_its_check_is_corrected(app: App) -> None:
    """A check that expects too much fails the first drill; corrected, it runs again without another restore."""
    told = diagnostics(app.up("-c", "atLeast=2000", fails=True))
    assert "'enough rows' expected at least 2000 and found 1000." in told
    assert "drill passed: snapshot" in diagnostics(app.up("-c", "atLeast=1000"))
    assert len(app.restores()) == 1
    good = app.stack.outputs()["results"]
    assert [(each["check"], each["passed"], each["found"]) for each in good] == [
        ("enough rows", True, "1000"),
        ("select current_setting('server_encoding')", True, "UTF8"),
        ("tables", True, "tables: 1, rows: 1,000"),
    ]
    (manifest,) = (app.stack.project / "archives").rglob("*.json")
    about = json.loads(manifest.read_text())
    assert about["drill"]["drilled_at"] == app.stack.outputs()["drilled_at"]


RUN_NOW = f"the checks changed: they run now if database {SCRATCH} still holds this drill's restore"


def _runs_other_checks_on_the_same_restore(app: App) -> None:
    """At once, on the restore that is still there, and the preview says so."""
    assert RUN_NOW in app.run("preview", "-c", "atLeast=999")
    told = diagnostics(app.up("-c", "atLeast=999"))
    assert (RUN_NOW in told, "drill passed: snapshot" in told) == (True, True), told
    outputs = app.stack.outputs()
    expected = [each["expected"] for each in outputs["results"]]
    assert expected == ["at least 999", "'UTF8'", "at least one row"]
    assert len(app.restores()) == 1


def _continues_by_the_plugin(app: App) -> None:
    """It is the same resource, whose checks run again."""
    program = app.stack.project / "__main__.py"
    program.write_text(
        program.read_text()
        .replace("from pulumi_snapshots import", "from pulumi_snapshots.plugin import")
        .replace(
            "Check.tables()", "Check.tables(at_least=0.01, except_=['public.log*'])"
        )
    )
    app.up("-c", "atLeast=10")
    assert len(app.restores()) == 1
    counted = app.stack.outputs()["results"][-1]["tables"]
    assert counted == [{"table": "public.orders", "rows": 10, "before": 1000}]
    told = diagnostics(app.up("-c", "atLeast=9"))
    assert (RUN_NOW in told, "drill passed: snapshot" in told) == (True, True), told
    assert len(app.restores()) == 1
    found = [each["found"] for each in app.stack.outputs()["results"]]
    assert found == ["10", "UTF8", "tables: 1, rows: 10"]
    app.forget_requests()
    assert "4 unchanged" in app.up()
    assert app.requests() == []
    assert "unhealthy" not in app.run("refresh", "--yes")


def _continues_in_another_language(app: App, server: Server) -> None:
    (app.stack.project / "__main__.py").unlink()
    text = (EXAMPLES / "drill-yaml" / "Pulumi.yaml").read_text()
    same = "tables: { atLeast: 0.01, except: ['public.log*'] }"
    assert "tables: {}" in text
    (app.stack.project / "Pulumi.yaml").write_text(text.replace("tables: {}", same))
    app.environment["PATH"] += f":{language_hosts.YAML.ensure(os.environ)}"
    app.forget_requests()
    assert "4 unchanged" in app.up("-c", "atLeast=9")
    assert app.requests() == []
    assert not {server.dsn(SCRATCH), server.password} & set(
        app.state_file.read_text().split('"')
    )
    assert "forgotten: the drill of" in app.run("destroy", "--yes", "--skip-preview")
