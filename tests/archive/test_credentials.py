"""Which credentials reach a bucket: what people have for each store, and what an error says if they have none."""

import hashlib
import json
import os
import re
import sys
from collections.abc import Iterator
from datetime import timedelta
from functools import cache
from pathlib import Path
from unittest.mock import patch

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from pulumi_snapshots.storage import buckets
from pulumi_snapshots.storage.buckets import Buckets, BucketStore
from pulumi_snapshots.storage.credentials import MACHINE, access
from pulumi_snapshots.storage.destination import Destination
from pulumi_snapshots.storage.store import StoreTrouble
from tests.support.identities import Identities, identities

Environment = dict[str, str]
S3 = "s3"
TEMPORARY = "Credential=TEMPORARY/"
BEARER = "Bearer TOKEN"
KEYS = {"AWS_ACCESS_KEY_ID": "A", "AWS_SECRET_ACCESS_KEY": "neverShown"}
WEB = {"AWS_WEB_IDENTITY_TOKEN_FILE": "/token", "AWS_ROLE_ARN": "arn"}
CONTAINER = {"AWS_CONTAINER_CREDENTIALS_FULL_URI": "{url}/container"}
CLIENT = {
    "AZURE_CLIENT_ID": "client",
    "AZURE_TENANT_ID": "tenant",
    "AZURE_AUTHORITY_HOST": "{url}",
}
CONNECTION = "AccountName=shop;AccountKey=bmV2ZXJTaG93bg==;BlobEndpoint={url}/shop"
START = "https://work.example/start"
CONFIG = f"""
[default]
region = eu-west-1

[profile keys]
aws_access_key_id = B

[profile role]
role_arn = arn:aws:iam::123456789012:role/x
source_profile = other
region = eu-west-1

[profile other]
aws_access_key_id = C
aws_secret_access_key = neverShown

[profile login]
sso_start_url = {START}
sso_region = eu-west-1
sso_account_id = 123456789012
sso_role_name = x

[profile tool]
credential_process = echo '{{"Version": 1, "AccessKeyId": "P", "SecretAccessKey": "neverShown"}}'

[profile empty]
output = json
"""
SECRETS = """
[keys]
aws_secret_access_key = neverShown
aws_session_token = T
"""


@pytest.fixture
def known() -> Iterator[Identities]:
    with identities() as one:
        yield one


@cache
def private_key() -> str:
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    kind = serialization.Encoding.PEM
    form = serialization.PrivateFormat.PKCS8
    return key.private_bytes(kind, form, serialization.NoEncryption()).decode()


def written(url: str, home: Path, ends: str = "2036-01-01T00:00:00Z") -> None:
    """Write all files that the ways below need."""
    account = {
        "type": "service_account",
        "client_email": "me@example",
        "private_key_id": "1",
    }
    federation = {
        "type": "external_account",
        "audience": "//iam.googleapis.com/projects/1/locations/global/workloadIdentityPools/p/providers/x",
        "subject_token_type": "urn:ietf:params:oauth:token-type:jwt",
        "token_url": f"{url}/v1/token",
        "credential_source": {"file": str(home / "subject")},
    }
    said = {
        "accessToken": "TOKEN",
        "expiresOn": "2036-01-01 00:00:00.000000",
        "expires_on": 2082758400,
    }
    said |= {"subscription": "s", "tenant": "t", "tokenType": "Bearer"}
    files = {
        "token": "CONTAINER",
        "subject": "SUBJECT",
        "federated": "FEDERATED",
        ".aws/config": CONFIG,
        ".aws/credentials": SECRETS,
        "broken": "region = x\n",
        f".aws/sso/cache/{hashlib.sha1(START.encode(), usedforsecurity=False).hexdigest()}.json": json.dumps(
            {"startUrl": START, "accessToken": "LOGIN", "expiresAt": ends}
        ),
        "account.json": json.dumps(
            {**account, "private_key": private_key(), "token_uri": f"{url}/token"}
        ),
        "federation.json": json.dumps(federation),
        ".azure/azureProfile.json": "{}",
        "bin/az": f"#!/bin/sh\necho '{json.dumps(said)}'\n",
    }
    for name, text in files.items():
        (home / name).parent.mkdir(parents=True, exist_ok=True)
        (home / name).write_text(text)
    (home / "bin" / "az").chmod(0o755)


