"""The filters that come with questions about TCP and UDP sockets: small programs over a socket's ends.

An operation is ``struct inet_diag_bc_op``, followed by what it compares with. It jumps forward only, by ``yes`` when it
is true and by ``no`` when it isn't. Whoever comes to the end passes, whoever jumps beyond it does not.
"""

from __future__ import annotations

import errno
import struct
from typing import NamedTuple

from ...abi.errors import SyscallError
from ...abi.socket import AF_INET, AF_INET6, AF_UNSPEC, V4_MAPPED

OPERATION = struct.Struct("<BBH")  # code, yes, no
HOST = struct.Struct("<BB2xi")  # family, length of the prefix, port; the address follows
NOP, JMP, S_GE, S_LE, D_GE, D_LE, AUTO, S_COND, D_COND, DEV_COND, MARK_COND, S_EQ, D_EQ = range(13)
PORTS = (S_GE, S_LE, D_GE, D_LE, S_EQ, D_EQ)
HOSTS = (S_COND, D_COND)
SIZES = {AF_UNSPEC: 0, AF_INET: 4, AF_INET6: 16}


class Endpoints(NamedTuple):
    """A socket as filters see it. ``chosen``: it was bound to its port by bind(2)."""

    family: int
    local: bytes
    local_port: int
    remote: bytes
    remote_port: int
    chosen: bool


class Wanted(NamedTuple):
    """An address that is compared with: the first ``prefix`` bits of ``host``, and a port unless that is -1."""

    family: int
    prefix: int
    port: int
    host: bytes


class Step(NamedTuple):
    """One operation. ``port`` and ``host`` are what some of them compare with."""

    code: int
    yes: int
    no: int
    port: int = 0
    host: Wanted | None = None


class Filter:
    """A filter that was checked. It ends: every jump leads forward, to an operation or beyond the end."""

    def __init__(self, code: bytes) -> None:
        """EINVAL for what Linux would refuse, and for what it compares that no socket here has."""
        self._steps: dict[int, Step] = {}
        self._end = len(code)
        at = 0
        while at < len(code):
            self._steps[at] = step = _decode(code, at)
            at += step.yes
        if at != len(code):
            raise SyscallError(errno.EINVAL)
        for at, step in self._steps.items():
            target = at + step.no
            if target not in self._steps and target not in (self._end, self._end + OPERATION.size):
                raise SyscallError(errno.EINVAL)

    def passes(self, ends: Endpoints) -> bool:
        """Whether a socket is one of those that are wanted."""
        at = 0
        while at < self._end:
            step = self._steps[at]
            at += step.yes if _holds(step, ends) else step.no
        return at == self._end


def _decode(code: bytes, at: int) -> Step:
    left = len(code) - at
    if left < OPERATION.size:
        raise SyscallError(errno.EINVAL)
    number, yes, no = OPERATION.unpack_from(code, at)
    after = at + OPERATION.size
    least = OPERATION.size
    port, host = 0, None
    if number in PORTS:
        least += OPERATION.size
        if left >= least:
            port = OPERATION.unpack_from(code, after)[2]
    elif number in HOSTS:
        host = _decode_host(code, after)
        least += HOST.size + len(host.host)
    elif number not in (NOP, JMP, AUTO):
        raise SyscallError(errno.EINVAL)
    if any(jump % 4 or not shortest <= jump <= left + 4 for jump, shortest in ((yes, least), (no, OPERATION.size))):
        raise SyscallError(errno.EINVAL)
    return Step(number, yes, no, port, host)


def _decode_host(code: bytes, at: int) -> Wanted:
    if len(code) < at + HOST.size:
        raise SyscallError(errno.EINVAL)
    family, prefix, port = HOST.unpack_from(code, at)
    size = SIZES.get(family, -1)
    if size < 0 or len(code) < at + HOST.size + size or prefix > 8 * size:
        raise SyscallError(errno.EINVAL)
    return Wanted(family, prefix, port, code[at + HOST.size : at + HOST.size + size])


def _holds(step: Step, ends: Endpoints) -> bool:
    code = step.code
    if code == JMP:
        return False
    if code == AUTO:
        return not ends.chosen
    if code in (S_GE, D_GE):
        return (ends.local_port if code == S_GE else ends.remote_port) >= step.port
    if code in (S_LE, D_LE):
        return (ends.local_port if code == S_LE else ends.remote_port) <= step.port
    if code in (S_EQ, D_EQ):
        return (ends.local_port if code == S_EQ else ends.remote_port) == step.port
    if step.host is None:  # NOP
        return True
    if code == S_COND:
        return _is_host(step.host, ends.family, ends.local, ends.local_port)
    return _is_host(step.host, ends.family, ends.remote, ends.remote_port)


def _is_host(wanted: Wanted, family: int, host: bytes, port: int) -> bool:
    if wanted.port not in (-1, port):
        return False
    if wanted.family == AF_INET and family == AF_INET6 and host.startswith(V4_MAPPED):
        host = host[len(V4_MAPPED) :]
    elif wanted.family not in (AF_UNSPEC, family):
        return False
    shift = 8 * len(wanted.host) - wanted.prefix
    ours = int.from_bytes(host[: len(wanted.host)], "big")
    return ours >> shift == int.from_bytes(wanted.host, "big") >> shift
