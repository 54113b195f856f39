"""Service images on both bases, made from the payloads as docs/image.md says."""

from __future__ import annotations

from contextlib import ExitStack
from typing import TYPE_CHECKING

import pytest

from tests.support.compose import COMPOSES
from tests.support.engine import PAYLOADS, built, docker, two_lines, unique
from tests.support.stack import Stack

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.hookimpl(tryfirst=True)  # before pytest looks at -m
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Every test of this folder needs an engine."""
    for item in items:
        if "tests/docker/" in item.path.as_posix():
            item.add_marker(pytest.mark.docker)
            item.add_marker(pytest.mark.timeout(900))


@pytest.fixture(scope="session")
def service_images() -> Iterator[dict[str, str]]:
    """An image by base: the base, and the two lines."""
    with ExitStack() as stack:
        yield {
            base: stack.enter_context(built(None, dockerfile=two_lines(base))) for base in PAYLOADS
        }


@pytest.fixture(params=list(PAYLOADS))
def base(request: pytest.FixtureRequest) -> str:
    """Each public image that a service is built on."""
    return str(request.param)


@pytest.fixture
def image(base: str, service_images: dict[str, str]) -> str:
    """A service's image on `base`."""
    return service_images[base]


@pytest.fixture(scope="session")
def payload_folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """What each payload holds, unpacked here, by base."""
    folders = {}
    for base, payload in PAYLOADS.items():
        folder = tmp_path_factory.mktemp("payload")
        name = unique("payload")
        docker("create", "--name", name, payload, "none")
        try:
            docker("cp", f"{name}:/opt/entrypoint", folder)
        finally:
            docker("rm", name)
        folders[base] = folder / "entrypoint"
    return folders


@pytest.fixture(scope="session", params=list(COMPOSES))
def stack(request: pytest.FixtureRequest) -> Iterator[Stack]:
    """The stack of docker-compose.test.yml, brought up from nothing by one command."""
    with COMPOSES[request.param]() as compose:
        if compose is None:
            pytest.skip(f"{request.param} is not installed")
        made = Stack(compose)
        try:
            made.use(1)
            made.up()
            yield made
        finally:
            made.close()
