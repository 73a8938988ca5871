"""The cffi build of ``occlum_async._native._seal``: AES-GCM of libcrypto over many blocks in one call."""

from __future__ import annotations

from pathlib import Path

from cffi import FFI

HERE = Path(__file__).resolve().parent

ffi = FFI()
ffi.cdef(
    """
    struct seal_key;
    struct seal_key *seal_key_new(const uint8_t *key, int bytes);
    void seal_key_free(struct seal_key *);
    int seal_bytes(struct seal_key *, uint32_t counter, const uint8_t *extra, int extra_size, const uint8_t *from,
                   int size, uint8_t *to, uint8_t *tag);
    int open_bytes(struct seal_key *, uint32_t counter, const uint8_t *extra, int extra_size, const uint8_t *from,
                   int size, uint8_t *to, const uint8_t *tag);
    int seal_blocks(struct seal_key *, uint64_t epoch, uint32_t counter, uint32_t kind, const uint32_t *addresses,
                    const uint8_t *from, const uint32_t *positions, const uint32_t *places, uint32_t count,
                    uint8_t *to, struct entry *entries);
    uint32_t open_blocks(struct seal_key *, uint64_t epoch, uint32_t kind, const uint32_t *addresses,
                         const struct entry *entries, uint32_t count, const uint8_t *from, uint8_t *to, uint8_t *bad);
    """.replace("struct entry", "void")
)
ffi.set_source(
    "occlum_async._native._seal",
    (HERE / "seal.c").read_text(),
    include_dirs=[str(HERE)],
    libraries=["crypto"],
    extra_compile_args=["-O2", "-std=gnu11", "-Wall", "-Wextra"],
    # Without libcrypto's headers the package ``cryptography`` does the same, more slowly.
    optional=True,
)

if __name__ == "__main__":
    ffi.compile(tmpdir=str(HERE.parent.parent), verbose=False)
