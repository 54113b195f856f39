"""The service cannot tell that we were there."""

from __future__ import annotations

import fcntl
import json
import os
import re
import resource
import shlex
import shutil
import signal
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.support.program import Program, namespaces
from tests.support.stage import TENANT, Stage, service

PROC = Path("/proc")


def directly(argv: list[str], **options: Any) -> bytes:  # noqa: ANN401  Popen's own
    """What the same program writes when it is started without us."""
    return bytes(subprocess.run(argv, stdout=subprocess.PIPE, check=False, **options).stdout)


def hexed(entries: list[bytes]) -> list[str]:
    return [entry.hex() for entry in entries]


def test_the_environment_is_the_containers_byte_for_byte(stage: Stage) -> None:
    """Same variables in the same order, odd ones too, but for our secrets; no LC_CTYPE of ours."""
    stage.write_settings()
    environ = {
        b"PATH": os.environb[b"PATH"],
        b"DATABASE_URL": stage.url.encode(),
        b"SEED_TENANT_ID": TENANT.encode(),
        b"LATIN1": b"caf\xe9 \xff",
        b"EMPTY": b"",
        b"NEW\xe9LINE": b"a\nb=c",
        b"HOST": b"0.0.0.0",
        b"PORT": b"4003",
        b"PGHOST": b"somewhere",
        b"PYTHONPATH": b"/nowhere",
        b"ENTRYPOINT_ADMIN_URL": stage.server.url().encode(),
        b"ENTRYPOINT_DIRECT_URL": stage.url.encode(),
        b"ENTRYPOINT_LOG_LEVEL": b"debug",
    }
    program = Program.start("run", "--", *service(), environ=environ, directory=stage.directory)

    assert program.wait() == 0, program.output
    ours = {b"ENTRYPOINT_ADMIN_URL", b"ENTRYPOINT_DIRECT_URL"}
    expected = hexed([name + b"=" + value for name, value in environ.items() if name not in ours])
    assert json.loads(program.stdout)["environ"] == expected


@pytest.mark.parametrize("ignored", [(), ("INT", "QUIT"), ("HUP",)], ids=str)
def test_signals_as_without_us(stage: Stage, ignored: tuple[str, ...]) -> None:
    """SigBlk, SigIgn and SigCgt equal those of the same command without us."""
    argv = ["grep", "-E", "^Sig(Blk|Ign|Cgt)", "/proc/self/status"]

    def arrange() -> None:
        for name in ignored:
            signal.signal(signal.Signals[f"SIG{name}"], signal.SIG_IGN)
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGUSR2})

    program = stage.start(*argv, preexec_fn=arrange)

    assert program.wait() == 0
    assert program.stdout == directly(argv, preexec_fn=arrange)


def test_only_the_three_descriptors(stage: Stage) -> None:
    """0-2 and nothing of ours; what the platform left open is closed too."""
    reader, writer = os.pipe()
    os.set_inheritable(writer, True)  # noqa: FBT003  os has no keyword for it
    try:
        program = stage.start(*service(), pass_fds=[writer])
        assert program.wait() == 0
    finally:
        os.close(reader)
        os.close(writer)
    # The service's own look at /proc/self/fd is the fourth.
    assert json.loads(program.stdout)["fds"] == [0, 1, 2, 3]


def test_a_descriptor_above_the_limit(stage: Stage) -> None:
    """One that was opened before somebody lowered the limit is closed like the others."""
    high = fcntl.fcntl(2, fcntl.F_DUPFD, 300)

    def lower() -> None:
        resource.setrlimit(resource.RLIMIT_NOFILE, (256, 256))

    os.set_inheritable(high, True)  # noqa: FBT003  os has no keyword for it
    try:
        program = stage.start(*service(), close_fds=False, preexec_fn=lower)
        assert program.wait() == 0, program.output
    finally:
        os.close(high)
    assert json.loads(program.stdout)["fds"] == [0, 1, 2, 3]


def test_pid_argv_cwd_and_umask(stage: Stage) -> None:
    """All as the container gave them; argv with blanks, quotes, nothing, dashes and odd bytes."""
    words = ["", "two words", "'quotes\"", "--", "-x", os.fsdecode(b"caf\xe9")]
    argv = service("tell", *words)
    program = stage.start(*argv, umask=0o077)

    assert program.wait() == 0
    seen = json.loads(program.stdout)
    assert seen["pid"] == program.process.pid
    assert seen["argv"] == hexed([os.fsencode(word) for word in argv])
    assert seen["cwd"] == str(stage.directory)
    assert seen["umask"] == "0077"


