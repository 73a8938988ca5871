"""Builds ``occlum_async._native._uring``, the cffi module behind ``io/boundary/uring.py``.

``python native/host/build_uring.py`` compiles it into the source tree; setup.py names ``ffi`` below.
"""

from __future__ import annotations

import re
from pathlib import Path

from cffi import FFI

HERE = Path(__file__).resolve().parent
SOURCE_TREE = HERE.parent.parent

OPERATIONS = (
    "IORING_OP_READ", "IORING_OP_WRITE", "IORING_OP_FSYNC", "IORING_OP_POLL_ADD", "IORING_OP_OPENAT2",
    "IORING_OP_FALLOCATE", "IORING_OP_ASYNC_CANCEL", "IORING_OP_CLOSE", "IORING_FSYNC_DATASYNC",
    "IORING_ASYNC_CANCEL_ANY", "IORING_ASYNC_CANCEL_ALL",
)  # fmt: skip

OPEN_HOW = "struct open_how { uint64_t flags; uint64_t mode; uint64_t resolve; ...; };"


def declarations() -> str:
    """uring.h in the words that cffi's parser knows, and liburing's numbers."""
    header = (HERE / "uring.h").read_text()
    header = re.sub(r"/\*.*?\*/", "", header, flags=re.DOTALL)
    header = re.sub(r"^#(pragma|include).*$", "", header, flags=re.MULTILINE)
    header = re.sub(r"^(#define \w+) .*$", r"\1 ...", header, flags=re.MULTILINE)
    constants = "\n".join(f"static const int {name};" for name in OPERATIONS)
    return f"{header}\n{OPEN_HOW}\n{constants}\n"


ffi = FFI()
ffi.cdef(declarations())
ffi.set_source(
    "occlum_async._native._uring",
    '#include <liburing.h>\n#include <linux/openat2.h>\n#include "uring.h"\n',
    sources=[str((HERE / "uring.c").relative_to(SOURCE_TREE))],
    include_dirs=[str(HERE)],
    libraries=["uring"],
    extra_compile_args=["-O2", "-Wall", "-Wextra"],
)

if __name__ == "__main__":
    import os

    os.chdir(SOURCE_TREE)
    ffi.compile(tmpdir=str(SOURCE_TREE), verbose=True)
