"""Compiles the twins of `otel_patterns.compiled` when a wheel is built; without a compiler it stays plain Python."""

from __future__ import annotations

import os
import shutil
import tempfile
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface


class CompilingHook(BuildHookInterface[Any]):
    """Asks Cython and the C compiler, and goes on without when one of them is missing or fails."""

    PLUGIN_NAME = "custom"
    _folder = ""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Compile into the wheel; for an editable installation, beside the sources."""
        if os.environ.get("OTEL_PATTERNS_PLAIN"):
            return
        self._folder = tempfile.mkdtemp()
        is_editable = version == "editable"
        try:
            modules = self._compile(self.root if is_editable else self._folder)
        except (Exception, SystemExit) as error:  # noqa: BLE001  # whatever a compiler does: the package works without
            self.app.display_warning(f"otel-patterns stays plain Python, which is slower: {error}")
            return
        if not is_editable:
            build_data["force_include"].update(modules)
            build_data["pure_python"] = False
            build_data["infer_tag"] = True

    def finalize(self, version: str, build_data: dict[str, Any], artifact_path: str) -> None:  # noqa: ARG002  # the hook's
        """Remove what the compiler has left."""
        shutil.rmtree(self._folder, ignore_errors=True)

    def _compile(self, target: str) -> dict[str, str]:
        """Compile every twin below a folder, and return where each stands and its place in the wheel."""
        # Who does not compile needs none of these.
        from Cython.Build import cythonize  # noqa: PLC0415
        from setuptools import Distribution, Extension  # noqa: PLC0415
        from setuptools.command.build_ext import build_ext  # noqa: PLC0415

        os.chdir(self.root)
        sources = sorted(Path("otel_patterns").rglob("*.pyx"))
        extensions = [
            # What debuggers would want of the C code is five times as large as the rest.
            Extension(".".join(source.with_suffix("").parts), [str(source)], extra_compile_args=["-g0"])
            for source in sources
        ]
        made = cythonize(extensions, build_dir=self._folder, language_level=3, quiet=True)
        command = build_ext(Distribution({"name": self.metadata.name, "ext_modules": made}))
        command.build_lib, command.build_temp = target, self._folder
        command.ensure_finalized()
        command.run()
        names = [command.get_ext_filename(extension.name) for extension in extensions]
        return {str(Path(target, name)): name for name in names}
