"""Which credentials reach a bucket, found where the store's own tools find them."""

from __future__ import annotations

import configparser
import json
import urllib.request
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from importlib import import_module
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from pulumi_snapshots.errors.explained import Explained
from pulumi_snapshots.errors.next_step import Next, Step

MACHINE = "169.254.169.254"
"""Where a cloud's machine asks for its own identity."""
MACHINE_PATIENCE = 1.0
"""Seconds; it answers at once, or this is no such machine."""
KEYS_LIVE = timedelta(minutes=5)
"""How long the library uses keys before it asks boto3 again, which renews those that end within 10 minutes."""
GOOGLE_SCOPE = "https://www.googleapis.com/auth/devstorage.read_write"
AZURE_ACCOUNT = ("AZURE_STORAGE_ACCOUNT_NAME", "AZURE_STORAGE_ACCOUNT")
"""Where the account's name is; the second is the Azure CLI's own."""
NAMES = {"s3": "S3", "gs": "Google Cloud Storage", "az": "Azure"}
OWN = {
    "s3": ("AWS_SKIP_SIGNATURE", "AWS_ACCESS_KEY_ID AWS_SECRET_ACCESS_KEY"),
    "web identity": ("AWS_WEB_IDENTITY_TOKEN_FILE AWS_ROLE_ARN",),
    "container": (
        "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI",
        "AWS_CONTAINER_CREDENTIALS_FULL_URI AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE",
    ),
    "gs": ("GOOGLE_SKIP_SIGNATURE", "GOOGLE_BEARER_TOKEN", "GOOGLE_SERVICE_ACCOUNT_KEY", "GOOGLE_SERVICE_ACCOUNT"),
    "az": (
        "AZURE_STORAGE_TOKEN",
        "AZURE_STORAGE_ACCOUNT_KEY",
        "AZURE_STORAGE_ACCESS_KEY",
        "AZURE_FEDERATED_TOKEN_FILE AZURE_CLIENT_ID AZURE_TENANT_ID",
        "AZURE_CLIENT_SECRET AZURE_CLIENT_ID AZURE_TENANT_ID",
        "AZURE_STORAGE_CLIENT_SECRET AZURE_STORAGE_CLIENT_ID AZURE_STORAGE_TENANT_ID",
        "AZURE_STORAGE_SAS_TOKEN",
        "AZURE_STORAGE_SAS_KEY",
        "AZURE_SKIP_SIGNATURE",
    ),
}
"""Variables that the library reads by itself, in its own order; those of one line belong together."""


class NoCredentials(Explained):
    """None were found, or those that are configured cannot be used."""


@dataclass(frozen=True)
class Access:
    """How a bucket is reached.

    Attributes:
        found: the credentials in a few words, and other settings; never a secret.
        options: for the library's store; secrets among them.
    """

    found: str
    options: Mapping[str, Any] = field(default_factory=dict, repr=False)


def access(scheme: str, environment: Mapping[str, str]) -> Access:
    """Find credentials.

    Args:
        scheme: `s3`, `gs` or `az`.
        environment: of the process.

    Raises:
        NoCredentials: there are none.
    """
    return {"s3": _s3, "gs": _google, "az": _azure}[scheme](environment)


def _own(kind: str, environment: Mapping[str, str]) -> str:
    """What the library will use of the environment, in words; empty for nothing."""
    found = (names for names in map(str.split, OWN[kind]) if all(map(environment.get, names)))
    return next((f"what is in {names[0]}" for names in found), "")


# S3 ----------------------------------------------------------------------------------------------------------------------


def _s3(environment: Mapping[str, str]) -> Access:
    profile, settings = _profile(environment)
    region = environment.get("AWS_REGION") or environment.get("AWS_DEFAULT_REGION") or settings.get("region")
    names = ("AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL", "AWS_ENDPOINT")
    endpoint = next(filter(None, map(environment.get, names)), settings.get("endpoint_url"))
    found, provider = _s3_keys(environment, profile, settings)
    at = f", region {region}" * bool(region) + f", endpoint {endpoint}" * bool(endpoint)
    given = {
        "region": region,
        "endpoint": endpoint,
        "credential_provider": provider,
        "metadata_endpoint": environment.get("AWS_EC2_METADATA_SERVICE_ENDPOINT"),
        "checksum_algorithm": environment.get("AWS_CHECKSUM_ALGORITHM"),
    }
    options = {name: value for name, value in given.items() if value}
    return Access(found + at, options)


