"""Tokens against what is known of attacks on JWTs (RFC 8725), over a provider on a socket."""

import asyncio
import base64
import hashlib
import hmac
import json
import time

import jwt
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from hypothesis import given, settings
from hypothesis import strategies as st
from prometheus_client import REGISTRY

from service.identity import (
    CredentialsRefusedError,
    IdentityUnavailableError,
    OidcSettings,
    Scope,
    SigningKeys,
    TokenVerifier,
    check_url,
)
from tests.service.identity_provider import AUDIENCE, forged, providing


@pytest.fixture
def provider():
    with providing() as provider:
        yield provider


class Clock:
    """Seconds that a test sets."""

    now = 0.0

    def __call__(self):
        return self.now


def verifier(provider, *, clock=None, jwks_url=None, **how) -> TokenVerifier:
    keys = SigningKeys(provider.issuer, jwks_url, clock=clock or time.monotonic)
    return TokenVerifier(OidcSettings(issuer=provider.issuer, audience=AUDIENCE, **how), keys)


async def refusal(verifier, token) -> str:
    with pytest.raises(CredentialsRefusedError) as refused:
        await verifier.identify(token)
    return refused.value.reason


async def test_a_token_stands_for_its_subject_with_its_scopes(provider):
    principal = await verifier(provider).identify(provider.token())
    assert (principal.name, principal.scopes) == ("oidc:alice", frozenset({Scope.READ}))


@pytest.mark.parametrize(("kind", "algorithm"), [("EC", "ES256"), ("OKP", "EdDSA")])
async def test_other_kinds_of_keys_work(provider, kind, algorithm):
    provider.add_key("two", kind)
    assert await verifier(provider).identify(provider.token("two", algorithm))


async def test_the_set_may_be_named_without_discovery(provider):
    known = verifier(provider, jwks_url=f"{provider.issuer}/keys")
    await known.identify(provider.token())
    assert provider.asked == 1


@pytest.mark.parametrize(
    ("claims", "scopes"),
    [
        ({"scope": "read admin"}, {"read", "admin"}),
        ({"scope": None, "scp": ["admin"]}, {"admin"}),
        ({"scope": None, "roles": ["read", 7]}, {"read"}),
        ({"scope": "reader READ"}, set()),
        ({"scope": 7}, set()),
        ({"scope": {"read": True}}, set()),
        ({"scope": None}, set()),
    ],
)
async def test_scopes_come_from_the_claims_named(provider, claims, scopes):
    principal = await verifier(provider).identify(provider.token(**claims))
    assert principal.scopes == scopes


async def test_scopes_are_mapped_and_nested_claims_reached(provider):
    known = verifier(
        provider, scopes={"radiology": Scope.READ}, scope_claims=("realm_access.roles",)
    )
    token = provider.token(realm_access={"roles": ["radiology"]})
    assert (await known.identify(token)).scopes == {Scope.READ}


@pytest.mark.parametrize(
    ("claims", "reason"),
    [
        ({"aud": "another"}, "token-for-another"),
        ({"aud": None}, "token-malformed"),
        ({"aud": []}, "token-malformed"),
        ({"iss": "https://evil.example"}, "token-for-another"),
        ({"iss": None}, "token-malformed"),
        ({"exp": None}, "token-malformed"),
        ({"exp": "soon"}, "token-malformed"),
        ({"sub": None}, "token-malformed"),
        ({"sub": ""}, "token-subject"),
        ({"sub": " "}, "token-subject"),
        ({"sub": "x" * 256}, "token-subject"),
        ({"sub": 'Müller, "Eva"\n\x00|x'}, "token-subject"),
        ({"sub": "eva\x9b2J"}, "token-subject"),
        ({"sub": "eva\u202e"}, "token-subject"),
        ({"sub": "eva\ud800"}, "token-subject"),
    ],
)
async def test_a_token_for_another_or_without_what_it_needs_is_refused(provider, claims, reason):
    assert await refusal(verifier(provider), provider.token(**claims)) == reason


