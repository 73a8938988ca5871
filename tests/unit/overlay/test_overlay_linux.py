"""Our overlay against Linux's: the same operations on both, the same outcomes."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from .conftest import overlay, populate
from .tree import NativeTree

W, R, L, S = "write", "read", "listdir", "stat"

SCENARIOS = {
    "read through": [(R, "/file"), (R, "/dir/a"), (L, "/"), (L, "/dir"), (S, "/file"), ("readlink", "/link")],
    "append copies up": [("append", "/file", b"+"), (R, "/file"), (S, "/file"), (R, "/link")],
    "truncate": [("truncate", "/dir/b", 10), (R, "/dir/b"), ("truncate", "/file", 0), (S, "/file")],
    "truncate beyond": [("truncate", "/file", 20), (R, "/file"), (S, "/file")],
    "whiteout": [
        ("unlink", "/dir/a"), (R, "/dir/a"), (L, "/dir"), (W, "/dir/a", b"new"), (R, "/dir/a"), (L, "/dir"),
        ("unlink", "/dir/a"), (S, "/dir/a"), (L, "/dir"),
    ],
    "opaque": [
        ("rmdir", "/dir"), ("unlink", "/dir/a"), ("unlink", "/dir/b"), ("unlink", "/dir/sub/deep"),
        ("rmdir", "/dir/sub"), ("rmdir", "/dir"), (L, "/"), ("mkdir", "/dir"), (L, "/dir"), (R, "/dir/a"),
        ("mkdir", "/dir/sub"), (L, "/dir/sub"),
    ],
    "rename file": [("rename", "/file", "/dir/file"), (R, "/dir/file"), (S, "/file"), (L, "/"), (R, "/link")],
    "rename over lower": [("rename", "/file", "/dir/a"), (R, "/dir/a"), (L, "/dir"), (L, "/")],
    "rename lower directory": [("rename", "/dir", "/moved"), (L, "/"), (S, "/moved")],
    "rename merged directory": [(W, "/dir/new", b"n"), ("rename", "/dir", "/moved"), (L, "/dir")],
    "rename new directory": [
        ("mkdir", "/fresh"), (W, "/fresh/x", b"x"), ("rename", "/fresh", "/moved"), (L, "/moved"), (L, "/"),
        ("rename", "/moved", "/empty"), (L, "/empty"), (R, "/empty/x"),
    ],
    "rename over full directory": [("mkdir", "/fresh"), ("rename", "/fresh", "/dir"), (L, "/dir")],
    "rename over emptied directory": [
        ("unlink", "/dir/sub/deep"), ("mkdir", "/fresh"), (W, "/fresh/x", b"x"), ("rename", "/fresh", "/dir/sub"),
        (L, "/dir/sub"), (L, "/"),
    ],
    "rename hides what is below": [
        ("mkdir", "/fresh"), ("unlink", "/dir/sub/deep"), ("rmdir", "/dir/sub"), ("rename", "/fresh", "/dir/sub"),
        (L, "/dir/sub"),
    ],
    "exchange": [("exchange", "/file", "/dir/a"), (R, "/file"), (R, "/dir/a"), ("exchange", "/dir", "/file")],
    "hard link": [
        ("link", "/file", "/dir/hard"), (S, "/file"), ("append", "/file", b"!"), (R, "/dir/hard"),
        ("unlink", "/file"), (S, "/dir/hard"), (R, "/dir/hard"), (L, "/"),
    ],
    "lower hard links break": [(S, "/one"), ("append", "/one", b"!"), (R, "/one"), (R, "/two"), (S, "/two")],
    "chmod file": [("chmod", "/file", 0o600), (S, "/file"), (R, "/file")],
    "chmod directory": [("chmod", "/dir", 0o700), (S, "/dir"), (L, "/dir")],
    "symlink": [
        ("symlink", "target", "/dir/new"), ("readlink", "/dir/new"), ("symlink", "t", "/dir/a"), ("unlink", "/link"),
        ("symlink", "dir/a", "/link"), (R, "/link"),
    ],
    "rename symlink": [("rename", "/link", "/dir/l"), ("readlink", "/dir/l"), (L, "/")],
    "attributes": [
        ("setxattr", "/file", "user.x", b"1"), ("getxattr", "/file", "user.x"), ("getxattr", "/dir/a", "user.x"),
        (R, "/file"),
    ],
    "refusals": [
        ("rmdir", "/dir"), ("unlink", "/dir"), ("rmdir", "/file"), ("mkdir", "/dir"), ("link", "/dir", "/x"),
        ("link", "/file", "/dir"), ("rename", "/file", "/dir"), ("rename", "/dir", "/file"), ("rename", "/nix", "/x"),
    ],
}  # fmt: skip


@pytest.fixture
def linux_overlay(tmp_path: Path) -> Iterator[NativeTree]:
    """A real overlayfs over tmpfs layers; skipped where it can't be mounted."""
    base = tmp_path / "linux"
    base.mkdir()
    if _mount("tmpfs", base):
        pytest.skip("mounting takes root")
    try:
        for name in ("lower", "upper", "work", "merged"):
            (base / name).mkdir()
        populate(base / "lower")
        layers = f"lowerdir={base}/lower,upperdir={base}/upper,workdir={base}/work"
        if _mount("overlay", base / "merged", layers):
            pytest.skip("this host can't mount an overlay here")
        try:
            yield NativeTree(base / "merged")
        finally:
            subprocess.run(["umount", base / "merged"], check=True)
    finally:
        subprocess.run(["umount", base], check=True)


