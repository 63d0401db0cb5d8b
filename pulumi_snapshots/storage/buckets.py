"""Archives in buckets, through obstore, and the credentials that reach them.

The stores' own tools find the credentials that obstore does not find.
"""

import configparser
import contextlib
import json
import os
import re
from collections.abc import Callable, Iterator, Mapping
from datetime import timedelta
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from pulumi_snapshots.errors import Hint, HintKind, pip_install
from pulumi_snapshots.state_directory import home_directory
from pulumi_snapshots.storage.destination import (
    EXTRA,
    LIBRARY,
    Destination,
)
from pulumi_snapshots.storage.store import (
    Buffer,
    Held,
    Mark,
    Overtaken,
    Seen,
    Store,
    StoreTrouble,
    trouble,
)

PART_SIZE = 8 * 1024 * 1024
"""Bytes of one part of an upload.

S3 and Google allow 10,000 parts, so an object has 80 GB at most.
"""
PARTS_AT_ONCE = 3  # parts that are under way; each is in memory
CLIENT: dict[str, Any] = {
    "allow_http": True,  # for an endpoint that says so; the stores' own addresses have https
    "connect_timeout": timedelta(seconds=10),
    "read_timeout": timedelta(seconds=45),  # of silence, not of a request
    "timeout": timedelta(hours=1),
}
LONGEST_PART = timedelta(minutes=15)
"""The most time of a part of an upload, after which it is sent again.

All parts of all transfers get through at 115 kB/s.
"""
RETRIES: dict[str, Any] = {
    "max_retries": 6,
    "retry_timeout": timedelta(seconds=60),
    "backoff": {
        "init_backoff": timedelta(seconds=0.25),
        "max_backoff": timedelta(seconds=10),
        "base": 2,
    },
}
"""About 15 s, and less than the patience of a refresh."""
# the status in the library's errors
REFUSED_STATUS = re.compile(r"status code: (4\d\d)")
SET_RIGHT = {
    HintKind.SET_REGION: (
        r"^s3:.*(AuthorizationHeaderMalformed|PermanentRedirect|IllegalLocationConstraint"
        r"|configured region)"
    ),
    HintKind.SET_CLOCK: "RequestTimeTooSkewed|RequestExpired|Request date header",
}
"""What a store says about something that is to be set right, after the address."""
CLASSES = {"s3": "S3Store", "gs": "GCSStore", "az": "AzureStore"}


class Buckets:
    """The buckets of a process, each opened once, with the credentials of the environment.

    Args:
        client: the library's options of requests; None for `CLIENT`.
        retries: the library's options of retries; None for `RETRIES`.
        environment: variables in addition to those of the process.
    """

    def __init__(
        self,
        client: Mapping[str, Any] | None = None,
        retries: Mapping[str, Any] | None = None,
        environment: Mapping[str, str] | None = None,
    ) -> None:
        self._client = client
        self._retries = retries
        self._environment = environment or {}
        self.bucket: Callable[..., tuple[Any, str]] = cache(self._open)

    def _open(
        self, scheme: str, name: str, *, uploads: bool = False
    ) -> tuple[Any, str]:
        """Open a bucket, for parts of uploads or for everything else; raises `StoreTrouble`.

        Returns the library's store, and its credentials in words.
        """
        with trouble(f"{scheme}://{name}"):
            try:
                store = getattr(
                    import_module(f"{LIBRARY}.store"),
                    CLASSES[scheme],
                )
                found, options = access(scheme, {**os.environ, **self._environment})
            except ImportError as error:
                then = [Hint(HintKind.INSTALL_EXTRA, pip=pip_install(EXTRA))]
                raise StoreTrouble(
                    f"{scheme}:// needs {LIBRARY} ({error})",
                    then=then,
                ) from error
            client = dict(self._client or CLIENT)
            retries = dict(self._retries or RETRIES)
            if uploads:
                client["read_timeout"] = LONGEST_PART
                retries["retry_timeout"] = 8 * LONGEST_PART
            return store(
                name,
                client_options=client,
                retry_config=retries,
                **options,
            ), found


