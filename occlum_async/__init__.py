"""Occlum Async: a library OS for trusted execution environments whose kernel is an asyncio program."""

__version__ = "0.1.0"
