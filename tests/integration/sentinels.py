"""Identities that no patient has, and films and requests that carry them in every place."""

from __future__ import annotations

import base64
import io
from collections.abc import Iterator, Mapping

import httpx
import numpy as np
import pydicom
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from tests.service.radiograph.film_files import write_dicom

PLACES = (
    "accession",
    "accept",
    "apikey",
    "authorization",
    "comparison",
    "cookie",
    "exif",
    "fieldname",
    "filename",
    "header",
    "host",
    "idempotency",
    "indication",
    "jpegcomment",
    "path",
    "patientid",
    "patientname",
    "pngtext",
    "priorreport",
    "privatetag",
    "query",
    "question",
    "requestid",
    "requestline",
    "traceparent",
    "tracestate",
    "useragent",
    "wrongvalue",
)
NUMBERS = {
    "studyuid": "1.2.826.0.1.77553311.9",
    "traceid": "19500214775533118800641230947265",
    "spanid": "1962083190446178",
}
SENTINELS = {place: f"zq{place}qz" for place in PLACES} | NUMBERS
"""What is sent in each place; found nowhere by chance."""


def found_in(data: bytes) -> set[str]:
    """Places whose sentinel is somewhere in the data, in plain, UTF-16, base64 or as bytes."""
    lowered = data.lower()
    return {
        place
        for place, sentinel in SENTINELS.items()
        if any(form.lower() in lowered for form in _forms(sentinel))
    }