def refusal(
    known: Identities, home: Path, scheme: str, environment: Environment
) -> str:
    """What the error says once the store at this address has refused, in an environment with nothing else in it."""
    facts = {"url": known.url, "host": known.url.removeprefix("http://"), "home": home}
    own = {
        "HOME": str(home),
        "PATH": f"{home}/bin:{os.environ['PATH']}",
        "AZURE_ALLOW_HTTP": "true",
    }
    own |= (
        {"AZURE_STORAGE_ACCOUNT": "shop", "AZURE_STORAGE_ENDPOINT": f"{known.url}/shop"}
        if scheme == "az"
        else {}
    )
    own |= {"AWS_ENDPOINT_URL_S3": known.url, "GOOGLE_BASE_URL": known.url}
    own |= {name: text.format(**facts) for name, text in environment.items()}
    logins = patch(
        "botocore.credentials.SSOProvider._SSO_TOKEN_CACHE_DIR",
        str(home / ".aws" / "sso" / "cache"),
    )
    with (
        patch.dict(os.environ, own, clear=True),
        logins,
        pytest.raises(StoreTrouble) as failed,
    ):
        BucketStore(Buckets(), Destination.parse(f"{scheme}://bucket/x.zip")).listing()
    told = " ".join([str(failed.value.happened), *map(str, failed.value.then)])
    assert "neverShown" not in told
    return told


WAYS: dict[str, tuple[str, Environment, str, str]] = {
    "keys": (
        S3,
        {**KEYS, **WEB, "AWS_PROFILE": "keys"},
        "what is in AWS_ACCESS_KEY_ID",
        "Credential=A/",
    ),
    "keys of a profile": (
        S3,
        {
            **WEB,
            "AWS_PROFILE": "keys",
            "AWS_SESSION_TOKEN": "of another key",
            "AWS_REGION": "sa-east-1",
        },
        "keys of profile keys, region sa-east-1",
        "Credential=B/",
    ),
    "machine of AWS": (
        S3,
        {"AWS_METADATA_ENDPOINT": "{url}"},
        f"{MACHINE}, region eu-west-1",
        TEMPORARY,
    ),
    "container of AWS": (
        S3,
        {**CONTAINER, "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE": "{home}/token"},
        "what is in AWS_CONTAINER_CREDENTIALS_FULL_URI",
        TEMPORARY,
    ),
    "role of a profile": (
        S3,
        {"AWS_PROFILE": "role", "AWS_ENDPOINT_URL_STS": "{url}"},
        "profile role (role_arn), through boto3",
        TEMPORARY,
    ),
    "SSO of AWS": (
        S3,
        {"AWS_PROFILE": "login", "AWS_ENDPOINT_URL_SSO": "{url}"},
        "profile login (sso_start_url), through boto3",
        TEMPORARY,
    ),
    "program of a profile": (
        S3,
        {"AWS_PROFILE": "tool"},
        "profile tool (credential_process)",
        "Credential=P/",
    ),
    "machine of Google": ("gs", {"GCE_METADATA_HOST": "{host}"}, MACHINE, BEARER),
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
    "connection string": (
        "az",
        {"AZURE_STORAGE_CONNECTION_STRING": CONNECTION},
        "AZURE_STORAGE_CONNECTION_STRING, account shop",
        "SharedKey shop:",
    ),
    "managed identity": (
        "az",
        {"IDENTITY_ENDPOINT": "{url}/msi", "IDENTITY_HEADER": "PROOF"},
        "what is in IDENTITY_ENDPOINT, account shop",
        BEARER,
    ),
    "client secret": (
        "az",
        {**CLIENT, "AZURE_CLIENT_SECRET": "neverShown"},
        "what is in AZURE_CLIENT_SECRET",
        BEARER,
    ),
    "workload identity": (
        "az",
        {**CLIENT, "AZURE_FEDERATED_TOKEN_FILE": "{home}/federated"},
        "what is in AZURE_FEDERATED_TOKEN_FILE",
        BEARER,
    ),
    "Azure CLI": ("az", {}, "the login of the Azure CLI, account shop", BEARER),
    "key of the Azure CLI": (
        "az",
        {"AZURE_STORAGE_KEY": "bmV2ZXJTaG93bg=="},
        "what is in AZURE_",
        "SharedKey shop:",
    ),
}


