"""The plugin's explicit provider: an account."""

from __future__ import annotations

import pulumi

from pulumi_snapshots.properties.catalogue import in_camel
from pulumi_snapshots.run.settings import PACKAGE, Settings


class Provider(pulumi.ProviderResource):  # noqa: D101  the settings' own words
    __doc__ = (
        "An account: its own key, requests and address, which win over the stack's config and the environment.\n\nArgs:\n"
        "    resource_name: the resource's name in the program.\n"
        + "".join(f"    {each.name}: {each.description}\n" for each in Settings.properties().values())
        + "    opts: as for every resource.\n"
    )

    def __init__(  # noqa: PLR0913  each is a setting
        self,
        resource_name: str,
        *,
        api_key: pulumi.Input[str] | None = None,
        api_url: pulumi.Input[str] | None = None,
        snapshots_url: pulumi.Input[str] | None = None,
        requests_per_minute: pulumi.Input[int] | None = None,
        requests_for_others: pulumi.Input[int] | None = None,
        state_dir: pulumi.Input[str] | None = None,
        shared_state: pulumi.Input[str] | None = None,
        first_poll_after: pulumi.Input[str] | None = None,
        poll_every: pulumi.Input[str] | None = None,
        listing_cache: pulumi.Input[str] | None = None,
        guard: pulumi.Input[str] | None = None,
        block_wait: pulumi.Input[str] | None = None,
        restore_settle: pulumi.Input[str] | None = None,
        opts: pulumi.ResourceOptions | None = None,
    ) -> None:
        given = {name: value for name, value in locals().items() if name in Settings.properties() and value is not None}
        # The engine takes a provider's numbers as texts.
        texts = {in_camel(name): pulumi.Output.from_input(value).apply(str) for name, value in given.items()}
        if api_key is not None:
            texts["apiKey"] = pulumi.Output.secret(texts["apiKey"])
        super().__init__(PACKAGE, resource_name, texts, opts)
