"""Which credentials reach a bucket: obstore finds most of them by itself, and only the stores' own tools find the rest."""

import configparser
import json
import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import timedelta
from importlib import import_module
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from pulumi_snapshots.errors import Next, Step
from pulumi_snapshots.storage.store import StoreTrouble

MACHINE = "none is configured, so the identity of this machine"
"""What obstore tries in the end, for about 15 s if the machine has none."""
KEYS_LIVE = timedelta(minutes=5)
"""How long obstore uses keys before it asks boto3 again, which renews those that end within 10 minutes."""
GOOGLE_SCOPE = "https://www.googleapis.com/auth/devstorage.read_write"
NAMES = {"s3": "S3", "gs": "Google Cloud Storage", "az": "Azure"}
BOTO3_FINDS = ("role_arn", "sso_session", "sso_start_url", "credential_process", "login_session")
"""Settings of a profile of which only boto3 makes keys."""


class NoCredentials(StoreTrouble):
    """Those that are configured cannot be used."""


Access = tuple[str, dict[str, Any]]
"""How a bucket is reached: the credentials in a few words, never a secret, and options for the library, some secret."""


def access(scheme: str, environment: Mapping[str, str]) -> Access:
    """Find the credentials of `s3`, `gs` or `az`; raises `NoCredentials` if what is configured cannot be used."""
    return {"s3": _s3, "gs": _google, "az": _azure}[scheme](environment)


def _own(environment: Mapping[str, str], names: str) -> str:
    """The first variable of these from which obstore takes credentials by itself, in words; empty for none."""
    found = (name for name in sorted(environment) if environment[name] and re.fullmatch(names, name))
    return next((f"what is in {name}" for name in found), "")


def _first(environment: Mapping[str, str], *names: str) -> str:
    return next(filter(None, map(environment.get, names)), "")


def _home(environment: Mapping[str, str], name: str) -> Path:
    return Path(environment.get("HOME") or "~").expanduser() / name


def _s3(environment: Mapping[str, str]) -> Access:
    profile, settings = _profile(environment)
    named, provider = _first(environment, "AWS_PROFILE", "AWS_DEFAULT_PROFILE"), None
    found = _own(environment, "AWS_(SKIP_SIGNATURE|ACCESS_KEY_ID)")
    if not found and not named:
        found = _own(environment, "AWS_WEB_IDENTITY_TOKEN_FILE")
    if not found:
        found, provider = _keys_of(profile, settings)
    if not found and named:
        lacks = "has no credentials" if settings else "does not exist"
        raise NoCredentials(f"profile {profile!r} of the AWS configuration files {lacks}")
    found = found or _own(environment, "AWS_CONTAINER_CREDENTIALS_(RELATIVE|FULL)_URI") or MACHINE
    endpoint = _first(environment, "AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL", "AWS_ENDPOINT")
    given = {
        "region": _first(environment, "AWS_REGION", "AWS_DEFAULT_REGION") or settings.get("region"),
        "endpoint": endpoint or settings.get("endpoint_url"),
        "credential_provider": provider,
        "checksum_algorithm": environment.get("AWS_CHECKSUM_ALGORITHM"),
    }
    at = "".join(f", {name} {given[name]}" for name in ("region", "endpoint") if given[name])
    return found + at, {name: value for name, value in given.items() if value}


def _profile(environment: Mapping[str, str]) -> tuple[str, dict[str, str]]:
    """The profile's name, and what the files say of it."""
    name = _first(environment, "AWS_PROFILE", "AWS_DEFAULT_PROFILE") or "default"
    config = _first(environment, "AWS_CONFIG_FILE") or _home(environment, ".aws/config")
    secrets = _first(environment, "AWS_SHARED_CREDENTIALS_FILE") or _home(environment, ".aws/credentials")
    files = {config: name if name == "default" else f"profile {name}", secrets: name}
    settings: dict[str, str] = {}
    for file, section in files.items():
        parser = configparser.RawConfigParser(default_section="")
        try:
            parser.read(Path(file).expanduser(), encoding="utf-8")
        except (configparser.Error, UnicodeDecodeError) as error:
            raise NoCredentials(f"{file} cannot be read: {str(error).splitlines()[0]}") from None
        settings |= dict(parser.items(section)) if parser.has_section(section) else {}
    return name, settings


