"""The examples as they stand in their folders, at a real engine: an API key and ids are all that they are given."""

import json
import re
import subprocess
import sys
from collections.abc import Iterator
from http.client import HTTPConnection
from pathlib import Path
from typing import Any, Self
from urllib.parse import unquote, urlsplit

import pytest

from tests.engine.stage import (
    DATABASE,
    EXAMPLES,
    OTHER_DATABASE,
    PATIENCE,
    App,
    diagnostics,
    wait_for,
)
from tools.sandbox import end

pytestmark = pytest.mark.engine


DAY = 86400.0


def zips(app: App) -> list[Path]:
    return sorted((app.stack.project / "archives").rglob("*.zip"))


def test_two_stacks_share_a_secret_url_and_one_key(app: App) -> None:
    app.example("two-stacks", "data", "staging")
    key = app.environment.pop("SQUARECLOUD_API_KEY")

    def take(*arguments: str) -> None:
        """Run the data stack, and have the other one selected again."""
        app.select("data")
        app.environment["SQUARECLOUD_API_KEY"] = key
        app.up(*arguments)
        del app.environment["SQUARECLOUD_API_KEY"]
        app.select("staging")

    assert "Archive resource 'copy' has a problem: snapshot is required" in diagnostics(
        app.preview(fails=True)
    )
    take("-c", f"databaseId={DATABASE}")
    app.up()
    outputs = app.stack.outputs()
    (archive,) = zips(app)
    assert [outputs["version_id"]] == app.started()
    assert Path(unquote(urlsplit(outputs["uri"]).path)) == archive
    assert archive.parent.name == DATABASE

    # Another signature of the same version archives nothing again.
    app.pass_time(24 * DAY)
    app.select("data")
    url = app.url()
    take("--refresh")
    app.select("data")
    assert app.url() != url
    app.select("staging")
    app.forget_requests()
    assert "2 unchanged" in app.up()
    assert app.requests() == []

    take("-c", "release=v2")
    app.up()
    first, second = zips(app)
    assert first == archive
    assert (
        app.stack.outputs()["version_id"]
        == second.stem.partition("Z-")[2]
        == app.started()[-1]
    )
    for stack in ("data", "staging"):
        app.select(stack)
        assert "Signature=" not in app.state_file.read_text()


@pytest.mark.parametrize("service", [("--clock-offset", str(-3 * DAY))])
def test_each_night_every_database_is_archived(app: App) -> None:
    app.example("nightly", "nightly")
    (command,) = set(
        re.findall(
            r"pulumi (up --stack .*--parallel \d+)",
            (EXAMPLES / "nightly" / "README.md").read_text(),
        )
    )

    def night() -> dict[str, list[str]]:
        """What a scheduled run leaves for each database: the versions, oldest first."""
        app.run(*command.split())
        kept = [(path.parent.name, path.stem.partition("Z-")[2]) for path in zips(app)]
        return {
            database: [version for owner, version in kept if owner == database]
            for database, _ in kept
        }

    def taken(database_id: str) -> list[str]:
        return [
            entry["version_id"]
            for entry in app.posts()
            if entry["database_id"] == database_id
        ]

    app.run("config", "set", "keepLast", "2")
    assert night() == {one: taken(one) for one in (DATABASE, OTHER_DATABASE)}

    app.pass_time(DAY)
    app.emulator.control(f"databases/{OTHER_DATABASE}", {"running": False}, "PATCH")
    stopped = taken(OTHER_DATABASE)
    assert night() == {DATABASE: taken(DATABASE), OTHER_DATABASE: stopped}
    assert (len(taken(DATABASE)), len(stopped)) == (2, 1)

    app.pass_time(2 * DAY)
    app.emulator.control(f"databases/{OTHER_DATABASE}", method="DELETE")
    assert night() == {DATABASE: taken(DATABASE)[1:], OTHER_DATABASE: stopped}
    assert len(taken(DATABASE)) == 3
    assert set(app.stack.outputs()["archives"]) == {DATABASE}

    app.forget_requests()
    night()
    assert {entry["kind"] for entry in app.requests()} == {"me", "status"}, (
        "the same night takes no second one"
    )


