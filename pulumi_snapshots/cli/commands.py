"""The list of the commands, as the help groups them."""

import click

from pulumi_snapshots.cli.archives import archive, archives, decrypt, download, forget
from pulumi_snapshots.cli.assurance import drill, guards, report, runs, status
from pulumi_snapshots.cli.setup import completion, doctor, explain, plugin, probe
from pulumi_snapshots.cli.snapshots import create, databases, guard, restore, show, url
from pulumi_snapshots.cli.snapshots.list import list_
from pulumi_snapshots.cli.terminal.output import OUTPUT_FORMAT

GROUPS: dict[str, dict[click.Command, str]] = {
    "Snapshots": {
        databases.databases: "databases",
        list_: "list shop --newer-than 7d",
        show.show: "show shop/latest",
        url.url: "url shop/45ec0b49",
        create.create_command: "create shop --reuse-within 1h",
        guard.guard_command: "guard shop -- alembic upgrade head",
        restore.restore_command: "restore shop/45ec0b49",
    },
    "Archives": {
        download.download: "download shop/latest --output shop.zip",
        archive.archive: "archive shop/latest s3://backups/shop/",
        archives.archives: "archives s3://backups/shop/",
        decrypt.decrypt: "decrypt shop.zip.age --identity key.txt --output shop.zip",
        forget.forget: "forget s3://backups/shop/ --keep-daily 7",
    },
    "Assurance": {
        status.status_command: "status shop --max-age 26h",
        report.report: (
            "report shop --since 90d --archives s3://backups/shop/ --drill-within 8d"
        ),
        drill.drill: (
            "drill shop --scratch shop-drill --overwrite-scratch"
            " --check 'select count(*) from orders >= 1'"
        ),
        guards.guards: "guards shop",
        runs.runs: "runs",
    },
    "This tool and the service": {
        doctor.doctor: "doctor",
        explain.explain: "explain 429",
        plugin.plugin: "plugin install",
        completion.completion: "completion bash",
        probe.probe_command: "probe shop --report probe.json",
    },
}
"""The commands under their headings, each with the example that its help shows."""


class Grouped(click.Group):
    """A group whose help lists its commands under the headings of `GROUPS`."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Treat `help COMMAND` as `COMMAND --help`.

        Args:
            ctx: click's context.
            args: the arguments as they were typed.

        Returns:
            The remaining arguments.
        """
        if args[:1] == ["help"]:
            args = [*args[1:], "--help"]
        return super().parse_args(ctx, args)

    def format_commands(
        self,
        ctx: click.Context,  # noqa: ARG002  click's
        formatter: click.HelpFormatter,
    ) -> None:
        """Write each heading and its commands.

        Args:
            ctx: click's context.
            formatter: takes the text.
        """
        for heading, group in GROUPS.items():
            helps = [
                (each.name or "", each.get_short_help_str(limit=80)) for each in group
            ]
            with formatter.section(heading):
                formatter.write_dl(helps)


@click.group(cls=Grouped, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(
    None,
    "-v",
    "--version",
    package_name="pulumi-snapshots",
    message=f"%(prog)s %(version)s, output format {OUTPUT_FORMAT}",
)
def commands() -> None:
    """Snapshots of Square Cloud databases, for people and cron.

    To get data back: `status DATABASE` names the snapshot to go back to, and `restore`
    restores it.

    The API key comes from SQUARECLOUD_API_KEY. Results go to standard output; progress, warnings
    and errors to standard error.

    Exit codes: 0 done, 1 failed, 2 wrong arguments, 75 not now (nothing was done; run it again
    later), 130 after ^C, 143 after SIGTERM, 129 after SIGHUP. `guard` ends with the code of its
    command, or with 125 if that was not run.
    """


for group in GROUPS.values():
    for command, example in group.items():
        command.epilog = f"Example: squarecloud-snapshots {example}"
        commands.add_command(command)
