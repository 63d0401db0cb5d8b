"""Shared state in the backend in which Pulumi keeps the states: found as the engine finds it, or refused with the reason."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from pulumi_snapshots.ledger.place import environment_of
from pulumi_snapshots.run import settings
from pulumi_snapshots.run.settings import Settings, SettingsError, could_share
from pulumi_snapshots.storage.credentials import access
from tests.support.virtual import staged
from tests.support.world import DATABASE, OTHER_DATABASE, World, world

BACKEND = {"squarecloud:sharedState": "backend"}


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The home of a user who works in a folder of a project."""
    (tmp_path / ".pulumi").mkdir()
    (tmp_path / "app" / "src").mkdir(parents=True)
    monkeypatch.chdir(tmp_path / "app" / "src")
    yield tmp_path
    settings._logged_in.cache_clear()


def place_in(home: Path, url: str = "") -> str | None:
    return Settings.read(
        BACKEND, {"HOME": str(home), "PULUMI_BACKEND_URL": url}
    ).shared_state


def log_in(home: Path, url: str) -> None:
    (home / ".pulumi" / "credentials.json").write_text(
        json.dumps({"current": url, "accounts": {url: {}}})
    )


def test_the_backend_is_the_one_that_the_engine_takes(home: Path) -> None:
    log_in(home, "s3://of-login")
    assert place_in(home) == "s3://of-login/.pulumi-snapshots"
    log_in(home, "s3://another-login")
    assert place_in(home) == "s3://of-login/.pulumi-snapshots", (
        "a login elsewhere moves no run that is under way"
    )
    settings._logged_in.cache_clear()
    project = home / "app" / "Pulumi.yaml"
    project.write_text(
        "name: app\nruntime: python\nbackend: {url: 'gs://of-project/states'}\n"
    )
    assert place_in(home) == "gs://of-project/states/.pulumi-snapshots"
    assert (
        place_in(home, "s3://of-environment") == "s3://of-environment/.pulumi-snapshots"
    )
    project.write_text("name: app\nruntime: python\n")
    settings._logged_in.cache_clear()
    assert place_in(home) == "s3://another-login/.pulumi-snapshots"


@pytest.mark.parametrize(
    ("url", "place", "environment"),
    [
        ("s3://team/a/", "s3://team/a/.pulumi-snapshots", {}),
        (
            "s3://team?region=eu-west-1&awssdk=v2",
            "s3://team/.pulumi-snapshots?region=eu-west-1",
            {"AWS_REGION": "eu-west-1"},
        ),
        (
            "s3://team?endpoint=localhost:9000&disableSSL=true&s3ForcePathStyle=true",
            "s3://team/.pulumi-snapshots?endpoint=http%3A%2F%2Flocalhost%3A9000",
            {"AWS_ENDPOINT_URL_S3": "http://localhost:9000"},
        ),
        (
            "azblob://states?storage_account=shop",
            "az://states/.pulumi-snapshots?storage_account=shop",
            {
                "AZURE_STORAGE_ACCOUNT_NAME": "shop",
                "AZURE_STORAGE_CONNECTION_STRING": "",
            },
        ),
        ("file:///mnt/team", "/mnt/team/.pulumi-snapshots", {}),
        ("file:///mnt/team?no_tmp_dir=true", "/mnt/team/.pulumi-snapshots", {}),
    ],
)
def test_what_a_backends_url_says_is_carried_over(
    home: Path, url: str, place: str, environment: dict[str, str]
) -> None:
    assert place_in(home, url) == place
    assert environment_of(place) == environment


def test_a_profile_that_a_backend_names_wins_over_keys_in_the_environment(
    home: Path,
) -> None:
    (home / ".aws").mkdir()
    (home / ".aws" / "credentials").write_text(
        "[team]\naws_access_key_id = a\naws_secret_access_key = b\n"
    )
    given = environment_of(place_in(home, "s3://team?profile=team") or "")
    keys = {
        "HOME": str(home),
        "AWS_ACCESS_KEY_ID": "other",
        "AWS_SECRET_ACCESS_KEY": "other",
    }
    assert access("s3", keys)[0] == "what is in AWS_ACCESS_KEY_ID"
    assert access("s3", keys | given)[0] == "keys of profile team"


@pytest.mark.parametrize(
    ("url", "why"),
    [
        ("", "is not known here: set PULUMI_BACKEND_URL, or log in to it"),
        (
            "https://api.pulumi.com",
            "is https:// here, which like Pulumi Cloud only keeps states: name a bucket or a folder",
        ),
        (
            "postgres://u:word@host/db",
            "is postgres:// here, which like Pulumi Cloud only keeps states",
        ),
        ("mem://", "is mem:// here"),
        ("file://.", "is a relative path here"),
        (
            "s3://team?kmskeyid=word",
            "has options that cannot be carried over: kmskeyid (known: region, endpoint, profile)",
        ),
        (
            "gs://team?access_id=word",
            "has options that cannot be carried over: access_id (known: none)",
        ),
        ("s3://team/a/../b", "must hold no ?, #"),
    ],
)
def test_a_backend_that_cannot_be_shared_is_refused_with_the_reason(
    home: Path, url: str, why: str
) -> None:
    with pytest.raises(SettingsError) as caught:
        place_in(home, url)
    assert str(caught.value).startswith(
        f"squarecloud:sharedState is `backend`, which {why}"
    )
    assert "word" not in str(caught.value)


@pytest.mark.parametrize("content", ["{", "[1]", '{"current": '])
def test_a_login_that_cannot_be_read_is_not_taken_for_none(
    home: Path, content: str
) -> None:
    (home / ".pulumi" / "credentials.json").write_text(content)
    with pytest.raises(
        SettingsError, match=r"cannot be looked up: .*credentials.json cannot be read"
    ):
        place_in(home)


def test_only_a_ci_job_with_a_bucket_hears_that_it_could_share(home: Path) -> None:
    bucket = {"PULUMI_BACKEND_URL": "s3://team?region=x"}
    cloud = {"PULUMI_BACKEND_URL": "https://api.pulumi.com"}
    assert could_share({"CI": "true", **bucket})
    assert not could_share(bucket)
    assert not could_share({"CI": "true", **cloud})
    assert not could_share({"CI": "true", "HOME": str(home)})


@staged(world)
async def test_a_ci_job_says_once_that_its_backend_could_keep_what_it_sends(
    w: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CI", "true")
    monkeypatch.setenv("PULUMI_BACKEND_URL", "s3://team?region=x")
    shown = [
        (await w.create(database_id=each)).text for each in (DATABASE, OTHER_DATABASE)
    ][-1]
    line = (
        "this runner loses its requests: with squarecloud:sharedState set to `backend`, s3://team keeps them for "
        "the next job"
    )
    assert shown.count(line) == 1