def _mount(kind: str, place: Path, options: str = "mode=755") -> int:
    command = ["mount", "-t", kind, "-o", options, kind, str(place)]
    try:
        return subprocess.run(command, capture_output=True, check=False).returncode
    except OSError:
        return 1


@pytest.mark.parametrize("cold", [False, True], ids=["warm", "cold"])
@pytest.mark.parametrize("name", SCENARIOS)
async def test_agrees_with_linux(name: str, cold: bool, linux_overlay: NativeTree, lower: Path) -> None:
    async with overlay(lower) as tree:
        tree.cold = cold
        for step in SCENARIOS[name]:
            assert await tree.do(*step) == linux_overlay.do(*step), step


PATHS = st.sampled_from(
    ["/file", "/dir", "/dir/a", "/dir/sub", "/dir/sub/deep", "/empty", "/link", "/new", "/dir/new", "/empty/new"]
)
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("write"), PATHS, st.binary(max_size=8)),
        st.tuples(st.just("append"), PATHS, st.binary(max_size=8)),
        st.tuples(st.just("truncate"), PATHS, st.integers(0, 12)),
        st.tuples(st.sampled_from(["unlink", "mkdir", "rmdir", "read", "stat", "listdir"]), PATHS),
        st.tuples(st.sampled_from(["rename", "exchange", "link"]), PATHS, PATHS),
        st.tuples(st.just("chmod"), PATHS, st.sampled_from([0o700, 0o755])),
    ),
    max_size=25,
)


def snapshot(tree: NativeTree, path: str = "/") -> dict[str, object]:
    found: dict[str, object] = {}
    for name in tree.do("listdir", path)[1]:
        child = path.rstrip("/") + "/" + name.decode()
        found[child] = tree.do("stat", child)
        if found[child][1][0].startswith("d"):  # type: ignore[index]
            found |= snapshot(tree, child)
    return found


@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)
@given(steps=STEPS, cold=st.booleans())
async def test_behaves_like_one_directory(
    steps: list[tuple], cold: bool, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Except that directories of lower layers can't move (EXDEV), nobody can tell that there are layers."""
    base = tmp_path_factory.mktemp("model")
    for name in ("lower", "plain"):
        (base / name).mkdir()
        populate(base / name)
    plain = NativeTree(base / "plain")
    async with overlay(base / "lower") as tree:
        tree.cold = cold
        for step in steps:
            got = await tree.do(*step)
            if got == ("error", "EXDEV"):
                continue
            assert got == plain.do(*step), step
        for path, expected in snapshot(plain).items():
            assert await tree.do("stat", path) == expected, path
        inside = await tree.do("listdir", "/dir")
        assert inside == plain.do("listdir", "/dir")


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(steps=STEPS, cold=st.booleans())
async def test_random_steps_agree_with_linux(
    steps: list[tuple], cold: bool, linux_overlay: NativeTree, lower: Path
) -> None:
    root = Path(linux_overlay.root.decode())
    subprocess.run(["umount", root], check=True)
    base = root.parent
    for name in ("lower", "upper", "work"):
        subprocess.run(["rm", "-rf", base / name], check=True)
        (base / name).mkdir()
    populate(base / "lower")
    assert _mount("overlay", root, f"lowerdir={base}/lower,upperdir={base}/upper,workdir={base}/work") == 0
    async with overlay(lower) as tree:
        tree.cold = cold
        for step in steps:
            assert await tree.do(*step) == linux_overlay.do(*step), step
