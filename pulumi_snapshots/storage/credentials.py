"""Which credentials reach a bucket: the library's own finders, and what only the store's own tools would find."""

from __future__ import annotations

import configparser
import json
import re
import socket
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from importlib import import_module
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from pulumi_snapshots.errors import Explained, Next, Step

MACHINE = "169.254.169.254"
"""The address at which a cloud's machine asks for its own identity, on port 80."""
MACHINE_PATIENCE = 1.0
"""Seconds; it accepts a connection at once, or this is no such machine."""
KEYS_LIVE = timedelta(minutes=5)
"""How long the library uses keys before it asks boto3 again, which renews those that end within 10 minutes."""
GOOGLE_SCOPE = "https://www.googleapis.com/auth/devstorage.read_write"
AZURE_ACCOUNT = ("AZURE_STORAGE_ACCOUNT_NAME", "AZURE_STORAGE_ACCOUNT")
"""Variables of the account's name; the second is the Azure CLI's own."""
NAMES = {"s3": "S3", "gs": "Google Cloud Storage", "az": "Azure"}
OWN = {
    "s3": r"AWS_(?:SKIP_SIGNATURE|ACCESS_KEY_ID)",
    "role": r"AWS_(?:WEB_IDENTITY_TOKEN_FILE|CONTAINER_CREDENTIALS_(?:RELATIVE|FULL)_URI)",
    "gs": r"GOOGLE_(?:SKIP_SIGNATURE|BEARER_TOKEN|SERVICE_ACCOUNT(?:_KEY)?)",
    "az": r"AZURE_(?:SKIP_SIGNATURE|FEDERATED_TOKEN_FILE|(?:STORAGE_)?CLIENT_SECRET|STORAGE_(?:\w+_KEY|TOKEN|SAS_\w+))",
}
"""Variables from which the library takes credentials by itself."""
BOTO3_FINDS = ("sso_session", "sso_start_url", "role_arn", "credential_process", "login_session")
"""Settings of a profile of which only boto3 makes keys."""


class NoCredentials(Explained):
    """None were found, or those that are configured cannot be used."""


@dataclass(frozen=True)
class Access:
    """How a bucket is reached: the credentials in a few words, never a secret, and options for the library, some secret."""

    found: str
    options: Mapping[str, Any] = field(default_factory=dict, repr=False)


def access(scheme: str, environment: Mapping[str, str]) -> Access:
    """Find the credentials of `s3`, `gs` or `az`; raises `NoCredentials` if there are none."""
    return {"s3": _s3, "gs": _google, "az": _azure}[scheme](environment)


def _own(kind: str, environment: Mapping[str, str]) -> str:
    """What the library will use of the environment, in words; empty for nothing."""
    found = (name for name in sorted(environment) if environment[name] and re.fullmatch(OWN[kind], name))
    return next((f"what is in {name}" for name in found), "")


# S3 ----------------------------------------------------------------------------------------------------------------------


def _s3(environment: Mapping[str, str]) -> Access:
    profile, settings = _profile(environment)
    found, provider = _s3_keys(environment, profile, settings)
    endpoints = (environment.get(name) for name in ("AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL", "AWS_ENDPOINT"))
    given = {
        "region": environment.get("AWS_REGION") or environment.get("AWS_DEFAULT_REGION") or settings.get("region"),
        "endpoint": next(filter(None, endpoints), settings.get("endpoint_url")),
        "credential_provider": provider,
        "metadata_endpoint": environment.get("AWS_EC2_METADATA_SERVICE_ENDPOINT"),
        "checksum_algorithm": environment.get("AWS_CHECKSUM_ALGORITHM"),
    }
    at = "".join(f", {name} {given[name]}" for name in ("region", "endpoint") if given[name])
    return Access(found + at, {name: value for name, value in given.items() if value})


