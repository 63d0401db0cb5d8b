"""The credentials that reach buckets, from the environment and the stores' own tools.

`obstore` finds some of them itself; the tools find the others.
"""

import configparser
import contextlib
import json
import re
from collections.abc import Callable, Iterator, Mapping
from datetime import timedelta
from importlib import import_module
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from pulumi_snapshots.errors import Hint, HintKind
from pulumi_snapshots.state_directory import home_directory
from pulumi_snapshots.storage.store import StoreTrouble

MACHINE = "none is configured, so the identity of this machine"
"""The words for what obstore tries last, for about 15 s if the machine has no identity."""
KEYS_LIVE = timedelta(minutes=5)
"""How long obstore uses keys before it asks boto3 again, which renews keys that end within 10
minutes.
"""
GOOGLE_SCOPE = "https://www.googleapis.com/auth/devstorage.read_write"
NAMES = {"s3": "S3", "gs": "Google Cloud Storage", "az": "Azure"}
BOTO3_FINDS = (
    "role_arn",
    "sso_session",
    "sso_start_url",
    "credential_process",
    "login_session",
)
"""Settings of a profile from which only boto3 makes keys."""


class NoCredentials(StoreTrouble):
    """The configured credentials cannot be used."""


Access = tuple[str, dict[str, Any]]
"""The credentials in words, which hold no secret, and as options of the library, which do."""


def access(scheme: str, environment: Mapping[str, str]) -> Access:
    """Find the credentials of a kind of store.

    Args:
        scheme: `s3`, `gs` or `az`.
        environment: the variables that name them.

    Returns:
        The credentials: in words, and as options of the library.

    Raises:
        NoCredentials: what is configured cannot be used.
    """
    finders = {"s3": _s3_access, "gs": _google_access, "az": _azure_access}
    return finders[scheme](environment)


def _variable_for_obstore(environment: Mapping[str, str], names: str) -> str:
    """Say in words which variable obstore itself reads; empty if none that matches is set."""
    for name in sorted(environment):
        if environment[name] and re.fullmatch(names, name):
            return f"what is in {name}"
    return ""


def _first_value(environment: Mapping[str, str], *names: str) -> str:
    return next(filter(None, map(environment.get, names)), "")


def _s3_access(environment: Mapping[str, str]) -> Access:
    profile, settings = _profile(environment)
    credentials, provider = _s3_keys(environment, profile, settings)
    endpoint = _first_value(
        environment, "AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL", "AWS_ENDPOINT"
    )
    region = _first_value(environment, "AWS_REGION", "AWS_DEFAULT_REGION")
    options = {
        "region": region or settings.get("region"),
        "endpoint": endpoint or settings.get("endpoint_url"),
        "credential_provider": provider,
        "checksum_algorithm": environment.get("AWS_CHECKSUM_ALGORITHM"),
    }
    usable = {name: value for name, value in options.items() if value}
    places = [
        f", {name} {usable[name]}" for name in ("region", "endpoint") if name in usable
    ]
    return "".join([credentials, *places]), usable


def _s3_keys(
    environment: Mapping[str, str],
    profile: str,
    settings: Mapping[str, str],
) -> tuple[str, Callable[[], Any] | None]:
    """Find the keys for S3: in words, and the function that gives them, None for obstore's own."""
    is_named = bool(_first_value(environment, "AWS_PROFILE", "AWS_DEFAULT_PROFILE"))
    credentials = _variable_for_obstore(
        environment, "AWS_(SKIP_SIGNATURE|ACCESS_KEY_ID)"
    )
    if not credentials and not is_named:
        credentials = _variable_for_obstore(environment, "AWS_WEB_IDENTITY_TOKEN_FILE")
    if credentials:
        return credentials, None
    credentials, provider = _profile_keys(profile, settings)
    if credentials:
        return credentials, provider
    if is_named:
        lacks = "has no credentials" if settings else "does not exist"
        raise NoCredentials(
            f"profile {profile!r} of the AWS configuration files {lacks}"
        )
    container = _variable_for_obstore(
        environment, "AWS_CONTAINER_CREDENTIALS_(RELATIVE|FULL)_URI"
    )
    return container or MACHINE, None


def _profile(
    environment: Mapping[str, str],
) -> tuple[str, dict[str, str]]:
    """Find the name of the profile, and its settings in the configuration files."""
    name = _first_value(environment, "AWS_PROFILE", "AWS_DEFAULT_PROFILE") or "default"
    config = _first_value(environment, "AWS_CONFIG_FILE") or (
        home_directory(environment) / ".aws/config"
    )
    secrets = _first_value(environment, "AWS_SHARED_CREDENTIALS_FILE") or (
        home_directory(environment) / ".aws/credentials"
    )
    files = {
        config: name if name == "default" else f"profile {name}",
        secrets: name,
    }
    settings: dict[str, str] = {}
    for file, section in files.items():
        parser = configparser.RawConfigParser(default_section="")
        try:
            parser.read(Path(file).expanduser(), encoding="utf-8")
        except (configparser.Error, UnicodeDecodeError) as error:
            raise NoCredentials(
                f"{file} cannot be read: {str(error).splitlines()[0]}"
            ) from None
        settings |= dict(parser.items(section)) if parser.has_section(section) else {}
    return name, settings


