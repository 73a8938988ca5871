"""Sockets inside the LibOS: unix sockets, TCP and UDP over the loopback interface, netlink.

Everything here lives in memory between processes of the LibOS; the host takes no part in it.
``stack.NetworkStack`` is the entry: it makes sockets, knows who is bound to what, and is the place where
another implementation of a family (the host's network) is put in. Paths of unix sockets are resolved by
the caller, who hands over the socket that a path leads to.
"""
