"""Who a caller is: API keys, OpenID Connect tokens, principals and their scopes. No HTTP routes."""

from service.identity.api_keys import ApiKey
from service.identity.authenticator import Authenticator
from service.identity.exposure import is_exposed, is_loopback
from service.identity.jwks import SigningKeys
from service.identity.key_file import KeyFile, KeyFileError
from service.identity.principal import (
    ANONYMOUS,
    CredentialsRefusedError,
    IdentityUnavailableError,
    Principal,
    PrincipalKind,
    Scope,
)
from service.identity.tokens import (
    DEFAULT_ALGORITHMS,
    DEFAULT_SCOPE_CLAIMS,
    KEY_TYPES,
    OidcSettings,
    TokenVerifier,
)
from service.identity.web import check_url

__all__ = [
    "ANONYMOUS",
    "DEFAULT_ALGORITHMS",
    "DEFAULT_SCOPE_CLAIMS",
    "KEY_TYPES",
    "ApiKey",
    "Authenticator",
    "CredentialsRefusedError",
    "IdentityUnavailableError",
    "KeyFile",
    "KeyFileError",
    "OidcSettings",
    "Principal",
    "PrincipalKind",
    "Scope",
    "SigningKeys",
    "TokenVerifier",
    "check_url",
    "is_exposed",
    "is_loopback",
]
