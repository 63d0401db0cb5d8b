"""Where the machines of an account share what they send: a setting that is checked in preview. It loads no HTTP stack."""

from __future__ import annotations

import re
from importlib.util import find_spec

from pulumi_snapshots.errors.extras import pip_install
from pulumi_snapshots.properties import checks
from pulumi_snapshots.properties.unfit import Unfit
from pulumi_snapshots.stores.destination import EXTRA, LIBRARY, Destination

SHORT_BUCKET = "must name a bucket of at least two characters"
MUST_BE = "must be s3://BUCKET/PREFIX, gs://BUCKET/PREFIX, az://CONTAINER/PREFIX, or the absolute path of a folder"


def read_place(given: object) -> str:
    """Check the setting.

    Returns:
        A URI for a bucket, a path for a folder, without a final slash.

    Raises:
        Unfit: it is not a place, or what it needs is not installed.
    """
    text = checks.text(given).strip()
    if "://" not in text and not text.startswith(("/", "~")):
        raise Unfit(MUST_BE, given)
    try:
        place = place_of(text)
    except Unfit as error:
        short = re.match(r"(s3|gs|az)://[A-Za-z0-9](/|$)", text)
        raise Unfit(f"{SHORT_BUCKET}, and {MUST_BE}" if short else MUST_BE, given) from error
    if place.scheme == "file":
        if place.file.exists() and not place.file.is_dir():
            raise Unfit("must be a folder, not a file", given)
        return str(place.file)
    if find_spec(LIBRARY) is None:
        raise Unfit(f"needs {LIBRARY}, which is not installed: {pip_install(EXTRA)}")
    return place.uri


def place_of(text: str) -> Destination:
    """The folder, or the bucket and its prefix; raises `Unfit` if it is neither."""
    return Destination.parse(f"{text.rstrip('/')}/")
