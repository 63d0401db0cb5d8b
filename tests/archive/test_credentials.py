"""Which credentials reach a bucket: what people have for each store, and what an error says if they have none."""

from __future__ import annotations

import hashlib
import json
import os
import sys
from datetime import timedelta
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
    from collections.abc import Callable, Iterator
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


def keys_of_role(url: str, _home: Path) -> Environment:
    return {"AWS_EC2_METADATA_SERVICE_ENDPOINT": url}


def container(url: str, home: Path) -> Environment:
    (home / "token").write_text("CONTAINER")
    file = str(home / "token")
    return {"AWS_CONTAINER_CREDENTIALS_FULL_URI": f"{url}/container", "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE": file}


def profile(home: Path, **lines: str) -> Environment:
    (home / ".aws").mkdir(exist_ok=True)
    text = "".join(f"{name} = {value}\n" for name, value in lines.items())
    text += "[profile other]\naws_access_key_id = OTHER\naws_secret_access_key = neverShown\n"
    (home / ".aws" / "config").write_text(f"[profile work]\nregion = eu-west-1\n{text}")
    return {"AWS_PROFILE": "work"}


def assumed(url: str, home: Path) -> Environment:
    role = profile(home, role_arn="arn:aws:iam::123456789012:role/x", source_profile="other")
    return {**role, "AWS_ENDPOINT_URL_STS": url}


def login(url: str, home: Path, ends: str = "2036-01-01T00:00:00Z") -> Environment:
    start = "https://work.example/start"
    cache = home / ".aws" / "sso" / "cache"
    cache.mkdir(parents=True)
    name = hashlib.sha1(start.encode(), usedforsecurity=False).hexdigest()
    (cache / f"{name}.json").write_text(json.dumps({"startUrl": start, "accessToken": "LOGIN", "expiresAt": ends}))
    own = {"sso_start_url": start, "sso_region": "eu-west-1", "sso_account_id": "123456789012", "sso_role_name": "x"}
    return {**profile(home, **own), "AWS_ENDPOINT_URL_SSO": url}


def google_machine(url: str, _home: Path) -> Environment:
    return {"GCE_METADATA_HOST": url.removeprefix("http://")}


def google_account(url: str, home: Path) -> Environment:
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    kind, form = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8
    text = key.private_bytes(kind, form, serialization.NoEncryption()).decode()
    known = {"type": "service_account", "client_email": "me@example", "private_key_id": "1", "private_key": text}
    (home / "google.json").write_text(json.dumps({**known, "token_uri": f"{url}/token"}))
    return {"GOOGLE_APPLICATION_CREDENTIALS": str(home / "google.json")}


def google_federation(url: str, home: Path) -> Environment:
    (home / "subject").write_text("SUBJECT")
    known = {
        "type": "external_account",
        "audience": "//iam.googleapis.com/projects/1/locations/global/workloadIdentityPools/p/providers/x",
        "subject_token_type": "urn:ietf:params:oauth:token-type:jwt",
        "token_url": f"{url}/v1/token",
        "credential_source": {"file": str(home / "subject")},
    }
    (home / "google.json").write_text(json.dumps(known))
    return {"GOOGLE_APPLICATION_CREDENTIALS": str(home / "google.json")}


def azure(url: str, **own: str) -> Environment:
    return {"AZURE_STORAGE_ACCOUNT": "shop", "AZURE_STORAGE_ENDPOINT": f"{url}/shop", **own}


def azure_identity(url: str, _home: Path) -> Environment:
    return azure(url, IDENTITY_ENDPOINT=f"{url}/msi", IDENTITY_HEADER="PROOF")


def azure_secret(url: str, _home: Path) -> Environment:
    own = {"AZURE_CLIENT_ID": "client", "AZURE_TENANT_ID": "tenant", "AZURE_AUTHORITY_HOST": url}
    return azure(url, AZURE_CLIENT_SECRET="neverShown", **own)


def azure_workload(url: str, home: Path) -> Environment:
    (home / "federated").write_text("FEDERATED")
    own = {"AZURE_CLIENT_ID": "client", "AZURE_TENANT_ID": "tenant", "AZURE_AUTHORITY_HOST": url}
    return azure(url, AZURE_FEDERATED_TOKEN_FILE=str(home / "federated"), **own)


