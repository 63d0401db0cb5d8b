"""Pulumi's language hosts for YAML, Go and TypeScript programs.

The installed ones, or ones that are built from their Go modules.
"""

from __future__ import annotations

import os
import shutil
from dataclasses import dataclass
from pathlib import Path

from tools import engine


@dataclass(frozen=True)
class LanguageHost:
    """A language host: the program that the engine finds, and where its source is."""

    program: str
    module: str
    version: str
    folder: str

    def ensure(self, environment: engine.Environment) -> Path:
        """The directory of the language host, made if it is missing and kept in the user's cache.

        Closed if it cannot be built.
        """
        found = shutil.which(self.program, path=environment.get("PATH", os.defpath))
        if found is not None:
            return Path(found).parent
        language = self.program.removeprefix("pulumi-language-")
        name = f"{language}-host-{self.version}-{engine.ENGINE}"
        return engine.kept(environment, name, self._build)

    def _build(self, into: Path, environment: engine.Environment) -> None:
        package = f"{self.module}/{self.folder}/{self.program}"
        needs = f"require {self.module} v{self.version}\n"
        how = engine.alone
        if self.module != engine.SDK:
            # The generator of SDKs, which is made first, has compiled what they share; the rest may
            # be compiled beside others.
            needs = needs + engine.MODULES
            how = engine.run
        engine.compiled(
            into / self.program,
            needs,
            engine.needing(package),
            self.version,
            environment,
            package,
            how,
        )


YAML = LanguageHost(
    "pulumi-language-yaml", "github.com/pulumi/pulumi-yaml", "1.38.0", "cmd"
)
YAML_CONVERTER = LanguageHost(
    "pulumi-converter-yaml", YAML.module, YAML.version, YAML.folder
)
"""No host, but made like one: reads YAML for `pulumi convert`."""
GO = LanguageHost("pulumi-language-go", engine.SDK, "3.60.0", "go")
"""The last one that is part of a Go module; it works with later engines."""
NODEJS = LanguageHost("pulumi-language-nodejs", engine.SDK, "3.68.0", "nodejs/cmd")
"""The last one that is part of a Go module; it works with later engines, and with later packages of
npm.
"""
