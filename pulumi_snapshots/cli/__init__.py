"""The command line: `squarecloud-snapshots`, for people and cron. Translates; every rule stands in `operations`."""
