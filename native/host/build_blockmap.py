"""The cffi build of ``occlum_async._native._blockmap``: entries and bits of the secure disk, many in one call."""

from __future__ import annotations

from pathlib import Path

from cffi import FFI

HERE = Path(__file__).resolve().parent

ffi = FFI()
ffi.cdef(
    """
    void map_get(uint8_t *arena, const uint32_t *slots, const uint32_t *addresses, uint32_t count, void *entries);
    void map_set(uint8_t *arena, const uint32_t *slots, const uint32_t *addresses, const void *entries, uint32_t count,
                 uint64_t epoch, uint32_t since, uint32_t *old, uint32_t *old_count, uint32_t *fresh,
                 uint32_t *fresh_count);
    uint32_t map_move(uint8_t *arena, const uint32_t *slots, const uint32_t *addresses, const void *expected,
                      const uint32_t *places, uint32_t count, uint8_t *done);
    uint32_t entry_runs(const void *entries, uint32_t count, uint32_t *runs);
    uint32_t place_runs(const uint32_t *places, uint32_t count, uint32_t *runs);
    uint32_t region_take(uint8_t *page, uint32_t from, uint32_t end, uint32_t want, uint32_t base, uint32_t *places);
    uint32_t regions_missing(const int32_t *slots, uint32_t first, const uint32_t *places, uint32_t count,
                             uint32_t *missing);
    uint32_t regions_free(uint8_t *arena, const int32_t *slots, uint32_t first, const uint32_t *places, uint32_t count,
                          int hold);
    uint32_t regions_mark(uint8_t *arena, const int32_t *slots, uint32_t first, const uint32_t *places, uint32_t count);
    void region_settle(uint8_t *page);
    void region_counts(const uint8_t *page, uint16_t *available, uint16_t *used);
    uint32_t segment_used(const uint8_t *page, uint32_t segment, const uint8_t *owners_page, uint32_t base,
                          uint32_t *places, uint32_t *owners);
    void owners_set(uint8_t *owners_page, uint32_t base, const uint32_t *places, const uint32_t *owners,
                    uint32_t count);
    int page_is_zero(const uint8_t *page);
    struct pending;
    struct pending *pending_new(uint32_t places);
    void pending_free(struct pending *);
    void pending_clear(struct pending *);
    uint32_t pending_count(const struct pending *);
    void pending_put(struct pending *, const uint32_t *addresses, const void *entries, uint32_t count, uint64_t epoch,
                     uint32_t since, uint32_t *old, uint32_t *old_count, uint32_t *fresh, uint32_t *fresh_count);
    void pending_discard(struct pending *, uint32_t first, uint32_t count, uint64_t epoch, uint32_t since,
                         uint32_t *old, uint32_t *old_count, uint32_t *fresh, uint32_t *fresh_count);
    uint32_t pending_get(const struct pending *, const uint32_t *addresses, uint32_t count, void *entries);
    void pending_move(struct pending *, const uint32_t *addresses, const void *expected, const uint32_t *places,
                      uint32_t count, uint8_t *done);
    void pending_sorted(const struct pending *, uint32_t *addresses);
    """
)
ffi.set_source(
    "occlum_async._native._blockmap",
    (HERE / "blockmap.c").read_text(),
    include_dirs=[str(HERE)],
    extra_compile_args=["-O2", "-std=gnu11", "-Wall", "-Wextra"],
)

if __name__ == "__main__":
    ffi.compile(tmpdir=str(HERE.parent.parent), verbose=False)
