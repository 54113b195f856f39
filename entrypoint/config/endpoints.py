"""Reads the settings about other servers than PostgreSQL: gates, health, tenant, webhook."""

from typing import Any, Final, NamedTuple

from .. import log
from ..files import StrPath
from . import urls
from .environment import Environment
from .keys import GATE_KEYS, BadValueError, seconds, shortened, text, variable
from .reader import Sources
from .settings import Gate, Lookup

NOTIFY: Final = variable("notify.url")


class Endpoints(NamedTuple):
    """The servers that a start or a probe contacts."""

    gates: tuple[Gate, ...]
    health_url: str | None
    health_problem: str | None  # why the URL in the settings cannot be used by a probe
    lookup: Lookup | None
    notifies: bool  # whether a start that fails calls a webhook


class Webhook(NamedTuple):
    """The webhook for failed starts, and the service and release to name there."""

    url: str
    service: str | None
    release: str | None


def read(sources: Sources, wait_timeout_s: float) -> Endpoints:
    """Read them and note every problem; ``wait_timeout_s`` is the default timeout."""
    notifies = notify_url(sources) is not None
    url, problem = _health(sources)
    gates, lookup = _gates(sources, wait_timeout_s), _lookup(sources, wait_timeout_s)
    return Endpoints(gates, url, problem, lookup, notifies)


def notify_url(sources: Sources) -> str | None:
    """The webhook's URL, if any; masked in the log, because the URL alone permits its use."""
    if sources.from_environment.get(NOTIFY, "") is None:
        return None  # the deployment overrides the image with "none"
    secret = sources.secret(NOTIFY)
    url = secret or sources.from_file.get("notify.url", "")
    log.hide([url] if url else [])
    where = sources.where(NOTIFY) if secret else f"{sources.file}: notify.url"
    if secret and _is_wrapped(sources, where, secret):
        return None
    found = _url(sources, where, url or None, urls.HTTP)
    log.hide([found] if found else [])
    return found


def _is_wrapped(sources: Sources, where: str, url: str) -> bool:
    """Note quotes and the like around a secret URL; return whether there are any."""
    words = url.isascii() and url.isprintable() and " " not in url
    if words and url.startswith(urls.HTTP) and url[-1].isalnum():
        return False
    from . import pasted  # only an odd URL pays for this import

    _, around = pasted.unwrapped(url)
    sources.problems += [f"{where} {problem}" for problem in around]
    if around and NOTIFY in sources.files:
        file = sources.files[NOTIFY]
        sources.remedies.append(f"Write the webhook's URL and nothing else into the file {file}")
    return bool(around)


def _health(sources: Sources) -> tuple[str | None, str | None]:
    """The URL for probes. A job that only prepares has no PORT, and no probe that needs it."""
    where, url = _where(sources, "health.url"), sources.get("health.url")
    try:
        urls.filled_in(url or "", sources.environ)
    except urls.UnsetError as problem:
        return None, f"{where} {problem}"
    return _url(sources, where, url), None


def webhook(environ: Environment, directory: StrPath = "") -> Webhook | None:
    """The webhook, if it can be read, whatever is wrong with the other settings."""
    sources = Sources(environ, directory)
    url = notify_url(sources)
    return Webhook(url, sources.service, sources.release) if url else None


def _where(sources: Sources, key: str) -> str:
    name = variable(key)
    return name if name in sources.from_environment else f"{sources.file}: {key}"


def _url(
    sources: Sources, where: str, url: object, schemes: tuple[str, ...] = urls.HTTP
) -> str | None:
    if url is None:
        return None
    try:
        filled = urls.filled_in(text(url), sources.environ)
        urls.check(filled, schemes)
    except (urls.BadUrlError, BadValueError) as problem:
        used = [] if isinstance(problem, urls.UnsetError) else urls.variables(str(url))
        filled_in = f" (with {' and '.join(used)} filled in)" if used else ""
        sources.problems.append(f"{where} {problem}{filled_in}")
        return None
    return filled


def _gates(sources: Sources, default_s: float) -> tuple[Gate, ...]:
    named: tuple[str, ...] = sources.option("ENTRYPOINT_GATES")
    if named:
        rows: list[Any] = [] if named == ("none",) else [{"url": url} for url in named]
        where = "ENTRYPOINT_GATES"
    else:
        where = f"{sources.file}: gates"
        if not isinstance(sources.gates, list) or not all(
            isinstance(g, dict) for g in sources.gates
        ):
            sources.problems.append(f"{where} must be [[gates]] tables")
            return ()
        rows = sources.gates
    numbered = ((f"{where}[{number}]", row) for number, row in enumerate(rows, 1))
    gates = [_gate(sources, name, row, default_s) for name, row in numbered]
    return tuple(gate for gate in gates if gate)


def _gate(sources: Sources, where: str, row: dict[str, Any], default_s: float) -> Gate | None:
    for key in sorted(row.keys() - GATE_KEYS):
        sources.unknown(key, GATE_KEYS, f"{where}: ")
    if not isinstance(row.get("url"), str):
        sources.problems.append(f"{where} has no url")
        return None
    url = _url(sources, where, row["url"], urls.GATES)
    timeout_s = _timeout(sources, f"{where}: timeout", row, default_s)
    status = row.get("status", [])
    statuses = status if isinstance(status, list) else [status]
    if not all(type(each) is int and 100 <= each <= 599 for each in statuses):  # noqa: PLR2004  HTTP's
        sources.problems.append(f"{where}: status must be HTTP statuses, not {shortened(status)}")
        return None
    return Gate(url, timeout_s, frozenset(statuses)) if url else None


def _timeout(sources: Sources, where: str, row: dict[str, Any], default_s: float) -> float:
    try:
        return seconds(row.get("timeout", default_s))
    except BadValueError as problem:
        sources.problems.append(f"{where} {problem}, not {shortened(row['timeout'])}")
        return default_s


def _lookup(sources: Sources, default_s: float) -> Lookup | None:
    row: dict[str, Any] | None = sources.get("seed.tenant_lookup")
    if row is None:
        return None
    where = _where(sources, "seed.tenant_lookup")
    timeout_s = _timeout(sources, f"{where}: timeout", row, default_s)
    words = {key: value for key, value in row.items() if key != "timeout"}
    if not all(isinstance(value, str) and value for value in words.values()):
        sources.problems.append(f"{where} must have texts for url, field, database and query")
        return None
    if words.keys() not in ({"url"}, {"url", "field"}, {"database", "query"}):
        sources.problems.append(f"{where} must have url and field, or database and query")
        return None
    url = _url(sources, f"{where}: url", words.get("url"), urls.HTTP)
    if "url" in words and url is None:
        return None
    field = words.get("field", "id")
    return Lookup(url, field, words.get("database"), words.get("query"), timeout_s)