def _s3_keys(
    environment: Mapping[str, str], profile: str, settings: Mapping[str, str]
) -> tuple[str, Callable[[], Any] | None]:
    """What was found, and what gives the keys where the library does not find them by itself."""
    if own := _own("s3", environment):
        return own, None
    wanted = bool(environment.get("AWS_PROFILE") or environment.get("AWS_DEFAULT_PROFILE"))
    if wanted and not settings:
        raise NoCredentials(f"there is no profile {profile!r} in the AWS configuration files")
    if not wanted and (own := _own("web identity", environment)):
        return own, None
    if of_profile := _of_profile(profile, settings):
        return of_profile
    if wanted:
        raise NoCredentials(f"profile {profile!r} of the AWS configuration files has no credentials")
    if own := _own("container", environment):
        return own, None
    if environment.get("AWS_CONTAINER_CREDENTIALS_FULL_URI"):  # with its token in the environment
        return "the container's role, through boto3", _by_boto3(None, "the container's role")
    machine = environment.get("AWS_EC2_METADATA_SERVICE_ENDPOINT") or MACHINE
    if environment.get("AWS_EC2_METADATA_DISABLED", "").lower() != "true" and _answers("s3", machine):
        return "the machine's role", None
    raise NoCredentials(
        "no credentials were found: not in AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, not in a profile, and this "
        "machine has no role"
    )


def _of_profile(profile: str, settings: Mapping[str, str]) -> tuple[str, Callable[[], Any]] | None:
    key, secret = settings.get("aws_access_key_id"), settings.get("aws_secret_access_key")
    if key and secret and "role_arn" not in settings:
        token = settings.get("aws_session_token")
        keys = {"access_key_id": key, "secret_access_key": secret, "token": token, "expires_at": None}
        return f"keys of profile {profile}", lambda: keys
    kinds = ("sso_session", "sso_start_url", "role_arn", "credential_process", "login_session")
    if kind := next((name for name in kinds if name in settings), None):
        return f"profile {profile} ({kind}), through boto3", _by_boto3(profile, f"profile {profile!r}, by {kind},")
    return None


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


def _by_boto3(profile: str | None, what: str) -> Callable[[], Any]:
    """What gives the keys of a profile or a role.

    Args:
        profile: its name; None for what boto3 finds by itself.
        what: has the keys, for errors.
    """
    try:
        session = import_module("boto3").Session(profile_name=profile)
        provider = import_module("obstore.auth.boto3").Boto3CredentialProvider(session, ttl=KEYS_LIVE)
    except ImportError as error:
        raise NoCredentials(
            f"{what} gives its keys to boto3 only ({error})", then=[Next(Step.INSTALL_PACKAGE, package="boto3")]
        ) from error
    except Exception as error:  # botocore's own, such as a login that has expired
        raise NoCredentials(f"{what} gave no keys: {error}") from error
    return provider  # type: ignore[no-any-return]


# Google ------------------------------------------------------------------------------------------------------------------


def _google(environment: Mapping[str, str]) -> Access:
    if emulator := environment.get("STORAGE_EMULATOR_HOST"):
        address = emulator if "://" in emulator else f"http://{emulator}"
        options = {"base_url": address, "bearer_token": "none"}
        return Access(f"none, for the emulator at {address}", options)
    if own := _own("gs", environment):
        return Access(own)
    folder = Path(environment.get("CLOUDSDK_CONFIG") or _home(environment) / ".config" / "gcloud")
    named = environment.get("GOOGLE_APPLICATION_CREDENTIALS")
    file = Path(named or folder / "application_default_credentials.json")
    if named or file.exists():
        return _google_file(file)
    if _answers("gs", environment.get("GCE_METADATA_HOST") or MACHINE):
        return Access("the machine's service account")
    raise NoCredentials(
        "no credentials were found: not in GOOGLE_APPLICATION_CREDENTIALS, not from `gcloud auth application-default "
        "login`, and this machine has no service account"
    )


