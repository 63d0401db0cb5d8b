"""Which credentials reach a bucket: what people have for each store, and what an error says if they have none."""

from __future__ import annotations

import json
import sys
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest

from pulumi_snapshots.storage import credentials
from pulumi_snapshots.storage.credentials import NoCredentials, access

if TYPE_CHECKING:
    from pathlib import Path

KEYS = {"AWS_ACCESS_KEY_ID": "A", "AWS_SECRET_ACCESS_KEY": "neverShown"}
WEB = {"AWS_WEB_IDENTITY_TOKEN_FILE": "/token", "AWS_ROLE_ARN": "arn"}
CONFIG = """
[default]
region = eu-west-1

[profile minio]
endpoint_url = http://127.0.0.1:9
aws_access_key_id = B

[profile sso]
sso_session = work

[profile role]
role_arn = arn:aws:iam::1:role/x
source_profile = minio
aws_access_key_id = C
aws_secret_access_key = neverShown

[profile empty]
output = json
"""
SECRETS = """
[minio]
aws_secret_access_key = neverShown
aws_access_key_id = B
aws_session_token = T
"""


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(credentials, "_answers", lambda *_: False)
    (tmp_path / ".aws").mkdir()
    (tmp_path / ".aws" / "config").write_text(CONFIG)
    (tmp_path / ".aws" / "credentials").write_text(SECRETS)
    return tmp_path


def found(scheme: str, home: Path, **environment: str) -> credentials.Access:
    one = access(scheme, {"HOME": str(home), **environment})
    assert "neverShown" not in repr(one)
    return one


def refused(scheme: str, home: Path, **environment: str) -> str:
    with pytest.raises(NoCredentials) as failed:
        found(scheme, home, **environment)
    told = " ".join([str(failed.value.happened), *map(str, failed.value.then)])
    assert "neverShown" not in told
    return told


@pytest.mark.parametrize(
    ("environment", "what"),
    [
        (KEYS, "what is in AWS_ACCESS_KEY_ID, region eu-west-1"),
        ({**KEYS, "AWS_REGION": "sa-east-1"}, "what is in AWS_ACCESS_KEY_ID, region sa-east-1"),
        ({**KEYS, "AWS_PROFILE": "minio"}, "what is in AWS_ACCESS_KEY_ID, endpoint http://127.0.0.1:9"),
        ({"AWS_PROFILE": "minio"}, "keys of profile minio, endpoint http://127.0.0.1:9"),
        (WEB, "what is in AWS_WEB_IDENTITY_TOKEN_FILE, region eu-west-1"),
        ({**WEB, "AWS_PROFILE": "minio"}, "keys of profile minio, endpoint http://127.0.0.1:9"),
        ({"AWS_SKIP_SIGNATURE": "true"}, "what is in AWS_SKIP_SIGNATURE, region eu-west-1"),
    ],
)
def test_s3_uses_what_the_aws_tools_would(home: Path, environment: dict[str, str], what: str) -> None:
    assert found("s3", home, **environment).found == what


def test_a_profile_gives_its_keys_and_token(home: Path) -> None:
    one = found("s3", home, AWS_PROFILE="minio", AWS_SESSION_TOKEN="of another key")
    assert one.options["credential_provider"]() == {
        "access_key_id": "B",
        "secret_access_key": "neverShown",
        "token": "T",
        "expires_at": None,
    }


@pytest.mark.parametrize(
    ("profile", "told"),
    [
        ("nobody", "profile 'nobody' of the AWS configuration files does not exist"),
        ("empty", "profile 'empty' of the AWS configuration files has no credentials"),
        ("sso", "profile 'sso', by sso_session, needs boto3 for its keys"),
        ("role", "profile 'role', by role_arn, needs boto3 for its keys"),
    ],
)
def test_a_profile_without_keys_has_a_next_step(
    home: Path, monkeypatch: pytest.MonkeyPatch, profile: str, told: str
) -> None:
    monkeypatch.setitem(sys.modules, "boto3", None)
    text = refused("s3", home, AWS_PROFILE=profile)
    assert told in text
    assert ("pip install boto3" in text) == ("boto3" in told)


