"""A command as a resource: it runs once for its triggers.

What the Command provider does, without a plugin.
"""

import shlex
import subprocess
import sys
from typing import Any

import pulumi
from pulumi.dynamic import CreateResult, DiffResult, Resource, ResourceProvider


class StepFailed(Exception):
    """The command has failed; the text is its output."""


class StepProvider(ResourceProvider):
    """Runs the command at each create; a delete undoes nothing."""

    def create(self, props: dict[str, Any]) -> CreateResult:
        """Run it to its end."""
        done = subprocess.run(  # noqa: S603  the user's own
            shlex.split(props["command"]), capture_output=True, text=True, check=False
        )
        if done.returncode:
            sys.tracebacklimit = 0  # what the command says is enough
            raise StepFailed(
                f"{props['command']} ended with {done.returncode}: {done.stdout}{done.stderr}"
            ) from None
        return CreateResult("done", props)

    def diff(self, _id: str, olds: dict[str, Any], news: dict[str, Any]) -> DiffResult:
        """Run it again for other triggers, not for another command."""
        differs = olds["triggers"] != news["triggers"]
        return DiffResult(changes=differs, replaces=["triggers"] if differs else [])


class Step(Resource):
    """A command that runs once for its triggers.

    Args:
        resource_name: The resource's name in the program.
        command: What to run, in the project's folder.
        triggers: Any values. Changed values run the command again.
        opts: As for every resource.
    """

    def __init__(
        self,
        resource_name: str,
        command: str,
        triggers: list[Any],
        opts: pulumi.ResourceOptions,
    ) -> None:
        super().__init__(
            StepProvider(),
            resource_name,
            {"command": command, "triggers": triggers},
            opts,
        )
