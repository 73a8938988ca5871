"""io_uring_register(2): files, buffers, groups of buffers, an eventfd, personalities, restrictions, rings."""

from __future__ import annotations

import errno
import struct
from collections.abc import Callable

from ...abi import uring as abi
from ...abi.errors import SyscallError
from ...abi.uring import Register
from ...io.eventfd import EventFd
from ...io.file import File
from ...io.uring.registered import BufferRing, FixedBuffer
from ...io.uring.ring import Restrictions, Uring
from ...io.uring.submitter import REGISTERED_RINGS, Submitter
from ...process.asynchronous import RemoteUser
from ...process.limits import RLIMIT_NOFILE
from ...process.thread import Thread

INT = struct.Struct("<i")
IOVEC = struct.Struct("<QQ")
QUAD = struct.Struct("<Q")
BUFFER_LIMIT = 1 << 30  # bytes of one registered buffer
GROUPS_MAX = 1 << 12  # groups of buffers of one ring
PERSONALITIES_MAX = 1 << 10
WORKERS = (64, 1024)  # what IOWQ_MAX_WORKERS says there may be: bounded, unbounded
RESTRICT_REGISTER_OP, RESTRICT_SQE_OP, RESTRICT_FLAGS_ALLOWED, RESTRICT_FLAGS_REQUIRED = 0, 1, 2, 3
RESTRICTIONS_MAX = 256

Handler = Callable[[Thread, RemoteUser, Uring, int, int], "int | None"]
HANDLERS: dict[int, Handler] = {}


def _handler(opcode: Register) -> Callable[[Handler], Handler]:
    def register(handler: Handler) -> Handler:
        HANDLERS[opcode] = handler
        return handler

    return register


def _nothing(argument: int, count: int) -> None:
    if argument or count:
        raise SyscallError(errno.EINVAL)


def _each(count: int, act: Callable[[int], None]) -> int:
    """``act(position)`` for one position after the other; how many went well, or the error of the first."""
    for position in range(count):
        try:
            act(position)
        except SyscallError:
            if position:
                return position
            raise
    return count


# -- buffers -------------------------------------------------------------------


def _buffer(user: RemoteUser, raw: bytes, tag: int) -> FixedBuffer:
    """One buffer to register; EFAULT, EINVAL as for an iovec whose memory is to be pinned."""
    address, size = IOVEC.unpack(raw)
    if not address and not size:
        if tag:
            raise SyscallError(errno.EINVAL)
        return FixedBuffer()
    if not address or not size or size > BUFFER_LIMIT:
        raise SyscallError(errno.EFAULT)
    user.host.read(address, 1)
    user.host.read(address + size - 1, 1)
    return FixedBuffer(address, size, tag)


def _set_buffers(user: RemoteUser, ring: Uring, data: int, tags: int, count: int) -> None:
    if ring.buffers is not None:
        raise SyscallError(errno.EBUSY)
    if not 0 < count <= abi.MAX_BUFFERS:
        raise SyscallError(errno.EINVAL)
    if not data:
        ring.buffers = [FixedBuffer()] * count
        return
    raw = user.host.read(data, count * IOVEC.size)
    numbers = _tags(user, tags, count)
    step = IOVEC.size
    ring.buffers = [_buffer(user, raw[at * step : at * step + step], numbers[at]) for at in range(count)]


def _tags(user: RemoteUser, address: int, count: int) -> list[int]:
    if not address:
        return [0] * count
    return [tag for (tag,) in QUAD.iter_unpack(user.host.read(address, count * QUAD.size))]


@_handler(Register.BUFFERS)
def _buffers(thread: Thread, user: RemoteUser, ring: Uring, argument: int, count: int) -> None:
    if not argument:
        raise SyscallError(errno.EFAULT)
    _set_buffers(user, ring, argument, 0, count)


@_handler(Register.UNREGISTER_BUFFERS)
def _unregister_buffers(thread: Thread, user: RemoteUser, ring: Uring, argument: int, count: int) -> None:
    _nothing(argument, count)
    if ring.buffers is None:
        raise SyscallError(errno.ENXIO)
    buffers, ring.buffers = ring.buffers, None
    for buffer in buffers:
        if buffer.tag:
            ring.post(buffer.tag, 0)