def azure_cli(url: str, home: Path) -> Environment:
    """Its program, as far as a store's library asks it."""
    (home / ".azure").mkdir()
    (home / ".azure" / "azureProfile.json").write_text("{}")
    said = {"accessToken": "TOKEN", "expiresOn": "2036-01-01 00:00:00.000000", "expires_on": 2082758400}
    said |= {"subscription": "s", "tenant": "t", "tokenType": "Bearer"}
    program = home / "bin" / "az"
    program.parent.mkdir()
    program.write_text(f"#!/bin/sh\necho \"$@\" > {home}/az-asked\necho '{json.dumps(said)}'\n")
    program.chmod(0o755)
    return azure(url, PATH=f"{program.parent}:{os.environ['PATH']}")


def azure_key(url: str, _home: Path) -> Environment:
    return azure(url, AZURE_STORAGE_KEY="bmV2ZXJTaG93bg==")


S3, TEMPORARY, BEARER = "s3", "Credential=TEMPORARY/", "Bearer TOKEN"
WAYS: dict[str, tuple[str, Callable[[str, Path], Environment], str, str]] = {
    "machine of AWS": (S3, keys_of_role, "the machine's role", TEMPORARY),
    "container of AWS": (S3, container, "what is in AWS_CONTAINER_CREDENTIALS_FULL_URI", TEMPORARY),
    "role of a profile": (S3, assumed, "profile work (role_arn), through boto3, region eu-west-1", TEMPORARY),
    "SSO of AWS": (S3, login, "profile work (sso_start_url), through boto3, region eu-west-1", TEMPORARY),
    "machine of Google": ("gs", google_machine, "the machine's service account", BEARER),
    "service account": ("gs", google_account, "service_account in ", "Bearer eyJ"),
    "federation of Google": ("gs", google_federation, "external_account in ", BEARER),
    "managed identity": ("az", azure_identity, "the managed identity, account shop", BEARER),
    "client secret": ("az", azure_secret, "what is in AZURE_CLIENT_SECRET, account shop", BEARER),
    "workload identity": ("az", azure_workload, "what is in AZURE_FEDERATED_TOKEN_FILE, account shop", BEARER),
    "Azure CLI": ("az", azure_cli, "the login of the Azure CLI, account shop", BEARER),
    "key of the Azure CLI": ("az", azure_key, "what is in AZURE_STORAGE_KEY, account shop", "SharedKey shop:"),
}


def refusal(environment: Environment, home: Path, scheme: str) -> str:
    """What the error says once the store has refused, in an environment with nothing else in it."""
    own = {"HOME": str(home), "PATH": os.environ["PATH"], "AZURE_ALLOW_HTTP": "true", **environment}
    logins = patch("botocore.credentials.SSOProvider._SSO_TOKEN_CACHE_DIR", str(home / ".aws" / "sso" / "cache"))
    with patch.dict(os.environ, own, clear=True), logins, pytest.raises(StoreTrouble) as failed:
        BucketStore(Buckets(), Destination.parse(f"{scheme}://bucket/x.zip")).listing()
    assert "neverShown" not in str(failed.value)
    return str(failed.value)


@pytest.mark.parametrize("way", WAYS)
def test_each_way_to_have_credentials_reaches_its_store(known: Identities, tmp_path: Path, way: str) -> None:
    scheme, made, found, proof = WAYS[way]
    environment = made(known.url, tmp_path)
    if scheme == S3:
        environment |= {"AWS_ENDPOINT_URL_S3": known.url}
    if scheme == "gs":
        environment |= {"GOOGLE_BASE_URL": known.url}
    told = refusal(environment, tmp_path, scheme)
    assert f"(credentials: {found}" in told
    assert known.at_store, told
    for asked in known.at_store:
        assert proof in asked.headers["authorization"]
        if proof == TEMPORARY:
            assert asked.headers["x-amz-security-token"] == "SESSION"


@pytest.mark.parametrize("scheme", [S3, "gs", "az"])
def test_a_machine_without_credentials_has_one_clear_error(known: Identities, tmp_path: Path, scheme: str) -> None:
    account = {"AZURE_STORAGE_ACCOUNT": "shop"} if scheme == "az" else {}
    with patch.object(credentials, "_answers", lambda *_: False):
        told = refusal(account, tmp_path, scheme)
    assert told.startswith(f"{scheme}://bucket: no credentials were found")
    assert not known.at_store


def test_a_login_that_has_expired_says_how_to_log_in(known: Identities, tmp_path: Path) -> None:
    environment = {**login(known.url, tmp_path, ends="2020-01-01T00:00:00Z"), "AWS_ENDPOINT_URL_S3": known.url}
    told = refusal(environment, tmp_path, S3)
    assert "the SSO session associated with this profile has expired" in told.replace("The", "the")
    assert "aws sso login" in told
    assert not known.at_store
