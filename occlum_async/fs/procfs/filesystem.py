"""A procfs as its inodes see it: of which kernel it tells, and to whom."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ..synthetic import Folder, SyntheticFs

if TYPE_CHECKING:
    from .views import KernelView, ThreadView

PROC_MAGIC = 0x9FA0


class ProcFs(SyntheticFs):
    """The procfs of a LibOS, which ``make_procfs`` fills. ``net`` is the folder that every process shows as its own."""

    name = "proc"
    magic = PROC_MAGIC

    def __init__(self, kernel: KernelView) -> None:
        super().__init__(kernel.scheduler)
        self.kernel: KernelView = kernel
        self.net = Folder(self, b"/net")

    def options(self) -> str:
        return ""

    def reader(self) -> ThreadView | None:
        """The thread that looks; None for the embedder."""
        thread: ThreadView | None = self.kernel.current_thread()
        return thread

    def path_for_reader(self, place: Any) -> bytes:
        """The path of a ``Location``, as the thread that looks sees it."""
        reader = self.reader()
        path: bytes = place.path(None if reader is None else reader.fs.root)
        return path
