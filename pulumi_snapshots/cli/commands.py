"""The list of the commands, as the help groups them."""

from __future__ import annotations

from copy import copy

import click

from pulumi_snapshots.cli.archives.archive import archive
from pulumi_snapshots.cli.archives.archives import archives
from pulumi_snapshots.cli.archives.decrypt import decrypt
from pulumi_snapshots.cli.archives.download import download
from pulumi_snapshots.cli.archives.forget import forget
from pulumi_snapshots.cli.archives.restore_archive import restore_archive
from pulumi_snapshots.cli.assurance.drill import drill
from pulumi_snapshots.cli.assurance.guards import guards
from pulumi_snapshots.cli.assurance.runs import runs
from pulumi_snapshots.cli.assurance.status import status
from pulumi_snapshots.cli.setup.completion import completion
from pulumi_snapshots.cli.setup.doctor import doctor
from pulumi_snapshots.cli.setup.explain import explain
from pulumi_snapshots.cli.setup.plugin import plugin
from pulumi_snapshots.cli.setup.probe import probe
from pulumi_snapshots.cli.snapshots.create import create
from pulumi_snapshots.cli.snapshots.databases import databases
from pulumi_snapshots.cli.snapshots.list import list_
from pulumi_snapshots.cli.snapshots.restore import restore
from pulumi_snapshots.cli.snapshots.show import show
from pulumi_snapshots.cli.snapshots.url import url

GROUPS = {
    "Snapshots": (databases, list_, show, url, create, restore),
    "Archives": (download, archive, archives, decrypt, forget, restore_archive),
    "Assurance": (status, drill, guards, runs),
    "This tool and the service": (doctor, explain, plugin, completion, probe),
}


class Grouped(click.Group):
    """A group whose help lists its commands under the headings of `GROUPS`."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Take `help COMMAND` for `COMMAND --help`."""
        return super().parse_args(ctx, [*args[1:], "--help"] if args[:1] == ["help"] else args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002  click's
        """Write each heading and its commands."""
        for heading, group in GROUPS.items():
            with formatter.section(heading):
                formatter.write_dl([(each.name or "", each.get_short_help_str(limit=80)) for each in group])


@click.group(cls=Grouped, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(None, "-v", "--version", package_name="pulumi-snapshots", message="%(prog)s %(version)s")
def commands() -> None:
    """Snapshots of Square Cloud databases, for people and cron.

    To get data back: `status DATABASE` names the snapshot to go back to, and `restore` puts it back.

    The API key comes from SQUARECLOUD_API_KEY. Results go to standard output; progress, warnings and errors to
    standard error.

    Exit codes: 0 done, 1 failed, 2 wrong arguments, 130 after ^C, 143 after SIGTERM, 129 after SIGHUP.
    """


for command in [each for group in GROUPS.values() for each in group]:
    commands.add_command(command)
verify = copy(probe)
verify.hidden = True
commands.add_command(verify, "verify")  # the earlier name of `probe`
