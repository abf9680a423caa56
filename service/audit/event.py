"""FHIR R4 AuditEvents (http://hl7.org/fhir/R4/auditevent.html) in the shape of IHE BALP 1.1.

A reading is recorded as BALP's "Create" (a reading of the study is made and handed out), with the
profile named in ``meta.profile`` where it succeeded: BALP profiles successes only. Refused
credentials and acts of administration have the codes of DICOM PS3.15 A.5.3.
"""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from ipaddress import IPv6Address, ip_address, ip_network
from typing import Any

from service.audit.study import StudyIdentity
from service.identity import Principal, PrincipalKind

CREATE_PROFILE = "https://profiles.ihe.net/ITI/BALP/StructureDefinition/IHE.BasicAudit.Create"

Resource = Mapping[str, Any]

_DCM = "http://dicom.nema.org/resources/ontology/DCM"
_AUDIT_TYPE = "http://terminology.hl7.org/CodeSystem/audit-event-type"
_RESTFUL = "http://hl7.org/fhir/restful-interaction"
_ENTITY_TYPE = "http://terminology.hl7.org/CodeSystem/audit-entity-type"
_ENTITY_ROLE = "http://terminology.hl7.org/CodeSystem/object-role"
_SOURCE_TYPE = "http://terminology.hl7.org/CodeSystem/security-source-type"
_PARTICIPATION = "http://terminology.hl7.org/CodeSystem/v3-ParticipationType"
_BALP_ENTITY = "https://profiles.ihe.net/ITI/BALP/CodeSystem/BasicAuditEntityType"
_OPERATION = "urn:deepmedix:operation"


class AuditKind(StrEnum):
    """What happened."""

    READING = "reading"
    REFUSED_CREDENTIAL = "refused-credential"
    ADMINISTRATION = "administration"
    REQUEST = "request"
    """Any other, where all are recorded."""


class AddressPolicy(StrEnum):
    """How much of a caller's network address is kept."""

    FULL = "full"
    PREFIX = "prefix"
    NONE = "none"


@dataclass(frozen=True, slots=True)
class Repeats:
    """Several refusals of one source, told together.

    Attributes
    ----------
    outcomes
        How many there were with each status and reason.
    began, ended
        When the first and the last of them came.
    """

    outcomes: tuple[tuple[str, int], ...]
    began: datetime
    ended: datetime

    @property
    def requests(self) -> int:
        """How many there were."""
        return sum(count for _, count in self.outcomes)


@dataclass(frozen=True, slots=True)
class Occurrence:
    """Who did what, when, with what outcome, to which study.

    Attributes
    ----------
    kind
        What happened.
    operation
        Name of the route without its slash: ``report``.
    principal
        Who asked, or ``None`` where that is not known.
    claimed_name
        Name of the key that a refused credential claimed to be, where there is such a key.
    client_address, server_address
        Network addresses as far as they are known.
    request_id
        The reply's ``X-Request-Id``.
    status
        The reply's HTTP status; 499 where the caller left.
    reason
        Code of the problem, or why a credential was refused: one of our own words.
    studies
        Identities of the studies, where their films could be opened.
    repeats
        What this stands for, where it is the last of several refusals.
    """

    kind: AuditKind
    operation: str
    principal: Principal | None
    client_address: str | None
    server_address: str | None
    request_id: str
    status: int
    reason: str | None = None
    claimed_name: str | None = None
    studies: tuple[StudyIdentity, ...] = ()
    repeats: Repeats | None = None


def audit_event(
    occurrence: Occurrence, *, version: str, addresses: AddressPolicy = AddressPolicy.FULL
) -> Resource:
    """Return the AuditEvent of an occurrence.

    Parameters
    ----------
    occurrence
        What happened.
    version
        Of the program, for ``source``.
    addresses
        How much of the caller's address is kept.
    """
    outcome = _outcome(occurrence.status)
    event: dict[str, Any] = {"resourceType": "AuditEvent", "id": str(uuid.uuid4())}
    if occurrence.kind is AuditKind.READING and outcome == "0" and occurrence.studies:
        event["meta"] = {"profile": [CREATE_PROFILE]}
    event |= _what(occurrence)
    if occurrence.repeats is not None:
        event["period"] = {
            "start": _written(occurrence.repeats.began),
            "end": _written(occurrence.repeats.ended),
        }
    event["recorded"] = _now()
    event["outcome"] = outcome
    event["outcomeDesc"] = _outcome_of_all(occurrence)
    event["agent"] = _agents(occurrence, addresses)
    event["source"] = _source(version)
    event["entity"] = _entities(occurrence)
    return event


def gap_event(unrecorded: int, *, answered: bool, version: str) -> Resource:
    """Return the AuditEvent of recording that works again (DICOM PS3.16 CID 403).

    Parameters
    ----------
    unrecorded
        Requests that could not be recorded.
    answered
        Whether they were answered all the same.
    version
        Of the program, for ``source``.
    """
    started = {"system": _DCM, "code": "110134", "display": "Audit Recording Started"}
    what = "answered" if answered else "refused"
    return {
        "resourceType": "AuditEvent",
        "id": str(uuid.uuid4()),
        "type": {"system": _DCM, "code": "110113", "display": "Security Alert"},
        "subtype": [started],
        "action": "E",
        "recorded": _now(),
        "outcome": "8" if answered else "4",
        "outcomeDesc": f"unrecorded {unrecorded} {what}",
        "agent": [{"who": {"display": "deepmedix"}, "requestor": False}],
        "source": _source(version),
    }


