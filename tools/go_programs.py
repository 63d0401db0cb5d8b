"""Compiles every Go program that the tools and the tests use, one after the other.

`make lock` collects the hashes of their modules meanwhile.
"""

import os
import sys

from tests.support import object_stores
from tools import checks, engine, language_hosts, sdks, servers


def main() -> int:
    """Compile them; they are kept in the user's cache as always."""
    engine.ensure(os.environ)
    sdks.generator(os.environ)
    for host in (
        language_hosts.YAML,
        language_hosts.YAML_CONVERTER,
        language_hosts.GO,
        language_hosts.NODEJS,
    ):
        host.ensure(os.environ)
    servers.ferretdb_program(os.environ)
    object_stores.versity_program(os.environ)
    checks.actionlint()
    return 0


if __name__ == "__main__":
    sys.exit(main())
