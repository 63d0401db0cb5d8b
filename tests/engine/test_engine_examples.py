"""The examples as they stand in their folders, at a real engine: an API key and ids are all that they are given."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit

import pytest

from tests.engine.stage import DATABASE, EXAMPLES, OTHER_DATABASE, diagnostics

if TYPE_CHECKING:
    from tests.engine.stage import App

pytestmark = pytest.mark.engine


DAY = 86400.0


def zips(app: App) -> list[Path]:
    return sorted((app.stack.project / "archives").rglob("*.zip"))


def test_two_stacks_share_a_url_that_stays_secret_and_only_one_has_a_key(app: App) -> None:
    app.example("two-stacks", "data", "staging")
    key = app.environment.pop("SQUARECLOUD_API_KEY")

    def take(*arguments: str) -> None:
        """Run the data stack, and have the other one selected again."""
        app.select("data")
        app.environment["SQUARECLOUD_API_KEY"] = key
        app.up(*arguments)
        del app.environment["SQUARECLOUD_API_KEY"]
        app.select("staging")

    told = diagnostics(app.preview(fails=True))
    assert "Archive resource 'copy': property snapshot value {<nil>} has a problem: is required" in told
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
    assert app.stack.outputs()["version_id"] == second.stem.partition("Z-")[2] == app.started()[-1]
    for stack in ("data", "staging"):
        app.select(stack)
        assert "Signature=" not in app.state_file.read_text()


@pytest.mark.parametrize("service", [("--clock-offset", str(-3 * DAY))])
def test_each_night_archives_every_database_anew_and_keeps_the_last_ones(app: App) -> None:
    app.example("nightly", "nightly")
    (command,) = set(
        re.findall(r"pulumi (up --stack .*--parallel \d+)", (EXAMPLES / "nightly" / "README.md").read_text())
    )

    def night() -> dict[str, list[str]]:
        """What a scheduled run leaves for each database: the versions, oldest first."""
        app.run(*command.split())
        kept = [(path.parent.name, path.stem.partition("Z-")[2]) for path in zips(app)]
        return {database: [version for owner, version in kept if owner == database] for database, _ in kept}

    def taken(database_id: str) -> list[str]:
        return [entry["version_id"] for entry in app.posts() if entry["database_id"] == database_id]

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
    assert {entry["kind"] for entry in app.requests()} == {"me", "status"}, "the same night takes no second one"
