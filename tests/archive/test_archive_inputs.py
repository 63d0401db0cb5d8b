"""The inputs of an archive, its destinations, and which changes replace it."""

import sys
from pathlib import Path
from typing import Any

import pyrage
import pytest

from pulumi_snapshots.archive.difference import archive_difference
from pulumi_snapshots.archive.record import ArchiveInputs, ArchiveRecord, StoredObject
from pulumi_snapshots.engine.wording import PYTHON
from pulumi_snapshots.errors import pip_install
from pulumi_snapshots.properties.checks import UNKNOWN
from pulumi_snapshots.storage import encryption
from pulumi_snapshots.storage.destination import Destination

DATABASE = "a14b8d5e1cb7405a851eb4c075506121"
VERSION = "45ec0b49-9af6-445e-a55c-abd7ec5278b2"
UNPINNED = f"https://snapshots.squarecloud.app/databases/5f1c/{DATABASE}.zip?AWSAccessKeyId=a&Expires=1757683751&Signature=s"
PINNED = f"{UNPINNED}&versionId={VERSION}"
IDENTITY = pyrage.x25519.Identity.generate()
KEY = str(IDENTITY.to_public())
OTHER = str(pyrage.x25519.Identity.generate().to_public())
GOOD = {"database_id": DATABASE, "version_id": VERSION, "destination": "/backups/"}


def problems(**changes: Any) -> dict[str, str]:
    return {
        problem.property: PYTHON.text(problem.with_value())
        for problem in ArchiveInputs.problems({**GOOD, **changes})
    }


@pytest.mark.parametrize(
    "changes",
    [
        {"download_url": PINNED},
        {"download_url": UNPINNED},
        {"database_id": None, "version_id": None, "download_url": PINNED},
        {"database_id": None, "download_url": UNPINNED},
        *(
            {"destination": each}
            for each in (
                "../backups/x.zip",
                "~/x.zip",
                "a..b/c...zip",
                "file://localhost/backups/",
            )
        ),
        *(
            {"destination": f"s3://{each}"}
            for each in ("bucket/", "my.bucket-1/a/b.zip")
        ),
        {"keep_last": 3.0, "delete_object": True, "timeout": "2h"},
        {"keep": {"daily": UNKNOWN, "weekly": 2.0}, "pin": True},
        {"size": 335.0, "created_at": "2026-11-24T23:00:00.123Z"},
        dict.fromkeys(
            (*GOOD, "download_url", "keep_last", "timeout", "size", "created_at"),
            UNKNOWN,
        ),
        {
            "download_url": "http://127.0.0.1:8000/databases/a/b.zip?versionId=v",
            "version_id": "v",
        },
        *({"recipients": each} for each in ([KEY, OTHER], (KEY,), UNKNOWN)),
        *(
            {"recipients": [KEY], "destination": f"s3://bucket/{name}"}
            for name in ("", "x.zip.age")
        ),
    ],
    ids=" ".join,  # keys differ in each process
)
def test_good_inputs_pass(changes: dict[str, Any]) -> None:
    assert problems(**changes) == {}


PLACES = {
    **dict.fromkeys(("", "a\0b"), "must be a path"),
    **dict.fromkeys(
        ("gs://bucket/a\\..\\b", "s3://bucket/%2E%2E/b", "s3://bucket/./b"),
        "`.` or `..` as a segment",
    ),
    **dict.fromkeys(("s3://bucket/a//b", "s3://bucket/x?versionId=1"), "empty segment"),
    "file://otherhost/x.zip": "file:///PATH",
    "file:x": "file://",
    **dict.fromkeys(
        (
            "s3://bucket",
            "s3://b/x/",
            "s3://key:secret@bucket/x",
            "s3:///home/me/backups/",
            "s3://C:\\backups\\",
        ),
        "s3://BUCKET/NAME",
    ),
    **dict.fromkeys(
        (
            "s3:/bucket/x",
            "s3//bucket/x",
            "s3:bucket/x",
            "S3://bucket/x",
            "arn:aws:s3:::bucket/x",
            "ftp://host/x",
        ),
        "s3://",
    ),
    "https://bucket.s3.example/x": "file://, s3://, gs:// or az://",
    "~nobody-of-this-name/x.zip": "a home folder that this machine knows",
}


