"""Builds what is not Python: the shim that runs inside guests, and the cffi modules of the kernel process.

Everything else about the project stands in pyproject.toml.
"""

from __future__ import annotations

import runpy
import shutil
from pathlib import Path

from setuptools import setup
from setuptools.command.build_py import build_py

HERE = Path(__file__).parent
NEEDED_TOOLS = ("gcc", "ld")


class BuildWithShim(build_py):
    """``build_py`` that also builds the shim and its header, into the source tree when editable."""

    def run(self) -> None:
        super().run()
        missing = [tool for tool in NEEDED_TOOLS if shutil.which(tool) is None]
        if missing:
            raise SystemExit(f"occlum-async: {', '.join(missing)} not found: install gcc and binutils")
        output = self._shim_directory()
        output.mkdir(parents=True, exist_ok=True)
        runpy.run_path(str(HERE / "native" / "build_shim.py"))["build"](output)

    def _shim_directory(self) -> Path:
        root = HERE if self.editable_mode else Path(self.build_lib)
        return root / "occlum_async" / "_native"

    def get_outputs(self, include_bytecode: bool = True) -> list[str]:
        built = (str(self._shim_directory() / name) for name in ("shim", "occlum_abi.h"))
        return [*super().get_outputs(include_bytecode), *built]


setup(
    cmdclass={"build_py": BuildWithShim},
    cffi_modules=[
        "native/host/build_host.py:ffi",
        "native/host/build_uring.py:ffi",
        "native/host/build_blockmap.py:ffi",
        "native/host/build_seal.py:ffi",
    ],
)