class BucketStore(Store):
    """An object of a bucket."""

    def __init__(self, buckets: Buckets, place: Destination) -> None:
        super().__init__(place.uri)
        self._buckets = buckets
        self._scheme = place.scheme
        self._name, _, self._key = place.path.partition("/")

    def write(self, blocks: Iterator[Buffer]) -> Seen | None:
        """Let the object appear once the blocks end, or end the unfinished upload.

        Args:
            blocks: the bytes of the object.

        Returns:
            The object; None if the key may not read it.
        """
        if self._is_folder():
            raise StoreTrouble(f"{self.where} is a folder", then=[HintKind.NAME_OBJECT])
        with self._reached(uploads=True) as (library, bucket):
            library.put(
                bucket,
                self._key,
                blocks,
                chunk_size=PART_SIZE,
                max_concurrency=PARTS_AT_ONCE,
            )
        with contextlib.suppress(StoreTrouble):
            return self.stat()
        return None

    def stat(self) -> Seen | None:
        """Return the object's size and mark; None only if it certainly does not exist."""
        with (
            self._reached() as (library, bucket),
            contextlib.suppress(FileNotFoundError),
        ):
            found = library.head(bucket, self._key)
            version = found["version"] if self._scheme == "gs" else None
            words = (version, found["e_tag"], found["last_modified"])
            return Seen(
                found["size"],
                " ".join(str(word) for word in words if word is not None),
            )
        return None

    def load(self, most: int | None = None) -> Held | None:
        """Read the object whole.

        Args:
            most: the most bytes that are read; None for no limit.

        Returns:
            The object, without content if it has more bytes; None if there is no such object or
            bucket.
        """
        with (
            self._reached() as (library, bucket),
            contextlib.suppress(FileNotFoundError),
        ):
            found = library.get(bucket, self._key)
            is_larger = most is not None and found.meta["size"] > most
            content = b"" if is_larger else bytes(found.bytes())
            return Held(content, _mark(found.meta))
        return None

    def replace(self, content: bytes, mark: Mark | None) -> Mark:
        """Write the object if it is unchanged.

        Args:
            content: the bytes.
            mark: the mark of the object when it was read; None if there was none.

        Returns:
            The mark of the object.

        Raises:
            Overtaken: the object has another mark.
            StoreTrouble: nothing shows whether the object was written.
        """
        return self._put(content, "create" if mark is None else mark)

    def overwrite(self, content: bytes) -> Mark:
        """Write the object whether or not it exists.

        Args:
            content: the bytes.

        Returns:
            The object's mark.
        """
        try:
            return self._put(content, "overwrite")
        except Overtaken as kept:  # it must stay as it is, by a rule of the bucket
            raise StoreTrouble(
                f"{self.where} cannot be overwritten",
                then=[HintKind.ALLOW_OVERWRITING],
            ) from kept.__cause__

    def listing(self) -> dict[str, int]:
        """List the objects below this place, or this object.

        Returns:
            The bytes of each object by its URI.
        """
        with self._reached() as (library, bucket):
            every = [
                each
                for page in library.list(bucket, self._key or None)
                for each in page
            ]
        if self._key and not every:
            one = self.stat()
            if one is None:
                raise StoreTrouble(
                    f"{self.where} does not exist: nothing is stored there",
                    then=[HintKind.CHECK_PLACE],
                )
            return {str(self.where): one.size}
        return {
            f"{self._scheme}://{self._name}/{each['path']}": each["size"]
            for each in every
        }

    def _is_folder(self) -> bool:
        """Tell whether only names exist that begin with this one and a slash.

        A key that may only write proves nothing.
        """
        try:
            with self._reached() as (library, bucket):
                return self.stat() is None and any(
                    library.list(bucket, f"{self._key}/", chunk_size=1)
                )
        except StoreTrouble as refusal:
            if refusal.forbidden:
                return False
            raise

    def _put(self, content: bytes, mode: Any) -> Mark:
        with self._reached() as (library, bucket):
            try:
                return _mark(
                    library.put(
                        bucket,
                        self._key,
                        content,
                        mode=mode,
                        use_multipart=False,
                    )
                )
            except (
                library.exceptions.AlreadyExistsError,
                library.exceptions.PreconditionError,
            ) as error:
                raise Overtaken(self.where) from error

    def _pieces(self, size: int) -> Iterator[Buffer]:
        with self._reached() as (library, bucket):
            # A request for each part, since the time-out is of a request.
            for start in range(0, size, PART_SIZE):
                end = min(start + PART_SIZE, size)
                yield library.get_range(bucket, self._key, start=start, end=end)

    def _remove(self) -> None:
        with self._reached() as (library, bucket):
            library.delete(bucket, self._key)

    @contextlib.contextmanager
    def _reached(self, *, uploads: bool = False) -> Iterator[tuple[Any, Any]]:
        """Give the body the library and its store.

        Raises `StoreTrouble` for every error of the body, in few words.
        """
        with trouble(self.where):
            bucket, credentials = self._buckets.bucket(
                self._scheme, self._name, uploads=uploads
            )
            library = import_module(LIBRARY)
            try:
                yield library, bucket
            except (
                FileNotFoundError,
                library.exceptions.BaseError,
            ) as error:
                raise self._trouble(error, credentials) from error

    def _trouble(self, error: Exception, credentials: str) -> StoreTrouble:
        """Make the error that a user reads of one of the library's.

        It names the credentials: they, the region or the endpoint often are not those that were
        meant.
        """
        text = str(error)
        what = _words(error)
        if isinstance(error, FileNotFoundError):
            what = f"the bucket or the object does not exist ({what})"
        shown = f"{self.where} {text}"
        then = [
            step
            for step, sign in SET_RIGHT.items()
            if re.search(sign, shown, re.DOTALL)
        ]
        failed = StoreTrouble(
            f"{self.where}: {what} (credentials: {credentials})",
            then=then,
        )
        status = REFUSED_STATUS.search(text)
        # After a lost answer the library asks again, and the upload is over then.
        if status and "NoSuchUpload" not in text:
            failed.status = int(status[1])
        return failed