@pytest.mark.parametrize("code", [0, 1, 2, 64, 126, 127, 254, 255])
def test_the_exit_code_is_the_services(stage: Stage, code: int) -> None:
    """Nothing stands between it and the container."""
    stage.environ["ENTRYPOINT_SKIP"] = "push,seed"

    assert stage.start("sh", "-c", f"exit {code}").wait() == code


def test_signals_reach_the_service(stage: Stage) -> None:
    """SIGUSR1 is handled by it, SIGTERM ends it, by signal and not by a code of ours."""
    program = stage.start(*service("serve-and-say"))
    program.until("service.ready")

    program.signal(signal.SIGUSR1)
    program.until("service.signalled", signal="SIGUSR1")
    program.signal(signal.SIGTERM)

    assert program.wait() == -signal.SIGTERM


def no_interpreter(folder: Path) -> list[str]:
    path = folder / "script"
    path.write_bytes(b"#!/usr/bin/env-of-nowhere node\r\n")
    path.chmod(0o755)
    return [str(path)]


def not_executable(folder: Path) -> list[str]:
    path = folder / "script"
    path.write_text("#!/bin/sh\n")
    path.chmod(0o644)
    return ["./script"]


def no_first_line(folder: Path) -> list[str]:
    path = folder / "script"
    path.write_text("echo hello\n")
    path.chmod(0o755)
    return [str(path)]


def a_folder(folder: Path) -> list[str]:
    return [str(folder)]


def absent(_: Path) -> list[str]:
    return ["no-such-program"]


@pytest.mark.parametrize(
    ("make", "code"),
    [
        (absent, 127),
        (no_interpreter, 127),
        (not_executable, 126),
        (no_first_line, 126),
        (a_folder, 126),
    ],
)
def test_126_and_127_come_before_any_database_work(stage: Stage, make: Any, code: int) -> None:  # noqa: ANN401  Popen's own
    """The server is not even asked."""
    program = stage.start(*make(stage.directory))

    assert program.wait() == code
    assert program.one("settings.failed")["exit_code"] == code
    assert program.one("settings.failed")["remedy"]
    assert "wait.started" not in program.names()


@dataclass
class Shape:
    """A container's command that was meant otherwise."""

    argv: list[str]
    code: int
    error: str
    meant: list[str] | None
    """The command that the remedy gives, if it gives one."""


FILES = {
    "server.js": "console.log(1)",
    "dist/main.js": "console.log(1)",
    "start.sh": "echo $1",
    "app.py": "print(1)",
    "node_modules/.bin/next": "",
    "package.json": '{"scripts": {"start:prod": "node server.js", "start": "node server.js"}}',
}
SERVER = ["node", "server.js"]
SHAPES = {
    "no command": Shape([], 2, "there is no command for the service", ["node", "dist/main.js"]),
    "a flag for help": Shape(["--help"], 127, "begins with an option", ["node", "--help"]),
    "a flag of Node's": Shape(
        ["--no-warnings", "server.js"],
        127,
        "begins with an option",
        ["node", "--no-warnings", "server.js"],
    ),
    "a second --": Shape(["--", *SERVER], 127, "ends with -- already", SERVER),
    "all in one word": Shape(["node server.js"], 127, "in one word", SERVER),
    "a script of npm's in one word": Shape(
        ["npm run start:prod"], 127, "in one word", ["npm", "run", "start:prod"]
    ),
    "single quotes": Shape(
        ["/bin/sh", "-c", "['node', 'server.js']"], 127, "a piece of a list", SERVER
    ),
    "curly quotes": Shape(
        ["/bin/sh", "-c", "[\u201cnode\u201d, \u201cserver.js\u201d]"],
        127,
        "a piece of a list",
        SERVER,
    ),
    "a bracket that is missing": Shape(
        ["/bin/sh", "-c", '["node", "server.js"'], 127, "a piece of a list", SERVER
    ),
    "single quotes, as compose splits them": Shape(
        ["[node,", "server.js]"], 127, "a piece of a list", SERVER
    ),
    "a script of package.json": Shape(
        ["start"], 127, "a script of package.json", ["npm", "run", "start"]
    ),
    "a program of a dependency": Shape(
        ["next", "start"], 127, "a dependency", ["node_modules/.bin/next", "start"]
    ),
    "a file of JavaScript": Shape(["server.js"], 127, "a file for an interpreter", SERVER),
    "a file of JavaScript with its folder": Shape(
        ["dist/main.js", "x"], 126, "is not executable", ["node", "dist/main.js", "x"]
    ),
    "a file of TypeScript that is not there": Shape(
        ["src/main.ts"], 127, "the image has no such file", ["node", "src/main.ts"]
    ),
    "a file of Python in a shell": Shape(
        ["sh", "-c", "exec app.py --x"],
        127,
        "a file for an interpreter",
        ["python3", "app.py", "--x"],
    ),
    "a file that a shell does not find": Shape(
        ["sh", "-c", "./nothing --x"], 127, "'./nothing' is not found", None
    ),
    "a shell's script": Shape(
        ["start.sh", "x"], 127, "a file for an interpreter", ["sh", "start.sh", "x"]
    ),
    "a folder": Shape(["dist"], 127, "is a folder", ["node", "dist/main.js"]),
    "a folder by its path": Shape(["./dist"], 126, "is a folder", ["node", "./dist/main.js"]),
    "a chain": Shape(
        ["node", "a.js", "&&", "node", "b c.js"],
        2,
        "only a shell understands",
        ["sh", "-c", "node a.js && node 'b c.js'"],
    ),
    "a chain behind a shell": Shape(
        ["sh", "-c", "node", "a.js", "&&", *SERVER],
        2,
        "only a shell understands",
        ["sh", "-c", "node a.js && node server.js"],
    ),
    "a chain of texts behind a shell": Shape(
        ["sh", "-c", "node a.js", "&&", "node server.js --x"],
        2,
        "only a shell understands",
        ["sh", "-c", "node a.js && node server.js --x"],
    ),
    "a chain in one word": Shape(
        ["true && node server.js"],
        127,
        "it is a shell command",
        ["sh", "-c", "true && node server.js"],
    ),
    "an empty word": Shape(["", *SERVER], 127, "is empty", SERVER),
    "nothing but an empty word": Shape([""], 127, "is empty", None),
    "a variable": Shape(["$CMD", "x"], 127, "expands a variable", ["sh", "-c", "exec $CMD x"]),
    "a variable to set": Shape(
        ["NODE_ENV=production", *SERVER],
        127,
        "sets a variable",
        ["env", "NODE_ENV=production", *SERVER],
    ),
    "a command of ours": Shape(
        ["prepare"],
        127,
        "a word of entrypoint in the place",
        ["/opt/entrypoint/bin/entrypoint", "prepare"],
    ),
    "ours twice": Shape(["run", "--", *SERVER], 127, "a word of entrypoint in the place", SERVER),
}


