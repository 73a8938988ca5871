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
    "IORING_OP_READ", "IORING_OP_WRITE", "IORING_OP_FSYNC", "IORING_OP_SYNC_FILE_RANGE", "IORING_OP_POLL_ADD",
    "IORING_OP_OPENAT2", "IORING_OP_FALLOCATE", "IORING_OP_ASYNC_CANCEL", "IORING_OP_CLOSE", "IORING_FSYNC_DATASYNC",
    "IORING_ASYNC_CANCEL_ANY", "IORING_ASYNC_CANCEL_ALL",
    "IORING_OP_CONNECT", "IORING_OP_ACCEPT", "IORING_OP_RECV", "IORING_OP_RECVMSG", "IORING_OP_SEND",
    "IORING_OP_SENDMSG", "IORING_OP_SEND_ZC", "IORING_ACCEPT_MULTISHOT", "IORING_RECV_MULTISHOT",
    "IORING_CQE_F_BUFFER", "IORING_CQE_F_MORE", "IORING_CQE_F_NOTIF", "IORING_CQE_F_SOCK_NONEMPTY",
    "IORING_CQE_BUFFER_SHIFT",
)  # fmt: skip

STRUCTURES = """
struct open_how { uint64_t flags; uint64_t mode; uint64_t resolve; ...; };
struct iovec { void *iov_base; size_t iov_len; };
struct msghdr {
    void *msg_name; unsigned msg_namelen; struct iovec *msg_iov; size_t msg_iovlen; void *msg_control;
    size_t msg_controllen; int msg_flags;
};
struct io_uring_recvmsg_out { uint32_t namelen; uint32_t controllen; uint32_t payloadlen; uint32_t flags; };
"""


def declarations() -> str:
    """uring.h in the words that cffi's parser knows, and liburing's numbers."""
    header = (HERE / "uring.h").read_text()
    header = re.sub(r"/\*.*?\*/", "", header, flags=re.DOTALL)
    header = re.sub(r"^#(pragma|include).*$", "", header, flags=re.MULTILINE)
    header = re.sub(r"^(#define \w+) .*$", r"\1 ...", header, flags=re.MULTILINE)
    constants = "\n".join(f"static const int {name};" for name in OPERATIONS)
    return f"{header}\n{STRUCTURES}\n{constants}\n"


ffi = FFI()
ffi.cdef(declarations())
ffi.set_source(
    "occlum_async._native._uring",
    '#include <liburing.h>\n#include <linux/openat2.h>\n#include <sys/socket.h>\n#include "uring.h"\n',
    sources=[str((HERE / "uring.c").relative_to(SOURCE_TREE))],
    include_dirs=[str(HERE)],
    libraries=["uring"],
    extra_compile_args=["-O2", "-Wall", "-Wextra"],
    # liburing before 2.3 lacks what this needs; the boundary of plain calls serves without it.
    optional=True,
)

if __name__ == "__main__":
    import os

    os.chdir(SOURCE_TREE)
    ffi.compile(tmpdir=str(SOURCE_TREE), verbose=True)
