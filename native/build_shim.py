"""Build the shim: the freestanding program that runs inside guests, and the supervisor that starts them."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
FLAGS = [
    "-O2", "-g", "-std=gnu11", "-Wall", "-Wextra", "-Werror", "-Wno-parentheses", "-ffreestanding", "-fno-builtin",
    "-nostdlib", "-static", "-fno-pic", "-no-pie", "-mcmodel=large", "-mgeneral-regs-only", "-fno-stack-protector",
    "-fcf-protection=none", "-fno-asynchronous-unwind-tables", "-mno-red-zone", "-fno-tree-loop-distribute-patterns",
    "-Wl,--build-id=none", "-Wl,-z,max-page-size=4096", "-Wl,-z,noexecstack",
]  # fmt: skip


def build(output_dir: Path) -> Path:
    """Compile ``native/shim`` with gcc into ``output_dir/shim``; the path of the result.

    The header of the shared memory goes beside it: Python reads its numbers from there.
    """
    output_dir.mkdir(parents=True, exist_ok=True)
    shim = HERE / "shim"
    target = output_dir / "shim"
    sources = sorted(str(path) for suffix in ("*.c", "*.S") for path in shim.glob(suffix))
    shutil.copy(HERE / "include" / "occlum_abi.h", output_dir)
    subprocess.run(["gcc", *FLAGS, f"-Wl,-T,{shim / 'shim.ld'}", "-o", str(target), *sources], check=True)
    return target


if __name__ == "__main__":
    print(build(Path(sys.argv[1]) if len(sys.argv) > 1 else HERE.parent / "occlum_async" / "_native"))