def _resources(user: RemoteUser, argument: int, size: int) -> tuple[int, int, int]:
    """``struct io_uring_rsrc_register``: count, address of the data (0: none yet), address of the tags."""
    if size != abi.RESOURCES.size:
        raise SyscallError(errno.EINVAL)
    count, flags, reserved, data, tags = abi.RESOURCES.unpack(user.host.read(argument, size))
    sparse = flags & abi.RSRC_REGISTER_SPARSE
    if flags & ~abi.RSRC_REGISTER_SPARSE or reserved or not count or (sparse and data):
        raise SyscallError(errno.EINVAL)
    if not sparse and not data:
        raise SyscallError(errno.EFAULT)
    return count, data, tags


@_handler(Register.BUFFERS2)
def _buffers2(thread: Thread, user: RemoteUser, ring: Uring, argument: int, size: int) -> None:
    count, data, tags = _resources(user, argument, size)
    _set_buffers(user, ring, data, tags, count)


def _update2(user: RemoteUser, argument: int, size: int) -> tuple[int, int, int, int]:
    """``struct io_uring_rsrc_update2``: first slot, address of the data, of the tags, and the count."""
    if size != abi.RESOURCE_UPDATE2.size:
        raise SyscallError(errno.EINVAL)
    offset, first, data, tags, count, second = abi.RESOURCE_UPDATE2.unpack(user.host.read(argument, size))
    if first or second or not count:
        raise SyscallError(errno.EINVAL)
    return offset, data, tags, count


@_handler(Register.BUFFERS_UPDATE)
def _buffers_update(thread: Thread, user: RemoteUser, ring: Uring, argument: int, size: int) -> int:
    offset, data, tags, count = _update2(user, argument, size)
    buffers = ring.buffers
    if buffers is None:
        raise SyscallError(errno.ENXIO)
    if offset + count > len(buffers):
        raise SyscallError(errno.EINVAL)
    numbers = _tags(user, tags, count)

    def exchange(position: int) -> None:
        fresh = _buffer(user, user.host.read(data + position * IOVEC.size, IOVEC.size), numbers[position])
        before, buffers[offset + position] = buffers[offset + position], fresh
        if before.tag:
            ring.post(before.tag, 0)

    return _each(count, exchange)


# -- files ---------------------------------------------------------------------


def _registrable(thread: Thread, fd: int) -> File:
    """A file that may be registered: not an io_uring, which would keep itself open. EBADF."""
    file = thread.files.get(fd)
    if isinstance(file, Uring):
        raise SyscallError(errno.EBADF)
    return file


def _set_files(thread: Thread, user: RemoteUser, ring: Uring, data: int, tags: int, count: int) -> None:
    if ring.files.slots:
        raise SyscallError(errno.EBUSY)
    if not count:
        raise SyscallError(errno.EINVAL)
    if count > min(abi.MAX_FIXED, thread.process.limits.soft(RLIMIT_NOFILE)):
        raise SyscallError(errno.EMFILE)
    numbers = [fd for (fd,) in INT.iter_unpack(user.host.read(data, count * INT.size))] if data else [-1] * count
    marks = _tags(user, tags, count)
    files = [None if fd == -1 else _registrable(thread, fd) for fd in numbers]
    if any(mark and file is None for mark, file in zip(marks, files, strict=True)):
        raise SyscallError(errno.EINVAL)
    ring.files.resize(count)
    for slot, file in enumerate(files):
        if file is not None:
            ring.files.install(file, slot)
    ring.files.tags = marks


@_handler(Register.FILES)
def _files(thread: Thread, user: RemoteUser, ring: Uring, argument: int, count: int) -> None:
    if not argument:
        raise SyscallError(errno.EFAULT)
    _set_files(thread, user, ring, argument, 0, count)


@_handler(Register.FILES2)
def _files2(thread: Thread, user: RemoteUser, ring: Uring, argument: int, size: int) -> None:
    count, data, tags = _resources(user, argument, size)
    _set_files(thread, user, ring, data, tags, count)