@pytest.fixture
def image(stage: Stage) -> Stage:
    """A stage with a service's files."""
    for name, text in FILES.items():
        (stage.directory / name).parent.mkdir(exist_ok=True, parents=True)
        (stage.directory / name).write_text(text)
    (stage.directory / "node_modules/.bin/next").chmod(0o755)
    (stage.directory / "node_modules/.bin/next").write_text("#!/bin/sh\n")
    return stage


def given(stage: Stage, argv: list[str]) -> Program:
    """A start with exactly these words after `run --`."""
    stage.write_settings()
    environ = {"PATH": os.environ["PATH"], "DATABASE_URL": stage.url, **stage.environ}
    program = Program.start("run", "--", *argv, environ=environ, directory=stage.directory)
    stage.started.append(program)
    return program


@pytest.mark.parametrize("shape", SHAPES)
def test_a_command_that_was_meant_otherwise(image: Stage, shape: str) -> None:
    """Each is refused before any work by one event, and the remedy names the command to set."""
    expected = SHAPES[shape]
    program = given(image, expected.argv)

    assert program.wait() == expected.code, program.output
    failed = program.one("settings.failed")
    assert expected.error in failed["error"]
    assert failed["exit_code"] == expected.code
    assert program.stdout == b""
    assert program.names()[-1] == "settings.failed"
    assert "wait.started" not in program.names()
    lists = re.findall(r"\[\".*?\"\](?=[ ,.:;]|$)", failed["remedy"])
    assert [json.loads(each) for each in lists][:1] == [expected.meant] * bool(expected.meant)


@pytest.mark.parametrize(
    "shape",
    [
        name
        for name, each in SHAPES.items()
        if each.meant and (FILES.keys() & each.meant or each.meant[0] in ("sh", "npm"))
    ],
)
def test_what_the_remedy_of_a_command_names_is_found(image: Stage, shape: str) -> None:
    """Whoever sets the command that the remedy names gets past it, to the database's work."""
    image.environ["ENTRYPOINT_SKIP"] = "push,seed"
    image.environ["CMD"] = "true"
    program = given(image, SHAPES[shape].meant or [])
    program.wait()

    assert program.one("handoff.executed")["argv"] == SHAPES[shape].meant


