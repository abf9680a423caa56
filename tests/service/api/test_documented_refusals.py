"""With API keys on, every operation refuses and answers as the OpenAPI document says."""

from collections.abc import Iterator
from contextlib import asynccontextmanager

import pytest
from jsonschema import Draft202012Validator

from service.identity import KeyFile, Scope
from tests.service.api.conftest import running

PROBLEM = "application/problem+json"
METHODS = ("get", "post", "put", "delete", "patch", "head", "options")


@pytest.fixture
def guarded(make_app, tmp_path):
    """A function that runs the application with a key file, and the keys by their scope."""
    file = KeyFile(tmp_path / "keys.json")
    keys = {scope: file.add(scope.value, [scope])[1] for scope in Scope}

    @asynccontextmanager
    async def run():
        settings = {"keys_file": file.path, "metrics_public": False}
        async with running(make_app(**settings)) as client:
            yield client, keys, (await client.get("/openapi.json")).json()

    return run


def guarded_operations(document) -> Iterator[tuple[str, str, dict]]:
    """Method, path and description of the operations that need a credential."""
    for path, item in document["paths"].items():
        for method in METHODS:
            if "security" in item.get(method, {}):
                yield method, path, item[method]


def check(reply, operation, document, media_type: str = PROBLEM) -> None:
    """Hold a reply against what the document says of this status."""
    told = operation["responses"][str(reply.status_code)]
    assert reply.headers["Content-Type"].split(";")[0] == media_type
    schema = {**told["content"][media_type]["schema"], "components": document["components"]}
    Draft202012Validator(schema).validate(reply.json())
    for name, header in told.get("headers", {}).items():
        assert name in reply.headers or not header.get("required", False)


async def test_every_guarded_operation_refuses_as_documented(guarded):
    async with guarded() as (client, keys, document):
        operations = list(guarded_operations(document))
        assert {path for _, path, _ in operations} >= {"/report", "/vqa", "/render", "/version"}
        for method, path, operation in operations:
            for headers in ({}, {"X-API-Key": "dmx_no"}, {"Authorization": "Bearer no"}):
                reply = await client.request(method, path, headers=headers)
                assert (reply.status_code, reply.json()["code"]) == (401, "unauthenticated")
                assert "WWW-Authenticate" in reply.headers
                check(reply, operation, document)
            admin = path.startswith("/admin/") or path == "/metrics"
            other = keys[Scope.READ if admin else Scope.ADMIN]
            reply = await client.request(method, path, headers={"X-API-Key": other})
            assert (reply.status_code, reply.json()["code"]) == (403, "forbidden")
            check(reply, operation, document)
            twice = {"X-API-Key": other, "Authorization": f"Bearer {other}"}
            reply = await client.request(method, path, headers=twice)
            assert (reply.status_code, reply.json()["code"]) == (400, "ambiguous-credentials")
            check(reply, operation, document)


async def test_the_admin_route_succeeds_as_documented(guarded):
    async with guarded() as (client, keys, document):
        headers = {"X-API-Key": keys[Scope.ADMIN]}
        reply = await client.post("/admin/keys/reload", headers=headers)
        assert (reply.status_code, reply.json()) == (200, {"usable_keys": len(Scope)})
        operation = document["paths"]["/admin/keys/reload"]["post"]
        check(reply, operation, document, "application/json")


@pytest.mark.parametrize("as_bearer", [True, False])
async def test_a_reading_with_a_key_succeeds_as_documented(guarded, film, as_bearer):
    async with guarded() as (client, keys, document):
        key = keys[Scope.READ]
        headers = {"Authorization": f"Bearer {key}"} if as_bearer else {"X-API-Key": key}
        reply = await client.post("/report", files={"image": film}, headers=headers)
        assert reply.status_code == 200
        check(reply, document["paths"]["/report"]["post"], document, "application/json")
