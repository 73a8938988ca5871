"""The command line: ``python -m occlum_async``. One module per subcommand; nothing but options and printing.

Exit statuses are those of ``docker run``: the program's own, 128+n when signal n ended it, 125 when we
failed, 126 when the program can't be executed, 127 when there is none, and 124 after ``--timeout``.
"""

from __future__ import annotations

import logging
import sys

from ..errors import LibOSError, ProgramNotExecutable, ProgramNotFound

EXIT_TIMEOUT, EXIT_FAILED, EXIT_NOT_EXECUTABLE, EXIT_NOT_FOUND = 124, 125, 126, 127

log = logging.getLogger(__name__)


def main(arguments: list[str] | None = None) -> int:
    """Run the command line; returns the exit status. Says every error in one line on stderr."""
    import typer

    from .app import app

    try:
        status = app(args=arguments, prog_name="occlum-async", standalone_mode=False)
        return int(status or 0)
    except LibOSError as error:
        _complain(str(error))
        if isinstance(error, ProgramNotFound):
            return EXIT_NOT_FOUND
        return EXIT_NOT_EXECUTABLE if isinstance(error, ProgramNotExecutable) else EXIT_FAILED
    except typer.TyperException as error:
        _complain(f"{_usage_message(error)}; see occlum-async --help")
        return EXIT_FAILED
    except (KeyboardInterrupt, typer.Abort):
        return 128 + 2
    except BrokenPipeError:
        # Who reads our output has gone: there is nobody left to tell.
        sys.stderr.close()
        return 128 + 13
    except Exception as error:  # a defect of ours: one line for the user, the traceback for --log-level debug
        log.debug("internal error", exc_info=True)
        _complain(f"internal error: {type(error).__name__}: {error}; --log-level debug shows where")
        return EXIT_FAILED


def _usage_message(error: Exception) -> str:
    formatted = getattr(error, "format_message", None)
    message = str(formatted()) if formatted is not None else str(error)
    return message.rstrip(".").replace("\n", " ")


def _complain(message: str) -> None:
    print(f"occlum-async: {message}", file=sys.stderr)
