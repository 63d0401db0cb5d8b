"""What a state holds of a dynamic provider: the name of its class, and nothing that it knows."""

import base64
import pickletools

import pytest
from pulumi.dynamic.dynamic import serialize_provider

from tests.dynamic.conftest import PROVIDERS


@pytest.mark.parametrize("kind", PROVIDERS)
def test_a_state_names_the_class_of_the_provider_and_holds_no_code_or_secret(
    kind: str,
) -> None:
    provider = PROVIDERS[kind]
    serialized = serialize_provider(provider)
    assert len(serialized) < 150, "the program makes it for each resource"
    pickled = base64.b64decode(serialized)
    texts = [
        value
        for _, value, _ in pickletools.genops(pickled)
        if isinstance(value, str | bytes)
    ]
    wanted = {type(provider).__module__, type(provider).__qualname__}
    assert wanted <= set(texts), (
        "the code of the day runs, whatever version wrote the state"
    )
    others = set(texts) - wanted
    assert all(len(each) < 30 for each in others), "only names of what makes an object"
    assert provider.serialize_as_secret_always is False, "so it needs no encryption"