@pytest.mark.parametrize("subject", ["x" * 255, 'Müller, "Eva" | x', "auth0|5f7c8ec7"])
async def test_a_subject_may_hold_whatever_can_be_read(provider, subject):
    principal = await verifier(provider).identify(provider.token(sub=subject))
    assert principal.name == f"oidc:{subject}"


async def test_the_clocks_may_differ_by_the_leeway_and_no_more(provider):
    known, now = verifier(provider, leeway=60), int(time.time())
    assert await known.identify(provider.token(exp=now - 30))
    assert await known.identify(provider.token(nbf=now + 30, iat=now + 30))
    assert await refusal(known, provider.token(exp=now - 90)) == "token-expired"
    assert await refusal(known, provider.token(nbf=now + 90)) == "token-not-yet-valid"
    assert await refusal(known, provider.token(iat=now + 90)) == "token-not-yet-valid"


async def test_a_jump_of_the_clock_ends_a_token_and_a_jump_back_does_not_disturb_the_keys(
    provider, monkeypatch
):
    known, token = verifier(provider), provider.token()
    assert await known.identify(token)
    asked = provider.asked

    class Later(jwt.api_jwt.datetime):
        shift = 3600

        @classmethod
        def now(cls, tz=None):
            return cls.fromtimestamp(time.time() + cls.shift, tz)

    monkeypatch.setattr(jwt.api_jwt, "datetime", Later)
    assert await refusal(known, token) == "token-expired"
    Later.shift = -3600
    assert await refusal(known, token) == "token-not-yet-valid"
    Later.shift = 0
    assert await known.identify(token)
    assert provider.asked == asked


async def test_an_unsigned_token_is_refused(provider):
    claims = jwt.decode(provider.token(), options={"verify_signature": False})
    for none in ("none", "None", "NONE", "", None, ["RS256"], 0):
        assert await refusal(verifier(provider), forged({"alg": none, "kid": "one"}, claims)) in (
            "token-algorithm",
            "token-malformed",
        )
    assert provider.asked == 0


@pytest.mark.parametrize("encoding", ["PEM", "DER", "jwk"])
async def test_the_public_key_is_no_shared_secret(provider, encoding):
    public = provider.private["one"].public_key()
    if encoding == "jwk":
        secret = json.dumps(provider.published[0]).encode()
    else:
        secret = public.public_bytes(
            getattr(serialization.Encoding, encoding),
            serialization.PublicFormat.SubjectPublicKeyInfo,
        )
    claims = jwt.decode(provider.token(), options={"verify_signature": False})
    unsigned = forged({"alg": "HS256", "kid": "one"}, claims).rsplit(".", 1)[0]
    mac = hmac.new(secret, unsigned.encode(), hashlib.sha256).digest()
    token = f"{unsigned}.{base64.urlsafe_b64encode(mac).rstrip(b'=').decode()}"
    assert await refusal(verifier(provider), token) == "token-algorithm"


async def test_a_shared_secret_in_the_set_is_passed_over(provider):
    secret = base64.urlsafe_b64encode(b"s" * 32).decode()
    provider.published.append({"kty": "oct", "k": secret, "kid": "sym", "alg": "HS256"})
    token = jwt.encode({"sub": "x"}, b"s" * 32, "HS256", headers={"kid": "sym"})
    assert await refusal(verifier(provider), token) == "token-algorithm"


@pytest.mark.parametrize(
    "entry",
    [{"kty": []}, {"kty": {}}, {"kty": "RSA", "n": 1, "e": []}, {"kty": "EC", "crv": []}, [], None],
)
async def test_an_entry_of_the_set_that_is_no_key_is_passed_over(provider, entry):
    provider.published.insert(0, entry)
    assert (await verifier(provider).identify(provider.token())).name


async def test_a_key_is_for_the_algorithm_and_the_use_that_it_names(provider):
    provider.published.clear()
    provider.add_key("one", alg="RS512")
    assert await refusal(verifier(provider), provider.token()) == "token-key-unknown"
    provider.published.clear()
    provider.add_key("one", use="enc")
    with pytest.raises(IdentityUnavailableError):
        await verifier(provider).identify(provider.token())