@pytest.mark.parametrize(
    ("changes", "where", "what"),
    [
        ({"database_id": None, "version_id": None}, "snapshot", "is required"),
        ({"version_id": None}, "version_id", "pending has none"),
        ({"version_id": ""}, "version_id", "must be a snapshot's version id"),
        ({"database_id": None}, "database_id", "is required"),
        ({"database_id": "../x"}, "database_id", "bare id"),
        (
            {"database_id": None, "version_id": None, "download_url": UNPINNED},
            "download_url",
            "whatever is newest",
        ),
        (
            {"download_url": PINNED, "version_id": "another"},
            "download_url",
            "is pinned to version",
        ),
        (
            {"download_url": PINNED.replace("https", "http")},
            "download_url",
            "must use https",
        ),
        (
            {"download_url": PINNED.replace("://", "://user:password@")},
            "download_url",
            "user or a password",
        ),
        ({"download_url": "https://[bad/x.zip"}, "download_url", "must be a URL"),
        ({"destination": None}, "destination", "is required"),
        *(
            ({"destination": place}, "destination", what)
            for place, what in PLACES.items()
        ),
        (
            {"recipients": [KEY], "destination": "s3://bucket/x.zip"},
            "destination",
            "must end in .age",
        ),
        *(
            ({"recipients": each}, "recipients", "must be a list of public keys")
            for each in ((), KEY)
        ),
        *(
            ({"recipients": [each]}, "recipients", "must be public keys of age")
            for each in (
                5,
                "",
                "ssh-ed25519 AAAA",
                KEY[:-1] + ("q" if KEY[-1] != "q" else "p"),
            )
        ),
        *(
            ({"keep": each}, "keep", "an object with some of last, daily")
            for each in ({}, {"hourly": 1}, {"daily": None}, 7)
        ),
        *(
            (
                {"keep": {"daily": each}},
                "keep",
                "has daily, which must be a whole number from 1 to 500",
            )
            for each in (0, 1.5, 501, "7")
        ),
        (
            {"keep": {"daily": 1}, "keep_last": 1},
            "keep",
            "beside keep_last, which is its tier `last`",
        ),
        ({"keep_last": 0}, "keep_last", "from 1 to 500"),
        ({"keep_last": 501}, "keep_last", "from 1 to 500"),
        ({"size": "big"}, "size", "whole number of bytes, not 'big'"),
        *(
            ({"created_at": bad}, "created_at", "a time such as")
            for bad in ("yesterday", "9999-12-31T23:59:59Z")
        ),
        ({"delete_object": "yes"}, "delete_object", "true or false"),
        ({"timeout": "8d"}, "timeout", "at most 7d"),
    ],
)
def test_the_error_of_a_bad_input_says_what_is_right(
    changes: dict[str, Any], where: str | None, what: str
) -> None:
    found = problems(**changes)
    if (
        "" in found
    ):  # it may be a secret, and the engine prints the value of the property that a failure names
        assert found[""].startswith(f"{where} ")
        where = ""
    assert list(found) == [where]
    assert what in "".join(found.values())
    assert "Signature" not in "".join(found.values())


SECRET = "wJalrXUtnFEMI"
WITH_SECRETS = (
    f"s3://AKIAIOSFODNN7:{SECRET}@bucket/x",
    f"https://account.blob.core.windows.net/c/x?sv=2026&sig={SECRET}",
    f"s3://bucket/x?X-Amz-Signature={SECRET}",
    f"https://user:{SECRET}@host/x",
    f"ftp://h/?token={SECRET}",
)


@pytest.mark.parametrize("destination", WITH_SECRETS)
def test_a_secret_in_a_destination_is_not_printed(destination: str) -> None:
    (told,) = problems(destination=destination).items()
    assert told[0] == "", (
        "the engine prints the value of the property that a failure names"
    )
    assert SECRET not in told[1]


def test_a_preview_fails_without_a_library_that_is_needed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, "obstore", None)
    for scheme in ("s3", "gs", "az"):
        assert (
            pip_install("archive")
            in problems(destination=f"{scheme}://bucket/x")["destination"]
        )
    monkeypatch.setattr(encryption, "AGE_LIBRARY", "no_such_library")
    assert pip_install("encrypt") in problems(recipients=[KEY])["recipients"]


URIS = {
    "/backups/x.zip": "file:///backups/x.zip",
    "file:///backups/x.zip": "file:///backups/x.zip",
    "/with space/50%.zip": "file:///with%20space/50%25.zip",
    "~/x.zip": "file:///home/me/x.zip",
    **{
        f"{scheme}://bucket/a/x.zip": f"{scheme}://bucket/a/x.zip"
        for scheme in ("s3", "gs", "az")
    },
}


