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
        self._accounts = accounts
        self._uid = uid
        self._pages = 0
        self._items = 0
        self.charge_pages(pages)

    def room(self, items: int = 1) -> bool:
        """Whether the user may hold so many more."""
        return self._accounts.items[self._uid] + items <= MAX_ITEMS

    def charge(self, items: int) -> None:
        """Hold so many more; fewer when negative."""
        self._items += items
        self._accounts.items.add(self._uid, items)

    def charge_pages(self, pages: int) -> None:
        """Hold so many more pages; fewer when negative. ENOMEM when the user has too many."""
        if pages > 0 and self._accounts.pages[self._uid] + pages > MAX_PAGES:
            raise SyscallError(errno.ENOMEM)
        self._pages += pages
        self._accounts.pages.add(self._uid, pages)

    def settle(self) -> None:
        """The ring and all in it are gone."""
        self.charge(-self._items)
        self._accounts.pages.add(self._uid, -self._pages)
