import json

import numpy as np
import pytest
from fhir.resources.R4B.auditevent import AuditEvent

from service.audit import AddressPolicy, AuditKind, Occurrence, StudyHasher, audit_event
from service.audit.event import CREATE_PROFILE
from service.audit.study import PIXELS_SYSTEM, UID_SYSTEM
from service.identity import ANONYMOUS, Principal, PrincipalKind, Scope
from service.radiograph import Affine, Radiograph

UID = "1.2.840.113619.2.55.3.604688119.971.1448881152.41"
HASHER = StudyHasher(b"k" * 32)


def film(uid=None, fill=7):
    pixels = np.full((4, 6), fill, np.uint8)
    return Radiograph(
        pixels, 6, 4, "image/png", None, "raster/1", (), Affine(1, 0, 0, 1, 0, 0),
        study_instance_uid=uid,
    )  # fmt: skip


def occurrence(**how):
    given = {
        "kind": AuditKind.READING, "operation": "report", "principal": ANONYMOUS,
        "client_address": "10.1.2.3", "server_address": "10.0.0.1", "request_id": "ab" * 16,
        "status": 200, "studies": HASHER.of_films([film(UID)]), **how,
    }  # fmt: skip
    return Occurrence(**given)


OIDC = Principal("oidc:alice", PrincipalKind.OIDC, frozenset({Scope.READ}))
CASES = [
    occurrence(),
    occurrence(principal=OIDC),
    occurrence(status=422, reason="decode-failed", studies=()),
    occurrence(studies=HASHER.of_films([film(UID), film(), film("1.2.3")])),
    occurrence(
        kind=AuditKind.REFUSED_CREDENTIAL, principal=None, status=401, studies=(),
        claimed_name="ward-3", reason="unauthenticated key-wrong",
    ),
    occurrence(kind=AuditKind.ADMINISTRATION, operation="keys-reload", studies=()),
    occurrence(kind=AuditKind.REQUEST, operation="version", studies=()),
    occurrence(client_address=None, server_address="/run/socket"),
]  # fmt: skip


@pytest.mark.parametrize("happened", CASES)
@pytest.mark.parametrize("addresses", list(AddressPolicy))
def test_it_is_a_fhir_audit_event(happened, addresses):
    event = audit_event(happened, version="0.1.0", addresses=addresses)
    assert AuditEvent.model_validate(event)
    assert UID not in json.dumps(event)


@pytest.mark.parametrize("happened", [CASES[0], CASES[1], CASES[3]])
def test_a_reading_meets_balps_profile_of_a_create(happened):
    """The rules of IHE BALP 1.1, StructureDefinition IHE.BasicAudit.Create, one by one."""
    event = audit_event(happened, version="0.1.0")
    assert event["meta"]["profile"] == [CREATE_PROFILE]
    assert event["type"]["code"] == "rest"
    creates = [
        code for code in event["subtype"]
        if (code["system"], code["code"])
        == ("http://hl7.org/fhir/restful-interaction", "create")
    ]  # fmt: skip
    assert len(creates) == 1
    assert (event["action"], event["outcome"]) == ("C", "0")
    types = [agent["type"]["coding"][0]["code"] for agent in event["agent"]]
    assert (types.count("110153"), types.count("110152")) == (1, 1)
    for agent in event["agent"]:
        assert agent["who"]
        if agent["type"]["coding"][0]["code"].startswith("1101"):
            assert agent["network"]["address"]
        else:
            assert agent["requestor"] is True
            assert "network" not in agent
    assert [agent["requestor"] for agent in event["agent"]].count(True) == 1
    data = [entity for entity in event["entity"] if entity["type"]["code"] == "2"]
    assert len(data) == 1
    assert data[0]["role"]["code"] == "4"
    assert data[0]["what"]["identifier"]["value"]
    assert event["entity"][0]["what"]["identifier"]["value"] == happened.request_id


def test_a_failure_claims_no_profile_and_says_why():
    event = audit_event(CASES[2], version="0.1.0")
    assert "meta" not in event
    assert (event["outcome"], event["outcomeDesc"]) == ("4", "422 decode-failed")
    assert audit_event(occurrence(status=503), version="1")["outcome"] == "8"


def test_a_refused_credential_names_the_key_that_it_claimed_to_be():
    event = audit_event(CASES[4], version="0.1.0")
    assert event["type"]["code"] == "110114"
    who = event["agent"][0]["who"]["identifier"]
    assert (who["system"], who["value"]) == ("urn:deepmedix:principal:claimed", "ward-3")


@pytest.mark.parametrize(
    ("address", "policy", "kept"),
    [
        ("10.1.2.3", "full", "10.1.2.3"),
        ("10.1.2.3", "prefix", "10.1.2.0"),
        ("::ffff:10.1.2.3", "prefix", "10.1.2.0"),
        ("2001:db8:1:2:3::4", "prefix", "2001:db8:1::"),
        ("fe80::1%eth0", "prefix", "fe80::"),
        ("10.1.2.3", "none", "withheld"),
        (None, "full", "unknown"),
    ],
)
def test_addresses_are_kept_as_far_as_told(address, policy, kept):
    event = audit_event(
        occurrence(client_address=address), version="1", addresses=AddressPolicy(policy)
    )
    assert event["agent"][0]["network"]["address"] == kept


def test_a_study_is_known_by_its_uid_whatever_its_films():
    (one,) = HASHER.of_films([film(UID, 1), film(UID, 2)])
    assert one == HASHER.of_uid(UID)
    assert one.system == UID_SYSTEM
    assert len(one.value) == 64


def test_a_film_without_a_study_is_known_by_its_pixels():
    (one,), (same,), (other,) = (HASHER.of_films([film(fill=n)]) for n in (1, 1, 2))
    assert one == same != other
    assert one.system == PIXELS_SYSTEM


def test_without_the_sites_key_an_identity_cannot_be_made():
    assert StudyHasher(b"l" * 32).of_uid(UID) != HASHER.of_uid(UID)
    with pytest.raises(ValueError, match="16 bytes"):
        StudyHasher(b"short")