class Service:
    def __init__(self, app: App, log: Path) -> None:
        with log.open("wb") as output:
            self.process = subprocess.Popen(
                [sys.executable, "service.py"],
                cwd=app.stack.project,
                env={**app.environment, "PORT": "0"},
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        self.log = log
        found = wait_for(
            lambda: re.search(r"listening on http://(\S+)", log.read_text()),
            "its address",
        )
        self.address = found[1]

    def put(self, database_id: str, release: str) -> Iterator[dict[str, Any]]:
        """The lines of the answer, each as soon as it comes."""
        connection = HTTPConnection(self.address, timeout=PATIENCE)
        connection.request("PUT", f"/databases/{database_id}/releases/{release}")
        answer = connection.getresponse()
        assert answer.status == 200
        yield from map(json.loads, answer)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        end(self.process)
        sys.stdout.write(self.log.read_text())


@pytest.mark.nightly  # that its `up` resumes without a second request is shown of a program too
def test_a_service_streams_progress_of_an_inline_program(app: App) -> None:
    app.example("automation")
    app.slow()
    with Service(app, app.folder / "first.log") as service:
        waiting = service.put(DATABASE, "v2")
        assert next(line for line in waiting if "accepted" in line["progress"])
        *_, last = service.put(OTHER_DATABASE, "v1")
        assert last["snapshot"]["version_id"] == app.started()[1], (
            "another database is served meanwhile"
        )
        *_, last = service.put(DATABASE, "v2")
        assert last == {"error": "another request for this database is under way"}
        service.process.terminate()
        *_, last = waiting
        assert (
            "the next `pulumi up` keeps waiting and sends no second request"
            in last["error"]
        )
        wait_for(lambda: service.process.poll() is not None, "the service's end")
    app.pass_time(600)
    posts = app.posts()
    with Service(app, app.folder / "second.log") as service:
        *_, last = service.put(DATABASE, "v2")
        assert last["snapshot"]["version_id"] == app.started()[0]
        assert last["snapshot"]["size"] > 0
    assert app.posts() == posts


COMMAND = """
import json, sys, urllib.error, urllib.request

request = urllib.request.Request(
    "{url}", json.dumps({{"statements": {statements}}}).encode(), {{"Content-Type": "application/json"}}
)
try:
    with urllib.request.urlopen(request) as answer:
        print(json.load(answer))
except urllib.error.HTTPError as error:
    sys.exit(f"no such thing: {{error.read().decode()}}")
"""
MIGRATIONS = {
    "v1": [
        "CREATE TABLE orders (id INTEGER, total INTEGER)",
        "INSERT INTO orders VALUES (1, 100), (2, 250)",
    ],
    "v2": ["ALTER TABLE orders DROP COLUMN total", "DELETE FROM orders WHERE id = 2"],
    "v3": ["ALTER TABLE orders ADD COLUMN paid INTEGER DEFAULT 0"],
    "v4": ["ALTER TABLE orders DROP COLUMN total"],
}


@pytest.mark.parametrize("service", [("--restore-seconds", "0.5")])
def test_a_broken_release_is_undone_once(app: App) -> None:
    app.example("release", "production")
    app.environment["SQUARECLOUD_RESTORE_SETTLE"] = "3s"
    _has_commands(app)
    _releases(app, "v1")
    app.up("-c", f"databaseId={DATABASE}")
    app.emulator.sql(DATABASE, "INSERT INTO orders VALUES (3, 30)")
    before = _orders(app)
    app.pass_time(600)
    first, second = _fails_after_its_migration(app)
    # Snapshots of the broken data appear, which are not the one to restore.
    app.stored(origin="automatic")
    app.pass_time(600)

    app.up("-c", "rollback=1")
    assert _orders(app) == before == [[1, 100], [2, 250], [3, 30]]
    assert app.restores() == [second]
    assert app.started() == [first, second]
    _costs_one_look_at_the_snapshots(app)

    app.run("config", "rm", "rollback")
    app.pass_time(600)
    _is_released_again_without_a_restore(app)
    app.pass_time(600)
    _goes_back_to_its_own_snapshot(app)


def _has_commands(app: App) -> None:
    """For the migration and the health check, which speak to the database."""
    files = {
        "migrate": 'json.load(open("migrations/next.json"))',
        "healthCheck": '["SELECT id, total FROM orders"]',
    }
    for name, statements in files.items():
        url = f"{app.emulator.url}/_emulator/databases/{DATABASE}/sql"
        (app.stack.project / f"{name}.py").write_text(
            COMMAND.format(statements=statements, url=url)
        )
        app.run("config", "set", name, f"{sys.executable} {name}.py")


def _releases(app: App, name: str) -> None:
    """The next `up` has this migration."""
    (app.stack.project / "migrations" / "next.json").write_text(
        json.dumps(MIGRATIONS[name])
    )


def _orders(app: App) -> list[list[Any]]:
    return app.emulator.sql(DATABASE, "SELECT * FROM orders ORDER BY id")[0]


def _fails_after_its_migration(app: App) -> list[str]:
    """The versions that there are then, the last of which the run says guards the migration."""
    _releases(app, "v2")
    told = diagnostics(app.up(fails=True))
    assert "healthCheck.py ended with 1: no such thing" in told
    versions = app.started()
    assert len(versions) == 2
    assert f"guarded by {DATABASE}/{versions[1]}: create of Resource migration" in told
    assert _orders(app) == [[1], [3]]
    return versions


def _costs_one_look_at_the_snapshots(app: App) -> None:
    """The next `up` as it is: is a newer snapshot there that no run knows?"""
    app.emulator.sql(DATABASE, "INSERT INTO orders VALUES (4, 40)")
    app.forget_requests()
    assert "5 unchanged" in app.up()
    assert [entry["kind"] for entry in app.requests()] == ["list"]


def _is_released_again_without_a_restore(app: App) -> None:
    _releases(app, "v3")
    app.up()
    assert app.restores() == []
    assert _orders(app) == [[1, 100, 0], [2, 250, 0], [3, 30, 0], [4, 40, 0]]
    (third,) = app.started()
    assert "4 unchanged" in app.up()
    assert app.stack.outputs()["guarded_by"] == f"{DATABASE}/{third}"


def _goes_back_to_its_own_snapshot(app: App) -> None:
    """The second incident, by the same words of the README."""
    healthy = _orders(app)
    _releases(app, "v4")
    app.up(fails=True)
    _, fourth = app.started()
    app.pass_time(600)
    app.up("-c", "rollback=1")
    assert app.restores() == [fourth]
    assert _orders(app) == healthy
