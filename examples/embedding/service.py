"""An async service that runs code it does not trust: ``echo 'print(6*7)' | python examples/embedding/service.py``.

Each request gets a LibOS of its own with little memory, few processes and ten seconds.
"""

from __future__ import annotations

import asyncio
import sys
from asyncio.subprocess import PIPE, STDOUT

from occlum_async.libos import LibOS

TIME_LIMIT = 10.0


async def run_untrusted(source: str) -> tuple[int, str]:
    """Run Python source; its exit status and output."""
    async with LibOS(memory="256m", pids=16, user="1000:1000") as libos:
        await libos.fs.write_text("/tmp/code.py", source)
        process = await libos.spawn("/usr/bin/python3", "/tmp/code.py", stdin=PIPE, stdout=PIPE, stderr=STDOUT)
        try:
            output, _ = await asyncio.wait_for(process.communicate(b""), TIME_LIMIT)
        except TimeoutError:
            return 124, "it took too long\n"
        return process.returncode or 0, (output or b"").decode(errors="replace")


async def main() -> None:
    """Run what comes on stdin."""
    status, output = await run_untrusted(sys.stdin.read())
    sys.stdout.write(output)
    sys.exit(status)


if __name__ == "__main__":
    asyncio.run(main())
