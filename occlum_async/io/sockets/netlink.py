"""AF_NETLINK, as far as programs need it: questions to the kernel about its network, and the answers.

See netlink(7). What the questions are is each protocol's affair: ``routing`` has the interfaces, addresses and
routes, ``sockdiag`` the sockets. Requests that would change something are refused with EPERM.
"""

from __future__ import annotations

import errno
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any

from ...abi.errors import SyscallError
from ...abi.socket import (
    AF_NETLINK,
    INT,
    MSG_OOB,
    SOL_NETLINK,
    NetlinkAddress,
    decode_netlink,
    encode_netlink,
)
from ..file import POLLERR, POLLIN, POLLRDNORM
from . import nlmsg as nl
from .records import OVERHEAD, RecordSocket
from .socket import WRITABLE, Ancillary, Chunk

if TYPE_CHECKING:
    from .stack import NetworkStack

QUEUE_LIMIT = 64  # answers that wait to be read
REQUEST_MAX = 65536  # bytes
ANSWER_SIZE = 3584  # bytes that one datagram of a long answer has at most: programs read into a page
PORTS_TOP = 0xFFFFFFFF - 4096
NETLINK_CAP_ACK = 10


class NetlinkSocket(RecordSocket):
    """A netlink socket, with the kernel as the only one to talk to.

    A long answer is written as it is read: no more than one datagram of it waits, whatever there is to tell.
    """

    family = AF_NETLINK

    def __init__(self, stack: NetworkStack, type: int, protocol: int) -> None:
        self.type = type
        super().__init__(stack, protocol)
        self.port = 0
        self.groups = 0
        # The datagrams that a long answer still has.
        self._rest: Iterator[bytes] | None = None

    # -- what a protocol implements ----------------------------------------------

    def request(self, kind: int, flags: int, sequence: int, request: bytes) -> None:
        """Answer a request of type ``kind``, which comes with its header, with ``reply`` or ``dump``; SyscallError."""
        raise NotImplementedError

    # -- names -----------------------------------------------------------------

    def parse_address(self, raw: bytes) -> NetlinkAddress:
        return decode_netlink(raw)

    def local(self) -> bytes:
        return encode_netlink(NetlinkAddress(self.port, self.groups))

    def remote(self) -> bytes:
        return encode_netlink(NetlinkAddress(0, 0))

    def bind(self, address: NetlinkAddress) -> None:
        if self.port and address.port not in (0, self.port):
            raise SyscallError(errno.EINVAL)
        if address.port and address.port != self.port:
            if (self.protocol, address.port) in self.stack.netlink_ports:
                raise SyscallError(errno.EADDRINUSE)
            self._claim(address.port)
        self.autobind()
        self.groups = address.groups

    def autobind(self) -> None:
        """Take the process id as the port id, or a number above all process ids."""
        if self.port:
            return
        taken = self.stack.netlink_ports
        port = self.stack.identify().pid or 1
        if (self.protocol, port) in taken:
            port = next(one for one in range(PORTS_TOP, 0, -1) if (self.protocol, one) not in taken)
        self._claim(port)

    def _claim(self, port: int) -> None:
        self.port = port
        self.stack.netlink_ports[self.protocol, port] = self

    async def connect(self, address: NetlinkAddress) -> None:
        if address.port or address.groups:
            raise SyscallError(errno.EPERM)
        self.autobind()

    # -- data ------------------------------------------------------------------

    async def send(
        self,
        data: bytes | memoryview,
        flags: int = 0,
        address: NetlinkAddress | None = None,
        ancillary: Ancillary | None = None,
    ) -> int:
        if ancillary is not None and ancillary.files:
            self.stack.flight.discard(ancillary.files)
        if flags & MSG_OOB:
            raise SyscallError(errno.EOPNOTSUPP)
        if address is not None and address.port:
            raise SyscallError(errno.ECONNREFUSED if not address.groups else errno.EPERM)
        if len(data) > REQUEST_MAX:
            raise SyscallError(errno.EMSGSIZE)
        self.autobind()
        self._handle(bytes(data))
        return len(data)

    def _handle(self, data: bytes) -> None:
        for kind, flags, sequence, request in nl.messages(data):
            if flags & nl.NLM_F_REQUEST and kind >= nl.NLMSG_MIN_TYPE:
                try:
                    self.request(kind, flags, sequence, request)
                except SyscallError as error:
                    self._acknowledge(error.errno, sequence, request)
                    continue
                if flags & nl.NLM_F_DUMP:
                    continue  # its end is its acknowledgement
            if flags & nl.NLM_F_ACK:
                self._acknowledge(0, sequence, request)

    def reply(self, kind: int, sequence: int, body: bytes) -> None:
        """Answer with one message."""
        self._answer(self._message(kind, 0, sequence, body))

    def dump(self, kind: int, sequence: int, bodies: Iterable[bytes], error: int = 0) -> None:
        """Answer with a message for each of ``bodies``, and that this was all; EBUSY while the last one isn't read."""
        if self._rest is not None:
            raise SyscallError(errno.EBUSY)
        self._rest = self._datagrams(kind, sequence, bodies, error)
        self.record_taken()

    def record_taken(self) -> None:
        while self._rest is not None and not self.inbox:
            data = next(self._rest, None)
            if data is None:
                self._rest = None
            else:
                self._answer(data)

    def _datagrams(self, kind: int, sequence: int, bodies: Iterable[bytes], error: int) -> Iterator[bytes]:
        data = b""
        for body in bodies:
            message = self._message(kind, nl.NLM_F_MULTI, sequence, body)
            if data and len(data) + len(message) > ANSWER_SIZE:
                yield data
                data = b""
            data += message
        if data:
            yield data
        yield self._message(nl.NLMSG_DONE, nl.NLM_F_MULTI, sequence, INT.pack(-error))

    def _message(self, kind: int, flags: int, sequence: int, body: bytes) -> bytes:
        message = nl.HEADER.pack(nl.HEADER.size + len(body), kind, flags, sequence, self.port) + body
        return message + bytes(-len(message) % 4)

    def _acknowledge(self, error: int, sequence: int, request: bytes) -> None:
        """How a request went; one that failed comes back whole, unless the program does not care."""
        whole = error and not self.option(NETLINK_CAP_ACK, SOL_NETLINK)
        told = request if whole else request[: nl.HEADER.size]
        self._answer(self._message(nl.NLMSG_ERROR, 0, sequence, INT.pack(-error) + told))

    def _answer(self, data: bytes) -> None:
        if len(self.inbox) >= QUEUE_LIMIT or (self.inbox and self.stack.memory.pressed):
            self.error = errno.ENOBUFS
            self.waiters.wake()
            return
        chunk = Chunk(data, len(data) + OVERHEAD, None, None, encode_netlink(NetlinkAddress(0, 0)))
        self.put_record(chunk)

    def at_end(self, nonblocking: bool) -> bool:
        return False

    def poll(self) -> int:
        events = WRITABLE
        if self.inbox:
            events |= POLLIN | POLLRDNORM
        return events | POLLERR if self.error else events

    def close(self) -> None:
        if self.stack.netlink_ports.get((self.protocol, self.port)) is self:
            del self.stack.netlink_ports[self.protocol, self.port]
        self._rest = None
        super().close()
        self.drop_queue()
        self.waiters.wake()

    # -- options ---------------------------------------------------------------

    def set_option(self, level: int, name: int, value: bytes) -> None:
        if level != SOL_NETLINK or not 1 <= name <= 12:
            raise SyscallError(errno.ENOPROTOOPT)
        if len(value) < INT.size:
            raise SyscallError(errno.EINVAL)
        self.options[level, name] = int(INT.unpack_from(value)[0])

    def get_option(self, level: int, name: int, size: int) -> bytes:
        if level != SOL_NETLINK or not 3 <= name <= 12:
            raise SyscallError(errno.ENOPROTOOPT)
        return INT.pack(int(self.option(name, level) != 0))

    def table_row(self) -> dict[str, Any]:
        return {
            "protocol": self.protocol, "port": self.port, "groups": self.groups,
            "receive_queue": self.memory_info()[0],
        }  # fmt: skip
