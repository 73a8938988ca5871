"""The system calls: one module per family, each call declared once, by an ordinary typed function.

A handler is a plain function when it cannot block and ``async def`` when it can. It gets the calling
``Thread`` first and then its arguments as the annotations of ``abi.marshal`` say, and returns an ``int`` (or
None for 0). It fails by raising ``SyscallError``. Nothing of the LibOS's state lives in here.
"""
