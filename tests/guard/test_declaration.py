"""What a guard's declaration gives the resources of a program, with Pulumi's own mocks in a process of its own."""

import json
import subprocess
import sys
from typing import Any

import pytest

DATABASE = "a14b8d5e1cb7405a851eb4c075506121"
OTHER = "b25c9e6f2dc8516b962fc5d186617232"
PROGRAM = """
import asyncio
import json
import sys

import grpc
import pulumi
from pulumi.runtime import settings

DATABASE, OTHER = "{database}", "{other}"


class Mocks(pulumi.runtime.Mocks):
    def new_resource(self, args):
        return args.name, args.inputs

    def call(self, args):
        return {{}}


class Old(grpc.RpcError):
    def code(self):
        return grpc.StatusCode.UNIMPLEMENTED

    def details(self):
        return ""


class OldEngine:
    def Log(self, request):
        pass

    def RequirePulumiVersion(self, request):
        raise Old


seen = {{}}
asyncio.set_event_loop(asyncio.new_event_loop())  # Python 3.14 makes none unasked
pulumi.runtime.set_mocks(Mocks(), preview=False)
monitor = settings.get_monitor()
register = monitor.RegisterResource


def registered(asked):
    seen[asked.name] = {{
        "after": sorted(each.rpartition("::")[2] for each in asked.dependencies),
        "guarded": bool(asked.hooks.before_update),
    }}
    return register(asked)


monitor.RegisterResource = registered


class Thing(pulumi.CustomResource):
    def __init__(self, name, **options):
        super().__init__("servers:index:Server", name, {{}}, pulumi.ResourceOptions(**options))


@pulumi.runtime.test
def program():
    from pulumi_snapshots import Guard, Restore
    def restore(name, onto):
        Restore(name, database_id=DATABASE, version_id="v" * 36, target_database_id=onto, overwrite=True)
{body}

try:
    program()
except pulumi.RunError as error:
    print(json.dumps({{"error": str(error)}}))
else:
    print(json.dumps(seen))
"""


def declared(body: str) -> dict[str, Any]:
    lines = "\n".join(f"    {line}" for line in body.strip().splitlines())
    text = PROGRAM.format(database=DATABASE, other=OTHER, body=lines)
    done = subprocess.run(  # noqa: S603  a program of the test
        [sys.executable, "-c", text],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    printed: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return printed


IN_ORDER = """
guard = Guard("guard", DATABASE)
guard.stack(only=lambda type_, name: name != "free")
many = pulumi.ComponentResource(
    "servers:index:Many", "many", None, pulumi.ResourceOptions(hooks=guard.hooks)
)
Thing("early")
Thing("free", parent=many)
restore("back", DATABASE)
restore("drill", OTHER)
Thing("late")
"""


def test_a_restore_and_guarded_changes_happen_in_the_order_of_the_program() -> None:
    seen = declared(IN_ORDER)
    assert {
        name: each["guarded"]
        for name, each in seen.items()
        if name not in {"guard", "project-stack"}
    } == {
        "many": True,
        "early": True,
        "free": False,
        "back": False,
        "drill": False,
        "late": True,
    }
    assert (
        seen["early"]["after"] == seen["free"]["after"] == seen["drill"]["after"] == []
    )
    assert seen["back"]["after"] == ["early"], "a component may hold the Restore"
    assert seen["late"]["after"] == ["back"]


@pytest.mark.parametrize(
    ("body", "error"),
    [
        (
            'Guard("a", DATABASE)\nGuard("a", OTHER)',
            "the program has another guard of this name",
        ),
        ('Guard(" ", DATABASE)', "Guard: name must be a text that is not empty"),
        (
            'settings.SETTINGS.engine = OldEngine()\nGuard("a", DATABASE)',
            "Guard 'a': A Guard needs Pulumi 3.238.0 or later",
        ),
    ],
)
def test_a_guard_that_cannot_guard_fails_where_it_is_declared(
    body: str, error: str
) -> None:
    assert error in declared(body)["error"]
