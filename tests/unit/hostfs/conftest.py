"""A host folder with a file system upon it, over each kind of boundary."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest

from occlum_async.fs.hostfs import HostFs
from occlum_async.io.boundary import Boundary


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "folder"
    (folder / "dir" / "sub").mkdir(parents=True)
    (folder / "file").write_bytes(b"host file")
    (folder / "dir" / "a").write_bytes(b"A")
    (folder / "link").symlink_to("/etc/shadow")
    (folder / "up").symlink_to("..")
    (tmp_path / "secret").write_bytes(b"secret")
    return folder


@pytest.fixture
async def mount(boundary: Boundary, folder: Path) -> AsyncIterator[Callable[..., HostFs]]:
    made: list[HostFs] = []

    def mounted(**options: Any) -> HostFs:
        made.append(HostFs(1, boundary, str(folder), **options))
        return made[-1]

    yield mounted
    for fs in made:
        fs.handles.close()
        await fs.unmount()
