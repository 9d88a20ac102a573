"""OpenID providers for tests: a real one, and one that says what a test lets it say."""

from .lying import Lying as Lying
from .lying import lying as lying
from .provider import OidcProvider as OidcProvider