def test_a_profile_of_a_login_uses_boto3(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    said = json.dumps({"Version": 1, "AccessKeyId": "P", "SecretAccessKey": "neverShown"})
    (home / ".aws" / "config").write_text(f"[profile tool]\ncredential_process = echo '{said}'\n")
    for name, file in (("AWS_CONFIG_FILE", "config"), ("AWS_SHARED_CREDENTIALS_FILE", "credentials")):
        monkeypatch.setenv(name, str(home / ".aws" / file))
    one = found("s3", home, AWS_PROFILE="tool")
    assert one.found == "profile tool (credential_process), through boto3"
    assert one.options["credential_provider"]()["access_key_id"] == "P"
    # boto3 renews keys that end within 10 minutes: the library must not use older ones.
    assert one.options["credential_provider"].ttl < timedelta(minutes=10)


def test_a_configuration_that_cannot_be_read_is_named(home: Path) -> None:
    (home / ".aws" / "config").write_text("region = x\n")
    assert "config cannot be read" in refused("s3", home)


def google(home: Path, **content: Any) -> str:
    (home / "google.json").write_text(json.dumps(content))
    return str(home / "google.json")


def test_google_uses_application_default_credentials(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert "not in GOOGLE_APPLICATION_CREDENTIALS" in refused("gs", home)
    file = google(home, type="service_account")
    assert found("gs", home, GOOGLE_APPLICATION_CREDENTIALS=file).found == f"service_account in {file}"
    logged_in = home / ".config" / "gcloud" / "application_default_credentials.json"
    logged_in.parent.mkdir(parents=True)
    logged_in.write_text('{"type": "authorized_user"}')
    assert found("gs", home).found == f"authorized_user in {logged_in}"
    monkeypatch.setitem(sys.modules, "google.auth", None)
    told = refused("gs", home, GOOGLE_APPLICATION_CREDENTIALS=google(home, type="external_account"))
    assert "needs google-auth" in told
    assert "pip install google-auth" in told
    assert "cannot be read as Google credentials" in refused("gs", home, GOOGLE_APPLICATION_CREDENTIALS=google(home))
    assert "cannot be read" in refused("gs", home, GOOGLE_APPLICATION_CREDENTIALS="/nonexistent")
    assert found("gs", home, STORAGE_EMULATOR_HOST="127.0.0.1:9").options["base_url"] == "http://127.0.0.1:9"


@pytest.mark.parametrize(
    ("environment", "what"),
    [
        ({"AZURE_STORAGE_ACCOUNT_KEY": "neverShown"}, "what is in AZURE_STORAGE_ACCOUNT_KEY"),
        ({"AZURE_STORAGE_SAS_TOKEN": "neverShown"}, "what is in AZURE_STORAGE_SAS_TOKEN"),
    ],
)
def test_azure_uses_what_its_tools_would(home: Path, environment: dict[str, str], what: str) -> None:
    one = found("az", home, AZURE_STORAGE_ACCOUNT_NAME="shop", **environment)
    assert one.found == f"{what}, account shop"


def test_azure_without_account_or_credentials_has_a_next_step(home: Path) -> None:
    assert "set AZURE_STORAGE_ACCOUNT_NAME" in refused("az", home)
    assert "not from `az login`" in refused("az", home, AZURE_STORAGE_ACCOUNT_NAME="shop")


def test_a_connection_string_of_azure_is_understood(home: Path) -> None:
    text = "DefaultEndpointsProtocol=https;AccountName=shop;AccountKey=neverShown==;EndpointSuffix=core.example"
    one = found("az", home, AZURE_STORAGE_CONNECTION_STRING=text)
    assert one.options == {
        "account_name": "shop",
        "account_key": "neverShown==",
        "endpoint": "https://shop.blob.core.example",
    }
    with_token = "BlobEndpoint=https://shop.blob.example/;SharedAccessSignature=?sv=1&sig=neverShown"
    assert found("az", home, AZURE_STORAGE_CONNECTION_STRING=with_token).options["sas_key"] == "sv=1&sig=neverShown"
