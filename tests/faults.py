"""A host that lies: boundaries whose answers are replaced, one by one or at random, below all checks of theirs."""

from __future__ import annotations

import errno
import os
import random
from collections import Counter
from collections.abc import Callable
from typing import Any, Final

from occlum_async.io.boundary.ocall import OcallBoundary
from occlum_async.io.boundary.ring import Ring
from occlum_async.io.boundary.uring import UringBoundary

# What an io_uring answers: errors that there are, errors that there are not, and what is no error at all.
RESULTS: Final = (
    0, 1, 3, 1 << 16, 1 << 30, (1 << 31) - 1, -errno.EPERM, -errno.EINTR, -errno.EIO, -errno.EAGAIN, -errno.EBADF,
    -errno.ENOMEM, -errno.ENOBUFS, -errno.ECANCELED, -errno.ECONNRESET, -134, -512, -4096, -(1 << 31),
)  # fmt: skip
STAT: Final = (
    "st_mode", "st_ino", "st_dev", "st_nlink", "st_uid", "st_gid", "st_size", "st_atime", "st_mtime", "st_ctime",
)  # fmt: skip
ERRORS: Final = (errno.EPERM, errno.EINTR, errno.EIO, errno.EAGAIN, errno.ENOSPC, errno.EMFILE, errno.ENOSYS, 600, 4095)


class Liar:
    """Says which answers become lies: a share ``rate`` of all, chosen by a seed; none while ``rate`` is 0."""

    def __init__(self, seed: int = 0) -> None:
        self.random = random.Random(seed)
        self.rate = 0.0
        self.told: Counter[str] = Counter()
        # Honest, but lazy: of what is asked for only a part is transferred.
        self.lazy = False
        # What the next answers are, before chance has its say.
        self.scripted: list[Any] = []

    def part(self, size: int) -> int:
        """How much of ``size`` bytes is transferred: all, unless the host is lazy."""
        return self.random.randrange(1, size + 1) if self.lazy and size else size

    def lies(self, operation: str) -> bool:
        """Whether to lie now; counted."""
        if not self.scripted and self.random.random() >= self.rate:
            return False
        self.told[operation] += 1
        return True


