"""The plugin's process: the console script that the engine starts."""

import sys
from importlib.util import find_spec, module_from_spec

from pulumi_snapshots.late import late

AROUND_THE_MESSAGES = ("pulumi", "pulumi.runtime", "pulumi.runtime.proto")
"""The SDK's packages in which the messages of the protocol are. The plugin needs these and nothing
else of the SDK, which takes almost half of its start and a fifth of its memory.
"""


def main() -> None:
    """Run the console script `pulumi-resource-squarecloud`."""
    leave_out_the_sdk()
    late("plugin.protocol.server:serve_engine")()


def leave_out_the_sdk() -> None:
    """Let the SDK's packages be found, with the modules in them, without running their code."""
    for name in AROUND_THE_MESSAGES:
        if name in sys.modules:
            continue
        spec = find_spec(name)
        if spec is not None:
            sys.modules[name] = module_from_spec(spec)
