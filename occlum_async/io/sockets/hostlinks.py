"""The host's interfaces, addresses and routes, asked of its rtnetlink. The answers are checked and bounded."""

from __future__ import annotations

import errno
import logging
from collections.abc import Callable
from typing import TypeVar

from ...abi.errors import SyscallError
from ..boundary.network import HostNetwork
from . import nlmsg as nl
from . import rtnetlink as rt
from .links import LOOPBACK_ALONE, Links

log = logging.getLogger(__name__)

T = TypeVar("T")

LINKS_MAX, ADDRESSES_MAX, ROUTES_MAX = 256, 1024, 1024
DATAGRAMS_MAX = 1024  # of one answer


def host_links(network: HostNetwork) -> Links:
    """What the host has; the loopback interface alone where it does not tell, or tells what can't be."""
    try:
        links = _dump(network, rt.RTM_GETLINK, rt.decode_link, LINKS_MAX)
        known = {link.index for link in links}
        addresses = _dump(network, rt.RTM_GETADDR, rt.decode_address, ADDRESSES_MAX)
        routes = _dump(network, rt.RTM_GETROUTE, rt.decode_route, ROUTES_MAX)
    except SyscallError as error:
        log.info("the host does not tell its interfaces: %s", errno.errorcode.get(error.errno, error.errno))
        return LOOPBACK_ALONE
    if not any(link.name == b"lo" for link in links):
        return LOOPBACK_ALONE
    return Links(
        tuple(links),
        tuple(one for one in addresses if one.link in known),
        tuple(one for one in routes if one.link in known),
    )


def _dump(network: HostNetwork, question: int, decode: Callable[[bytes], T | None], most: int) -> list[T]:
    """All objects of one kind, at most so many."""
    body = bytes(rt.RTMSG.size if question == rt.RTM_GETROUTE else rt.IFINFO.size)
    request = nl.HEADER.pack(nl.HEADER.size + len(body), question, nl.NLM_F_REQUEST | nl.NLM_F_DUMP, question, 0) + body
    found: list[T] = []
    for count, datagram in enumerate(network.ask_routes(request)):
        if count == DATAGRAMS_MAX:
            break
        for kind, _, sequence, message in nl.messages(datagram):
            if sequence != question or kind == nl.NLMSG_DONE:
                return found
            if kind == nl.NLMSG_ERROR:
                raise SyscallError(errno.EIO)
            one = decode(message[nl.HEADER.size :]) if kind == question - 2 else None
            if one is not None and len(found) < most:
                found.append(one)
    return found