def _mark(facts: Mapping[str, Any]) -> Mark:
    """Take the mark out of what the library says of an object, or of a write."""
    return {
        name: facts[name]
        for name in ("e_tag", "version")
        if facts.get(name) is not None
    }


def _words(error: Exception) -> str:
    """Shorten the library's error, without addresses, whose queries may open the data."""
    text, _, inner = str(error).partition("\n\nDebug source")
    code = re.search(r"<Code>(.*?)</Code>", text)
    message = re.search(r"<Message>(.*?)</Message>", text, re.DOTALL)
    if code:
        # Azure's further lines are for its support.
        lines = message[1].strip().splitlines() if message else []
        return f"{code[1]}: {lines[0]}" if lines else code[1]
    if " credential provider: " in text:  # what boto3 or google-auth says
        text = text.rpartition(" credential provider: ")[2]
    words = " ".join(text.rpartition(" - ")[2].split()).removeprefix(
        "Server returned non-2xx status code: "
    )
    words = words[:300].rstrip(": ")
    causes = re.findall(r'message: "([^"]*)"', inner)
    return f"{words} ({causes[-1]})" if causes and causes[-1] not in words else words


# Credentials

MACHINE = "none is configured, so the identity of this machine"
"""What obstore tries in the end, for about 15 s if the machine has none."""
KEYS_LIVE = timedelta(minutes=5)
"""How long obstore uses keys before it asks boto3 again.

boto3 renews those that end within 10 minutes.
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
"""Settings of a profile of which only boto3 makes keys."""


class NoCredentials(StoreTrouble):
    """Those that are configured cannot be used."""


Access = tuple[str, dict[str, Any]]
"""How a bucket is reached: its credentials in words, never a secret, and the library's options.

