"""Clients that we did not write work against the emulator: the vendor's JavaScript SDK and a crate by others.

The vendor's Python SDK is in `test_emulator_process.py`. `SQUARECLOUD_JS_SDK` names the folder of another version of the
JavaScript SDK, such as 5, which no registry has.
"""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.emulator.served import KEY, Served, served
from tools import clients

if TYPE_CHECKING:
    from collections.abc import Iterator

DATABASE = "a14b8d5e1cb7405a851eb4c075506121"


@pytest.fixture
def emulator() -> Iterator[Served]:
    with served("--snapshot-seconds", "0", "--no-automatic", "--database", f"{DATABASE}:postgres") as one:
        yield one


def run(*command: str | Path) -> str:
    done = subprocess.run(  # noqa: S603  a client
        command,
        env={**os.environ, "SQUARECLOUD_API_KEY": KEY},
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_vendors_javascript_sdk_works_with_another_base_url(emulator: Served) -> None:
    try:
        module = os.environ.get("SQUARECLOUD_JS_SDK") or clients.javascript(os.environ)
    except clients.Missing as reason:
        pytest.skip(f"{reason}")
    application = emulator.control("applications", {})["id"]
    seen: dict[str, Any] = json.loads(
        run("node", clients.PROGRAMS / "client.mjs", module, emulator.url, DATABASE, application)
    )
    assert (seen["plan"], seen["memory"]) == ("standard-2", 2048)
    stored = {one["id"]: one["snapshots"] for one in emulator.control("state")["databases"]}
    for kind, of in (("application", application), ("database", DATABASE)):
        if kind == "database" and seen["version"].startswith("3."):
            assert "database" not in seen, "version 3 knows no databases"
            continue
        (snapshot,) = stored[of]
        assert seen[kind]["zip"] == "PK"
        assert "rate limit exceeded" in seen[kind]["refused"].lower().replace("_", " "), "it folds KEEP_CALM into this"
        ((size, key),) = seen[kind]["listed"]
        assert size == snapshot["size"]
        assert f"versionId={snapshot['version_id']}" in key
    if "database" in seen:
        assert (seen["type"], seen["status"], seen["running"]) == ("postgres", "running", [[DATABASE, True]])
        versions = {of: [snapshots[0]["version_id"]] for of, snapshots in stored.items()}
        assert seen["account"] == {"databases": versions[DATABASE], "applications": versions[application]}
        assert seen["restored"] is True
    codes = {entry["code"] for entry in emulator.control("journal")}
    assert codes == {None, "KEEP_CALM"}


def test_the_rust_crate_works_unchanged(emulator: Served) -> None:
    try:
        client = clients.rust(os.environ)
    except clients.Missing as reason:
        pytest.skip(f"{reason}")
    assert run(client, emulator.api_url, DATABASE).splitlines() == [
        "plan standard-2 2048",
        "type postgres",
        "status running",
        "before None",
        "created true",
        "again Service { code: KeepCalm }",
        'listed Some(Manual) Some("postgres") true',
        "applications 0",
        "restored true",
        'after Running Some("download") true',
    ]