class FaultyLibrary:
    """liburing between a ring and the host: results, flags and numbers may be lies, and completions come twice."""

    def __init__(self, lib: Any, liar: Liar) -> None:
        self._lib = lib
        self._liar = liar
        self._opens: set[int] = set()  # operations whose result is a descriptor

    def __getattr__(self, name: str) -> Any:
        return getattr(self._lib, name)

    def _note(self, code: int, number: int) -> None:
        if code in (self._lib.IORING_OP_ACCEPT, self._lib.IORING_OP_OPENAT2):
            self._opens.add(number)

    def _result(self, number: int, result: int) -> int:
        """Another result; a descriptor that nobody hears of is closed."""
        if number in self._opens and result > 2:
            os.close(result)
        if self._liar.scripted:
            return int(self._liar.scripted.pop(0))
        if number in self._opens:  # never a descriptor that this process has: it would be closed
            return self._liar.random.choice([other for other in RESULTS if other <= 2 or other >= 1 << 16])
        return self._liar.random.choice((*RESULTS, result // 2 if result > 1 else 0))

    def uring_queue(self, ring: Any, code: int, *rest: Any) -> int:
        """There may be no room."""
        self._note(code, rest[-2])
        if code in (self._lib.IORING_OP_SEND, self._lib.IORING_OP_SEND_ZC):
            fd, address, length, *more = rest
            rest = (fd, address, self._liar.part(length), *more)
        full = not self._liar.scripted and self._liar.lies("full")
        return -errno.EBUSY if full else int(self._lib.uring_queue(ring, code, *rest))

    def uring_submit(self, ring: Any) -> int:
        """The host may take nothing."""
        if not self._liar.scripted and self._liar.lies("busy"):
            return -self._liar.random.choice((errno.EAGAIN, errno.EBUSY, errno.ENOMEM, errno.EINTR, 0))
        return int(self._lib.uring_submit(ring))

    def uring_start(self, ring: Any, code: int, *rest: Any) -> int:
        """What completes at once may have completed otherwise."""
        *_, number, result = rest
        self._note(code, number)
        if code in (self._lib.IORING_OP_READ, self._lib.IORING_OP_WRITE):
            fd, address, length, *more = rest
            rest = (fd, address, self._liar.part(length), *more)
        if not self._liar.scripted and self._liar.lies("full"):
            return int(self._lib.URING_FULL)
        state = int(self._lib.uring_start(ring, code, *rest))
        if state > 0 and state & self._lib.URING_DONE and self._liar.lies("start"):
            result[0] = self._result(number, result[0])
        return state

    def uring_take(self, ring: Any, completions: Any, limit: int) -> int:
        """Completions may say anything, and may come again."""
        count = int(self._lib.uring_take(ring, completions, limit))
        for index in range(count):
            if self._liar.lies("completion"):
                self._spoil(completions[index])
        if 0 < count < limit and not self._liar.scripted and self._liar.lies("again"):
            completions[count] = completions[self._liar.random.randrange(count)]
            count += 1
        return count

    def _spoil(self, completion: Any) -> None:
        choice = 2 if self._liar.scripted else self._liar.random.randrange(4)
        if choice == 0:
            completion.number = self._liar.random.choice((0, completion.number + 1, 1 << 63))
        elif choice == 1:
            completion.flags ^= 1 << self._liar.random.randrange(32)
        else:
            completion.result = self._result(completion.number, completion.result)


class FaultyCalls:
    """Plain calls that may have ended otherwise. A mixin, in front of a boundary."""

    liar: Liar

    def call(self, operation: str, function: Callable[..., Any], *arguments: Any, **options: Any) -> Any:
        """The boundary's own ``call``, of a function that may lie."""

        if self.liar.lazy:
            arguments = self._lessened(operation, arguments)

        def faulty(*arguments: Any, **options: Any) -> Any:
            if not self.liar.lies(operation):
                return function(*arguments, **options)
            if not self.liar.scripted and self.liar.random.random() < 0.5:
                raise OSError(self.liar.random.choice(ERRORS), "the host says so")
            return self._other(operation, function(*arguments, **options))

        return super().call(operation, faulty, *arguments, **options)  # type: ignore[misc]

    def _lessened(self, operation: str, arguments: tuple[Any, ...]) -> tuple[Any, ...]:
        """The arguments of a transfer that is asked for less."""
        if operation == "read" and len(arguments) > 1:
            fd, size, *more = arguments
            return fd, self.liar.part(size), *more
        if operation == "write":
            fd, view, *more = arguments
            return fd, view[: self.liar.part(len(view))], *more
        if operation == "send" and len(arguments) == 2:
            fd, pieces = arguments
            return fd, [pieces[0][: self.liar.part(len(pieces[0]))]]
        return arguments

    def _other(self, operation: str, answer: Any) -> Any:
        """Another answer of the same type."""
        choose = self.liar.random.choice
        opened = operation in ("open", "openat", "openat2", "accept", "socket", "dup")
        if opened and answer > 2:
            os.close(answer)
        if self.liar.scripted:
            return self.liar.scripted.pop(0)
        if isinstance(answer, bool) or answer is None:
            return answer
        if opened:
            return choose((-1, 0, 2, min(self.descriptors, default=0)))  # type: ignore[attr-defined]
        if isinstance(answer, int):
            return choose((-1, 0, answer + 1, 1 << 31, 1 << 62))
        if isinstance(answer, bytes):
            return choose((b"", answer[:1], answer + b"more", answer * 3))
        if isinstance(answer, os.stat_result):
            names = [name for name in dir(answer) if name.startswith("st_")]
            values = {name: getattr(answer, name) for name in names}
            lie = choose([name for name in names if isinstance(values[name], int)])
            short = lie in ("st_mode", "st_uid", "st_gid")
            least = -1 if lie in ("st_size", "st_blocks") or lie.endswith("_ns") else 0
            values[lie] = choose((least, 0, (1 << 32) - 1 if short else 1 << 62, values[lie] + 1))
            return os.stat_result([values[name] for name in STAT], values)
        if isinstance(answer, tuple):
            return tuple(self._other(operation, part) for part in answer)
        return answer


def faulty_boundary(kind: str, liar: Liar) -> type[UringBoundary | OcallBoundary]:
    """A boundary of ``kind`` whose host is ``liar``."""
    if kind == "ocall":
        return type("FaultyOcall", (FaultyCalls, OcallBoundary), {"liar": liar})

    class FaultyUring(FaultyCalls, UringBoundary):
        def new_ring(self, poll: int = 0) -> Ring:
            ring = super().new_ring(poll)
            ring.lib = FaultyLibrary(ring.lib, liar)
            return ring

    FaultyUring.liar = liar
    return FaultyUring
