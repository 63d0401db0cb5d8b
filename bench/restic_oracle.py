"""Tiers of archives against restic's own `forget` over 10,000 random histories.

Run it with `python -m bench.restic_oracle`.

It asks restic's policy, and `restic forget --dry-run` itself over one repository of real snapshots.
Both are compiled from restic's Go module, which takes minutes, and kept in the user's cache; a
`restic` on PATH is asked too. `--store` writes some histories with restic's answers to
tests/fixtures/retention.json, which the tests read.
"""

import json
import os
import random
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from pulumi_snapshots.archive.record import Keep
from pulumi_snapshots.archive.retention import kept_by
from tools import engine

RESTIC = "0.18.1"
SOURCE = Path(__file__).resolve().parent / "restic" / "main.go"
STORED = (
    Path(__file__).resolve().parent.parent / "tests" / "fixtures" / "retention.json"
)
HISTORIES = 10_000
STORED_HISTORIES = 200
REPOSITORY = 40
POLICIES = 40
KEEPS_OLDEST = (0, 16)
"""The first release in which a tier that is not used up keeps the oldest snapshot too."""
TIERS = ("last", "daily", "weekly", "monthly", "yearly")
END = int(datetime(2026, 11, 26, 12, tzinfo=UTC).timestamp())


def programs() -> Path:
    """The folder of restic, and of the program that asks its policy, made if it is missing.

    Closed if it cannot be built.
    """

    def make(into: Path, environment: engine.Environment) -> None:
        # restic's packages are internal to its module, so the program is compiled inside a copy of
        # that.
        asking = engine.module(into / "work" / "asking", "", "package main\n")
        told = engine.run(
            ["go", "mod", "download", "-json", f"github.com/restic/restic@v{RESTIC}"],
            asking,
            environment,
        )
        copy = into / "work" / "restic"
        shutil.copytree(json.loads(told)["Dir"], copy, copy_function=shutil.copyfile)
        copy.chmod(0o755)
        (copy / "cmd").chmod(0o755)
        (copy / "cmd" / "policy").mkdir()
        shutil.copyfile(SOURCE, copy / "cmd" / "policy" / "main.go")
        go = engine.new_enough(copy, environment)
        for name in ("policy", "restic"):
            engine.build(go, copy, f"./cmd/{name}", into / name, RESTIC, environment)
        engine.remove(into / "work")

    return engine.kept(os.environ, f"restic-{RESTIC}", make)


def histories(count: int) -> Iterator[dict[str, Any]]:
    """Random histories and tiers, always the same ones."""
    chance = random.Random(16)  # noqa: S311  to be repeated
    for _ in range(count):
        pace = chance.choice((3600, 6 * 3600, 86400, 3 * 86400, 20 * 86400))
        times = []
        at = END - chance.randrange(400 * 86400)
        for _ in range(chance.randrange(1, 40)):
            times.append(at)
            at -= max(1, int(chance.expovariate(1 / pace)))
        chance.shuffle(times)
        wanted = chance.sample(TIERS, chance.randrange(1, len(TIERS) + 1))
        yield {
            "times": times,
            "keep": {tier: chance.randrange(1, 12) for tier in TIERS if tier in wanted},
        }


def ours(case: dict[str, Any]) -> list[int]:
    """What our tiers keep."""
    return sorted(
        kept_by(
            Keep(**case["keep"]),
            [datetime.fromtimestamp(each, UTC) for each in case["times"]],
        )
    )


def answered(cases: list[dict[str, Any]]) -> list[list[int]]:
    """What restic's policy keeps."""
    asked = "".join(json.dumps(case) + "\n" for case in cases)
    done = subprocess.run(  # noqa: S603
        [programs() / "policy"], input=asked, capture_output=True, text=True, check=True
    )
    return [sorted(json.loads(line)) for line in done.stdout.splitlines()]


def by_program(restic: Path, told: str) -> int:
    """Count the policies that `restic forget --dry-run` answers otherwise."""
    # Earlier ones do not keep the oldest of all: so it is made another one, which no tier reaches.
    older = [0] if tuple(map(int, told.split(".")[:2])) < KEEPS_OLDEST else []

    chance = random.Random(17)  # noqa: S311  to be repeated
    wrong = 0
    with tempfile.TemporaryDirectory() as name:
        home = Path(name)
        (home / "data").write_text("x")
        environment = {
            **os.environ,
            "RESTIC_REPOSITORY": str(home / "repository"),
            "RESTIC_PASSWORD": "it opens nothing",
            "TZ": "UTC",
            "HOME": name,
        }

        def run(*arguments: str) -> str:
            command = [str(restic), *arguments]
            return subprocess.run(  # noqa: S603
                command,
                env=environment,
                cwd=home,
                check=True,
                capture_output=True,
                text=True,
            ).stdout

        run("init")
        times = []
        at = datetime.fromtimestamp(END, UTC)
        for _ in range(REPOSITORY):
            at -= timedelta(seconds=int(chance.expovariate(1 / (5 * 86400))) + 1)
            times.append(int(at.timestamp()))
            run("backup", "--quiet", "--time", f"{at:%Y-%m-%d %H:%M:%S}", "data")
        for number in range(POLICIES):
            tiers = chance.sample(TIERS, 1 + number % len(TIERS))
            keep = {tier: chance.randrange(1, 9) for tier in tiers}
            options = [f"--keep-{tier}={count}" for tier, count in keep.items()]
            (group,) = json.loads(run("forget", "--dry-run", "--json", *options))
            kept = {
                int(datetime.fromisoformat(each["time"]).timestamp())
                for each in group["keep"]
            }
            every = times + older
            case = {
                "times": every,
                "keep": {tier: keep[tier] for tier in TIERS if tier in keep},
            }
            wrong += kept != {every[each] for each in ours(case)} - set(older)
    return wrong


def main() -> int:
    """Compare, or store."""
    if "--store" in sys.argv[1:]:
        cases = list(histories(STORED_HISTORIES))
        lines = [
            json.dumps({**case, "kept": kept})
            for case, kept in zip(cases, answered(cases), strict=True)
        ]
        STORED.write_text("[\n" + ",\n".join(lines) + "\n]\n")
        return 0
    cases = list(histories(HISTORIES))
    wrong = sum(
        ours(case) != kept for case, kept in zip(cases, answered(cases), strict=True)
    )
    print(f"{wrong} of {HISTORIES} histories differ from the policy of restic {RESTIC}")
    on_path = shutil.which("restic")
    for restic in [programs() / "restic", *([Path(on_path)] if on_path else [])]:
        told = subprocess.run(  # noqa: S603
            [restic, "version"], check=True, capture_output=True, text=True
        ).stdout.split()[1]
        again = by_program(restic, told)
        print(
            f"{again} of {POLICIES} policies differ from `restic forget --dry-run` of restic {told}"
        )
        wrong += again
    return 1 if wrong else 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except engine.Closed as reason:
        print(reason, file=sys.stderr)
        sys.exit(2)
