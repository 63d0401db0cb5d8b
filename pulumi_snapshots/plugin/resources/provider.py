"""The plugin's explicit provider: an account."""

from __future__ import annotations

import pulumi

from pulumi_snapshots.properties.catalogue import in_camel
from pulumi_snapshots.run.settings import PACKAGE, Settings


class Provider(pulumi.ProviderResource):
    """An account: its own key, requests and address, which win over the stack's config and the environment.

    Args:
        resource_name: the resource's name in the program.
        api_key: the bare API key. Better in the environment, which no state stores. A secret.
        api_url: the API's address; `https` only, except to a loopback address. https://api.squarecloud.app/v2 unless
            given.
        snapshots_url: the snapshot host, for listings whose entries carry no URL of their own.
            https://snapshots.squarecloud.app unless given.
        requests_per_minute: the requests that the account's plan allows in a minute. 30 unless given.
        requests_for_others: how many of these are left to others: the dashboard's API, scripts, other machines with the
            same key. A tenth unless given.
        state_dir: the folder of this machine in which the provider writes down what it sends, an absolute path; the user's
            state directory unless given.
        shared_state: the place in which all machines of the account write down what they send: `s3://BUCKET/PREFIX`,
            `gs://`, `az://`, or a folder that they share. Without it each machine knows only its own runs.
        first_poll_after: how long after a 202 the listing is polled for the first time; may be 0. 2m unless given. A
            string such as `90s`, `45m`, `1h30m`, `7d`, or a number of seconds.
        poll_every: how long after that it is polled again, for one snapshot; several share their polls. 30s unless
            given. A string such as `90s`, `45m`, `1h30m`, `7d`, or a number of seconds.
        listing_cache: whether a new snapshot ends the 30 minutes for which the service may serve the same page of a
            listing: `ended-by-snapshot`, `kept` or `unknown`. The command `probe` finds out. unknown unless given.
        guard: `off` lets guarded changes happen without a snapshot, each with a warning and an entry in the guard's history.
            on unless given.
        block_wait: how long a `RATE_LIMITED` block lasts if the service sends no `Retry-After`. 30m unless given. A
            string such as `90s`, `45m`, `1h30m`, `7d`, or a number of seconds.
        restore_settle: how long an accepted restore is watched if the database is never seen down; may be 0. 1m unless
            given. A string such as `90s`, `45m`, `1h30m`, `7d`, or a number of seconds.
        opts: as for every resource.
    """

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