@_handler(Register.UNREGISTER_FILES)
def _unregister_files(thread: Thread, user: RemoteUser, ring: Uring, argument: int, count: int) -> None:
    _nothing(argument, count)
    if not ring.files.slots:
        raise SyscallError(errno.ENXIO)
    ring.files.clear()


@_handler(Register.FILES_UPDATE)
def _files_update(thread: Thread, user: RemoteUser, ring: Uring, argument: int, count: int) -> int:
    offset, reserved, data = abi.RESOURCE_UPDATE.unpack(user.host.read(argument, abi.RESOURCE_UPDATE.size))
    if reserved or not count:
        raise SyscallError(errno.EINVAL)
    return update_files(thread, user, ring, offset, data, count)


@_handler(Register.FILES_UPDATE2)
def _files_update2(thread: Thread, user: RemoteUser, ring: Uring, argument: int, size: int) -> int:
    offset, data, tags, count = _update2(user, argument, size)
    return update_files(thread, user, ring, offset, data, count, tags)


def update_files(
    thread: Thread, user: RemoteUser, ring: Uring, offset: int, data: int, count: int, tags: int = 0
) -> int:
    """Put other files into slots from ``offset`` on (-1: none, -2: as it was); how many slots were looked at."""
    table = ring.files
    if offset == abi.FILE_INDEX_ALLOC:
        return _allocate(thread, user, ring, data, count)
    if not table.slots:
        raise SyscallError(errno.ENXIO)
    if offset + count > len(table.slots):
        raise SyscallError(errno.EINVAL)
    marks = _tags(user, tags, count)

    def exchange(position: int) -> None:
        (fd,) = INT.unpack(user.host.read(data + position * INT.size, INT.size))
        if fd == abi.REGISTER_FILES_SKIP:
            return
        file = None if fd == -1 else _registrable(thread, fd)
        if file is None and marks[position]:
            raise SyscallError(errno.EINVAL)
        table.empty(offset + position)
        if file is not None:
            table.install(file, offset + position)
            table.tags[offset + position] = marks[position]

    return _each(count, exchange)


def _allocate(thread: Thread, user: RemoteUser, ring: Uring, data: int, count: int) -> int:
    """Register files wherever there is room, and write the slots over the descriptors."""

    def install(position: int) -> None:
        place = data + position * INT.size
        (fd,) = INT.unpack(user.host.read(place, INT.size))
        slot = ring.files.install(_registrable(thread, fd), abi.FILE_INDEX_ALLOC)
        user.host.write(place, INT.pack(slot))

    return _each(count, install)


@_handler(Register.FILE_ALLOC_RANGE)
def _file_range(thread: Thread, user: RemoteUser, ring: Uring, argument: int, count: int) -> None:
    if not argument or count:
        raise SyscallError(errno.EINVAL)
    offset, length, reserved = abi.FILE_RANGE.unpack(user.host.read(argument, abi.FILE_RANGE.size))
    if offset + length > 0xFFFFFFFF:
        raise SyscallError(errno.EOVERFLOW)
    if reserved or offset + length > len(ring.files.slots):
        raise SyscallError(errno.EINVAL)
    ring.files.range = (offset, offset + length)


# -- an eventfd ----------------------------------------------------------------


@_handler(Register.EVENTFD)
def _eventfd(thread: Thread, user: RemoteUser, ring: Uring, argument: int, count: int) -> None:
    if count != 1:
        raise SyscallError(errno.EINVAL)
    if ring.eventfd is not None:
        raise SyscallError(errno.EBUSY)
    (fd,) = INT.unpack(user.host.read(argument, INT.size))
    file = thread.files.get(fd)
    if not isinstance(file, EventFd):
        raise SyscallError(errno.EINVAL)
    file.acquire()
    ring.eventfd, ring.eventfd_async = file, False


@_handler(Register.EVENTFD_ASYNC)
def _eventfd_async(thread: Thread, user: RemoteUser, ring: Uring, argument: int, count: int) -> None:
    _eventfd(thread, user, ring, argument, count)
    ring.eventfd_async = True


