"""Encrypted archives: nothing plain is left anywhere, and only the private key opens what is written."""

from __future__ import annotations

from hashlib import sha256
from typing import TYPE_CHECKING, Any

import pyrage
import pytest

from pulumi_snapshots.archive.difference import archive_difference
from pulumi_snapshots.archive.inputs import ArchiveInputs
from pulumi_snapshots.archive.record import ArchiveRecord
from pulumi_snapshots.engine.wording import PYTHON
from pulumi_snapshots.errors import pip_install
from pulumi_snapshots.properties.checks import UNKNOWN
from pulumi_snapshots.storage import encryption
from tests.archive.scene import file_of, scene
from tests.support.virtual import virtual

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

IDENTITY = pyrage.x25519.Identity.generate()
KEY = str(IDENTITY.to_public())
OTHER = str(pyrage.x25519.Identity.generate().to_public())
GOOD = {"database_id": "a" * 32, "version_id": "v", "destination": "/backups/"}


def opened(content: bytes, identity: Any = IDENTITY) -> bytes:
    return bytes(pyrage.decrypt(content, [identity]))


@virtual
async def test_an_encrypted_archive_holds_every_byte_and_no_plain_one_touches_the_disk(tmp_path: Path) -> None:
    written: list[bytes] = []

    def noted(blocks: Iterator[bytes]) -> Iterator[bytes]:
        for block in blocks:
            written.append(block)
            yield block

    async with scene(tmp_path / "a") as at:
        at.passes(noted)
        record = await at.archive(recipients=[KEY, OTHER])
        content = file_of(record).read_bytes()
        assert file_of(record).name.endswith(f"-{at.snapshot.version_id}.zip.age")
        assert opened(content) == at.zip
        assert (record.size, record.sha256) == (len(content), sha256(content).hexdigest())
        assert (record.plain_size, record.plain_sha256) == (len(at.zip), sha256(at.zip).hexdigest())
        assert b"".join(written) == content
        assert not [block for block in written if at.zip[2_000_000:2_000_064] in block]
        assert await at.refresh(record) == record
        plain = await at.archive(destination=f"{at.folder}/x.zip")
        assert (plain.plain_size, plain.plain_sha256) == (None, None)


# Inputs --------------------------------------------------------------------------------------------------------------


def problems(**changes: Any) -> dict[str, str]:
    return {problem.property: PYTHON.text(problem.told()) for problem in ArchiveInputs.problems({**GOOD, **changes})}


@pytest.mark.parametrize("given", [[KEY], [KEY, OTHER], (KEY,), UNKNOWN])
def test_public_keys_pass_a_preview(given: Any) -> None:
    assert problems(recipients=given) == {}


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ([], "must be a list of 1 to 20 public keys"),
        (KEY, "must be a list of 1 to 20 public keys"),
        ([5], "must be public keys of age"),
        ([""], "must be public keys of age"),
        ([KEY[:-1] + ("q" if KEY[-1] != "q" else "p")], "must be public keys of age"),
        (["ssh-ed25519 AAAA"], "must be public keys of age"),
        ([KEY] * 21, "must be a list of 1 to 20 public keys"),
        ([str(IDENTITY)], "holds a private key"),
        ([KEY, str(IDENTITY).lower()], "holds a private key"),
    ],
    ids=map(str, range(9)),  # the keys are others in each process
)
def test_a_wrong_recipient_fails_in_preview(given: Any, told: str) -> None:
    found = problems(recipients=given)
    # The engine prints the value of the property that a failure names.
    name = "" if "private" in told else "recipients"
    assert list(found) == [name]
    assert told in found[name]
    assert str(IDENTITY)[:30].lower() not in found[name].lower()
    assert name or found[name].startswith("recipients holds a private key")


def test_the_library_s_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(encryption, "LIBRARY", "no_such_library")
    assert pip_install("encrypt") in problems(recipients=[KEY])["recipients"]


def test_a_name_without_age_is_refused() -> None:
    assert "must end in .age" in problems(recipients=[KEY], destination="s3://bucket/x.zip")["destination"]
    assert problems(recipients=[KEY], destination="s3://bucket/x.zip.age") == {}
    assert problems(recipients=[KEY], destination="s3://bucket/") == {}


def test_changed_recipients_archive_again() -> None:
    record = ArchiveRecord("file:///x.zip.age", 5, "00", "2026-11-24T23:00:00Z", "a" * 32, "v", "1")
    old = {**GOOD, "recipients": [KEY, OTHER]}
    for new, replaces in (
        ([OTHER, KEY], ()),
        ([KEY], ("recipients",)),
        (None, ("recipients",)),
        (UNKNOWN, ()),
        ([KEY, UNKNOWN], ()),
    ):
        assert archive_difference(record, old, {**old, "recipients": new}).replaces == replaces
    assert archive_difference(record, GOOD, GOOD).replaces == ()
