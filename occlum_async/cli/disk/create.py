"""``disk create``."""

from __future__ import annotations

import os
from dataclasses import dataclass

from ...errors import ConfigError
from ...fs.block.device import BLOCK, BlockDevice
from ...fs.block.image import HostImage
from ...fs.ext2 import mkfs
from ...fs.mlsdisk import MlsDisk, TrustedCounter
from ...io.boundary import Boundary
from ...sizes import parse_size
from ..parsing import choice, option
from .opened import boundary, counter_option, key_option, root_key, run, trusted_counter
from .progress import Counted, progress

KEY_SIZE = 32


@dataclass(frozen=True, slots=True)
class Options:
    """Make FILE a disk with an empty ext2 file system. FILE must not exist.

    With --key-file it is sealed: confidential, authentic and fresh. A key file that does not exist is made, with a
    random key that only this user can read. With --plain it is an ext2 image that Linux mounts.
    """

    file: str
    size: str | None = option("--size", metavar="SIZE", help="How much it holds, like 20g.")
    key_file: str | None = key_option()
    plain: bool = option("--plain", help="Make a plain image, without encryption.")
    counter: str | None = counter_option()
    block_size: str = option(
        "--block-size", metavar="BYTES", default="4096", convert=choice("1024", "2048", "4096"),
        help="Of the file system: 1024, 2048 or 4096 (the default).",
    )  # fmt: skip
    label: str = option("--label", metavar="NAME", default="", help="Name of the file system.")


def command(options: Options) -> int:
    """Make it."""
    if options.size is None:
        raise ConfigError("--size is missing", "like --size 20g")
    size = parse_size(options.size, "--size")
    if options.plain == (options.key_file is not None):
        raise ConfigError("a disk is sealed or plain", "give either --key-file FILE or --plain")
    if os.path.lexists(options.file):
        raise ConfigError(f"{options.file} exists already", "remove it, or choose another name")
    if options.key_file is not None:
        _make_key(os.path.expanduser(options.key_file))
    return run(options.file, _create(options, size // BLOCK))


def _make_key(path: str) -> None:
    """Make a key file if there is none."""
    try:
        fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    except FileExistsError:
        return
    except OSError as error:
        raise ConfigError(f"--key-file: {path}: {error.strerror}") from None
    try:
        os.write(fd, os.urandom(KEY_SIZE))
        os.fsync(fd)
    finally:
        os.close(fd)


async def _create(options: Options, blocks: int) -> int:
    async with boundary() as host:
        counter = trusted_counter(options.counter, options.key_file)
        device = await make_device(options.file, root_key(options.key_file), blocks, counter, host)
        try:
            with progress("formatting", None) as advance:
                label = os.fsencode(options.label)
                await mkfs(Counted(device, advance), block_size=int(options.block_size), label=label)
            await device.close()
        except BaseException as error:
            await device.close()
            os.unlink(options.file)
            if isinstance(error, ValueError):
                raise ConfigError(str(error)) from None
            raise
    return 0


async def make_device(
    path: str, key: bytes | None, blocks: int, counter: TrustedCounter | None, host: Boundary
) -> BlockDevice:
    """A new disk of ``blocks`` blocks in the host's file ``path``: sealed with ``key``, plain without."""
    if key is None:
        return HostImage.create(path, blocks, host)
    return await MlsDisk.create(path, key, blocks=blocks, counter=counter, boundary=host)
