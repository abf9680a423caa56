"""The audit trail: FHIR AuditEvents, a hash chain of them, where they go. No HTTP routes."""

from service.audit.collector import Collector
from service.audit.event import (
    AddressPolicy,
    AuditKind,
    Occurrence,
    Repeats,
    audit_event,
    kept_address,
)
from service.audit.file import AuditFile, AuditUnavailableError
from service.audit.refusals import Refusals
from service.audit.study import MIN_KEY_BYTES, StudyHasher, StudyIdentity
from service.audit.trail import AuditScope, AuditTrail, FailurePolicy
from service.audit.verification import Fault, Verification, verify

__all__ = [
    "MIN_KEY_BYTES",
    "AddressPolicy",
    "AuditFile",
    "AuditKind",
    "AuditScope",
    "AuditTrail",
    "AuditUnavailableError",
    "Collector",
    "FailurePolicy",
    "Fault",
    "Occurrence",
    "Refusals",
    "Repeats",
    "StudyHasher",
    "StudyIdentity",
    "Verification",
    "audit_event",
    "kept_address",
    "verify",
]
