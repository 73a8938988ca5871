"""What all unix sockets share: names, peer credentials, and what travels beside the data. See unix(7)."""

from __future__ import annotations

import errno
import struct
from socket import SCM_CREDENTIALS, SO_PEERCRED, SO_PEERSEC, SOL_SOCKET
from typing import TYPE_CHECKING, Any

from ...abi.errors import SyscallError
from ...abi.socket import (
    AF_UNIX,
    SO_PEERGROUPS,
    UCRED,
    ControlMessage,
    UnixAddress,
    decode_unix,
    encode_unix,
)
from .socket import Ancillary, Identity, Received, Socket
from .stamps import stamp_messages

if TYPE_CHECKING:
    from .stack import NetworkStack

UNCONNECTED_STATE, CONNECTING_STATE, CONNECTED_STATE = 1, 2, 3  # of /proc/net/unix
ESTABLISHED, CLOSE, LISTEN = 1, 7, 10
NOBODY = (0, 65534, 65534)  # what is reported of a message that carries no credentials
NO_PEER = UCRED.pack(0, 0xFFFFFFFF, 0xFFFFFFFF)


class UnixSocket(Socket):
    """Names and credentials. A socket bound to a path is found through its inode's ``attached`` dictionary."""

    family = AF_UNIX
    peeks_at_offset = True

    def __init__(self, stack: NetworkStack, protocol: int = 0) -> None:
        super().__init__(stack, protocol)
        self.name = UnixAddress()
        self.peer_identity: Identity | None = None
        # The ``attached`` dictionary of the inode that a path was bound to.
        self._attached: dict[str, Any] | None = None

    def release(self) -> None:
        super().release()
        if self.users and self.stack.flight.sockets:
            self.stack.flight.released(self)

    # -- names -----------------------------------------------------------------

    def parse_address(self, raw: bytes) -> UnixAddress:
        return decode_unix(raw)

    def local(self) -> bytes:
        return encode_unix(self.name)

    def remote(self) -> bytes:
        peer = self.partner()
        if peer is None:
            raise SyscallError(errno.ENOTCONN)
        return encode_unix(peer.name)

    def partner(self) -> UnixSocket | None:
        """The socket at the other end, None when not connected."""
        raise NotImplementedError

    def bind(self, address: UnixAddress) -> None:
        """Take an abstract name; an empty one asks for one of the kernel's choice (autobind).

        A path is bound with ``bind_inode`` once its inode was made.
        """
        if not address.name:
            self.autobind()
            return
        self.check_unbound()
        if (self.type, address.name) in self.stack.abstract:
            raise SyscallError(errno.EADDRINUSE)
        self.stack.abstract[self.type, address.name] = self
        self.name = UnixAddress(address.name)

    def check_unbound(self) -> None:
        """EINVAL when the socket has a name."""
        if self.name.name:
            raise SyscallError(errno.EINVAL)

    def autobind(self) -> None:
        """Take an unused abstract name of five hexadecimal digits, unless there is a name already."""
        if self.name.name:
            return
        for _ in range(0x100000):
            self.stack.autobind_next = (self.stack.autobind_next + 1) & 0xFFFFF
            name = b"\0%05x" % self.stack.autobind_next
            if (self.type, name) not in self.stack.abstract:
                self.bind(UnixAddress(name))
                return
        raise SyscallError(errno.ENOSPC)

    def bind_inode(self, path: bytes, attached: dict[str, Any]) -> None:
        """The name is ``path``, whose fresh inode keeps ``attached``."""
        self.check_unbound()
        self.name = UnixAddress(path)
        self._attached = attached
        attached["socket"] = self

    def find(self, address: UnixAddress) -> UnixSocket:
        """The open socket of that name and of this type; ECONNREFUSED, EPROTOTYPE."""
        target = address.target if address.is_path else self.stack.abstract.get((self.type, address.name))
        if not isinstance(target, UnixSocket) or target.closed:
            raise SyscallError(errno.ECONNREFUSED)
        if target.type != self.type:
            raise SyscallError(errno.EPROTOTYPE)
        return target

    def close(self) -> None:
        if self._attached is not None and self._attached.get("socket") is self:
            del self._attached["socket"]
        if self.stack.abstract.get((self.type, self.name.name)) is self:
            del self.stack.abstract[self.type, self.name.name]
        super().close()

    # -- beside the data -------------------------------------------------------

    def carry(self, ancillary: Ancillary | None, credentials_wanted: bool) -> Ancillary | None:
        """What the next chunk carries. Takes the files out of ``ancillary``; ETOOMANYREFS."""
        if ancillary is None and not credentials_wanted:
            return None
        files: list[Any] = []
        credentials = None
        if ancillary is not None:
            files, credentials = ancillary.files, ancillary.credentials
            self.stack.flight.launch(files)
            ancillary.files = []
        if credentials is None and credentials_wanted:
            identity = self.stack.identify()
            credentials = (identity.pid, identity.uid, identity.gid)
        return Ancillary(files, credentials) if files or credentials else None

    def deliver(self, received: Received, ancillary: Ancillary | None, stamp: int) -> Received:
        """Put what travelled beside the data into the answer."""
        if self.stamps and stamp:
            received.control += stamp_messages(self, stamp)
        if self.pass_credentials:
            credentials = ancillary.credentials if ancillary is not None else None
            packed = UCRED.pack(*(credentials or NOBODY))
            received.control.append(ControlMessage(SOL_SOCKET, SCM_CREDENTIALS, packed))
        if ancillary is not None:
            received.files = ancillary.files
        return received

    # -- options ---------------------------------------------------------------

    def _get_generic(self, name: int, size: int) -> bytes:
        if name == SO_PEERCRED:
            who = self.peer_identity
            return NO_PEER if who is None else UCRED.pack(who.pid, who.euid, who.egid)
        if name == SO_PEERGROUPS:
            if self.peer_identity is None:
                raise SyscallError(errno.ENODATA)
            groups = self.peer_identity.groups
            if size < 4 * len(groups):
                raise SyscallError(errno.ERANGE)
            return struct.pack(f"<{len(groups)}I", *groups)
        if name == SO_PEERSEC:
            raise SyscallError(errno.ENOPROTOOPT)
        return super()._get_generic(name, size)

    @property
    def diagnosed_state(self) -> int:
        """The state that sock_diag(7) tells, in TCP's numbers."""
        return CLOSE if self.partner() is None else ESTABLISHED

    def table_row(self) -> dict[str, Any]:
        # One reference is the file's or the backlog's, one its name's in the table, one the peer's.
        connected = self.partner() is not None
        state = (CONNECTED_STATE if self.shown_inode else CONNECTING_STATE) if connected else UNCONNECTED_STATE
        return {
            "type": self.type, "name": self.name.name, "references": 3 if connected else 2, "listening": False,
            "state": state,
        }  # fmt: skip
