"""The stack `data` takes a snapshot before each release.

The stack `staging` archives it without an API key.
"""

import pulumi

from pulumi_snapshots import Archive, Snapshot

config = pulumi.Config()


def data() -> None:
    """Take the snapshot, and export its download URL."""
    snapshot = Snapshot(
        "before-release",
        config.require("databaseId"),
        triggers=[config.require("release")],
    )
    pulumi.export("version_id", snapshot.version_id)
    # a secret, which it stays in the other stack
    pulumi.export("download_url", snapshot.download_url)


def staging() -> None:
    """Archive what the other stack has taken."""
    source = pulumi.StackReference(
        f"{pulumi.get_organization()}/{pulumi.get_project()}/data"
    )
    url = source.get_output("download_url")
    archive = Archive(
        "copy", download_url=url, destination=config.require("destination")
    )
    pulumi.export("version_id", archive.version_id)
    pulumi.export("uri", archive.uri)
    pulumi.export("sha256", archive.sha256)


stacks = {"data": data, "staging": staging}
if pulumi.get_stack() not in stacks:
    raise pulumi.RunError(
        f"This project has the stacks {' and '.join(stacks)}: pulumi stack init data"
    )
stacks[pulumi.get_stack()]()
