"""The session's engine, lent to applications and systems that would start and stop their own."""

from __future__ import annotations

from service.engine import Engine


class RunningEngine:
    """The session's engine, which an application in a test neither starts nor stops."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    @property
    def manifest(self):
        return self._engine.manifest

    @property
    def manifest_sha256(self):
        return self._engine.manifest_sha256

    async def start(self):
        await self._engine.check_health()

    async def stop(self):
        pass

    def generate(self, request):
        return self._engine.generate(request)

    async def check_health(self):
        await self._engine.check_health()