def test_a_destination_is_one_whole_uri_wherever_it_is_read(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", "/home/me")
    for destination, uri in {**URIS, "x.zip": (tmp_path / "x.zip").as_uri()}.items():
        assert Destination.parse(destination).uri == uri == Destination.parse(uri).uri


def test_a_url_alone_gives_database_and_version() -> None:
    inputs = ArchiveInputs.of({"download_url": PINNED, "destination": "/x.zip"})
    assert (inputs.database_id, inputs.version_id) == (DATABASE, VERSION)
    newer = PINNED.replace(".zip", "_postgres_manual.zip")
    assert (
        ArchiveInputs.of({"download_url": newer, "destination": "/x.zip"}).database_id
        == DATABASE
    )
    assert "Signature" not in repr(inputs)


# What a change means --------------------------------------------------------------------------------------------------

RECORD = ArchiveRecord(
    uri="file:///backups/x.zip",
    size=5,
    sha256="00",
    archived_at="2026-11-24T23:00:00Z",
    database_id=DATABASE,
    version_id=VERSION,
    mark="1",
    owner="0123456789abcdef",
    earlier=(StoredObject("file:///backups/w.zip", "0"),),
)
INPUTS = {
    **GOOD,
    "download_url": PINNED,
    "timeout": "1h",
    "keep_last": None,
    "delete_object": False,
}
CHANGES: list[tuple[dict[str, Any], tuple[str, ...], tuple[str, ...], str]] = [
    # The same version and place change nothing.
    *(
        (each, (), (), "")
        for each in (
            {},
            {
                "download_url": PINNED.replace(
                    "Expires=1757683751&Signature=s", "Expires=1999999999&Signature=t"
                )
            },
            {"download_url": None},
            {"database_id": None, "version_id": None},
            {
                "database_id": None,
                "download_url": f"https://elsewhere.test/x?versionId={VERSION}",
            },
            {"timeout": "5m"},
            {"timeout": None},
            {"size": 7, "created_at": "2020-01-01T00:00:00Z"},
            {"destination": "file:///backups/"},
            {"destination": "/backups//"},
            {"delete_object": None},
        )
    ),
    # Another one replaces the archive.
    ({"version_id": "v2", "download_url": None}, ("version_id",), (), ""),
    (
        {"version_id": None, "download_url": PINNED.replace(VERSION, "v2")},
        ("download_url",),
        (),
        "",
    ),
    (
        {"database_id": "other", "version_id": "v2"},
        ("database_id", "version_id"),
        (),
        "",
    ),
    ({"destination": "/elsewhere/"}, ("destination",), (), ""),
    ({"destination": "/backups"}, ("destination",), (), ""),
    # What is not known yet removes no object, and new rules write none.
    ({"version_id": UNKNOWN}, (), (), "version_id"),
    ({"version_id": None, "download_url": UNKNOWN}, (), (), "download_url"),
    ({"destination": UNKNOWN}, (), (), "destination"),
    ({"keep_last": 3}, (), ("keep_last",), ""),
    ({"delete_object": True}, (), ("delete_object",), ""),
]
"""Changed inputs, by which the archive is replaced or updated, and what a preview does not know."""


@pytest.mark.parametrize(("changes", "replaces", "updates", "unknown"), CHANGES)
def test_only_another_version_or_place_writes_an_object(
    changes: dict[str, Any],
    replaces: tuple[str, ...],
    updates: tuple[str, ...],
    unknown: str,
) -> None:
    found = archive_difference(RECORD, INPUTS, {**INPUTS, **changes})
    assert (found.replaces, found.updates) == (replaces, updates)
    decided = f"decided in the update, since a preview does not know {unknown}"
    assert not unknown or str(found.reason) == decided


def test_a_lost_object_is_archived_again() -> None:
    lost = ArchiveRecord.from_outputs({**RECORD.to_outputs(), "lost": "missing"})
    found = archive_difference(lost, INPUTS, INPUTS)
    assert found.updates == ("lost",)
    assert found.reason == "/backups/x.zip is missing: to be archived again"


@pytest.mark.parametrize(
    "given", [[str(IDENTITY)], [KEY, str(IDENTITY).lower()]], ids=["alone", "beside"]
)
def test_a_private_key_is_not_printed(given: list[str]) -> None:
    (told,) = problems(recipients=given).values()
    assert told.startswith("recipients holds a private key")
    assert str(IDENTITY)[:30].lower() not in told.lower()


def test_changed_recipients_archive_again() -> None:
    record = ArchiveRecord(
        "file:///x.zip.age",
        5,
        "00",
        archived_at="2026-11-24T23:00:00Z",
        database_id=DATABASE,
        version_id=VERSION,
        mark="1",
    )
    old = {**GOOD, "recipients": [KEY, OTHER]}
    for new, replaces in (
        ([OTHER, KEY], ()),
        ([KEY], ("recipients",)),
        (None, ("recipients",)),
        (UNKNOWN, ()),
        ([KEY, UNKNOWN], ()),
    ):
        assert (
            archive_difference(record, old, {**old, "recipients": new}).replaces
            == replaces
        )
    assert archive_difference(record, GOOD, GOOD).replaces == ()