@_handler(Register.UNREGISTER_EVENTFD)
def _unregister_eventfd(thread: Thread, user: RemoteUser, ring: Uring, argument: int, count: int) -> None:
    _nothing(argument, count)
    if ring.eventfd is None:
        raise SyscallError(errno.ENXIO)
    file, ring.eventfd = ring.eventfd, None
    file.release()


# -- who acts, and what is allowed ---------------------------------------------


@_handler(Register.PERSONALITY)
def _personality(thread: Thread, user: RemoteUser, ring: Uring, argument: int, count: int) -> int:
    _nothing(argument, count)
    if len(ring.personalities) >= PERSONALITIES_MAX:
        raise SyscallError(errno.ENOSPC)
    number = next(number for number in range(1, PERSONALITIES_MAX + 1) if number not in ring.personalities)
    ring.personalities[number] = thread.credentials
    return number


@_handler(Register.UNREGISTER_PERSONALITY)
def _unregister_personality(thread: Thread, user: RemoteUser, ring: Uring, argument: int, number: int) -> None:
    if argument or ring.personalities.pop(number, None) is None:
        raise SyscallError(errno.EINVAL)


@_handler(Register.RESTRICTIONS)
def _restrict(thread: Thread, user: RemoteUser, ring: Uring, argument: int, count: int) -> None:
    if ring.enabled:
        raise SyscallError(errno.EBADFD)
    if ring.restrictions is not None:
        raise SyscallError(errno.EBUSY)
    if not argument or count > RESTRICTIONS_MAX:
        raise SyscallError(errno.EINVAL)
    restrictions = Restrictions()
    for kind, value in abi.RESTRICTION.iter_unpack(user.host.read(argument, count * abi.RESTRICTION.size)):
        if kind == RESTRICT_REGISTER_OP and value <= max(Register):
            restrictions.registers.add(value)
        elif kind == RESTRICT_SQE_OP and value <= max(abi.Op):
            restrictions.ops.add(value)
        elif kind == RESTRICT_FLAGS_ALLOWED:
            restrictions.flags_allowed = value
        elif kind == RESTRICT_FLAGS_REQUIRED:
            restrictions.flags_required = value
        else:
            raise SyscallError(errno.EINVAL)
    ring.restrictions = restrictions


@_handler(Register.ENABLE_RINGS)
def _enable(thread: Thread, user: RemoteUser, ring: Uring, argument: int, count: int) -> None:
    _nothing(argument, count)
    if ring.enabled:
        raise SyscallError(errno.EBADFD)
    ring.enabled = True


# -- groups of buffers ---------------------------------------------------------


@_handler(Register.PBUF_RING)
def _buffer_ring(thread: Thread, user: RemoteUser, ring: Uring, argument: int, count: int) -> None:
    if count != 1:
        raise SyscallError(errno.EINVAL)
    raw = user.host.read(argument, abi.BUFFER_REGISTRATION.size)
    address, entries, group, flags = abi.BUFFER_REGISTRATION.unpack(raw)
    if flags & ~abi.BUFFER_RING_MMAP or any(raw[16:]):
        raise SyscallError(errno.EINVAL)
    mapped = flags & abi.BUFFER_RING_MMAP
    if not mapped and not address:
        raise SyscallError(errno.EFAULT)
    if (not mapped and address % 4096) or entries & (entries - 1) or not 0 < entries < 1 << 16:
        raise SyscallError(errno.EINVAL)
    if group in ring.groups:
        raise SyscallError(errno.EEXIST)
    if len(ring.groups) >= GROUPS_MAX:
        raise SyscallError(errno.ENOMEM)
    if mapped:
        ring.make_buffer_ring(group, entries)
        return
    user.host.read(address, 1)
    user.host.read(address + entries * abi.BUFFER.size - 1, 1)
    ring.groups[group] = BufferRing(user.host, address, entries)