@pytest.mark.parametrize(
    ("argv", "doubted"),
    [
        (["echo", "--port", "$PORT"], 1),
        (["echo", "--port=${PORT}"], 1),
        (["echo", "$(PORT)"], 1),
        (["echo", 'on "$PORT"; echo `a\\b`'], 1),
        (["echo", "$1", "a$"], 0),
        (["sh", "-c", "echo $PORT"], 0),
        (["env", "sh", "-c", "echo ${PORT}"], 0),
    ],
)
def test_a_variable_that_nobody_expands_is_doubted(
    image: Stage, argv: list[str], doubted: int
) -> None:
    """It may be meant so: the service is started with it, and one warning says how it is set."""
    image.environ |= {"ENTRYPOINT_SKIP": "push,seed", "PORT": "4001"}
    program = given(image, argv)

    assert program.wait() == 0, program.output
    assert len(program.all("command.variable_not_expanded")) == doubted
    if doubted:
        assert program.stdout.decode() == " ".join(argv[1:]) + "\n"
        [line] = re.findall(r"\[.*\]", program.one("command.variable_not_expanded")["remedy"])
        again = given(image, json.loads(line))
        assert again.wait() == 0
        expected = program.stdout.decode()
        for form in ("${PORT}", "$(PORT)", "$PORT"):
            expected = expected.replace(form, "4001")
        assert again.stdout.decode() == expected


@pytest.mark.parametrize(
    "script",
    [
        "[ -e server.js ] && echo well",
        "[[ -e x ]] || echo well",
        "test -e x || echo well",
        "./nothing || echo well",
        "./nothing; echo well",
        "x=./nothing; echo well",
        "exec echo well",
        ". ./start.sh well",
        "nothing() { echo well; }; nothing",
    ],
)
def test_what_a_shell_may_mean_is_left_to_it(image: Stage, script: str) -> None:
    """Only what is certain of a shell's text is refused: the rest starts."""
    image.environ["ENTRYPOINT_SKIP"] = "push,seed"
    program = given(image, ["sh", "-c", script])

    assert program.wait() == 0, program.output
    assert program.stdout.split()[-1:] in ([b"well"], []), program.output
    assert program.one("handoff.executed")


@pytest.mark.parametrize(
    "argv",
    [
        ["sh", "start.sh", "gunicorn", "-c", "well.conf.py"],
        ["sh", "-eu", "start.sh", "gunicorn", "-c", "/dev/null"],
        ["bash", "-o", "errexit", "start.sh", "-c", "well.py"],
        ["bash", "-c", "exec -a well echo well"],
        ["bash", "-lc", "well.py"],
        ["bash", "--login", "-c", "well.py"],
        ["bash", "-l", "-c", "well.py"],
        ["sh", "-c", 'eval "$*"', "sh", "true", "&&", "echo", "well"],
        ["sh", "-c", 'sh -c "$*"', "sh", "false", "||", "echo", "well"],
    ],
)
def test_what_is_a_script_s_or_a_profile_s_is_left_to_it(image: Stage, argv: list[str]) -> None:
    """A shell's -c stands before its script, and a login shell finds what its profile says."""
    home = image.directory / "home"
    (home / "bin").mkdir(parents=True)
    (home / "bin" / "well.py").write_text("#!/bin/sh\necho well\n")
    (home / "bin" / "well.py").chmod(0o755)
    (home / ".bash_profile").write_text("PATH=$HOME/bin:$PATH\n")
    (image.directory / "start.sh").write_text("echo well\n")
    image.environ |= {"ENTRYPOINT_SKIP": "push,seed", "HOME": str(home)}
    program = given(image, argv)

    assert program.wait() == 0, program.output
    assert program.stdout == b"well\n"


def test_what_bash_reads_before_its_text_is_left_to_it(image: Stage) -> None:
    """BASH_ENV may say where a program is, as images with nvm have it."""
    (image.directory / "env").write_text("cd dist\n")
    (image.directory / "dist" / "well").write_text("#!/bin/sh\necho well\n")
    (image.directory / "dist" / "well").chmod(0o755)
    image.environ |= {"ENTRYPOINT_SKIP": "push,seed", "BASH_ENV": "./env"}
    program = given(image, ["bash", "-c", "./well"])

    assert program.wait() == 0, program.output
    assert program.stdout == b"well\n"


