"""OpenID providers for tests: a real one, and one that says what a test lets it say."""

from .provider import OidcProvider as OidcProvider