async def test_a_key_brought_along_is_not_looked_at(provider):
    provider.add_key("mine", "EC", publish=False)
    public = provider.private["mine"].public_key()
    brought = jwt.algorithms.ECAlgorithm.to_jwk(public, as_dict=True)
    for headers in ({"jwk": brought}, {"jku": f"{provider.issuer}/mine"}, {"x5u": "file:///x"}):
        token = provider.token("mine", "ES256", headers=headers)
        assert await refusal(verifier(provider), token) == "token-key-unknown"


@pytest.mark.parametrize(
    "kid", ["../../../../dev/null", "' OR 1=1 --", "http://evil.example/keys", "x" * 200, "\x00"]
)
async def test_a_key_id_is_a_name_and_nothing_else(provider, kid):
    token = provider.token(headers={"kid": kid})
    assert await refusal(verifier(provider), token) == "token-key-unknown"
    assert await refusal(verifier(provider), provider.token(headers={"crit": ["x"], "x": 1})) in (
        "token-critical-header",
        "token-malformed",
    )


@pytest.mark.parametrize("kind", ["JWT", "at+jwt", "application/at+JWT"])
async def test_types_of_access_tokens_are_taken(provider, kind):
    assert await verifier(provider).identify(provider.token(headers={"typ": kind}))


@pytest.mark.parametrize("kind", ["logout+jwt", "JOSE", "secevent+jwt", "dpop+jwt"])
async def test_a_token_of_another_type_is_none_for_access(provider, kind):
    assert await refusal(verifier(provider), provider.token(headers={"typ": kind})) == "token-type"


async def test_a_signature_of_another_key_is_refused(provider):
    provider.add_key("two", "EC")
    provider.add_key("three", "EC", publish=False)
    token = provider.token("three", "ES256", headers={"kid": "two"})
    assert await refusal(verifier(provider), token) == "token-signature"


async def test_without_a_key_id_one_key_alone_may_be_meant(provider):
    token = jwt.encode(
        jwt.decode(provider.token(), options={"verify_signature": False}),
        provider.private["one"],
        "RS256",
    )
    assert await verifier(provider).identify(token)
    provider.add_key("again")
    assert await refusal(verifier(provider), token) == "token-key-unknown"


async def test_a_huge_token_is_refused_unread(provider):
    token = provider.token(padding="x" * 100_000)
    assert await refusal(verifier(provider), token) == "token-too-long"
    nested = base64.urlsafe_b64encode(b'{"alg":' + b"[" * 9000).rstrip(b"=").decode()
    assert await refusal(verifier(provider), f"{nested}.e30.x") == "token-malformed"
    assert provider.asked == 0


@settings(max_examples=200, deadline=None)
@given(st.one_of(st.text(max_size=60), st.from_regex(r"[\w=-]{0,40}\.[\w=-]{0,40}\.[\w=-]{0,9}")))
def test_whatever_is_sent_is_refused_in_one_way(text):
    class Untouched:
        issuer = "https://issuer.example"

    async def attempt():
        with pytest.raises(CredentialsRefusedError):
            await verifier(Untouched()).identify(text)

    asyncio.run(attempt())


async def test_a_rotated_key_is_found_at_once_and_invented_ones_ask_no_more_than_allowed(provider):
    clock = Clock()
    known = verifier(provider, clock=clock)
    await known.identify(provider.token())
    provider.add_key("two", "EC")
    token = provider.token("two", "ES256")
    clock.now = 31
    assert await known.identify(token)
    asked = provider.asked
    for number in range(20):
        invented = provider.token(headers={"kid": f"invented-{number}"})
        assert await refusal(known, invented) == "token-key-unknown"
    assert provider.asked == asked
    clock.now = 62
    await refusal(known, provider.token(headers={"kid": "invented"}))
    assert provider.asked == asked + 1


def without_id(provider, kid="one", algorithm="RS256") -> str:
    claims = jwt.decode(provider.token(kid, algorithm), options={"verify_signature": False})
    return jwt.encode(claims, provider.private[kid], algorithm)