def _s3_keys(
    environment: Mapping[str, str], profile: str, settings: Mapping[str, str]
) -> tuple[str, Callable[[], Any] | None]:
    """What was found, and what gives the keys if the library does not find them by itself."""
    if own := _own("s3", environment):
        return own, None
    role = _own("role", environment)
    wanted = bool(environment.get("AWS_PROFILE") or environment.get("AWS_DEFAULT_PROFILE"))
    if not wanted and "WEB_IDENTITY" in role:
        return role, None
    key, secret = settings.get("aws_access_key_id"), settings.get("aws_secret_access_key")
    boto3_finds = ("role_arn",) if key and secret else BOTO3_FINDS
    if kind := next((name for name in boto3_finds if name in settings), ""):

        def made() -> Any:
            session = import_module("boto3").Session(profile_name=profile)
            return import_module("obstore.auth.boto3").Boto3CredentialProvider(session, ttl=KEYS_LIVE)

        provider = _provider(made, f"profile {profile!r}, by {kind},", "boto3")
        return f"profile {profile} ({kind}), through boto3", provider
    if key and secret:
        token = settings.get("aws_session_token")
        keys = {"access_key_id": key, "secret_access_key": secret, "token": token, "expires_at": None}
        return f"keys of profile {profile}", lambda: keys
    if wanted:
        lacks = "has no credentials" if settings else "does not exist"
        raise NoCredentials(f"profile {profile!r} of the AWS configuration files {lacks}")
    machine = environment.get("AWS_EC2_METADATA_SERVICE_ENDPOINT") or MACHINE
    if role or (environment.get("AWS_EC2_METADATA_DISABLED", "").lower() != "true" and _answers(machine)):
        return role or "the machine's role", None
    raise _none("not in AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, not in a profile, and this machine has no role")


def _profile(environment: Mapping[str, str]) -> tuple[str, dict[str, str]]:
    """The profile's name, and what the files say of it."""
    name = environment.get("AWS_PROFILE") or environment.get("AWS_DEFAULT_PROFILE") or "default"
    home = _home(environment) / ".aws"
    files = {
        environment.get("AWS_CONFIG_FILE") or home / "config": name if name == "default" else f"profile {name}",
        environment.get("AWS_SHARED_CREDENTIALS_FILE") or home / "credentials": name,
    }
    settings: dict[str, str] = {}
    for file, section in files.items():
        parser = configparser.RawConfigParser(default_section="")
        try:
            parser.read(Path(file).expanduser(), encoding="utf-8")
        except (configparser.Error, UnicodeDecodeError) as error:
            raise NoCredentials(f"{file} cannot be read: {str(error).splitlines()[0]}") from None
        if parser.has_section(section):
            settings |= dict(parser.items(section))
    return name, settings


def _provider(made: Callable[[], Any], what: str, packages: str) -> Callable[[], Any]:
    try:
        provider: Callable[[], Any] = made()
    except ImportError as error:
        needs = f"{what} needs {packages.partition(' ')[0]} for its keys ({error})"
        raise NoCredentials(needs, then=[Next(Step.INSTALL_PACKAGE, package=packages)]) from error
    except Exception as error:  # the package's own, such as a login that has expired
        raise NoCredentials(f"{what} gave no keys: {error}") from error
    return provider


# Google ------------------------------------------------------------------------------------------------------------------


def _google(environment: Mapping[str, str]) -> Access:
    if emulator := environment.get("STORAGE_EMULATOR_HOST"):
        address = emulator if "://" in emulator else f"http://{emulator}"
        return Access(f"none, for the emulator at {address}", {"base_url": address, "bearer_token": "none"})
    if own := _own("gs", environment):
        return Access(own)
    folder = Path(environment.get("CLOUDSDK_CONFIG") or _home(environment) / ".config" / "gcloud")
    named = environment.get("GOOGLE_APPLICATION_CREDENTIALS")
    file = Path(named or folder / "application_default_credentials.json")
    if named or file.exists():
        return _google_file(file)
    if _answers(environment.get("GCE_METADATA_HOST") or MACHINE):
        return Access("the machine's service account")
    raise _none(
        "not in GOOGLE_APPLICATION_CREDENTIALS, not from `gcloud auth application-default login`, and this machine has no "
        "service account"
    )


