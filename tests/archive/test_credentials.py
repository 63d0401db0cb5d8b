"""Which credentials reach a bucket: what people have for each store, and what an error says if they have none."""

from __future__ import annotations

import hashlib
import json
import os
import sys
from datetime import timedelta
from functools import cache
from typing import TYPE_CHECKING, Any
from unittest.mock import patch

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from pulumi_snapshots.storage import credentials
from pulumi_snapshots.storage.buckets import Buckets, BucketStore
from pulumi_snapshots.storage.credentials import NoCredentials, access
from pulumi_snapshots.storage.destination import Destination
from pulumi_snapshots.storage.store import StoreTrouble
from tests.support.identities import Identities, identities

if TYPE_CHECKING:
    from collections.abc import Iterator
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


# Against doubles on loopback ------------------------------------------------------------------------------------------


Environment = dict[str, str]


@pytest.fixture(scope="module")
def known() -> Iterator[Identities]:
    with identities() as one:
        yield one


@pytest.fixture(autouse=True)
def forgotten(known: Identities) -> None:
    known.asked.clear()
    known.at_store.clear()


@cache
def private_key() -> str:
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    kind, form = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8
    return key.private_bytes(kind, form, serialization.NoEncryption()).decode()


def written(url: str, home: Path, ends: str = "2036-01-01T00:00:00Z") -> None:
    """Write all files that the ways below need."""
    start = "https://work.example/start"
    login = f"sso_start_url = {start}\nsso_region = eu-west-1\nsso_account_id = 123456789012\nsso_role_name = x\n"
    account = {"type": "service_account", "client_email": "me@example", "private_key_id": "1"}
    federation = {
        "type": "external_account",
        "audience": "//iam.googleapis.com/projects/1/locations/global/workloadIdentityPools/p/providers/x",
        "subject_token_type": "urn:ietf:params:oauth:token-type:jwt",
        "token_url": f"{url}/v1/token",
        "credential_source": {"file": str(home / "subject")},
    }
    said = {"accessToken": "TOKEN", "expiresOn": "2036-01-01 00:00:00.000000", "expires_on": 2082758400}
    said |= {"subscription": "s", "tenant": "t", "tokenType": "Bearer"}
    files = {
        "token": "CONTAINER",
        "subject": "SUBJECT",
        "federated": "FEDERATED",
        ".aws/config": "[profile role]\nrole_arn = arn:aws:iam::123456789012:role/x\nsource_profile = other\n"
        f"region = eu-west-1\n[profile login]\nregion = eu-west-1\n{login}"
        "[profile other]\naws_access_key_id = OTHER\naws_secret_access_key = neverShown\n",
        f".aws/sso/cache/{hashlib.sha1(start.encode(), usedforsecurity=False).hexdigest()}.json": json.dumps(
            {"startUrl": start, "accessToken": "LOGIN", "expiresAt": ends}
        ),
        "account.json": json.dumps({**account, "private_key": private_key(), "token_uri": f"{url}/token"}),
        "federation.json": json.dumps(federation),
        ".azure/azureProfile.json": "{}",
        "bin/az": f"#!/bin/sh\necho '{json.dumps(said)}'\n",
    }
    for name, text in files.items():
        (home / name).parent.mkdir(parents=True, exist_ok=True)
        (home / name).write_text(text)
    (home / "bin" / "az").chmod(0o755)


