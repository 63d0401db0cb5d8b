"""What the resources share where programs declare them: the create's time-out, and warnings that are shown once."""

from __future__ import annotations

from typing import Any

import pulumi
from pulumi.runtime.config import is_config_secret

__all__ = ["create_timeout", "warn_of_plain_key", "warn_once"]

_said: set[str] = set()
"""Warnings that this program has shown; each is shown once."""


def create_timeout(opts: pulumi.ResourceOptions | None) -> tuple[Any, pulumi.ResourceOptions | None]:
    """The create's custom timeout, and the options without it.

    The engine keeps no dynamic resource to it, but ends the program with a traceback where it cannot read it, `7d`
    included; as an input it is checked like the others.
    """
    custom = opts.custom_timeouts if opts is not None else None
    if opts is None or custom is None or custom.create is None:
        return None, opts
    opts = pulumi.ResourceOptions.merge(opts, None)  # the program's own may serve other resources
    opts.custom_timeouts = pulumi.CustomTimeouts(update=custom.update, delete=custom.delete)
    return custom.create, opts


def warn_of_plain_key(resource: pulumi.Resource | None = None) -> None:
    """Warn where the API key is configured in plain text."""
    if pulumi.Config("squarecloud").get("apiKey") is not None and not is_config_secret("squarecloud:apiKey"):
        warn_once(
            "squarecloud:apiKey is configured in plain text; set it with `pulumi config set --secret squarecloud:apiKey`",
            resource,
        )


def warn_once(text: str, resource: pulumi.Resource | None = None) -> None:
    """Show a warning, unless this program has shown it already."""
    if text not in _said:
        _said.add(text)
        pulumi.log.warn(text, resource)
