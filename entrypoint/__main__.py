"""``python -m entrypoint``, and the console script."""

import gc
import os
import sys

_NO_ROOM = (
    b'{"level": "error", "event": "entrypoint.failed", "error": "the start ran out of memory or of '
    b'open files", "remedy": "Raise the container\'s memory limit, ulimit -v and ulimit -n.", '
    b'"exit_code": 4}\n'
)

_PROBE = sys.argv[1:2] == ["health"]  # platforms run it every few seconds: it imports little

if not _PROBE:
    from .process import signals

    # Before anything heavy is imported: PID 1 without a handler ignores SIGTERM.
    signals.install()

# Most starts end in exec within 0.25 s, and a collection of what the imports made takes 7 % of
# that. Commands and steps that run longer switch the collector on again.
gc.disable()


def main() -> None:
    """Run the command line and exit with its code."""
    if _PROBE:
        from .health import probe

        sys.exit(probe.main(sys.argv[2:]))
    from contextlib import suppress

    from .errors import Terminated
    from .process.signals import late

    try:
        with suppress(Terminated), late():
            from .cli import main as cli
        from .cli import main as cli  # main() reports a signal that came during the import

        code = cli.main(sys.argv[1:])
    except Terminated as error:  # the signal came while main() was on its way out
        code = error.exit_code
    except (ImportError, MemoryError, OSError, SystemError) as error:  # while still importing
        code = _refused(error)
    gc.freeze()  # without it the exit collects the modules once more: 0.1 s
    sys.exit(code)


def _refused(error: ImportError | MemoryError | OSError | SystemError) -> int:
    """Report what the kernel refused before the log was set up; return the exit code."""
    try:
        from .process import kernel

        return kernel.last_word(error)
    except (ImportError, MemoryError, OSError, SystemError) as another:
        if another is error:
            raise
        os.write(2, _NO_ROOM)
        return 4


if __name__ == "__main__":
    main()
