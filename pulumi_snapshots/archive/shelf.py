"""All archives at a destination, listed and verified by their manifests: without the stack, the account or a private key."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from hashlib import sha256

from pulumi_snapshots.archive.manifest import SUFFIX, Manifest
from pulumi_snapshots.stores.destination import Destination
from pulumi_snapshots.stores.store import Store, StoreTrouble
from pulumi_snapshots.stores.unfinished import OURS


@dataclass(frozen=True)
class Shelved:
    """One archive, or what is left of one.

    Attributes:
        uri: of the object.
        manifest: what describes it; None if there is none.
        problem: what is wrong with it; empty if nothing is.
    """

    uri: str
    manifest: Manifest | None
    problem: str = ""


def shelved(place: Destination, store_of: Callable[[Destination], Store], *, deep: bool) -> Iterator[Shelved]:
    """The archives at a destination, by name.

    Args:
        place: a folder, with everything below it, or one object.
        store_of: the store of a place.
        deep: whether every byte is read and its digest compared; otherwise sizes are.

    Yields:
        One for each manifest, and for each object that is named like an archive and has none.

    Raises:
        StoreTrouble: the destination cannot be listed.
    """
    sizes = store_of(place).listing()
    if not place.folder and place.uri in sizes:
        about = store_of(Destination.parse(place.uri + SUFFIX)).stat()
        sizes |= {} if about is None else {place.uri + SUFFIX: about.size}
    described: set[str] = set()
    for uri in sorted(sizes):
        if not uri.endswith(SUFFIX):
            continue
        manifest = Manifest.read(store_of(Destination.parse(uri)))
        if manifest is not None and manifest.object == uri.removesuffix(SUFFIX).rpartition("/")[2]:
            described.add(uri.removesuffix(SUFFIX))
            yield _verified(uri.removesuffix(SUFFIX), manifest, sizes, store_of, deep=deep)
    for uri in sorted(sizes.keys() - described):
        if OURS.fullmatch(uri.rpartition("/")[2]) or (uri == place.uri and not uri.endswith(SUFFIX)):
            yield Shelved(uri, None, "has no manifest, so nothing says what it must be")


def _verified(
    uri: str, manifest: Manifest, sizes: dict[str, int], store_of: Callable[[Destination], Store], *, deep: bool
) -> Shelved:
    size = sizes.get(uri)
    if size is None:
        return Shelved(uri, manifest, "is missing")
    if size != manifest.size:
        return Shelved(uri, manifest, f"has {size} bytes, not {manifest.size}")
    if deep:
        hasher = sha256()
        try:
            for piece in store_of(Destination.parse(uri)).read():
                hasher.update(piece)
        except StoreTrouble as trouble:
            return Shelved(uri, manifest, f"cannot be read: {trouble.happened}")
        if hasher.hexdigest() != manifest.sha256:
            return Shelved(uri, manifest, f"was changed: its SHA-256 is {hasher.hexdigest()}, not {manifest.sha256}")
    return Shelved(uri, manifest)