def _google_file(file: Path) -> Access:
    try:
        kind = str(json.loads(file.read_text())["type"])
    except (OSError, ValueError, LookupError, TypeError) as error:
        raise NoCredentials(f"{file} cannot be read as Google credentials: {error}") from None
    found = f"{kind} in {file}"
    if kind in {"service_account", "authorized_user"}:
        return Access(found, {"application_credentials": str(file)})

    def made() -> Any:  # google-auth finds it in the same places
        # Scopes are set afterwards: with them it would ask for the project's name too.
        credentials, _ = import_module("google.auth").default()
        credentials = import_module("google.auth.credentials").with_scopes_if_required(credentials, [GOOGLE_SCOPE])
        return import_module("obstore.auth.google").GoogleCredentialProvider(credentials)

    provider = _provider(made, found, "google-auth requests")
    return Access(f"{found}, through google-auth", {"credential_provider": provider})


# Azure -------------------------------------------------------------------------------------------------------------------


def _azure(environment: Mapping[str, str]) -> Access:
    options = _connection_string(environment.get("AZURE_STORAGE_CONNECTION_STRING", ""))
    account = options.get("account_name") or next(filter(None, map(environment.get, AZURE_ACCOUNT)), None)
    if not account:
        raise NoCredentials(f"no account is named: set {AZURE_ACCOUNT[0]}, or AZURE_STORAGE_CONNECTION_STRING")
    found, more = ("AZURE_STORAGE_CONNECTION_STRING", options) if options else _azure_identity(environment)
    return Access(f"{found}, account {account}", {"account_name": account, **more})


def _azure_identity(environment: Mapping[str, str]) -> tuple[str, dict[str, Any]]:
    """What was found, and what the library does not find by itself."""
    if own := _own("az", environment):
        return own, {}
    if key := environment.get("AZURE_STORAGE_KEY"):  # as the Azure CLI calls it
        return "what is in AZURE_STORAGE_KEY", {"account_key": key}
    if endpoint := environment.get("AZURE_IDENTITY_ENDPOINT") or environment.get("IDENTITY_ENDPOINT"):
        return "the managed identity", {"msi_endpoint": endpoint}
    folder = Path(environment.get("AZURE_CONFIG_DIR") or _home(environment) / ".azure")
    if environment.get("AZURE_USE_AZURE_CLI") or (folder / "azureProfile.json").exists():
        return "the login of the Azure CLI", {"use_azure_cli": True}
    if _answers(MACHINE):
        return "the machine's managed identity", {}
    raise _none(
        "not in AZURE_STORAGE_ACCOUNT_KEY, AZURE_STORAGE_SAS_TOKEN or AZURE_CLIENT_ID, not from `az login`, and this "
        "machine has no identity"
    )


def _connection_string(text: str) -> dict[str, Any]:
    parts = dict(part.partition("=")[::2] for part in text.split(";") if "=" in part)
    endpoint = parts.get("BlobEndpoint", "").rstrip("/")
    account = parts.get("AccountName") or (urlsplit(endpoint).hostname or "").partition(".")[0]
    if not endpoint and account and (suffix := parts.get("EndpointSuffix")):
        endpoint = f"{parts.get('DefaultEndpointsProtocol', 'https')}://{account}.blob.{suffix}"
    given = {
        "account_name": account,
        "account_key": parts.get("AccountKey"),
        "sas_key": parts.get("SharedAccessSignature", "").removeprefix("?"),
        "endpoint": endpoint,
    }
    return {name: value for name, value in given.items() if value} if account else {}


def _none(where: str) -> NoCredentials:
    return NoCredentials(f"no credentials were found: {where}")


def _home(environment: Mapping[str, str]) -> Path:
    return Path(environment.get("HOME") or "~").expanduser()


def _answers(host: str) -> bool:
    """Whether this machine is one of a cloud's, which has an identity of its own; without this the library tries for minutes."""
    place = urlsplit(host if "://" in host else f"http://{host}")
    try:
        with socket.create_connection((place.hostname or "", place.port or 80), MACHINE_PATIENCE):
            return True
    except (OSError, ValueError):
        return False