S3, TEMPORARY, BEARER = "s3", "Credential=TEMPORARY/", "Bearer TOKEN"
CONTAINER = {"AWS_CONTAINER_CREDENTIALS_FULL_URI": "{url}/container"}
AZURE = {"AZURE_CLIENT_ID": "client", "AZURE_TENANT_ID": "tenant", "AZURE_AUTHORITY_HOST": "{url}"}
WAYS: dict[str, tuple[str, Environment, str, str]] = {
    "machine of AWS": (S3, {"AWS_EC2_METADATA_SERVICE_ENDPOINT": "{url}"}, "the machine's role", TEMPORARY),
    "container of AWS": (
        S3,
        {**CONTAINER, "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE": "{home}/token"},
        "what is in AWS_CONTAINER_CREDENTIALS_FULL_URI",
        TEMPORARY,
    ),
    "role of a profile": (
        S3,
        {"AWS_PROFILE": "role", "AWS_ENDPOINT_URL_STS": "{url}"},
        "profile role (role_arn), through boto3, region eu-west-1",
        TEMPORARY,
    ),
    "SSO of AWS": (
        S3,
        {"AWS_PROFILE": "login", "AWS_ENDPOINT_URL_SSO": "{url}"},
        "profile login (sso_start_url), through boto3, region eu-west-1",
        TEMPORARY,
    ),
    "machine of Google": ("gs", {"GCE_METADATA_HOST": "{host}"}, "the machine's service account", BEARER),
    "service account": (
        "gs",
        {"GOOGLE_APPLICATION_CREDENTIALS": "{home}/account.json"},
        "service_account in ",
        "Bearer eyJ",
    ),
    "federation of Google": (
        "gs",
        {"GOOGLE_APPLICATION_CREDENTIALS": "{home}/federation.json"},
        "external_account in ",
        BEARER,
    ),
    "managed identity": (
        "az",
        {"IDENTITY_ENDPOINT": "{url}/msi", "IDENTITY_HEADER": "PROOF"},
        "the managed identity",
        BEARER,
    ),
    "client secret": ("az", {**AZURE, "AZURE_CLIENT_SECRET": "neverShown"}, "what is in AZURE_CLIENT_SECRET", BEARER),
    "workload identity": (
        "az",
        {**AZURE, "AZURE_FEDERATED_TOKEN_FILE": "{home}/federated"},
        "what is in AZURE_FEDERATED_TOKEN_FILE",
        BEARER,
    ),
    "Azure CLI": ("az", {}, "the login of the Azure CLI, account shop", BEARER),
    "key of the Azure CLI": ("az", {"AZURE_STORAGE_KEY": "bmV2ZXJTaG93bg=="}, "what is in AZURE_", "SharedKey shop:"),
}


def refusal(url: str, home: Path, scheme: str, **environment: str) -> str:
    """What the error says once the store at this address has refused, in an environment with nothing else in it."""
    own = {"HOME": str(home), "PATH": f"{home}/bin:{os.environ['PATH']}", "AZURE_ALLOW_HTTP": "true"}
    own |= {"AZURE_STORAGE_ACCOUNT": "shop", "AZURE_STORAGE_ENDPOINT": f"{url}/shop"} if scheme == "az" else {}
    own |= {"AWS_ENDPOINT_URL_S3": url, "GOOGLE_BASE_URL": url, **environment}
    logins = patch("botocore.credentials.SSOProvider._SSO_TOKEN_CACHE_DIR", str(home / ".aws" / "sso" / "cache"))
    with patch.dict(os.environ, own, clear=True), logins, pytest.raises(StoreTrouble) as failed:
        BucketStore(Buckets(), Destination.parse(f"{scheme}://bucket/x.zip")).listing()
    assert "neverShown" not in str(failed.value)
    return str(failed.value)


@pytest.mark.parametrize("way", WAYS)
def test_each_way_to_have_credentials_reaches_its_store(known: Identities, tmp_path: Path, way: str) -> None:
    scheme, environment, found, proof = WAYS[way]
    written(known.url, tmp_path)
    facts = {"url": known.url, "host": known.url.removeprefix("http://"), "home": tmp_path}
    told = refusal(known.url, tmp_path, scheme, **{name: text.format(**facts) for name, text in environment.items()})
    assert f"(credentials: {found}" in told
    assert known.at_store, told
    for asked in known.at_store:
        assert proof in asked.headers["authorization"]
        if proof == TEMPORARY:
            assert asked.headers["x-amz-security-token"] == "SESSION"


@pytest.mark.parametrize("scheme", [S3, "gs", "az"])
def test_a_machine_without_credentials_has_one_clear_error(known: Identities, tmp_path: Path, scheme: str) -> None:
    with patch.object(credentials, "_answers", lambda *_: False):
        told = refusal(known.url, tmp_path, scheme)
    assert told.startswith(f"{scheme}://bucket: no credentials were found")
    assert not known.at_store


def test_a_login_that_has_expired_says_how_to_log_in(known: Identities, tmp_path: Path) -> None:
    written(known.url, tmp_path, ends="2020-01-01T00:00:00Z")
    told = refusal(known.url, tmp_path, S3, AWS_PROFILE="login", AWS_ENDPOINT_URL_SSO=known.url)
    assert "the SSO session associated with this profile has expired" in told.replace("The", "the")
    assert "aws sso login" in told
    assert not known.at_store