def _google_file(file: Path) -> Access:
    try:
        kind = str(json.loads(file.read_text())["type"])
    except OSError as error:
        raise NoCredentials(f"{file} cannot be read: {error.strerror}") from None
    except (ValueError, LookupError, TypeError):
        raise NoCredentials(f"{file} is no file of Google credentials") from None
    found = f"{kind} in {file}"
    if kind in {"service_account", "authorized_user"}:
        return Access(found, {"application_credentials": str(file)})
    return Access(f"{found}, through google-auth", {"credential_provider": _by_google_auth(found)})


def _by_google_auth(what: str) -> Callable[[], Any]:
    """What gives the token of the application default credentials, which google-auth finds in the same places."""
    try:
        # Scopes are set afterwards: with them it would ask for the project's name too.
        credentials, _ = import_module("google.auth").default()
        credentials = import_module("google.auth.credentials").with_scopes_if_required(credentials, [GOOGLE_SCOPE])
        provider = import_module("obstore.auth.google").GoogleCredentialProvider(credentials)
    except ImportError as error:
        raise NoCredentials(
            f"{what} needs google-auth ({error})",
            then=[Next(Step.INSTALL_PACKAGE, package="google-auth requests")],
        ) from error
    except Exception as error:  # google-auth's own
        raise NoCredentials(f"{what} gave no credentials: {error}") from error
    return provider  # type: ignore[no-any-return]


# Azure -------------------------------------------------------------------------------------------------------------------


def _azure(environment: Mapping[str, str]) -> Access:
    options = _connection_string(environment.get("AZURE_STORAGE_CONNECTION_STRING", ""))
    account = options.get("account_name") or next(filter(None, map(environment.get, AZURE_ACCOUNT)), None)
    if not account:
        raise NoCredentials(f"no account is named: set {AZURE_ACCOUNT[0]}, or AZURE_STORAGE_CONNECTION_STRING")
    at = f", account {account}"
    if options:
        return Access(f"AZURE_STORAGE_CONNECTION_STRING{at}", options)
    found, more = _azure_identity(environment, account)
    return Access(found + at, {"account_name": account, **more})


def _azure_identity(environment: Mapping[str, str], account: str) -> tuple[str, dict[str, Any]]:
    """What was found, and what the library does not find by itself."""
    if own := _own("az", environment):
        return own, {}
    if key := environment.get("AZURE_STORAGE_KEY"):  # as the Azure CLI calls it
        return "what is in AZURE_STORAGE_KEY", {"account_key": key}
    if environment.get("IDENTITY_ENDPOINT") or environment.get("AZURE_IDENTITY_ENDPOINT"):
        endpoint = environment.get("AZURE_IDENTITY_ENDPOINT") or environment["IDENTITY_ENDPOINT"]
        return "the managed identity", {"msi_endpoint": endpoint}
    folder = Path(environment.get("AZURE_CONFIG_DIR") or _home(environment) / ".azure")
    if environment.get("AZURE_USE_AZURE_CLI") or (folder / "azureProfile.json").exists():
        return "the login of the Azure CLI", {"use_azure_cli": True}
    if _answers("az", MACHINE):
        return "the machine's managed identity", {}
    raise NoCredentials(
        f"no credentials were found for account {account}: not in AZURE_STORAGE_ACCOUNT_KEY, AZURE_STORAGE_SAS_TOKEN or "
        "AZURE_CLIENT_ID, not from `az login`, and this machine has no identity"
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


def _home(environment: Mapping[str, str]) -> Path:
    return Path(environment.get("HOME") or "~").expanduser()


def _answers(scheme: str, host: str) -> bool:
    """Whether this machine is one of the cloud's, which has an identity of its own."""
    method, path, headers = {
        "s3": ("PUT", "/latest/api/token", {"X-aws-ec2-metadata-token-ttl-seconds": "60"}),
        "gs": ("GET", "/computeMetadata/v1/", {"Metadata-Flavor": "Google"}),
        "az": ("GET", "/metadata/instance?api-version=2021-02-01", {"Metadata": "true"}),
    }[scheme]
    address = host.rstrip("/") if "://" in host else f"http://{host}"
    asked = urllib.request.Request(address + path, headers=headers, method=method)  # noqa: S310  this machine's
    try:
        # Without a proxy, as only this machine is asked.
        with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(asked, timeout=MACHINE_PATIENCE):
            return True
    except (OSError, ValueError):
        return False
