"""Coroutines and time: strands, the run queue, wait queues, deadlines.

Knows nothing of files, processes or guests. Everything that blocks in the LibOS blocks here, on a
``WaitQueue`` or in ``Strand.park``; no other module makes asyncio Tasks or Futures for a system call.
"""
