"""The part that both ways to the Pulumi engine share.

The rules of each resource, and the engine's marks of values.
"""

from typing import TYPE_CHECKING

from pulumi_snapshots.late import late
from pulumi_snapshots.resources import RESOURCES, room_of

if TYPE_CHECKING:
    from pulumi_snapshots.properties.catalogue import ResourceSchema
    from pulumi_snapshots.run.calls import Rules


def schema_of(name: str) -> "ResourceSchema":
    """Load the definition of a resource.

    Args:
        name: the resource, such as `Snapshot`.

    Returns:
        The definition: the resource's inputs and its record.

    Raises:
        KeyError: There is no such resource.
    """
    schema: ResourceSchema = late(RESOURCES[name])
    return schema


def rules_of(name: str) -> "Rules":
    """Load the rules of a resource.

    Args:
        name: the resource, such as `Snapshot`.

    Returns:
        The rules: a new object, which keeps nothing between calls.
    """
    rules: type[Rules] = late(f"{room_of(name)}.difference:{name}Rules")
    return rules()


# The marks are the same in every SDK and in every state; published with the engine's protocol.
SIGNATURE = "4dabf18193072939515e22adb298388d"  # the property that makes an object a marked value
SECRET = "1b47061264138c4ac30d75fd1eb44270"  # noqa: S105  a mark
"""The signature of an object whose property `value` is a secret."""
OUTPUT = "d0e6a833031e9bbcd3f4e8bde6ca49a4"
"""The signature of an object whose property `value` is an output, perhaps unknown or a secret."""
RESOURCE = "5cf8f73096256a8f31e491e813e4eb8e"
"""The signature of a reference to a resource, which has the resource's URN and id."""
FILES = frozenset(
    {"c44067f5952c0a294b673a41bacd8c17", "0def7320c3a5731c473e5ecbe6d01bc7"}
)
"""The signatures of assets and archives."""