@pytest.mark.parametrize(
    ("words", "error"),
    [
        ([], "the command line names no command"),
        (["node", "server.js"], "'node' is not a command of entrypoint"),
        (["RUN", "--", "node"], "'RUN' is not a command of entrypoint"),
        (["run"], "there is no command for the service"),
        (["run", "--inspect", "server.js"], "`run` has no option --inspect"),
        (["prepare", "--", "node"], '`prepare` takes no command, but got ["node"]'),
    ],
)
def test_an_entrypoint_that_was_written_wrong(stage: Stage, words: list[str], error: str) -> None:
    """A container's log gets an event with the right line, not a usage that nobody asked for."""
    environ = {"PATH": os.environ["PATH"], "DATABASE_URL": stage.url}
    program = Program.start(*words, environ=environ, directory=stage.directory)

    assert program.wait() == 2
    failed = program.one("settings.failed")
    assert error in failed["error"]
    assert "/opt/entrypoint/bin/entrypoint" in failed["remedy"] or words == ["run"]
    assert b"usage:" not in program.stderr
    assert program.stdout == b""


def test_run_without_dashes(stage: Stage) -> None:
    """Without -- the service's words are the service's all the same."""
    environ = {"PATH": os.environ["PATH"], "DATABASE_URL": "postgresql://u:p@h/d"}
    environ["ENTRYPOINT_SKIP"] = "push,seed"
    program = Program.start("run", "echo", "--x", environ=environ, directory=stage.directory)

    assert program.wait() == 0
    assert program.stdout == b"--x\n"


def test_a_binary_that_the_kernel_refuses(stage: Stage) -> None:
    """One of another machine is tried before any work: 126, and nothing is pushed."""
    path = stage.directory / "program"
    path.write_bytes(b"\x7fELF of another machine\0\0")
    path.chmod(0o755)
    program = stage.start(str(path))

    assert program.wait() == 126
    failed = program.one("settings.failed")
    assert "Exec format error" in failed["error"]
    assert "--platform" in failed["remedy"]


def test_a_binary_of_another_c_library(stage: Stage) -> None:
    """Its loader is not in the image, which the kernel tells as if the program were missing."""
    program = Path(shutil.which("true") or "").read_bytes()
    path = stage.directory / "program"
    path.write_bytes(
        program.replace(b"/lib64/ld-linux-x86-64.so.2", b"/lib64/ld-musl-x86-64.so.1\0")
    )
    path.chmod(0o755)
    started = stage.start(str(path))

    assert started.wait() == 127
    failed = started.one("settings.failed")
    assert "'/lib64/ld-musl-x86-64.so.1', which is missing in the image" in failed["error"]
    assert "C library" in failed["remedy"]


def test_an_interpreter_that_env_does_not_find(stage: Stage) -> None:
    """`#!/usr/bin/env node` without node on PATH is 127 before any work, with or without -S."""
    path = stage.directory / "program"
    for line in ("#!/usr/bin/env no-such-node", "#!/usr/bin/env -S no-such-node --x"):
        path.write_text(f"{line}\n")
        path.chmod(0o755)
        program = stage.start(str(path))

        assert program.wait() == 127
        assert "needs the interpreter 'no-such-node'" in program.one("settings.failed")["error"]


def test_no_zombie_is_left_to_the_service(stage: Stage) -> None:
    """As PID 1 we collect what the push left behind."""
    stage.push = ["sh", "-c", f"{shlex.join(stage.push)}; (sleep 0.2; sleep 0.1) & echo done"]
    stage.seed = ["true"]
    stage.write_settings()
    script = "grep -c '^State:.Z' /proc/[0-9]*/status | grep -v ':0'; echo pid $$"
    argv = namespaces("--pid", "--fork", "--mount-proc", "--kill-child")
    argv += [sys.executable, "-I", "-m", "entrypoint", "run", "--", "sh", "-c", script]
    finished = subprocess.run(
        argv,
        cwd=stage.directory,
        env={"PATH": os.environ["PATH"], "DATABASE_URL": stage.url},
        capture_output=True,
        check=False,
    )

    assert finished.stdout == b"pid 1\n", finished


def test_sigterm_reaches_us_as_pid_1(stage: Stage) -> None:
    """PID 1 without a handler would ignore it: `docker stop` would hang."""
    stage.push = ["sh", "-c", "echo ready; sleep 60"]
    stage.write_settings()
    argv = namespaces("--pid", "--fork", "--mount-proc")
    argv += [sys.executable, "-I", "-m", "entrypoint", "run", "--", "true"]
    program = Program(
        subprocess.Popen(
            argv,
            cwd=stage.directory,
            env={"PATH": os.environ["PATH"], "DATABASE_URL": stage.url},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
    )
    program.until("push.printed", line="ready")
    [inner] = (
        (PROC / str(program.process.pid) / "task" / str(program.process.pid) / "children")
        .read_text()
        .split()
    )

    os.kill(int(inner), signal.SIGTERM)

    assert program.wait(timeout=5) == 143
