"""``--mount``: what its words mean, and what is said to wrong ones."""

from __future__ import annotations

from pathlib import Path

import pytest

from occlum_async.cli.mounts import parse_mount
from occlum_async.errors import ConfigError
from occlum_async.libos.mounts import Bind, Ext2Mount, Tmpfs, read_key


def test_types() -> None:
    assert parse_mount("type=bind,src=/a,dst=/b,readonly") == Bind("/a", "/b", True)
    assert parse_mount("type=tmpfs,destination=/t,tmpfs-size=1m") == Tmpfs("/t", 1 << 20)
    assert parse_mount("type=ext2,source=/x/d.img,target=/d,cache=16m") == Ext2Mount("/d", "/x/d.img", cache=16 << 20)
    made = parse_mount("type=ext2,source=/d,target=/,key-file=/k,ro,upper,noauto")
    assert made == Ext2Mount("/", "/d", key_file="/k", read_only=True, upper=True, auto=False)
    assert isinstance(made, Ext2Mount) and made.name == b"d"


def test_a_key_is_never_shown() -> None:
    assert "secret" not in repr(Ext2Mount("/d", "/d", key=b"secret" * 10))


@pytest.mark.parametrize(
    ("words", "told"),
    (
        ("type=ext3,source=x,target=/x", "'ext3' is no type of mount"),
        ("type=ext2,source=x", "has no target"),
        ("type=ext2,source=x,target=x", "is not absolute"),
        ("type=ext2,source=x,target=/x,size=1", "ext2 has no option 'size'"),
        ("type=ext2,source=x,target=/x,ro=maybe", "is no switch"),
        ("type=ext2,source=x,target=/x,cache=lots", "is not a size"),
        ("type=ext2,source=x,target=/x,cache=1m", "bytes are too few"),
        ("type=ext2,source=x,source=y,target=/x", "source is there twice"),
        ("type=ext2,source=x,target=/x,counter=c", "a plain disk has no counter"),
        ("nonsense", "has no value"),
    ),
)
def test_wrong_words(words: str, told: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse_mount(words)
    assert told in caught.value.message and "\n" not in str(caught.value)


def test_keys(tmp_path: Path) -> None:
    file = tmp_path / "key"
    for content, good in ((b"x" * 16, True), (b"x" * 15, False), (b"x" * 1025, False)):
        file.write_bytes(content)
        if good:
            assert read_key(file) == content
        else:
            with pytest.raises(ConfigError):
                read_key(file)
