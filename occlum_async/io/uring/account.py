"""What the rings of each user may hold in the kernel, all of them together."""

from __future__ import annotations

import errno

from ...abi.errors import SyscallError
from ..tally import Tally

MAX_PAGES = 1 << 16  # of shared memory
MAX_ITEMS = 1 << 17  # requests in flight, completions without room, buffers that were provided


class Accounts:
    """By user id: pages of rings, and items in them."""

    def __init__(self) -> None:
        self.pages = Tally()
        self.items = Tally()


class Account:
    """One ring's part of what its user holds; given back as a whole at the end."""

    def __init__(self, accounts: Accounts, uid: int, pages: int) -> None:
        """ENOMEM when the user has too many ``pages`` already."""
        if accounts.pages[uid] + pages > MAX_PAGES:
            raise SyscallError(errno.ENOMEM)
        self._accounts = accounts
        self._uid = uid
        self._pages = pages
        self._items = 0
        accounts.pages.add(uid, pages)

    def room(self, items: int = 1) -> bool:
        """Whether the user may hold so many more."""
        return self._accounts.items[self._uid] + items <= MAX_ITEMS

    def charge(self, items: int) -> None:
        """Hold so many more; fewer when negative."""
        self._items += items
        self._accounts.items.add(self._uid, items)

    def settle(self) -> None:
        """The ring and all in it are gone."""
        self.charge(-self._items)
        self._accounts.pages.add(self._uid, -self._pages)
