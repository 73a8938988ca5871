"""io_uring for guests: every operation is one of the declared system calls, or is about rings and time alone.

``operations`` says which call an operation is; ``perform`` makes it; ``queue`` has what is no system call.
"""

from . import calls as calls