def _forms(sentinel: str) -> Iterator[bytes]:
    plain = sentinel.encode()
    yield plain
    yield sentinel.encode("utf-16-le")
    yield plain.hex().encode()
    if sentinel.isdecimal():
        yield bytes.fromhex(sentinel)  # as OTLP has identifiers
    for shift in range(3):  # the middle of its base64 at each alignment
        encoded = base64.b64encode(b"\0" * shift + plain)
        yield encoded[4 : len(encoded) // 4 * 4 - 4]


def _pixels() -> np.ndarray:
    return np.tile(np.linspace(0, 255, 256, dtype=np.uint8), (256, 1))


def dicom(**attributes: object) -> bytes:
    """A chest film with identities in its header."""
    s = SENTINELS
    data = write_dicom(
        _pixels(),
        bits=8,
        PatientName=s["patientname"],
        PatientID=s["patientid"],
        AccessionNumber=s["accession"],
        StudyInstanceUID=s["studyuid"],
        **attributes,
    )
    dataset = pydicom.dcmread(io.BytesIO(data))
    block = dataset.private_block(0x0011, s["privatetag"], create=True)
    block.add_new(0x01, "LO", s["privatetag"])
    out = io.BytesIO()
    dataset.save_as(out, enforce_file_format=True)
    return out.getvalue()


def png() -> bytes:
    """A film with an identity in a text chunk."""
    text = PngInfo()
    text.add_text("Comment", SENTINELS["pngtext"])
    out = io.BytesIO()
    Image.fromarray(_pixels()).save(out, format="PNG", pnginfo=text)
    return out.getvalue()


def jpeg() -> bytes:
    """A film with identities in EXIF and in the comment."""
    exif = Image.Exif()
    exif[0x010E] = SENTINELS["exif"]
    out = io.BytesIO()
    Image.fromarray(_pixels()).save(
        out, format="JPEG", exif=exif, comment=SENTINELS["jpegcomment"].encode()
    )
    return out.getvalue()


def requests(max_body_bytes: int) -> Iterator[tuple[int, Mapping[str, object]]]:
    """Every request, with the status expected: arguments of ``httpx.Client.request``."""
    s = SENTINELS
    texts = {
        "indication": s["indication"],
        "comparison": s["comparison"],
        "prior_report": s["priorreport"],
        "max_tokens": "48",
    }
    named = f"{s['filename']}.dcm"
    for film, kind in ((dicom(), "dcm"), (png(), "png"), (jpeg(), "jpg")):
        files = {"image": (f"{s['filename']}.{kind}", film)}
        for accept in ("application/json", "text/event-stream", "image/png", "text/markdown"):
            yield 200, _post("/report", files=files, data=texts, accept=accept)
        yield 200, _post("/vqa", files=files, data=texts | {"question": s["question"]})
        yield 200, _post("/render", files=files)
    raw = {"Content-Type": "application/dicom"}
    yield 200, _post(f"/vqa?max_tokens=8&question={s['query']}", content=dicom(), extra=raw)
    encoded = [base64.b64encode(dicom()).decode()]
    yield 200, _post("/report", json={"image": encoded, **texts, "max_tokens": 8})

    files = {"image": (named, dicom())}
    wrong = {"temperature": s["wrongvalue"], s["fieldname"]: s["wrongvalue"]}
    yield 422, _post("/report", files=files, data=wrong)
    yield 422, _post("/report", json={"image": encoded, s["fieldname"]: s["wrongvalue"]})
    yield 422, _post(f"/render?frame={s['query']}", content=dicom(), extra=raw)
    yield 400, _post(f"/report?indication={s['query']}", files=files)
    yield 400, _post("/report", content=s["wrongvalue"], extra={"Content-Type": "application/json"})
    yield 406, _post("/report", files=files, accept=f"text/{s['accept']}")
    yield 415, _post("/report", content=dicom(), extra={"Content-Type": f"x/{s['header']}"})
    yield 415, _post("/report", files={"image": (named, s["wrongvalue"].encode())})
    other = dicom(BodyPartExamined="FOOT", Modality="CR", ViewPosition=None)
    yield 422, _post("/report", files={"image": (named, other)})
    yield 422, _post("/report", files={"image": (named, dicom()[:-9000])})
    yield 422, _post("/vqa", files=files, data={"question": " "})
    yield 504, _post("/report", files=files, data=texts, extra={"X-Request-Timeout": "0.02"})
    yield 413, _post("/report", files={"image": (named, dicom() + bytes(max_body_bytes))})
    for path in (f"/{s['path']}", f"/report/{s['path']}", f"/docs/assets/{s['path']}"):
        yield 404, {"method": "GET", "url": path, "headers": laced()}
    yield 405, {"method": "DELETE", "url": f"/report?q={s['query']}", "headers": laced()}
    for path in ("/livez", "/readyz", "/version", "/metrics", "/openapi.json", "/docs"):
        yield 200, {"method": "GET", "url": f"{path}?q={s['query']}", "headers": laced()}


def laced() -> dict[str, str]:
    """Headers with an identity in each."""
    s = SENTINELS
    return {
        "User-Agent": s["useragent"],
        "X-Patient": s["header"],
        "Cookie": f"name={s['cookie']}",
        "X-Request-Id": s["requestid"],
        "traceparent": "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
        "tracestate": f"vendor={s['tracestate']}",
    }


def _post(
    url: str,
    *,
    accept: str = "*/*",
    extra: Mapping[str, str] | None = None,
    **body: object,
) -> dict[str, object]:
    headers = laced() | {"Accept": accept, **(extra or {})}
    return {"method": "POST", "url": url, "headers": headers, **body}


def ask_everything(client: httpx.Client, max_body_bytes: int) -> list[tuple[int, httpx.Response]]:
    """Send every request; give the status expected and the reply."""
    replies = []
    for number, (status, request) in enumerate(requests(max_body_bytes)):
        headers = {**request["headers"], "Idempotency-Key": f"{SENTINELS['idempotency']}{number}"}
        replies.append((status, client.request(**{**request, "headers": headers})))
    s, (_, trace, span, _) = SENTINELS, laced()["traceparent"].split("-")
    numbers = [(s["traceid"], s["spanid"]), (s["traceid"], span), (trace, s["spanid"])]
    for bad in (s["traceparent"], *(f"00-{one}-{other}-01" for one, other in numbers)):
        replies.append((200, client.get("/livez", headers=laced() | {"traceparent": bad})))
    return replies