@_handler(Register.UNREGISTER_PBUF_RING)
def _unregister_buffer_ring(thread: Thread, user: RemoteUser, ring: Uring, argument: int, count: int) -> None:
    if count != 1:
        raise SyscallError(errno.EINVAL)
    raw = user.host.read(argument, abi.BUFFER_REGISTRATION.size)
    _, _, number, flags = abi.BUFFER_REGISTRATION.unpack(raw)
    if flags or any(raw[16:]):
        raise SyscallError(errno.EINVAL)
    ring.drop_buffer_ring(number)


@_handler(Register.PBUF_STATUS)
def _buffer_status(thread: Thread, user: RemoteUser, ring: Uring, argument: int, count: int) -> None:
    if count != 1:
        raise SyscallError(errno.EINVAL)
    raw = user.host.read(argument, abi.BUFFER_STATUS.size)
    number, _ = abi.BUFFER_STATUS.unpack(raw)
    if any(raw[8:]):
        raise SyscallError(errno.EINVAL)
    group = ring.groups.get(number)
    if group is None:
        raise SyscallError(errno.ENOENT)
    if not isinstance(group, BufferRing):
        raise SyscallError(errno.EINVAL)
    user.host.write(argument, abi.BUFFER_STATUS.pack(number, group.head))


# -- about the ring itself -----------------------------------------------------


@_handler(Register.IOWQ_MAX_WORKERS)
def _workers(thread: Thread, user: RemoteUser, ring: Uring, argument: int, count: int) -> None:
    """There are no workers to be counted: the numbers that were in force are told."""
    if not argument or count != 2:
        raise SyscallError(errno.EINVAL)
    user.host.read(argument, 8)
    user.host.write(argument, struct.pack("<II", *WORKERS))


@_handler(Register.IOWQ_AFF)
def _affinity(thread: Thread, user: RemoteUser, ring: Uring, argument: int, count: int) -> None:
    if not argument or not count:
        raise SyscallError(errno.EINVAL)
    user.host.read(argument, min(count, 128))


@_handler(Register.UNREGISTER_IOWQ_AFF)
def _no_affinity(thread: Thread, user: RemoteUser, ring: Uring, argument: int, count: int) -> None:
    _nothing(argument, count)


def _rings(thread: Thread, user: RemoteUser, argument: int, count: int, act: Callable[[int, int], int | None]) -> int:
    """Go through ``struct io_uring_rsrc_update[count]``: ``act(offset, data)`` gives the offset to write back."""
    if not 0 < count <= REGISTERED_RINGS:
        raise SyscallError(errno.EINVAL)

    def one(position: int) -> None:
        place = argument + position * abi.RESOURCE_UPDATE.size
        offset, reserved, data = abi.RESOURCE_UPDATE.unpack(user.host.read(place, abi.RESOURCE_UPDATE.size))
        if reserved:
            raise SyscallError(errno.EINVAL)
        index = act(offset, data)
        if index is not None:
            user.host.write(place, struct.pack("<I", index))

    return _each(count, one)


@_handler(Register.RING_FDS)
def _ring_fds(thread: Thread, user: RemoteUser, ring: Uring, argument: int, count: int) -> int:
    submitter = submitter_of(thread)

    def register(offset: int, fd: int) -> int:
        target = thread.files.get(fd)
        if not isinstance(target, Uring):
            raise SyscallError(errno.EOPNOTSUPP)
        return submitter.register(target, None if offset == abi.FILE_INDEX_ALLOC else offset)

    return _rings(thread, user, argument, count, register)


@_handler(Register.UNREGISTER_RING_FDS)
def _unregister_ring_fds(thread: Thread, user: RemoteUser, ring: Uring, argument: int, count: int) -> int:
    submitter = submitter_of(thread)

    def unregister(offset: int, data: int) -> None:
        if data:
            raise SyscallError(errno.EINVAL)
        submitter.unregister(offset)

    return _rings(thread, user, argument, count, unregister)


def submitter_of(thread: Thread) -> Submitter:
    """What ``thread`` is to rings; made when it is first asked for."""
    if thread.submitter is None:
        thread.submitter = Submitter()
    return thread.submitter
