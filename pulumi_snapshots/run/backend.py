"""The backend in which Pulumi keeps the states of this run, as far as anything but the engine can know it."""

from __future__ import annotations

from functools import cache
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING

from pulumi_snapshots.errors import Text, Words
from pulumi_snapshots.ledger.place import OPTIONS, OWN, read_place
from pulumi_snapshots.properties.unfit import Unfit
from pulumi_snapshots.state_directory import home_directory

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

PROJECT = ("Pulumi.yaml", "Pulumi.yml", "Pulumi.json")
"""Names of a project's file."""
IN_CI = ("CI", "TF_BUILD", "JENKINS_URL")
"""Variables of which CI systems set one; the runner is gone after the job."""


def project_files(folder: Path) -> Iterator[Path]:
    """The files of the project in a folder, or in the next one above it."""
    for parent in (folder, *folder.parents):
        if found := [file for name in PROJECT if (file := parent / name).is_file()]:
            yield from found
            return


def backend_url(environment: Mapping[str, str]) -> str:
    """The backend's URL, looked for as the engine does; empty if there is none.

    Raises:
        Unfit: a file that may name it cannot be read.
    """
    if given := environment.get("PULUMI_BACKEND_URL"):
        return given
    home = environment.get("PULUMI_CREDENTIALS_PATH") or environment.get("PULUMI_HOME")
    return _url(Path.cwd(), Path(home or home_directory(environment) / ".pulumi") / "credentials.json")


@cache
def _url(folder: Path, login: Path) -> str:
    """See `backend_url`; kept, since a login in another terminal must not move the ledger of a run that is under way."""
    for file in (*project_files(folder), login):
        try:
            content = import_module("yaml").safe_load(file.read_text(encoding="utf-8")) if file.exists() else None
            url = content and (content.get("current") if file == login else (content.get("backend") or {}).get("url"))
        except Exception as error:  # of the file system, or of its parser
            raise Unfit(f"cannot be looked up: {file} cannot be read") from error
        if url:
            return str(url)
    return ""


def backend_place(environment: Mapping[str, str]) -> str:
    """The shared place in the backend, see `read_place`.

    Raises:
        Unfit: no backend is known, or it takes no files of others.
    """
    url = backend_url(environment)
    bare, _, query = url.partition("?")
    scheme, _, path = bare.partition("://")
    if not url:
        raise Unfit("is not known here: set PULUMI_BACKEND_URL, or log in to it")
    if scheme in {"http", "https"}:
        raise Unfit("is Pulumi Cloud here, and that keeps nothing but states: name a bucket or a folder instead")
    if scheme == "file" and not path.startswith(("/", "~")):
        raise Unfit("is a relative path here, another folder for each program: name it by an absolute path")
    if scheme not in {*OPTIONS, "azblob", "file"}:  # the URL may hold a password
        raise Unfit(f"is {scheme}:// here, and that keeps nothing but states: name a bucket or a folder instead")
    place = f"{path.rstrip('/')}/{OWN}" if scheme == "file" else f"{bare.rstrip('/')}/{OWN}?{query}"
    return read_place(place)


def bucket_url(environment: Mapping[str, str]) -> str:
    """The URL of the backend's bucket, without options; empty if there is none."""
    try:
        url = backend_url(environment).partition("?")[0]
    except Unfit:
        return ""
    return url if url.partition("://")[0] in {*OPTIONS, "azblob"} else ""


def could_share(environment: Mapping[str, str]) -> Words:
    """The line for a CI job that forgets what it has sent although its backend could keep it; empty for any other run."""
    url = bucket_url(environment) if any(map(environment.get, IN_CI)) else ""
    text = "this runner forgets what it has requested: with {shared_state} set to `backend`, {where} keeps it for the next job"
    return Text(text, where=url) if url else ""
