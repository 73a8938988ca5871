"""The cffi build of ``occlum_async._native._host``: the kernel's end of the channels."""

from __future__ import annotations

from pathlib import Path

from cffi import FFI

HERE = Path(__file__).resolve().parent

ffi = FFI()
ffi.cdef(
    """
    typedef struct poller poller;
    poller *poller_new(void *page, uint32_t capacity);
    void poller_free(poller *);
    void poller_add(poller *, uint32_t handle, void *slot);
    void poller_remove(poller *, uint32_t handle);
    uint32_t poller_scan(poller *, uint32_t *found, uint32_t limit);
    uint32_t poller_spin(poller *, uint32_t *found, uint32_t limit, uint64_t ns);
    uint32_t poller_sleep(poller *, uint32_t *found, uint32_t limit);
    void poller_wake(poller *);
    void poller_complete(poller *, uint32_t handle, int64_t result, uint32_t operations, uint32_t flags);
    int64_t guest_read(int pid, void *to, uint64_t from, uint64_t length);
    int64_t guest_write(int pid, const void *from, uint64_t to, uint64_t length);
    int kick_thread(int tgid, int tid, int signal);
    """
)
ffi.set_source(
    "occlum_async._native._host",
    "typedef struct poller poller;\n" + (HERE / "channel.c").read_text(),
    include_dirs=[str(HERE.parent / "include")],
    extra_compile_args=["-O2", "-std=gnu11"],
)

if __name__ == "__main__":
    ffi.compile(tmpdir=str(HERE.parent.parent), verbose=False)
