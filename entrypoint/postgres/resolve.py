"""Resolves host names within a time limit, which the system's resolver does not have."""

import _socket  # what `socket` is made of, and imports in a tenth of its time
from functools import partial

from ..config.conninfo import Conninfo
from ..errors import UnreachableError
from .cause import Cause, ConnectError, Kind


def addresses(conninfo: Conninfo, timeout_s: float) -> dict[str, str]:
    """The connection's parameters, with the address of every host name.

    getaddrinfo has no timeout and no signal interrupts it: with a dead name server it takes 10 s,
    whatever connect_timeout says. Blocks for up to ``timeout_s`` seconds. Raises `ConnectError` if
    no name resolves.
    """
    servers = conninfo.addresses
    if conninfo.params.get("hostaddr") or all(_needs_no_resolver(host) for host, _ in servers):
        return dict(conninfo.params)
    from .. import timelimit  # threads, which an address does not need

    try:
        found, failed = timelimit.run(partial(_resolve, servers), timeout_s)
    except TimeoutError:
        text = f"the name server gave no answer for {servers[0][0]!r} within {timeout_s:.0f} s"
        found, failed = [], [text]
    except RuntimeError as error:  # the system gave us no thread
        raise _without_thread(error) from None
    if not found:
        remedy = "Check the host name in {url} and the container's network."
        raise ConnectError(Cause(Kind.TRANSIENT, failed[0], remedy))
    hosts, hostaddrs, ports = zip(*found, strict=True)
    return {
        **conninfo.params,
        "host": ",".join(hosts),
        "hostaddr": ",".join(hostaddrs),
        "port": ",".join(map(str, ports)),
    }


def _without_thread(error: RuntimeError) -> Exception:
    """Tell a limit that may come free again from one that never will, and from a bug."""
    from ..process import kernel

    refused = kernel.refusal(error)
    if isinstance(refused, UnreachableError):
        return ConnectError(Cause(Kind.TRANSIENT, refused.message, refused.remedy))
    return refused or error


def _resolve(servers: list[tuple[str, int]]) -> tuple[list[tuple[str, str, int]], list[str]]:
    found: list[tuple[str, str, int]] = []
    failed: list[str] = []
    for host, port in servers:
        if host.startswith("/"):
            found.append((host, "", port))
            continue
        try:
            # As bytes, because a str imports the codec of IDNA; no host name here has such letters.
            answers = _socket.getaddrinfo(host.encode(), port, type=_socket.SOCK_STREAM)
        except OSError as error:
            failed.append(f"the host name {host!r} does not resolve ({error.strerror})")
        else:
            found.extend((host, str(answer[4][0]), port) for answer in answers)
    return found, failed


def _needs_no_resolver(host: str) -> bool:
    if host.startswith("/") or ":" in host:
        return True
    try:
        _socket.inet_aton(host)
    except OSError:
        return False
    return True
