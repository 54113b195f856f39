"""The kernel's lists find what a child started, wherever it went, and nobody else."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import uuid
from contextlib import closing, contextmanager
from typing import TYPE_CHECKING

import pytest

from entrypoint.process import procfs

if TYPE_CHECKING:
    from collections.abc import Iterator

MARK = f"PGAPPNAME={uuid.uuid4()}"

WAIT = "import sys; print('ready', flush=True); sys.stdin.read()"

AWAY = f"""
import os, subprocess, sys
if os.fork():
    os._exit(0)
os.setsid()
if os.fork():
    os._exit(0)
subprocess.run([sys.executable, "-c", {WAIT!r}])
"""


class Family:
    """Programs that live until their stdin, one pipe of all, is closed."""

    def __init__(self) -> None:
        self.read, self.write = os.pipe()
        self.started: list[subprocess.Popen[bytes]] = []

    def start(self, code: str = WAIT, **variables: str) -> subprocess.Popen[bytes]:
        """Start one in a group of its own; block until it, or what it started, is there."""
        made = subprocess.Popen(
            [sys.executable, "-c", code],
            stdin=self.read,
            stdout=subprocess.PIPE,
            env={**os.environ, **variables},
            start_new_session=True,
        )
        self.started.append(made)
        assert made.stdout is not None
        assert made.stdout.readline() == b"ready\n"
        return made

    def close(self) -> None:
        """End them all, and block until they are gone."""
        os.close(self.write)
        os.close(self.read)
        for made in self.started:
            made.communicate()


@contextmanager
def connected(host: str) -> Iterator[tuple[socket.socket, socket.socket, socket.socket]]:
    """A socket that listens, and the two ends of a connection to it."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with closing(socket.create_server((host, 0), family=family)) as server:
        ours = socket.create_connection(server.getsockname()[:2])
        peer, _ = server.accept()
        with closing(ours), closing(peer):
            yield server, ours, peer


def inode(of: socket.socket) -> str:
    return str(os.fstat(of.fileno()).st_ino)


@pytest.fixture
def family() -> Iterator[Family]:
    """A family that is ended after the test."""
    with closing(Family()) as made:
        yield made


def marked() -> set[int]:
    return procfs.marked(MARK.encode())


def marking() -> dict[str, str]:
    return dict([MARK.split("=", 1)])


def test_a_group_is_found(family: Family) -> None:
    """Its leader and its members, and nobody of another group."""
    one, other = family.start(), family.start()

    assert procfs.of_group(one.pid) == {one.pid}
    assert procfs.of_group(other.pid) == {other.pid}
    assert os.getpid() in procfs.of_group(os.getpgid(0))


def test_the_marked_are_found(family: Family) -> None:
    """By the whole assignment: another value or another name is not it."""
    name, value = MARK.split("=", 1)
    one = family.start(**{name: value})
    family.start(**{name: f"{value}0"})
    family.start(**{f"X{name}": value})
    family.start()

    assert marked() == {one.pid}


def test_who_left_is_found(family: Family) -> None:
    """A daemon in a session of its own, whose parents are gone, and its own children."""
    parent = family.start(AWAY, **marking())
    parent.wait()
    away = marked()

    assert len(away) == 2
    assert procfs.of_group(parent.pid) == set()
    for pid in away:
        assert os.getsid(pid) != os.getsid(0)


def test_the_dead_are_not_found(family: Family) -> None:
    """A process that ended and was not waited for has no environment any more."""
    one = family.start(**marking())
    os.kill(one.pid, signal.SIGKILL)
    os.waitid(os.P_PID, one.pid, os.WEXITED | os.WNOWAIT)

    assert marked() == set()


def test_a_look_that_remembers_finds_what_is_new(family: Family) -> None:
    """What was started since, by anybody; and nobody is remembered longer than he lives."""
    unmarked: set[int] = set()
    old = family.start()
    assert procfs.marked(MARK.encode(), unmarked) == set()
    assert {os.getpid(), old.pid} <= unmarked

    parent = family.start(AWAY, **marking())
    parent.wait()
    os.kill(old.pid, signal.SIGKILL)
    old.wait()

    assert procfs.marked(MARK.encode(), unmarked) == marked()
    assert len(marked()) == 2
    assert old.pid not in unmarked
    assert unmarked.isdisjoint(marked())


def test_the_ports_of_a_process(family: Family) -> None:
    """The local ends of its established connections; one that only listens has none."""
    with closing(socket.create_server(("127.0.0.1", 0))) as server:
        port = server.getsockname()[1]
        code = f"import socket; kept = socket.create_connection(('127.0.0.1', {port})); {WAIT}"
        one, other = family.start(code), family.start()
        peer, (_, local) = server.accept()
        with closing(peer):
            assert procfs.local_ports({one.pid, other.pid}) == {local}
            assert procfs.local_ports({other.pid}) == set()
    with closing(socket.create_server(("127.0.0.1", 0))) as server:
        assert server.getsockname()[1] not in procfs.local_ports({os.getpid()})


def test_a_look_that_remembers_finds_new_connections() -> None:
    """A connection is found when it is there, and not after it was closed."""
    known: dict[str, int] = {}
    me = {os.getpid()}
    before = procfs.local_ports(me, known)
    with connected("::1") as (_, ours, peer):
        port = ours.getsockname()[1]
        one, other = socket.socketpair()
        with closing(one), closing(other):
            for _ in range(2):
                found = procfs.local_ports(me, known)
                assert found == procfs.local_ports(me) == before | {port, peer.getsockname()[1]}
            ours.close()
            assert port not in procfs.local_ports(me, known)


def test_only_open_connections_are_remembered() -> None:
    """What listens is remembered without a port, and others' connections are not at all."""
    known: dict[str, int] = {}
    with connected("127.0.0.1") as (server, ours, peer):
        procfs.local_ports({os.getpid()}, known)
        inodes = {inode(server), inode(ours), inode(peer)}
        assert inodes <= known.keys()
        assert known[inode(server)] == 0
        ours.close()
        peer.close()
        procfs.local_ports({os.getpid()}, known)
        assert inodes & known.keys() == {inode(server)}
    assert procfs.local_ports(set(), known) == set()
    assert known == {}


def test_the_connections_of_multipath_tcp() -> None:
    """Go and mptcpize use it, and its sockets are another protocol's."""
    mptcp = 262
    with closing(socket.create_server(("127.0.0.1", 0))) as server:
        try:
            ours = socket.socket(socket.AF_INET, socket.SOCK_STREAM, mptcp)
        except OSError:
            pytest.skip("the kernel knows no multipath TCP")
        with closing(ours):
            ours.connect(server.getsockname())
            peer, (_, port) = server.accept()
            with closing(peer):
                assert port in procfs.local_ports({os.getpid()})


def test_a_process_that_ends_takes_no_ports_of_others_along(family: Family) -> None:
    """Whichever process of a namespace is read first, dead ones are passed over."""
    with connected("127.0.0.1") as (_, ours, _):
        dead = family.start()
        os.kill(dead.pid, signal.SIGKILL)
        os.waitid(os.P_PID, dead.pid, os.WEXITED | os.WNOWAIT)
        # Nobody can make a process end between two reads of it.
        found = dict(procfs._sockets([dead.pid, os.getpid()]))  # noqa: SLF001
        assert found[inode(ours)] == ours.getsockname()[1]


def test_nobody_has_no_ports() -> None:
    """A process that is gone, or never was, is left out."""
    assert procfs.local_ports(set()) == procfs.local_ports({2**22 + 1}) == set()