def outcome_of(occurrence: Occurrence) -> str:
    """Return an occurrence's status and reason, in words of ours."""
    return " ".join(filter(None, [str(occurrence.status), occurrence.reason]))


def _outcome_of_all(occurrence: Occurrence) -> str:
    """Return the outcome, and where it is not that of all it stands for, that it is the last's."""
    repeats = occurrence.repeats
    if repeats is None or len(repeats.outcomes) == 1:
        return outcome_of(occurrence)
    return f"{outcome_of(occurrence)} (the last of {repeats.requests})"


def _now() -> str:
    return _written(datetime.now(UTC))


def _written(time: datetime) -> str:
    return time.isoformat(timespec="milliseconds")


def _source(version: str) -> dict[str, Any]:
    return {
        "observer": {"display": f"deepmedix {version}"},
        "type": [{"system": _SOURCE_TYPE, "code": "4", "display": "Application Server"}],
    }


def _outcome(status: int) -> str:
    """Return success, minor failure (the caller's) or serious failure (the service's)."""
    if status < 400:
        return "0"
    return "4" if status < 500 else "8"


def _what(occurrence: Occurrence) -> dict[str, Any]:
    operation = {"system": _OPERATION, "code": occurrence.operation}
    if occurrence.kind is AuditKind.READING:
        return {
            "type": {"system": _AUDIT_TYPE, "code": "rest", "display": "Restful Operation"},
            "subtype": [{"system": _RESTFUL, "code": "create", "display": "create"}, operation],
            "action": "C",
        }
    if occurrence.kind is AuditKind.REFUSED_CREDENTIAL:
        return {
            "type": {"system": _DCM, "code": "110114", "display": "User Authentication"},
            "subtype": [{"system": _DCM, "code": "110122", "display": "Login"}, operation],
            "action": "E",
        }
    if occurrence.kind is AuditKind.REQUEST:
        code = {"system": _RESTFUL, "code": "operation", "display": "operation"}
        return {
            "type": {"system": _AUDIT_TYPE, "code": "rest", "display": "Restful Operation"},
            "subtype": [code, operation],
            "action": "E",
        }
    changed = "User Security Attributes Changed"
    return {
        "type": {"system": _DCM, "code": "110113", "display": "Security Alert"},
        "subtype": [{"system": _DCM, "code": "110137", "display": changed}, operation],
        "action": "U",
    }


def _agents(occurrence: Occurrence, addresses: AddressPolicy) -> list[dict[str, Any]]:
    principal = occurrence.principal
    user = principal is not None and principal.kind is PrincipalKind.OIDC
    client = {
        "type": _concept(_DCM, "110153", "Source Role ID"),
        "who": _who(occurrence),
        "requestor": not user,
        "network": _network(occurrence.client_address, addresses),
    }
    server = {
        "type": _concept(_DCM, "110152", "Destination Role ID"),
        "who": {"display": "deepmedix"},
        "requestor": False,
        "network": _network(occurrence.server_address, AddressPolicy.FULL),
    }
    if not user:
        return [client, server]
    author = {
        "type": _concept(_PARTICIPATION, "AUT", "author (originator)"),
        "who": _who(occurrence),
        "requestor": True,
    }
    return [client, server, author]


def _who(occurrence: Occurrence) -> dict[str, Any]:
    principal = occurrence.principal
    if principal is not None:
        system = f"urn:deepmedix:principal:{principal.kind.value}"
        return {"identifier": {"system": system, "value": principal.name}}
    if occurrence.claimed_name is not None:
        system = "urn:deepmedix:principal:claimed"
        return {"identifier": {"system": system, "value": occurrence.claimed_name}}
    return {"display": "unidentified"}


def kept_address(address: str | None, policy: AddressPolicy) -> str:
    """Return what an event holds of a caller's address."""
    return _network(address, policy)["address"]


def _network(address: str | None, policy: AddressPolicy) -> dict[str, str]:
    if policy is AddressPolicy.NONE:
        return {"address": "withheld", "type": "1"}
    try:
        parsed = ip_address(address or "")
    except ValueError:
        return {"address": "unknown", "type": "1"}
    if isinstance(parsed, IPv6Address) and parsed.ipv4_mapped is not None:
        parsed = parsed.ipv4_mapped
    if policy is AddressPolicy.PREFIX:
        length = 24 if parsed.version == 4 else 48
        parsed = ip_network((parsed.packed, length), strict=False)[0]
    return {"address": str(parsed), "type": "2"}


def _entities(occurrence: Occurrence) -> list[dict[str, Any]]:
    entities: list[dict[str, Any]] = [
        {
            "what": {"identifier": {"value": occurrence.request_id}},
            "type": {"system": _BALP_ENTITY, "code": "XrequestId"},
        }
    ]
    if occurrence.repeats is not None:
        told = (("requests", occurrence.repeats.requests), *occurrence.repeats.outcomes)
        entities[0]["detail"] = [{"type": name, "valueString": str(count)} for name, count in told]
    for index, study in enumerate(occurrence.studies):
        # BALP allows one entity of type 2; films of further studies are of type 4, "Other".
        code, display = ("4", "Other") if index else ("2", "System Object")
        entities.append(
            {
                "what": {"identifier": {"system": study.system, "value": study.value}},
                "type": {"system": _ENTITY_TYPE, "code": code, "display": display},
                "role": {"system": _ENTITY_ROLE, "code": "4", "display": "Domain Resource"},
            }
        )
    return entities


def _concept(system: str, code: str, display: str) -> dict[str, Any]:
    return {"coding": [{"system": system, "code": code, "display": display}]}
