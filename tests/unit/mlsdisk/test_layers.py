"""The layers of MlsDisk, each by itself."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import importlib
import os
import random
import resource
import struct
from pathlib import Path

import pytest

from occlum_async.abi.errors import SyscallError
from occlum_async.errors import DiskError
from occlum_async.fs.block.device import BLOCK
from occlum_async.fs.block.memory import MemoryDevice
from occlum_async.fs.mlsdisk import FileCounter, MemoryCounter, journal, superblock
from occlum_async.fs.mlsdisk.blockio import EARLY, HAND_OVER, SealedBlocks
from occlum_async.fs.mlsdisk.cache import NodeCache
from occlum_async.fs.mlsdisk.cipher import Cipher, NativeCipher, best_cipher, numbers, package_cipher
from occlum_async.fs.mlsdisk.counter import check_fresh
from occlum_async.fs.mlsdisk.forest import NEIGHBOURS, Forest
from occlum_async.fs.mlsdisk.keys import EPOCH_BLOCKS, Keys
from occlum_async.fs.mlsdisk.layout import (
    DATA,
    ENTRY_SIZE,
    HOLE,
    INDEX,
    REGION,
    SEGMENT,
    Geometry,
    image_blocks,
    node_key,
    plan,
)
from occlum_async.fs.mlsdisk.space import COLD, HOT, NODES, Space
from occlum_async.fs.mlsdisk.stats import Statistics
from occlum_async.fs.mlsdisk.workers import Workers
from occlum_async.sched.strand import Scheduler

ROOT = bytes(range(32))


def keys(bits: int = 256, identity: bytes = b"i" * 16) -> Keys:
    return Keys(best_cipher(), ROOT, identity, bits)


def ciphers() -> list[Cipher]:
    found: list[Cipher] = []
    with contextlib.suppress(ImportError):
        found.append(NativeCipher(importlib.import_module("occlum_async._native._seal")))
    with contextlib.suppress(DiskError):
        found.append(package_cipher())
    return found


# -- ciphers and keys ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("bits", [128, 256])
def test_all_ciphers_seal_alike(bits: int) -> None:
    count = 7
    data = os.urandom(count * BLOCK)
    addresses, places = numbers(range(100, 100 + count)), numbers(range(500, 500 + count))
    positions = numbers(random.Random(1).sample(range(count), count))
    results = []
    for cipher in ciphers():
        key = cipher.new_key(bytes(bits // 8))
        sealed, entries = bytearray(count * BLOCK), bytearray(count * ENTRY_SIZE)
        cipher.seal_blocks(key, 7, 11, 3, addresses, data, positions, places, sealed, entries)
        opened, bad = bytearray(count * BLOCK), bytearray(count)
        cipher.open_blocks(key, 7, 3, addresses, entries, sealed, opened, bad)
        assert not any(bad)
        pieces = [data[position * BLOCK : (position + 1) * BLOCK] for position in positions]
        assert opened == b"".join(pieces)
        # One block by itself is sealed as one of many.
        assert cipher.open(key, 11, struct.pack("<II", 3, 100), sealed[:BLOCK], entries[:16]) == pieces[0]
        results.append((bytes(sealed), bytes(entries), cipher.seal(key, 5, b"extra", data[:100])))
    assert results and all(result == results[0] for result in results)


@pytest.mark.parametrize("cipher", ciphers(), ids=lambda cipher: type(cipher).__name__)
def test_a_changed_block_is_zeroed_and_named(cipher: Cipher) -> None:
    key = cipher.new_key(bytes(32))
    data, addresses = os.urandom(4 * BLOCK), numbers(range(4))
    sealed, entries = bytearray(4 * BLOCK), bytearray(4 * ENTRY_SIZE)
    cipher.seal_blocks(key, 7, 1, 0, addresses, data, None, addresses, sealed, entries)
    sealed[BLOCK + 5] ^= 1
    entries[2 * ENTRY_SIZE] ^= 1
    opened, bad = bytearray(b"x" * 4 * BLOCK), bytearray(4)
    cipher.open_blocks(key, 7, 0, addresses, entries, sealed, opened, bad)
    assert list(bad) == [0, 1, 1, 0]
    assert opened == data[:BLOCK] + bytes(2 * BLOCK) + data[3 * BLOCK :]
    cipher.open_blocks(key, 7, 1, addresses, entries, sealed, opened, bad)
    assert all(bad), "a block of another kind"


def test_an_epoch_gives_each_counter_once_and_then_ends() -> None:
    ours = keys()
    seen = set()
    for count in (1, 5, 1024, 1):
        _, epoch, first = ours.take(count)
        assert epoch == ours.epoch
        for counter in range(first, first + count):
            assert (epoch, counter) not in seen
            seen.add((epoch, counter))
    ours._next = EPOCH_BLOCKS - 3
    _, before, first = ours.take(3)
    assert first + 3 == EPOCH_BLOCKS
    _, after, first = ours.take(1)
    assert after != before and first == 1


def test_keys_of_disks_and_epochs_and_sizes_differ() -> None:
    def sealed(ours: Keys, epoch: int) -> bytes:
        return ours.cipher.seal(ours.of(epoch), 1, b"", bytes(64))[0]

    some = [sealed(keys(), 1), sealed(keys(), 2), sealed(keys(128), 1), sealed(keys(identity=b"j" * 16), 1)]
    assert len(set(some)) == 4 and sealed(keys(), 1) == some[0]
    root = best_cipher().seal(best_cipher().new_key(ROOT), 1, b"", bytes(64))[0]
    assert root not in some
    assert keys().epoch != keys().epoch or keys().take(1)[1] != keys().take(1)[1]


def test_keys_show_nothing_and_leave_no_core_dump() -> None:
    ours = keys()
    assert ROOT.hex()[:8] not in repr(ours) and repr(ours) == "Keys(...)"
    assert resource.getrlimit(resource.RLIMIT_CORE)[0] == 0
    for wrong in (b"", b"short", bytes(2000), "text"):
        with pytest.raises(DiskError, match="a key has between"):
            Keys(best_cipher(), wrong, bytes(16), 256)  # type: ignore[arg-type]


# -- the superblock and the journal -----------------------------------------------------------------------------------


def a_superblock(generation: int = 3) -> superblock.Superblock:
    return superblock.Superblock(Geometry(1000, 800, 16), generation, 9, 77, b"n" * 16, 0.05, bytes(range(32)), HOLE)


def test_a_superblock_is_found_again_and_no_bit_of_it_may_differ() -> None:
    ours = keys()
    header = superblock.Header(b"i" * 16, 256)
    block = superblock.encode(a_superblock(), ours, header)
    assert len(block) == BLOCK and superblock.read_header(block) == header
    assert superblock.decode(block, ours) == a_superblock()
    for place in [*range(64), *range(64, BLOCK, 97)]:
        for bit in (1, 128):
            changed = bytearray(block)
            changed[place] ^= bit
            assert superblock.decode(changed, ours) is None
    assert superblock.decode(block, Keys(best_cipher(), bytes(32), b"i" * 16, 256)) is None


def test_the_later_superblock_is_chosen() -> None:
    assert superblock.choose([a_superblock(3), a_superblock(4)]).generation == 4
    assert superblock.choose([None, a_superblock(2)]).generation == 2
    with pytest.raises(DiskError):
        superblock.choose([None, None])


def deltas(count: int, first: int = 0) -> journal.Deltas:
    made = journal.Deltas()
    made.add(numbers(range(first, first + count)), os.urandom(count * ENTRY_SIZE))
    return made


def written(ours: Keys, sizes: list[int], blocks: int = 64) -> tuple[list[memoryview], journal.Deltas]:
    """A journal with commits of so many deltas, and all of these."""
    chain = journal.Journal(ours, blocks, b"n" * 16)
    image = bytearray(blocks * BLOCK)
    everything = journal.Deltas()
    for number, size in enumerate(sizes):
        some = deltas(size, 1000 * number)
        assert chain.fits(size)
        first, data = chain.append(some, 100 + number)
        image[first * BLOCK : first * BLOCK + len(data)] = data
        everything.add(some.addresses, some.entries)
    return [memoryview(image)[index * BLOCK : (index + 1) * BLOCK] for index in range(blocks)], everything


def test_a_journal_is_followed_to_its_end() -> None:
    ours = keys()
    sizes = [1, journal.DELTAS, journal.DELTAS + 1, 0, 500]
    blocks, everything = written(ours, sizes)
    chain = journal.follow(ours, b"n" * 16, blocks)
    assert (chain.commits, chain.counter, chain.torn) == (5, 104, False)
    assert chain.deltas.addresses == everything.addresses and chain.deltas.entries == everything.entries
    assert journal.follow(ours, b"m" * 16, blocks).commits == 0, "another checkpoint's"


def test_a_torn_commit_does_not_count_and_a_missing_one_is_damage() -> None:
    ours = keys()
    blocks, _ = written(ours, [1, 1, 3 * journal.DELTAS])
    for lost in ({4}, {2}, {3}, {2, 3}, {2, 3, 4}):
        torn = [memoryview(bytes(BLOCK)) if number in lost else block for number, block in enumerate(blocks)]
        chain = journal.follow(ours, b"n" * 16, torn)
        assert chain.commits == 2 and chain.torn == (lost != {2, 3, 4})
    for lost in ({0}, {1}, {0, 1}):
        damaged = [memoryview(bytes(BLOCK)) if number in lost else block for number, block in enumerate(blocks)]
        with pytest.raises(DiskError, match="journal is damaged"):
            journal.follow(ours, b"n" * 16, damaged)


def test_journal_blocks_are_bound_to_their_position() -> None:
    ours = keys()
    blocks, _ = written(ours, [1, 1, 1])
    with pytest.raises(DiskError):
        journal.follow(ours, b"n" * 16, [blocks[1], blocks[0], *blocks[2:]])


@pytest.mark.parametrize("seed", range(20))
def test_any_bytes_are_no_superblock_and_no_journal(seed: int) -> None:
    chance = random.Random(seed)
    ours = keys()
    block = bytearray(chance.randbytes(BLOCK))
    block[:8] = chance.choice((superblock.MAGIC, journal.MAGIC, block[:8]))
    header = superblock.read_header(block)
    assert header is None or superblock.decode(block, ours) is None
    block[8:28] = b"n" * 16 + bytes(4)
    assert journal.open_block(ours, b"n" * 16, 0, block) is None


# -- counters -------------------------------------------------------------------------------------------------------


async def test_a_file_counter_goes_up_by_one(tmp_path: Path) -> None:
    counter = FileCounter(tmp_path / "counter")
    assert await counter.read() == 0
    await counter.advance(1)
    await counter.advance(2)
    assert await FileCounter(tmp_path / "counter").read() == 2
    for wrong in (2, 4, 0):
        with pytest.raises(DiskError, match="goes from 2 to 3"):
            await counter.advance(wrong)
    assert [path.name for path in tmp_path.iterdir()] == ["counter"]


@pytest.mark.parametrize("content", [b"", b"-1", b"x", b"1" * 40, b"\xff\xfe"])
async def test_a_file_that_is_no_counter_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "counter").write_bytes(content)
    with pytest.raises(DiskError):
        await FileCounter(tmp_path / "counter").read()


async def test_a_counter_that_can_not_be_written_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(DiskError, match="can't be advanced"):
        await FileCounter(tmp_path / "nowhere" / "counter").advance(1)
    with pytest.raises(DiskError):
        await MemoryCounter(3).advance(5)


def test_what_is_fresh() -> None:
    check_fresh(5, 5)
    check_fresh(6, 5)
    with pytest.raises(DiskError, match="rollback"):
        check_fresh(4, 5)
    with pytest.raises(DiskError, match="does not belong"):
        check_fresh(7, 5)


# -- sealed blocks, the trees, space ---------------------------------------------------------------------------------


def stack(blocks: int = 40_000) -> tuple[SealedBlocks, Forest, Space, Geometry]:
    scheduler = Scheduler(asyncio.get_running_loop())
    geometry = plan(blocks, 0.05)
    io = SealedBlocks(MemoryDevice(blocks), keys(), best_cipher(), Workers(scheduler), Statistics())
    forest = Forest(io, 256, geometry.index_top, geometry.space_top)
    return io, forest, Space(forest, geometry, geometry.data, 1), geometry


@pytest.mark.parametrize("count", [1, HAND_OVER - 1, HAND_OVER, 300])
async def test_sealed_blocks_come_back_and_the_device_sees_no_plaintext(count: int) -> None:
    io, _, _, geometry = stack()
    data = b"".join(b"plain %06d" % index * 341 + b"-" * 4 for index in range(count))[: count * BLOCK]
    data = data.ljust(count * BLOCK, b"p")
    places = numbers(range(geometry.first, geometry.first + count))
    addresses = numbers(range(count))
    sealed, entries = await io.seal(DATA, addresses, data, None, places)
    await io.write(places, sealed)
    assert b"plain" not in io.device.content()  # type: ignore[attr-defined]
    back, bad = await io.read(DATA, addresses, entries)
    assert back == data and not any(bad)
    assert await io.read_one(DATA, 0, bytes(entries[:ENTRY_SIZE])) == data[:BLOCK]
    assert await io.read_one(DATA, 1, bytes(entries[:ENTRY_SIZE])) is None, "for another address"
    io.workers.close()


async def test_a_device_may_begin_with_what_was_written_long_before_the_flush(monkeypatch: pytest.MonkeyPatch) -> None:
    io, _, _, _ = stack()
    begun: list[tuple[int, int]] = []
    monkeypatch.setattr(io.device, "begin_writeback", lambda block, count: begun.append((block, count)))

    async def write(first: int, count: int) -> None:
        await io.write(numbers(range(first, first + count)), bytes(count * BLOCK))

    await write(100, EARLY - 1)
    await io.flush()
    assert not begun, "the flush has done all of it"
    for piece in range(0, EARLY - 512, 512):
        await write(5000 + piece, 512)
    await write(20_000, 500)
    await write(30_000, 11)
    assert not begun
    await write(20_500, 1)
    assert begun == [(5000, EARLY - 512), (20_000, 501)], "a few blocks are not worth it"
    await write(100, EARLY - 1)
    assert len(begun) == 2
    io.workers.close()


async def test_the_cache_keeps_the_way_to_each_node() -> None:
    _, forest, _, _ = stack()
    cache = forest.cache
    for leaf in range(0, 300):
        await forest.ensure((node_key(INDEX, leaf),))
        for key in cache.slot_of:
            assert forest.is_root(key) or (key >> 32) + 1 << 32 | (key & 0xFFFFFFFF) // 128 in cache.slot_of
    assert len(cache.slot_of) <= cache.slots


async def written_leaves(forest: Forest, geometry: Geometry, count: int) -> None:
    """Leaves that begin with their number, side by side on the device, and an empty cache."""
    for leaf in range(count):
        await forest.ensure((node_key(INDEX, leaf),))
        slot = forest.cache.slot_of[node_key(INDEX, leaf)]
        forest.cache.page(slot)[:4] = (leaf + 1).to_bytes(4, "little")
        forest.cache.mark_dirty(slot)
    place = geometry.first
    for kind in range(INDEX, geometry.index_top + 1):
        keys = forest.cache.dirty_keys(kind)
        await forest.write_nodes(keys, numbers(range(place, place + len(keys))))
        place += len(keys)
    forest.cache.clear()


def leaf_number(forest: Forest, leaf: int) -> int:
    return int.from_bytes(forest.cache.page(forest.cache.slot_of[node_key(INDEX, leaf)])[:4], "little") - 1


async def test_nodes_come_with_their_neighbours(monkeypatch: pytest.MonkeyPatch) -> None:
    io, forest, _, geometry = stack()
    await written_leaves(forest, geometry, 100)
    reads: list[tuple[int, int]] = []
    read = io.device.read

    async def counted(block: int, count: int) -> bytes | bytearray | memoryview:
        reads.append((block, count))
        return await read(block, count)

    monkeypatch.setattr(io.device, "read", counted)
    await forest.ensure((node_key(INDEX, 50),))
    upper = geometry.index_top - INDEX
    assert len(reads) == upper + 1 and reads[-1] == (geometry.first + 43, NEIGHBOURS)
    for leaf in range(43, 43 + NEIGHBOURS):
        assert leaf_number(forest, leaf) == leaf
    await forest.ensure((node_key(INDEX, 42),))
    assert reads[-1] == (geometry.first + 35, 8), "none is read twice"


async def test_a_damaged_neighbour_harms_nobody() -> None:
    io, forest, _, geometry = stack()
    await written_leaves(forest, geometry, 100)
    block = bytearray(await io.device.read(geometry.first + 51, 1))
    block[100] ^= 1
    await io.device.write(geometry.first + 51, block)
    await forest.ensure((node_key(INDEX, 50),))
    assert leaf_number(forest, 50) == 50 and leaf_number(forest, 52) == 52
    assert io.statistics.damaged == 0
    with pytest.raises(SyscallError) as found:
        await forest.ensure((node_key(INDEX, 51),))
    assert found.value.errno == errno.EIO
    assert io.statistics.damaged == 1


async def test_where_there_is_no_room_for_neighbours_the_host_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    io, forest, _, geometry = stack()
    await written_leaves(forest, geometry, 240)
    for leaf in range(240):
        await forest.ensure((node_key(INDEX, leaf),))
    assert forest.cache.free < NEIGHBOURS
    told: list[tuple[int, int]] = []
    monkeypatch.setattr(io.device, "will_need", lambda block, count: told.append((block, count)))
    forest.cache.drop(forest.cache.slot_of[node_key(INDEX, 200)])
    await forest.ensure((node_key(INDEX, 200),))
    assert leaf_number(forest, 200) == 200
    place = geometry.first + 200
    assert told == [(place - place % NEIGHBOURS, NEIGHBOURS)]


def test_changed_nodes_stay_in_the_cache() -> None:
    cache = NodeCache(256, lambda key: True)
    for number in range(256):
        assert cache.make_room(1)
        cache.mark_dirty(cache.insert(node_key(INDEX, number), bytes(BLOCK)))
    assert not cache.make_room(1)
    cache.mark_clean(cache.slot_of[node_key(INDEX, 77)])
    assert cache.make_room(1) and node_key(INDEX, 77) not in cache.slot_of


async def test_space_is_given_out_once_and_held_until_the_transaction_is_durable() -> None:
    _, _, space, geometry = stack(blocks=3000)
    everything = await space.take(geometry.data, numbers(range(geometry.data)), HOT)
    assert sorted(everything) == list(range(geometry.first, geometry.image)) and space.free == 0
    with pytest.raises(SyscallError) as error:
        await space.take(1, numbers((0,)), HOT)
    assert error.value.errno == errno.ENOSPC
    await space.give_back(everything[10:20], hold=True)
    await space.give_back(everything[30:35], hold=False)
    assert space.free == 5
    assert sorted(await space.take(5, numbers(range(5)), COLD)) == sorted(everything[30:35])
    generation = space.begin()
    await space.give_back(everything[50:52], hold=True)
    assert space.free == 0
    space.committed(generation)
    assert space.free == 10
    assert sorted(await space.take(10, numbers(range(10)), HOT)) == sorted(everything[10:20])
    space.committed(space.begin())
    assert sorted(await space.take(2, numbers(range(2)), NODES)) == sorted(everything[50:52])


async def test_space_goes_on_in_whole_segments_first() -> None:
    _, _, space, geometry = stack()
    hot = await space.take(3 * SEGMENT, numbers(range(3 * SEGMENT)), HOT)
    nodes = await space.take(10, numbers(range(10)), NODES)
    assert list(hot) == list(range(geometry.first, geometry.first + 3 * SEGMENT))
    assert nodes[0] == geometry.first + 3 * SEGMENT
    await space.give_back(hot[:SEGMENT:2], hold=False)
    more = await space.take(SEGMENT, numbers(range(SEGMENT)), HOT)
    assert list(more) == list(range(more[0], more[0] + SEGMENT)) and more[0] not in hot


def test_sizes() -> None:
    for image in (512, 1000, 5000, 1 << 18, 1 << 28, 1 << 31):
        geometry = plan(image, 0.05)
        assert 0 < geometry.blocks < image
        assert geometry.metadata < max(32, 0.025 * image)
        assert plan(image_blocks(geometry.blocks, 0.05), 0.05, geometry.blocks).blocks == geometry.blocks
    assert plan(1 << 28, 0.05).blocks > 0.91 * (1 << 28)
    for wrong in (0, 511, (1 << 31) + 1):
        with pytest.raises(ValueError):
            plan(wrong, 0.05)
    with pytest.raises(ValueError):
        plan(1000, 0.05, 999)
    with pytest.raises(ValueError):
        image_blocks(1 << 31, 0.05)
    assert REGION == 15 * SEGMENT
