"""JSON in the bodies of requests, of the service's API and of the control API."""

from __future__ import annotations

import json
from typing import Any


def json_of(content: bytes) -> Any:
    """Parse a body.

    Args:
        content: The body.

    Raises:
        ValueError: It is no JSON, is nested too deeply, or has a text that no answer could repeat.
    """
    try:
        value = json.loads(content)
        json.dumps(value, ensure_ascii=False).encode()
    except RecursionError:
        raise ValueError("the JSON is nested too deeply") from None
    except UnicodeEncodeError:
        raise ValueError(
            "a text holds half of a surrogate pair, which is no character"
        ) from None
    return value