@pytest.mark.parametrize("make_token", [lambda provider: provider.token(), without_id])
async def test_a_key_changed_under_its_id_or_without_one_is_found_at_once(provider, make_token):
    clock = Clock()
    known = verifier(provider, clock=clock)
    await known.identify(make_token(provider))
    key = provider.private["one"] = rsa.generate_private_key(65537, 2048)
    entry = jwt.algorithms.RSAAlgorithm.to_jwk(key.public_key(), as_dict=True)
    provider.published[:] = [{**entry, "kid": "one"}]
    clock.now = 31
    assert await known.identify(make_token(provider))
    asked = provider.asked
    assert await known.identify(make_token(provider))
    assert provider.asked == asked


async def test_a_key_changed_to_another_curve_is_found_at_once(provider):
    public = {}
    for kid, curve in (("old", ec.SECP384R1()), ("new", ec.SECP256R1())):
        provider.private[kid] = ec.generate_private_key(curve)
        key = provider.private[kid].public_key()
        public[kid] = jwt.algorithms.ECAlgorithm.to_jwk(key, as_dict=True)
    clock = Clock()
    known = verifier(provider, clock=clock)
    token = without_id(provider, "new", "ES256")
    provider.published[:] = [public["old"]]
    assert await refusal(known, token) == "token-signature"
    provider.published[:] = [public["new"]]
    clock.now = 31
    assert await known.identify(token)


async def test_bad_signatures_ask_no_more_than_allowed(provider):
    clock = Clock()
    known = verifier(provider, clock=clock)
    token = provider.token()
    forgery = token[:-8] + ("A" * 8 if token[-8:] != "A" * 8 else "B" * 8)
    await known.identify(token)
    for now in (31, 62):
        clock.now = now
        asked = provider.asked
        await asyncio.gather(*(refusal(known, forgery) for _ in range(20)))
        assert await refusal(known, forgery) == "token-signature"
        assert provider.asked == asked + 1
        assert await known.identify(token)


async def test_a_withdrawn_key_ends_with_the_age_of_the_set(provider):
    clock = Clock()
    known = verifier(provider, clock=clock)
    token = provider.token()
    await known.identify(token)
    provider.published.clear()
    provider.add_key("two", "EC")
    clock.now = 3600
    assert await known.identify(token)
    clock.now = 3601  # however long nobody asked
    assert await refusal(known, token) == "token-key-unknown"


def stale() -> float | None:
    return REGISTRY.get_sample_value("deepmedix_provider_keys_stale")


async def test_known_keys_stay_in_force_for_a_day_while_the_provider_is_down(provider):
    clock = Clock()
    known = verifier(provider, clock=clock)
    token = provider.token()
    await known.identify(token)
    assert stale() == 0
    provider.down = True
    for clock.now in (3601, 10_000, 86_400):
        assert await known.identify(token)
        assert stale() == 1
    clock.now = 86_401
    with pytest.raises(IdentityUnavailableError):
        await known.identify(token)
    provider.down = False
    clock.now = 86_431
    assert await known.identify(token)
    assert stale() == 0


async def test_a_renewal_that_failed_is_tried_again_though_the_set_is_young(provider):
    clock = Clock()
    known = verifier(provider, clock=clock)
    await known.identify(provider.token())
    provider.down = True
    clock.now = 31
    await refusal(known, provider.token(headers={"kid": "invented"}))
    provider.down = False
    assert stale() == 1
    clock.now = 62
    assert await known.identify(provider.token())
    await known._keys._renewal
    assert stale() == 0


async def test_a_provider_that_is_back_is_noticed_though_nobody_asks(provider):
    keys = SigningKeys(provider.issuer, cooldown=0.01)
    known = TokenVerifier(OidcSettings(issuer=provider.issuer, audience=AUDIENCE), keys)
    provider.down = True
    with pytest.raises(IdentityUnavailableError):
        await known.identify(provider.token())
    assert stale() == 1
    provider.down = False
    async with asyncio.timeout(60):
        while stale():
            await asyncio.sleep(0)
    await known.close()


