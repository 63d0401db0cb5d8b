"""What the habits of Pulumi users do to snapshots, at a real engine; docs/snapshot.md says it, in a row each."""

import pytest

from tests.engine.stage import DATABASE, OTHER_DATABASE, App, diagnostics

pytestmark = pytest.mark.engine

TYPE = "pulumi-python:dynamic/squarecloud:Snapshot"
PROGRAM = f"""
from servers import Server

config = pulumi.Config()
release = config.get("release") or "1"
options = pulumi.ResourceOptions
shop = Snapshot("shop", "{DATABASE}", triggers=[release], opts=options(protect=config.get_bool("protect")))
Snapshot("{{cache}}", "{OTHER_DATABASE}", triggers=[release],
         opts=options(ignore_changes=["triggers"] if config.get_bool("ignore") else None, aliases={{aliases}}))
Server("deploy", shop.version_id, depends_on=[shop])
"""
BESIDE_A_FAILURE = f"""
from servers import Server

options = pulumi.ResourceOptions
gone = Snapshot("gone", "{"e" * 32}", opts=options(depends_on=[Server("first", "url")]))
Server("after-gone", "url", depends_on=[gone])
shop = Snapshot("shop", "{DATABASE}", reuse_within=pulumi.Config().get("reuse"),
                opts=options(depends_on=[Server("second", "url")]))
Server("after-shop", "url", depends_on=[shop])
"""
LATER = 200.0
"""Seconds after which the service takes another snapshot of a database."""


def urn(name: str) -> str:
    return f"urn:pulumi:dev::app::{TYPE}::{name}"


def versions(app: App) -> dict[str, str]:
    """By the resource's name."""
    return {
        one["urn"].rpartition("::")[2]: one["outputs"]["version_id"]
        for one in app.snapshots()
    }


def names(app: App) -> set[str]:
    return {one["urn"].rpartition("::")[2] for one in app.resources()}


def test_snapshots_that_were_not_asked_for_are_not_taken(app: App) -> None:
    app.program(PROGRAM.format(cache="cache", aliases=None))
    app.up()
    first = versions(app)
    app.pass_time(LATER)
    shop = _takes_one_that_is_a_target(app, first)
    _takes_none_for_ignored_changes_and_by_an_alias(
        app, {"shop": shop, "sessions": first["cache"]}
    )
    app.pass_time(LATER)
    replaced = _takes_one_that_is_replaced_by_name(app)
    assert replaced["shop"] != shop
    assert replaced["sessions"] == first["cache"]

    app.forget_requests()
    app.pass_time(LATER)
    _keeps_a_protected_one(app)
    assert versions(app) == {"shop": replaced["shop"]}
    assert app.requests() == []

    # state delete: nothing is sent.
    app.run("state", "unprotect", "--yes", urn("shop"))
    app.run("state", "delete", "--yes", urn("shop"))
    assert app.snapshots() == []
    assert app.requests() == []


SETTLED = ("-c", "release=2", "-c", "ignore=true")


def _takes_one_that_is_a_target(app: App, before: dict[str, str]) -> str:
    """With `--target`, both triggers have changed, and one snapshot is taken."""
    app.up("-c", "release=2", "--target", urn("shop"))
    targeted = versions(app)
    assert targeted["shop"] != before["shop"]
    assert targeted["cache"] == before["cache"]
    return targeted["shop"]


def _takes_none_for_ignored_changes_and_by_an_alias(
    app: App, known: dict[str, str]
) -> None:
    """With `ignore_changes`, the other one's triggers are no difference. An alias keeps one that is given another name."""
    app.forget_requests()
    app.program(
        PROGRAM.format(cache="sessions", aliases='[pulumi.Alias(name="cache")]')
    )
    app.up(*SETTLED)
    assert versions(app) == known
    assert app.requests() == []


def _takes_one_that_is_replaced_by_name(app: App) -> dict[str, str]:
    """With `--replace`, one more of exactly this one, and what uses it follows."""
    printed = app.up(*SETTLED, "--refresh", "--replace", urn("shop"))
    assert "deploy updated" in printed
    assert len(app.posts()) == 1
    return versions(app)


def _keeps_a_protected_one(app: App) -> None:
    """Setting `protect` costs nothing; a replacement is refused before its request, a destroy leaves it."""
    protected = ("-c", "ignore=true", "-c", "protect=true")
    app.up("-c", "release=2", *protected)
    for command in (app.preview, app.up):
        told = diagnostics(command("-c", "release=3", *protected, fails=True))
        assert f'unable to replace resource "{urn("shop")}"' in told
    told = diagnostics(app.run("destroy", "--yes", "--skip-preview", fails=True))
    assert "because it is protected" in told


def test_a_failure_stops_only_what_depends_on_it(app: App) -> None:
    app.program(BESIDE_A_FAILURE)
    told = diagnostics(app.up("--continue-on-error", fails=True))
    assert "This account has no such database." in told
    assert ": 404 DATABASE_NOT_FOUND]" in told
    assert {"shop", "after-shop"} <= names(app)
    assert not {"gone", "after-gone"} & names(app)
    taken = versions(app)["shop"]
    assert app.started() == [taken]

    app.forget_requests()
    # What was deleted from the state is adopted again, instead of an import.
    app.run("state", "delete", "--yes", "--target-dependents", urn("shop"))
    assert "shop" not in names(app)
    reuse = ("-c", "reuse=2h", "--target", urn("shop"))
    app.up(*reuse)
    assert versions(app) == {"shop": taken}
    assert app.posts() == []
    # But never in its own place.
    app.pass_time(LATER)
    app.up(*reuse, "--refresh", "--replace", urn("shop"))
    assert len(app.posts()) == 1
    assert versions(app)["shop"] != taken
