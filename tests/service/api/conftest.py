"""The whole service over HTTP, with an engine that says what a test tells it to."""

from __future__ import annotations

import io
from contextlib import asynccontextmanager

import httpx
import numpy as np
import pytest
import pytest_asyncio
from PIL import Image

from service.app import create_app
from service.radiograph import RadiographDecoder
from service.settings import Settings
from tests.service.scripted_engine import ScriptedEngine

WIDTH, HEIGHT = 600, 500


@pytest.fixture(scope="session")
def film() -> bytes:
    """A PNG of 600 x 500 pixels, grey levels that vary."""
    columns = np.linspace(0, 255, WIDTH, dtype=np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(np.tile(columns, (HEIGHT, 1))).save(buffer, format="PNG")
    return buffer.getvalue()


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def decoder():
    decoder = RadiographDecoder()
    await decoder.start()
    yield decoder
    await decoder.close()


class OpenDecoder:
    """The session's decoder, which an application in a test neither starts nor stops."""

    def __init__(self, decoder: RadiographDecoder) -> None:
        self._decoder = decoder
        self.load = decoder.load

    async def start(self):
        pass

    async def close(self):
        pass


@pytest.fixture
def engine() -> ScriptedEngine:
    return ScriptedEngine()


@pytest.fixture
def make_app(engine, decoder):
    """A function that makes the application, with settings of its own."""

    def make(**settings):
        return create_app(Settings(**settings), engine=engine, decoder=OpenDecoder(decoder))

    return make


@asynccontextmanager
async def running(app, *, ready: bool = True):
    """The application with its lifespan, and a client of it."""
    async with app.router.lifespan_context(app):
        if ready:
            await app.state.service.started.wait()
        transport = httpx.ASGITransport(app)
        async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
            yield client


def client_from(app, address: str) -> httpx.AsyncClient:
    """A client at an address of its own, of an application that runs."""
    transport = httpx.ASGITransport(app, client=(address, 1))
    return httpx.AsyncClient(transport=transport, base_url="http://test")


@pytest_asyncio.fixture(loop_scope="session")
async def client(make_app, engine):
    async with running(make_app()) as client:
        engine.requests.clear()  # the warm-up's
        yield client