@pytest.mark.parametrize("way", WAYS)
def test_each_way_to_have_credentials_reaches_its_store(
    known: Identities, tmp_path: Path, way: str
) -> None:
    scheme, environment, found, proof = WAYS[way]
    written(known.url, tmp_path)
    told = refusal(known, tmp_path, scheme, environment)
    assert f"(credentials: {found}" in told
    assert known.at_store, told
    for asked in known.at_store:
        assert proof in asked.headers["authorization"]
        token = {TEMPORARY: "SESSION", "Credential=B/": "T"}.get(proof)
        assert asked.headers.get("x-amz-security-token") == token


def profile(name: str) -> Environment:
    return {"AWS_PROFILE": name}


NONE = re.escape(f"(credentials: {MACHINE}")
REFUSED: dict[str, tuple[str, Environment, str]] = {
    "no profile": (
        S3,
        profile("nobody"),
        "profile 'nobody' of the AWS configuration files does not exist",
    ),
    "an empty profile": (
        S3,
        profile("empty"),
        "profile 'empty' of the AWS configuration files has no credentials",
    ),
    "no boto3": (
        S3,
        profile("role"),
        "by role_arn, needs boto3 for its keys.*pip install boto3",
    ),
    "a broken file": (
        S3,
        {"AWS_CONFIG_FILE": "{home}/broken"},
        "broken cannot be read",
    ),
    "no google-auth": (
        "gs",
        {"GOOGLE_APPLICATION_CREDENTIALS": "{home}/federation.json"},
        "needs google-auth .*pip install google-auth requests",
    ),
    "no file": (
        "gs",
        {"GOOGLE_APPLICATION_CREDENTIALS": "{home}/none"},
        "cannot be read as Google credentials",
    ),
    "no account": (
        "az",
        {"AZURE_STORAGE_ACCOUNT": ""},
        "set AZURE_STORAGE_ACCOUNT_NAME",
    ),
    "nothing at AWS": (
        S3,
        {"AWS_METADATA_ENDPOINT": "http://127.0.0.1:9"},
        f"^s3://bucket/x.zip: .*{NONE}",
    ),
    "nothing at Google": (
        "gs",
        {"GCE_METADATA_HOST": "127.0.0.1:9"},
        f"^gs://bucket/x.zip: .*{NONE}",
    ),
}


@pytest.mark.parametrize("why", REFUSED)
def test_what_cannot_be_used_has_a_next_step(
    known: Identities, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, why: str
) -> None:
    scheme, environment, told = REFUSED[why]
    written(known.url, tmp_path)
    for package in ("boto3", "google.auth"):
        monkeypatch.setitem(sys.modules, package, None)
    monkeypatch.setattr(buckets, "RETRIES", {"max_retries": 1})
    assert re.search(told, refusal(known, tmp_path, scheme, environment))
    assert not known.at_store


def test_a_login_that_has_expired_says_how_to_log_in(
    known: Identities, tmp_path: Path
) -> None:
    written(known.url, tmp_path, ends="2020-01-01T00:00:00Z")
    told = refusal(
        known, tmp_path, S3, {**profile("login"), "AWS_ENDPOINT_URL_SSO": "{url}"}
    )
    assert re.search(
        "the SSO session associated with this profile has expired.*aws sso login",
        told,
        re.IGNORECASE,
    )
    assert not known.at_store


def test_what_no_double_can_stand_in_for_is_named(tmp_path: Path) -> None:
    """A web identity, which obstore asks for by https only, and other endpoints of Azure's."""
    assert (
        access(S3, {"HOME": str(tmp_path), **WEB})[0]
        == "what is in AWS_WEB_IDENTITY_TOKEN_FILE"
    )
    text = "DefaultEndpointsProtocol=https;AccountName=shop;AccountKey=x==;EndpointSuffix=core.example"
    _, options = access("az", {"AZURE_STORAGE_CONNECTION_STRING": text})
    assert options == {
        "account_name": "shop",
        "account_key": "x==",
        "endpoint": "https://shop.blob.core.example",
    }
    text = "BlobEndpoint=https://shop.blob.example/;SharedAccessSignature=?sv=1&sig=neverShown"
    _, options = access("az", {"AZURE_STORAGE_CONNECTION_STRING": text})
    assert options["sas_key"] == "sv=1&sig=neverShown"


def test_keys_of_boto3_are_asked_for_again_before_they_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It renews keys that end within 10 minutes: the library must not use older ones."""
    written("", tmp_path)
    monkeypatch.setenv("AWS_CONFIG_FILE", f"{tmp_path}/.aws/config")
    _, options = access(S3, {"HOME": str(tmp_path), **profile("tool")})
    assert options["credential_provider"].ttl < timedelta(minutes=10)
