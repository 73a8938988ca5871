"""A program that uses sockets through the system calls, natively and in the LibOS."""

from __future__ import annotations

from pathlib import Path

from tests.harness import assert_same

PROGRAM = Path(__file__).with_name("program.py").read_text()


async def test_a_program_that_prints_facts_about_sockets() -> None:
    await assert_same("/usr/bin/python3", "-c", PROGRAM)
