"""A browser for the tests of what runs in one, and what the tests of model files share."""

import asyncio
import inspect
from collections.abc import Iterator
from pathlib import Path

import pytest
from faulty_site import FaultySite, serving_site
from files_tab import Tab, Visitor
from model_server import NAME, ModelServer, serving_models
from playwright.async_api import Browser

from chromium import running_browser
from tiny_model import TINY


@pytest.fixture(scope="session")
def browser() -> Iterator[tuple[asyncio.Runner, Browser]]:
    """A running Chromium, and the loop that steps it."""
    with running_browser() as running:
        yield running


@pytest.hookimpl(tryfirst=True)
def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> bool | None:
    """Tests that are coroutines run in the browser's loop."""
    if not inspect.iscoroutinefunction(pyfuncitem.obj):
        return None
    runner, _ = pyfuncitem.funcargs["browser"]
    names = inspect.signature(pyfuncitem.obj).parameters
    runner.run(pyfuncitem.obj(**{name: pyfuncitem.funcargs[name] for name in names}))
    return True


@pytest.fixture
def server() -> Iterator[ModelServer]:
    """The server of the page and of a model."""
    with serving_models() as server:
        yield server


@pytest.fixture
def elsewhere() -> Iterator[ModelServer]:
    """A server of another origin."""
    with serving_models() as server:
        yield server


@pytest.fixture
def faulty(site: Path) -> Iterator[FaultySite]:
    """A site whose default model is the tiny one, in small chunks."""
    with serving_site(site, TINY) as server:
        yield server


@pytest.fixture
def url(server: ModelServer) -> str:
    return server.url(f"models/{NAME}")


@pytest.fixture
def visitor(browser: tuple[asyncio.Runner, Browser], server: ModelServer) -> Iterator[Visitor]:
    visitor = Visitor.of(*browser, server)
    yield visitor
    visitor.close()


@pytest.fixture
def tab(visitor: Visitor) -> Tab:
    return visitor.open_tab()
