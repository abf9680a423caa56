"""The identity provider's clock is not ours: tokens from before and after now."""

from __future__ import annotations

import time

from benchmarks.endurance.scenario import Case
from benchmarks.endurance.served import refused_credentials

LEEWAY = 60
LIFE = 300
_NEAR = 15
"""Seconds beside the leeway's end; more than a request takes."""


async def clock_jumps(case: Case) -> None:
    """The provider's clock jumps ahead and back, by less and by more than the leeway."""

    async def asked(shift: int) -> tuple[int, str]:
        now = int(time.time()) + shift
        token = case.provider.token(iat=now, nbf=now, exp=now + LIFE)
        reply = await case.client.get("/version", headers={"Authorization": f"Bearer {token}"})
        return reply.status_code, "" if reply.status_code == 200 else reply.json()["code"]

    good, refused = (200, ""), (401, "unauthenticated")
    for name, shift, expected in (
        ("right", 0, good),
        ("ahead, within the leeway", LEEWAY - _NEAR, good),
        ("ahead, beyond the leeway", LEEWAY + _NEAR, refused),
        ("right again", 0, good),
        ("behind, so that a token seems just expired", -LIFE - LEEWAY + _NEAR, good),
        ("behind, beyond the leeway", -LIFE - LEEWAY - _NEAR, refused),
        ("a day ahead", 86_400, refused),
        ("a day behind", -86_400, refused),
        ("right in the end", 0, good),
    ):
        found = await asked(shift)
        case.check(
            f"provider's clock {name} ({shift:+d} s): {expected[0]}", found == expected, found
        )
    case.provider.down = True
    try:
        found = await asked(0)
    finally:
        case.provider.down = False
    case.check("with the provider down, keys known before go on", found == good, found)
    case.served.process.terminate()  # what was counted of refusals is recorded then at the latest
    await case.served.ended()
    events = [event for found in case.served.audited().values() for event in found]
    for reason, times in (("token-not-yet-valid", 2), ("token-expired", 2)):
        told = sum(refused_credentials(event, reason) for event in events)
        case.check(f"the audit trail says {reason}", told >= times, f"{told} refusals")