async def test_nobody_is_asked_any_more_once_it_is_closed(provider):
    known = verifier(provider)
    provider.down = True
    with pytest.raises(IdentityUnavailableError):
        await known.identify(provider.token())
    assert not known._keys._repeat.cancelled()
    await known.close()
    assert known._keys._repeat.cancelled()


async def test_a_provider_that_moves_its_keys_is_found_by_discovery_again(provider):
    clock = Clock()
    known = verifier(provider, clock=clock)
    await known.identify(provider.token())
    provider.keys_path = "/moved"
    provider.add_key("two", "EC")
    token = provider.token("two", "ES256")
    clock.now = 31
    assert await refusal(known, token) == "token-key-unknown"  # the old address knows nothing
    clock.now = 62
    assert await known.identify(token)


async def test_an_address_of_the_keys_that_was_given_stays_in_force(provider):
    clock = Clock()
    known = verifier(provider, clock=clock, jwks_url=f"{provider.issuer}/keys")
    provider.down = True
    with pytest.raises(IdentityUnavailableError):
        await known.identify(provider.token())
    provider.down = False
    asked = provider.asked
    clock.now = 31
    assert await known.identify(provider.token())
    assert provider.asked == asked + 1  # no discovery


async def test_a_provider_that_does_not_answer_holds_up_nobody_whose_key_is_known(provider):
    clock = Clock()
    known = verifier(provider, clock=clock)
    await known.identify(provider.token())
    provider.down = True
    clock.now = 3601
    assert await known.identify(provider.token())
    provider.answering.clear()
    clock.now = 3632
    for _ in range(3):
        assert await known.identify(provider.token())
    assert not known._keys._renewal.done()
    provider.down = False
    provider.answering.set()
    await known._keys._renewal
    assert stale() == 0


async def test_it_is_told_when_the_provider_is_asked_again(provider):
    clock = Clock()
    known = verifier(provider, clock=clock)
    provider.down = True
    for clock.now, rest in ((0, 30), (11.5, 18.5), (30, 30)):
        with pytest.raises(IdentityUnavailableError) as unavailable:
            await known.identify(provider.token())
        assert unavailable.value.retry_after == rest


async def test_before_the_first_keys_a_token_cannot_be_judged(provider):
    clock = Clock()
    known = verifier(provider, clock=clock)
    provider.down = True
    with pytest.raises(IdentityUnavailableError):
        await known.identify(provider.token())
    provider.down = False
    clock.now = 31
    assert await known.identify(provider.token())


async def test_many_callers_at_once_cause_one_renewal(provider):
    known = verifier(provider)
    await asyncio.gather(*(known.identify(provider.token()) for _ in range(20)))
    assert provider.asked == 2  # discovery, and the set


async def test_a_set_that_is_too_large_is_not_taken(provider):
    provider.padding = "x" * 300_000
    with pytest.raises(IdentityUnavailableError):
        await verifier(provider).identify(provider.token())


async def test_a_discovery_document_of_another_issuer_is_not_believed(provider):
    issuer = provider.issuer.replace("127.0.0.1", "localhost")
    keys = SigningKeys(issuer)
    known = TokenVerifier(OidcSettings(issuer=issuer, audience=AUDIENCE), keys)
    with pytest.raises(IdentityUnavailableError):
        await known.identify(provider.token())


@pytest.mark.parametrize(
    ("url", "good"),
    [
        ("https://idp.example/realms/x", True),
        ("http://127.0.0.1:8080", True),
        ("http://localhost:8080", True),
        ("http://[::1]:80", True),
        ("http://idp.example", False),
        ("http://127.0.0.1.evil.example", False),
        ("file:///etc/passwd", False),
        ("https://", False),
        ("idp.example", False),
    ],
)
def test_keys_come_over_https_or_from_this_machine(url, good):
    if good:
        assert check_url(url) == url
    else:
        with pytest.raises(ValueError, match=r"https|address"):
            check_url(url)
