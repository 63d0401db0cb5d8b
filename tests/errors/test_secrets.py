"""What texts show of a value that may be a secret, and of one that is none."""

from pathlib import Path

import pytest

from pulumi_snapshots.errors.pages import LAST_ERROR, keep_last
from pulumi_snapshots.errors.secrets import (
    hide_secrets,
    hide_word,
    looks_secret,
    shown_file,
    shown_variable,
)
from pulumi_snapshots.properties.checks import shown
from tests.support.world import DATABASE

AGE_KEY = "AGE-SECRET-" + "KEY-1QQPZRY9X8GF2TVDW0S3JN54KHCE6MUA7L"
DSN = "postgresql://driller:" + "Tr0ub4dor@db.example.com:5432/shop"
FORM = "postgresql://USER:PASSWORD@HOST:PORT/DATABASE"


@pytest.mark.parametrize(
    "value",
    [
        AGE_KEY,
        AGE_KEY.lower(),
        DSN,
        "redis://:" + "pw@localhost/0",
        "password=hunter2 host=x",
        "9xQ2mLk8VtR4bZs7NcYw3HfJ",
        "AKIAIOSFODNN7" + "EXAMPLE/wJalrXUtnFEMIK7MDENGbPxRfiCYEXAMPLEKEY",
    ],
)
def test_what_looks_like_a_secret_is_known(value: str) -> None:
    assert looks_secret(value)
    assert shown(value) == f"'{value[:3]}…'"
    assert shown_variable(value) == shown_file(value) == f"{value[:3]}…"


@pytest.mark.parametrize(
    "value",
    [
        DATABASE,
        f"{DATABASE}/45ec0b49-9af6-445e-a55c-abd7ec5278b2",
        "s3://shop-backups/production/2026-12-02/",
        "2026-11-24T23:00:00Z",
        "select count(*) from orders where created_at > now() - interval '1 day'",
        FORM,
        "",
        "90 minutes",
    ],
)
def test_what_is_no_secret_is_shown_whole(value: str) -> None:
    assert not looks_secret(value)
    assert shown(value) == repr(value)
    assert hide_secrets(f"it says {value}.") == f"it says {value}."


def test_a_text_keeps_all_but_the_secret_in_it() -> None:
    assert hide_secrets(f"no file {AGE_KEY} here") == "no file AGE-SECRET-KEY-… here"
    assert (
        hide_secrets(f"at {DSN}: no")
        == "at postgresql://driller:…@db.example.com:5432/shop: no"
    )


def test_a_secret_inside_a_list_is_not_shown() -> None:
    assert AGE_KEY[-10:] not in shown(["age1abc", AGE_KEY])
    assert "Tr0ub4dor" not in shown({"a": [DSN]})


@pytest.mark.parametrize(
    ("secret", "message", "said"),
    [
        (
            "a",
            "authentication failed for a bad user",
            "authentication failed for … bad user",
        ),
        ("test", "the latest test of user:test@host", "the latest … of user:…@host"),
        ("p@ss", "p@ss, p@ssage", "…, p@ssage"),
        ("a-long-password", "xa-long-passwordx", "x…x"),
        ("", "nothing", "nothing"),
    ],
)
def test_hiding_a_short_password_garbles_no_words(
    secret: str, message: str, said: str
) -> None:
    assert hide_word(message, secret) == said


def test_the_last_error_is_kept_without_secrets(tmp_path: Path) -> None:
    keep_last(f"no file {AGE_KEY}", {"SQUARECLOUD_STATE_DIR": str(tmp_path)})
    (kept,) = [file.read_text() for file in tmp_path.rglob(LAST_ERROR)]
    assert kept == "no file AGE-SECRET-KEY-…"
