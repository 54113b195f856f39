"""A service for tests: tells as JSON on stdout what it sees of itself, then does as told.

Arguments: `exit CODE`, or `serve` (waits for signals and names each, ends by SIGTERM).
"""

import json
import os
import signal
import sys
from pathlib import Path

status = dict(
    line.split(":\t") for line in Path("/proc/self/status").read_text().splitlines() if ":\t" in line
)
environ = Path("/proc/self/environ").read_bytes()
seen = {
    "pid": os.getpid(),
    "argv": [os.fsencode(word).hex() for word in Path("/proc/self/cmdline").read_bytes().decode("utf-8", "surrogateescape").split("\0")],
    "cwd": os.getcwd(),
    "umask": status["Umask"],
    "environ": [entry.hex() for entry in environ.split(b"\0") if entry],
    "signals": {key: status[key] for key in ("SigBlk", "SigIgn")},
    "fds": sorted(int(name) for name in os.listdir("/proc/self/fd")),
}
print(json.dumps(seen), flush=True)
words = sys.argv[1:]
if words[:1] == ["exit"]:
    os._exit(int(words[1]))
if words[:1] == ["serve"]:
    while True:
        number = signal.sigwait({signal.SIGUSR1, signal.SIGTERM})
        if number == signal.SIGTERM:
            signal.signal(signal.SIGTERM, signal.SIG_DFL)
            os.kill(os.getpid(), signal.SIGTERM)
        print(signal.Signals(number).name, flush=True)
