"""Starts the command line if its extra is installed.

It loads nothing before `main`, so that ^C at any moment ends it with one line.
"""

import sys


def main() -> int:
    """Run this process's arguments.

    Returns:
        The exit code.
    """
    try:
        from pulumi_snapshots.cli.run import run  # noqa: PLC0415  needs the extra, and a second

        return run(sys.argv[1:])
    except KeyboardInterrupt:
        print("Error: interrupted before anything was sent.", file=sys.stderr)  # noqa: T201  nothing else is loaded
        return 130
    except ModuleNotFoundError as missing:
        from pulumi_snapshots.cli.pages import page_text  # noqa: PLC0415  only for this
        from pulumi_snapshots.errors import pip_install  # noqa: PLC0415  only for this

        name = (missing.name or "").partition(".")[0]
        if name not in {"click", "rich"}:
            raise
        command, error = [*sys.argv[1:], "", ""][:2]
        page = page_text(error) if command == "explain" else None
        if page:
            print(page)  # noqa: T201  errors name this command, and it needs no extra
            return 0
        print(  # noqa: T201  what prints for users is what is missing
            f"Error: {name} is missing; install it with: {pip_install('cli')}",
            file=sys.stderr,
        )
        return 1


if __name__ == "__main__":
    sys.exit(main())