def _profile_keys(
    profile: str, settings: Mapping[str, str]
) -> tuple[str, Callable[[], Any] | None]:
    """Find the keys of a profile, which obstore does not read.

    Returns the keys in words, empty if there are none, and the function that gives them.
    """
    kind = next((name for name in BOTO3_FINDS if name in settings), None)
    if kind:
        with _needing("boto3", f"profile {profile!r}, by {kind},"):
            session = import_module("boto3").Session(profile_name=profile)
            provider = import_module("obstore.auth.boto3").Boto3CredentialProvider(
                session, ttl=KEYS_LIVE
            )
        return f"profile {profile} ({kind}), through boto3", provider
    names = {
        "access_key_id": "aws_access_key_id",
        "secret_access_key": "aws_secret_access_key",
    }
    keys: dict[str, Any] = {
        name: settings.get(setting) for name, setting in names.items()
    }
    if not all(keys.values()):
        return "", None
    keys |= {
        "token": settings.get("aws_session_token"),
        "expires_at": None,
    }
    return f"keys of profile {profile}", lambda: keys


@contextlib.contextmanager
def _needing(packages: str, what: str) -> Iterator[None]:
    """Raise `NoCredentials` if a package that the body uses is missing, or fails.

    A package fails if a login has expired, for example.
    """
    try:
        yield
    except ImportError as error:
        needs = f"{what} needs {packages.partition(' ')[0]} for its keys ({error})"
        then = [Hint(HintKind.INSTALL_PACKAGE, package=packages)]
        raise NoCredentials(needs, then=then) from error
    except Exception as error:
        raise NoCredentials(f"{what} gave no keys: {error}") from error


def _google_access(environment: Mapping[str, str]) -> Access:
    names = "GOOGLE_(SKIP_SIGNATURE|BEARER_TOKEN|SERVICE_ACCOUNT(_KEY)?)"
    credentials = _variable_for_obstore(environment, names)
    if credentials:
        return credentials, {}
    named = environment.get("GOOGLE_APPLICATION_CREDENTIALS")
    usual = ".config/gcloud/application_default_credentials.json"
    file = Path(named or home_directory(environment) / usual)
    if not named and not file.exists():
        return MACHINE, {}
    try:
        kind = str(json.loads(file.read_text())["type"])
    except (OSError, ValueError, LookupError, TypeError) as error:
        raise NoCredentials(
            f"{file} cannot be read as Google credentials: {error}"
        ) from None
    credentials = f"{kind} in {file}"
    if kind in {"service_account", "authorized_user"}:
        return credentials, {}
    with _needing("google-auth requests", credentials):
        # google-auth finds the credentials in the same places. Scopes are set afterwards: with
        # them, google-auth would ask for the project's name too.
        google, _ = import_module("google.auth").default()
        google = import_module("google.auth.credentials").with_scopes_if_required(
            google, [GOOGLE_SCOPE]
        )
        provider = import_module("obstore.auth.google").GoogleCredentialProvider(google)
    return f"{credentials}, through google-auth", {"credential_provider": provider}


def _azure_access(environment: Mapping[str, str]) -> Access:
    options = _connection_string(environment.get("AZURE_STORAGE_CONNECTION_STRING", ""))
    if options:
        account = options["account_name"]
        return f"AZURE_STORAGE_CONNECTION_STRING, account {account}", options
    # The Azure CLI uses the second name.
    names = ("AZURE_STORAGE_ACCOUNT_NAME", "AZURE_STORAGE_ACCOUNT")
    account = _first_value(environment, *names)
    if not account:
        raise NoCredentials(
            "no account is named: set AZURE_STORAGE_ACCOUNT_NAME, or "
            "AZURE_STORAGE_CONNECTION_STRING"
        )
    credentials, identity = _azure_identity(environment)
    return f"{credentials}, account {account}", {"account_name": account, **identity}


def _azure_identity(environment: Mapping[str, str]) -> Access:
    """Find the credentials for Azure, and the options that the library does not find itself."""
    secrets = (
        r"FEDERATED_TOKEN_FILE|(STORAGE_)?CLIENT_SECRET|STORAGE_(\w+_KEY|TOKEN|SAS_\w+)"
    )
    names = rf"AZURE_(SKIP_SIGNATURE|{secrets})"
    credentials = _variable_for_obstore(environment, names)
    key = environment.get(
        "AZURE_STORAGE_KEY"
    )  # the Azure CLI's name for the account's key
    if key and not credentials:
        return "what is in AZURE_STORAGE_KEY", {"account_key": key}
    credentials = credentials or _variable_for_obstore(
        environment, "(AZURE_)?IDENTITY_ENDPOINT"
    )
    if credentials:
        return credentials, {}
    profile = home_directory(environment) / ".azure/azureProfile.json"
    if environment.get("AZURE_USE_AZURE_CLI") or profile.exists():
        return "the login of the Azure CLI", {"use_azure_cli": True}
    return MACHINE, {}


def _connection_string(text: str) -> dict[str, Any]:
    """Read the options in a connection string; none if the string names no account."""
    parts = dict(part.partition("=")[::2] for part in text.split(";") if "=" in part)
    endpoint = parts.get("BlobEndpoint", "").rstrip("/")
    account = (
        parts.get("AccountName")
        or (urlsplit(endpoint).hostname or "").partition(".")[0]
    )
    if not account:
        return {}
    suffix = parts.get("EndpointSuffix")
    if suffix and not endpoint:
        protocol = parts.get("DefaultEndpointsProtocol", "https")
        endpoint = f"{protocol}://{account}.blob.{suffix}"
    options = {
        "account_name": account,
        "account_key": parts.get("AccountKey"),
        "sas_key": parts.get("SharedAccessSignature", "").removeprefix("?"),
        "endpoint": endpoint,
    }
    return {name: value for name, value in options.items() if value}