def _keys_of(profile: str, settings: Mapping[str, str]) -> tuple[str, Callable[[], Any] | None]:
    """The keys of a profile, which obstore does not read: in words, and what gives them; nothing if it has none."""
    if kind := next((name for name in BOTO3_FINDS if name in settings), ""):
        with _package("boto3", f"profile {profile!r}, by {kind},"):
            session = import_module("boto3").Session(profile_name=profile)
            provider = import_module("obstore.auth.boto3").Boto3CredentialProvider(session, ttl=KEYS_LIVE)
        return f"profile {profile} ({kind}), through boto3", provider
    names = {"access_key_id": "aws_access_key_id", "secret_access_key": "aws_secret_access_key"}
    keys: dict[str, Any] = {name: settings.get(setting) for name, setting in names.items()}
    if not all(keys.values()):
        return "", None
    keys |= {"token": settings.get("aws_session_token"), "expires_at": None}
    return f"keys of profile {profile}", lambda: keys


@contextmanager
def _package(packages: str, what: str) -> Iterator[None]:
    """Raise `NoCredentials` if a package that finds credentials is missing, or its own error, such as an expired login."""
    try:
        yield
    except ImportError as error:
        needs = f"{what} needs {packages.partition(' ')[0]} for its keys ({error})"
        raise NoCredentials(needs, then=[Next(Step.INSTALL_PACKAGE, package=packages)]) from error
    except Exception as error:
        raise NoCredentials(f"{what} gave no keys: {error}") from error


def _google(environment: Mapping[str, str]) -> Access:
    if own := _own(environment, "GOOGLE_(SKIP_SIGNATURE|BEARER_TOKEN|SERVICE_ACCOUNT(_KEY)?)"):
        return own, {}
    named = environment.get("GOOGLE_APPLICATION_CREDENTIALS")
    file = Path(named or _home(environment, ".config/gcloud/application_default_credentials.json"))
    if not named and not file.exists():
        return MACHINE, {}
    try:
        kind = str(json.loads(file.read_text())["type"])
    except (OSError, ValueError, LookupError, TypeError) as error:
        raise NoCredentials(f"{file} cannot be read as Google credentials: {error}") from None
    found = f"{kind} in {file}"
    if kind in {"service_account", "authorized_user"}:
        return found, {}
    with _package("google-auth requests", found):  # google-auth finds it in the same places
        # Scopes are set afterwards: with them it would ask for the project's name too.
        credentials, _ = import_module("google.auth").default()
        credentials = import_module("google.auth.credentials").with_scopes_if_required(credentials, [GOOGLE_SCOPE])
        provider = import_module("obstore.auth.google").GoogleCredentialProvider(credentials)
    return f"{found}, through google-auth", {"credential_provider": provider}


def _azure(environment: Mapping[str, str]) -> Access:
    options = _connection_string(environment.get("AZURE_STORAGE_CONNECTION_STRING", ""))
    # The second is the Azure CLI's own.
    account = options.get("account_name") or _first(environment, "AZURE_STORAGE_ACCOUNT_NAME", "AZURE_STORAGE_ACCOUNT")
    if not account:
        raise NoCredentials("no account is named: set AZURE_STORAGE_ACCOUNT_NAME, or AZURE_STORAGE_CONNECTION_STRING")
    found, more = ("AZURE_STORAGE_CONNECTION_STRING", options) if options else _azure_identity(environment)
    return f"{found}, account {account}", {"account_name": account, **more}


def _azure_identity(environment: Mapping[str, str]) -> Access:
    """What was found, and what the library does not find by itself."""
    secrets = r"FEDERATED_TOKEN_FILE|(STORAGE_)?CLIENT_SECRET|STORAGE_(\w+_KEY|TOKEN|SAS_\w+)"
    if own := _own(environment, rf"AZURE_(SKIP_SIGNATURE|{secrets})"):
        return own, {}
    if key := environment.get("AZURE_STORAGE_KEY"):  # as the Azure CLI calls it
        return "what is in AZURE_STORAGE_KEY", {"account_key": key}
    if own := _own(environment, "(AZURE_)?IDENTITY_ENDPOINT"):
        return own, {}
    if environment.get("AZURE_USE_AZURE_CLI") or _home(environment, ".azure/azureProfile.json").exists():
        return "the login of the Azure CLI", {"use_azure_cli": True}
    return MACHINE, {}


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
