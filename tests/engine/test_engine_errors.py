"""What a user reads when a snapshot cannot be taken, word by word, and what is left in the state then."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from tests.engine.stage import DATABASE, diagnostics, joined

if TYPE_CHECKING:
    from tests.engine.stage import App

pytestmark = pytest.mark.engine

PROGRAM = f'Snapshot("before-release", "{DATABASE}")'
NONE = f"No snapshot of database {DATABASE} was taken. [POST /databases/{DATABASE}/snapshots"

REFUSALS: dict[str, tuple[dict[str, Any], str]] = {
    "key": (
        {"status": 401, "code": "ACCESS_DENIED"},
        (
            f"The API key is unknown, revoked or expired, so nothing more is sent with it. {NONE}: 401 ACCESS_DENIED] "
            "Set a valid key with `pulumi config set --secret squarecloud:apiKey` or in SQUARECLOUD_API_KEY."
        ),
    ),
}

PAGES = {
    "key": "key-refused",
    "failed": "snapshot-failed",
}


def test_a_refusal_leaves_nothing_in_the_state(app: App) -> None:
    app.program(PROGRAM)
    for name, (effect, text) in REFUSALS.items():
        app.fault("create", **effect)
        told = diagnostics(app.up(fails=True))
        assert f"error: {text} more: squarecloud-snapshots explain {PAGES[name]}" in joined(told), name
        assert f"\n    more: squarecloud-snapshots explain {PAGES[name]}\n" in told, name
        assert told.count("error: ") == 3, name  # this one, `update failed`, and the program's end
        assert app.snapshots() == [], name
        app.mend()
    assert app.started() == []


def test_nothing_is_sent_without_a_key_or_a_network(app: App) -> None:
    app.program(PROGRAM)
    key = app.environment.pop("SQUARECLOUD_API_KEY")
    assert "before-release create" in app.preview()
    told = diagnostics(app.up(fails=True))
    assert (
        "    error: No API key is set.\n"
        "    Nothing was sent.\n"
        "    hint: Set a valid key with `pulumi config set --secret squarecloud:apiKey` or in SQUARECLOUD_API_KEY.\n"
        "    more: squarecloud-snapshots explain missing-key\n"
    ) in told
    app.environment["SQUARECLOUD_API_KEY"] = key
    app.program(f'Snapshot("before-release", "{DATABASE}", timeout="3s")')
    told = diagnostics(app.up("-c", "squarecloud:apiUrl=http://127.0.0.1:9/v2", fails=True))
    assert (
        f"No snapshot of database {DATABASE} was taken. The wait ended after 3 s, while connecting to the service"
        in told
    )
    assert app.snapshots() == []
    assert app.requests() == []
