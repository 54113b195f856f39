"""URLs of HTTP and TCP servers in settings: fills in variables and finds problems.

Pure. `dialects` parses PostgreSQL's connection strings.
"""

import re
from collections.abc import Mapping
from typing import Final

from .conninfo import is_host, unquote

HTTP: Final = ("http", "https")
GATES: Final = (*HTTP, "http+unix", "tcp")
_PLAIN = r"(https?)://([A-Za-z0-9.-]+)(?::([0-9]{1,4}))?(?:/[A-Za-z0-9/._~-]*)?"  # as most are
_VARIABLE = r"\$\{([A-Za-z_][A-Za-z0-9_]*)(?::-([^}]*))?\}"


class BadUrlError(ValueError):
    """No request can reach the URL; the text continues a sentence that begins with the setting."""


class UnsetError(BadUrlError):
    """A URL needs a variable that is not set."""


def filled_in(text: str, environ: Mapping[str, str]) -> str:
    """Replace ``${NAME}`` and ``${NAME:-default}``. Raises `UnsetError` if neither is set."""

    def value(match: re.Match[str]) -> str:
        found = environ.get(match[1]) or match[2]
        if found is None:
            raise UnsetError(f"needs the variable {match[1]}, which is not set")
        return found

    return re.sub(_VARIABLE, value, text)


def variables(text: str) -> list[str]:
    """The variables that `filled_in` replaces."""
    return [match[1] for match in re.finditer(_VARIABLE, text)]


def check(url: str, schemes: tuple[str, ...]) -> None:
    """Raise `BadUrlError` if no request can be sent to this URL."""
    plain = re.fullmatch(_PLAIN, url)
    if not plain or plain[1] not in schemes or not is_host(plain[2]):
        _check(url, schemes)


def _check(url: str, schemes: tuple[str, ...]) -> None:
    from urllib.parse import urlsplit  # here and below: 2 ms of a start

    if not url.isprintable() or " " in url or "${" in url:
        raise BadUrlError("has a character that no URL has, such as a blank or a ${ left over")
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:  # a port that is no number, or a missing bracket
        raise BadUrlError("is no URL: its host or port cannot be read") from None
    if parts.scheme not in schemes:
        raise BadUrlError(f"must begin with {' or '.join(f'{each}://' for each in schemes)}")
    if parts.scheme == "http+unix":
        if not unquote(parts.netloc).startswith("/"):
            raise BadUrlError(
                "must name the socket percent-encoded, as http+unix://%2Frun%2Fx/path"
            )
        return
    if not parts.hostname or not is_host(parts.hostname):
        raise BadUrlError("has no host that is a valid name or address")
    if parts.scheme == "tcp" and (not port or parts.path not in ("", "/") or parts.query):
        raise BadUrlError("must be tcp://HOST:PORT and no more")


def safe(url: str) -> str:
    """A URL for people: without user, password, query and fragment, which may be private."""
    from urllib.parse import SplitResult, urlsplit

    parts = urlsplit(url)
    bare = SplitResult(parts.scheme, parts.netloc.rpartition("@")[2], parts.path, "", "")
    return bare.geturl()
