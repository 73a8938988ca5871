"""A real session in the LibOS, and what happened in it: ``make demo``."""

from __future__ import annotations

import asyncio
from asyncio.subprocess import DEVNULL, PIPE, STDOUT
from typing import Any

from rich.console import Console

from occlum_async.libos import LibOS

console = Console(highlight=False)

SESSION = (
    "uname -a; hostname; id",
    "ls /; ls /home /root",
    "ps -ef",
    "for i in 1 2 3; do echo $i; done | sort -r",
    "echo 'written in memory' > /etc/motd; cat /etc/motd",
    "(sleep 1; kill -TERM $$) & wait",
    "ls / | shout | head -3",
)


async def shout(sys: Any, argv: list[bytes], env: dict[bytes, bytes]) -> int:
    """A Python coroutine that is a process of the LibOS: pipes, a pid and an exit status like any other."""
    async for line in sys.stdin:
        await sys.stdout.write(line.upper())
    return 0


async def main() -> None:
    """Run the session, then show the kernel's counters."""
    async with LibOS() as libos:
        libos.program("/usr/bin/shout")(shout)
        for command in SESSION:
            console.print(f"[bold]libos$[/] {command}", markup=True)
            process = await libos.spawn("/bin/bash", "-c", command, stdin=DEVNULL, stdout=PIPE, stderr=STDOUT)
            output, _ = await process.communicate()
            console.print((output or b"").decode(errors="replace").rstrip(), markup=False)
            if process.returncode:
                console.print(f"[dim](returned {process.returncode})[/]")
        stats = libos.stats()
    console.print()
    calls = sorted(stats["syscalls"].items(), key=lambda item: -item[1])
    console.print(f"{sum(count for _, count in calls)} system calls were decided in Python; most of them:")
    console.print("  " + ", ".join(f"{name} {count}" for name, count in calls[:8]))
    console.print(f"The boundary to the host: {stats['boundary']}")
    console.print("Nothing of it is left on the host. Try: .venv/bin/python -m occlum_async run -it /bin/bash")


if __name__ == "__main__":
    asyncio.run(main())
