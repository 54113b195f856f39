"""A service for tests: tells as JSON on stdout what it sees of itself, then does as told.

Arguments: `exit CODE`, or `serve-and-say` (names each signal on stderr, ends by SIGTERM).
"""

import json
import os
import signal
import sys
from pathlib import Path

status = dict(
    line.split(":\t")
    for line in Path("/proc/self/status").read_text().splitlines()
    if ":\t" in line
)
environ = Path("/proc/self/environ").read_bytes()
seen = {
    "pid": os.getpid(),
    "argv": [word.hex() for word in Path("/proc/self/cmdline").read_bytes().split(b"\0")[:-1]],
    "cwd": os.getcwd(),
    "umask": status["Umask"],
    "environ": [entry.hex() for entry in environ.split(b"\0") if entry],
    "fds": sorted(int(name) for name in os.listdir("/proc/self/fd")),
}
print(json.dumps(seen), flush=True)
words = sys.argv[1:]
if words[:1] == ["exit"]:
    os._exit(int(words[1]))
if words[:1] == ["serve-and-say"]:
    # As the program's events look, so that a test can wait for them.
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGUSR1, signal.SIGTERM})
    print(json.dumps({"event": "service.ready"}), file=sys.stderr, flush=True)
    while (number := signal.sigwait({signal.SIGUSR1, signal.SIGTERM})) != signal.SIGTERM:
        name = signal.Signals(number).name
        print(
            json.dumps({"event": "service.signalled", "signal": name}), file=sys.stderr, flush=True
        )
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGTERM})
    os.kill(os.getpid(), signal.SIGTERM)
