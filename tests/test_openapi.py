from pathlib import Path

import pytest
import yaml

from service.app import openapi_yaml
from service.results import ReportReply, VqaReply
from service.results.reply import example_of

FILE = Path(__file__).parents[1] / "openapi.yaml"
DOCUMENT = yaml.safe_load(openapi_yaml())
READING = ("/report", "/vqa")


def test_the_file_is_what_the_program_writes():
    mend = "run: deepmedix openapi -o openapi.yaml"
    assert FILE.read_text(encoding="utf-8") == openapi_yaml(), mend


def test_it_depends_on_no_setting(monkeypatch):
    monkeypatch.setenv("DEEPMEDIX_MODEL", "elsewhere")
    assert yaml.safe_load(openapi_yaml()) == DOCUMENT


@pytest.mark.parametrize("path", [*READING, "/render"])
def test_films_come_as_a_form_raw_or_as_json(path):
    content = DOCUMENT["paths"][path]["post"]["requestBody"]["content"]
    assert set(content) == {
        "multipart/form-data",
        "application/json",
        "application/dicom",
        "image/png",
        "image/jpeg",
        "application/octet-stream",
    }


@pytest.mark.parametrize("path", READING)
def test_readings_come_in_four_formats(path):
    content = DOCUMENT["paths"][path]["post"]["responses"]["200"]["content"]
    assert set(content) == {"application/json", "image/png", "text/markdown", "text/event-stream"}


@pytest.mark.parametrize("path", [*READING, "/render"])
def test_every_error_is_a_problem(path):
    responses = DOCUMENT["paths"][path]["post"]["responses"]
    errors = {status for status in responses if status != "200"}
    assert errors == {
        *("400", "401", "403", "406", "408", "409", "413", "415", "421", "422", "429", "431"),
        *("500", "501", "503", "504"),
    }
    for status in errors:
        schema = responses[status]["content"]["application/problem+json"]["schema"]
        assert schema == {"$ref": "#/components/schemas/Problem"}


@pytest.mark.parametrize("path", [*READING, "/render"])
def test_the_headers_of_a_request_are_parameters_with_an_example(path):
    parameters = DOCUMENT["paths"][path]["post"]["parameters"]
    headers = {item["name"]: item for item in parameters if item["in"] == "header"}
    assert set(headers) == {"Prefer", "X-Request-Timeout", "Idempotency-Key"}
    assert all(header["description"] and "example" in header for header in headers.values())
    assert not any(header["required"] for header in headers.values())


@pytest.mark.parametrize("path", [*READING, "/render"])
def test_the_headers_of_a_reply_are_described(path):
    responses = DOCUMENT["paths"][path]["post"]["responses"]
    assert set(responses["200"]["headers"]) == {"Preference-Applied", "Idempotency-Replayed"}
    for status in ("429", "503"):
        assert responses[status]["headers"]["Retry-After"]["schema"]["type"] == "integer"


@pytest.mark.parametrize("status", ["409", "429", "503", "504"])
def test_refusals_of_load_come_with_examples_under_their_code(status):
    reply = DOCUMENT["paths"]["/report"]["post"]["responses"][status]
    examples = reply["content"]["application/problem+json"]["examples"]
    for code, example in examples.items():
        assert f"`{code}`" in reply["description"]
        assert (example["value"]["code"], example["value"]["status"]) == (code, int(status))


@pytest.mark.parametrize("path", [*READING, "/render"])
def test_every_field_of_a_request_is_described_with_an_example(path):
    content = DOCUMENT["paths"][path]["post"]["requestBody"]["content"]
    for name, field in content["multipart/form-data"]["schema"]["properties"].items():
        assert field.get("description"), name
        assert name == "image" or field.get("examples"), name


@pytest.mark.parametrize("name", sorted(DOCUMENT["components"]["schemas"]))
def test_every_field_of_a_reply_is_described_with_an_example(name):
    for field, schema in DOCUMENT["components"]["schemas"][name]["properties"].items():
        assert schema.get("description"), field
        assert schema.get("examples"), field


@pytest.mark.parametrize("model", [ReportReply, VqaReply])
def test_the_examples_make_up_a_whole_reply(model):
    model.model_validate(example_of(model))


def test_every_reference_leads_somewhere():
    def references(node):
        if isinstance(node, dict):
            if isinstance(node.get("$ref"), str):
                yield node["$ref"]
            for value in node.values():
                yield from references(value)
        elif isinstance(node, list):
            for value in node:
                yield from references(value)

    schemas = DOCUMENT["components"]["schemas"]
    for reference in references(DOCUMENT):
        assert reference.removeprefix("#/components/schemas/") in schemas


def test_every_operation_but_probes_and_metrics_says_which_credentials_it_takes():
    for path, operations in DOCUMENT["paths"].items():
        for operation in operations.values():
            named = [name for one in operation.get("security", []) for name in one]
            assert named == (
                [] if path in ("/livez", "/readyz", "/metrics") else ["bearer", "apiKey"]
            )
    assert set(DOCUMENT["components"]["securitySchemes"]) == {"bearer", "apiKey"}