Some of the options are secret.
"""


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
    return {"s3": _s3, "gs": _google, "az": _azure}[scheme](environment)


def _own(environment: Mapping[str, str], names: str) -> str:
    """Name the first of these variables from which obstore itself takes credentials.

    Empty if none of them is set.
    """
    variables = (
        name
        for name in sorted(environment)
        if environment[name] and re.fullmatch(names, name)
    )
    return next((f"what is in {name}" for name in variables), "")


def _first(environment: Mapping[str, str], *names: str) -> str:
    return next(filter(None, map(environment.get, names)), "")


def _s3(environment: Mapping[str, str]) -> Access:
    profile, settings = _profile(environment)
    found, provider = _s3_keys(environment, profile, settings)
    endpoint = _first(
        environment,
        "AWS_ENDPOINT_URL_S3",
        "AWS_ENDPOINT_URL",
        "AWS_ENDPOINT",
    )
    region = _first(environment, "AWS_REGION", "AWS_DEFAULT_REGION")
    options = {
        "region": region or settings.get("region"),
        "endpoint": endpoint or settings.get("endpoint_url"),
        "credential_provider": provider,
        "checksum_algorithm": environment.get("AWS_CHECKSUM_ALGORITHM"),
    }
    given = {name: value for name, value in options.items() if value}
    shown = [
        f", {name} {given[name]}" for name in ("region", "endpoint") if name in given
    ]
    return "".join([found, *shown]), given


def _s3_keys(
    environment: Mapping[str, str],
    profile: str,
    settings: Mapping[str, str],
) -> tuple[str, Callable[[], Any] | None]:
    """Find the keys for S3: in words, and what gives them, None if obstore finds them itself."""
    is_named = bool(_first(environment, "AWS_PROFILE", "AWS_DEFAULT_PROFILE"))
    found = _own(environment, "AWS_(SKIP_SIGNATURE|ACCESS_KEY_ID)")
    if not found and not is_named:
        found = _own(environment, "AWS_WEB_IDENTITY_TOKEN_FILE")
    if found:
        return found, None
    found, provider = _keys_of(profile, settings)
    if found:
        return found, provider
    if is_named:
        lacks = "has no credentials" if settings else "does not exist"
        raise NoCredentials(
            f"profile {profile!r} of the AWS configuration files {lacks}"
        )
    container = _own(environment, "AWS_CONTAINER_CREDENTIALS_(RELATIVE|FULL)_URI")
    return container or MACHINE, None


def _profile(
    environment: Mapping[str, str],
) -> tuple[str, dict[str, str]]:
    """Find the name of the profile, and its settings in the configuration files."""
    name = _first(environment, "AWS_PROFILE", "AWS_DEFAULT_PROFILE") or "default"
    config = _first(environment, "AWS_CONFIG_FILE") or (
        home_directory(environment) / ".aws/config"
    )
    secrets = _first(environment, "AWS_SHARED_CREDENTIALS_FILE") or (
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


def _keys_of(
    profile: str, settings: Mapping[str, str]
) -> tuple[str, Callable[[], Any] | None]:
    """Find the keys of a profile, which obstore does not read.

    Returns them in words, empty if there are none, and what gives them.
    """
    kind = next((name for name in BOTO3_FINDS if name in settings), None)
    if kind:
        with _package("boto3", f"profile {profile!r}, by {kind},"):
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
def _package(packages: str, what: str) -> Iterator[None]:
    """Raise `NoCredentials` if a package that finds credentials is missing, or fails.

    It fails if a login has expired, for example.
    """
    try:
        yield
    except ImportError as error:
        needs = f"{what} needs {packages.partition(' ')[0]} for its keys ({error})"
        raise NoCredentials(
            needs,
            then=[Hint(HintKind.INSTALL_PACKAGE, package=packages)],
        ) from error
    except Exception as error:
        raise NoCredentials(f"{what} gave no keys: {error}") from error


def _google(environment: Mapping[str, str]) -> Access:
    own = _own(
        environment,
        "GOOGLE_(SKIP_SIGNATURE|BEARER_TOKEN|SERVICE_ACCOUNT(_KEY)?)",
    )
    if own:
        return own, {}
    named = environment.get("GOOGLE_APPLICATION_CREDENTIALS")
    file = Path(
        named
        or (
            home_directory(environment)
            / ".config/gcloud/application_default_credentials.json"
        )
    )
    if not named and not file.exists():
        return MACHINE, {}
    try:
        kind = str(json.loads(file.read_text())["type"])
    except (OSError, ValueError, LookupError, TypeError) as error:
        raise NoCredentials(
            f"{file} cannot be read as Google credentials: {error}"
        ) from None
    found = f"{kind} in {file}"
    if kind in {"service_account", "authorized_user"}:
        return found, {}
    with _package(
        "google-auth requests", found
    ):  # google-auth finds it in the same places
        # Scopes are set afterwards: with them it would ask for the project's name too.
        credentials, _ = import_module("google.auth").default()
        credentials = import_module("google.auth.credentials").with_scopes_if_required(
            credentials, [GOOGLE_SCOPE]
        )
        provider = import_module("obstore.auth.google").GoogleCredentialProvider(
            credentials
        )
    return f"{found}, through google-auth", {"credential_provider": provider}


def _azure(environment: Mapping[str, str]) -> Access:
    options = _connection_string(environment.get("AZURE_STORAGE_CONNECTION_STRING", ""))
    # The second is the Azure CLI's own.
    account = options.get("account_name") or _first(
        environment,
        "AZURE_STORAGE_ACCOUNT_NAME",
        "AZURE_STORAGE_ACCOUNT",
    )
    if not account:
        raise NoCredentials(
            "no account is named: set AZURE_STORAGE_ACCOUNT_NAME, or "
            "AZURE_STORAGE_CONNECTION_STRING"
        )
    if options:
        return (
            f"AZURE_STORAGE_CONNECTION_STRING, account {account}",
            options,
        )
    found, more = _azure_identity(environment)
    return f"{found}, account {account}", {
        "account_name": account,
        **more,
    }


def _azure_identity(environment: Mapping[str, str]) -> Access:
    """Find the credentials for Azure, and the options that the library does not find itself."""
    secrets = (
        r"FEDERATED_TOKEN_FILE|(STORAGE_)?CLIENT_SECRET|STORAGE_(\w+_KEY|TOKEN|SAS_\w+)"
    )
    own = _own(environment, rf"AZURE_(SKIP_SIGNATURE|{secrets})")
    if own:
        return own, {}
    if key := environment.get("AZURE_STORAGE_KEY"):  # as the Azure CLI calls it
        return "what is in AZURE_STORAGE_KEY", {"account_key": key}
    own = _own(environment, "(AZURE_)?IDENTITY_ENDPOINT")
    if own:
        return own, {}
    if (
        environment.get("AZURE_USE_AZURE_CLI")
        or (home_directory(environment) / ".azure/azureProfile.json").exists()
    ):
        return "the login of the Azure CLI", {"use_azure_cli": True}
    return MACHINE, {}


def _connection_string(text: str) -> dict[str, Any]:
    """Read the options in a connection string; none if it names no account."""
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
