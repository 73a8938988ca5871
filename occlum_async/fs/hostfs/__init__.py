"""A host folder as a file system, confined to that folder whatever symbolic links or races say.

``filesystem`` is the instance, ``inode`` its files, ``handles`` the bounded set of host descriptors that
stand behind them, ``view`` the choice of what of the host is shown when no folder was named.
"""

from .filesystem import HostFs
from .view import DEFAULT_VIEW, View

__all__ = ["DEFAULT_VIEW", "HostFs", "View"]
