"""A loopback server that speaks the wire formats of Gemini and Azure OpenAI and does what a test tells it to."""

from tests.providers.behaviour import EMPTY, GOOD, Behaviour, fails, says
from tests.providers.control import RemoteScript
from tests.providers.script import Call
from tests.providers.server import Providers, provider_server

__all__ = ["EMPTY", "GOOD", "Behaviour", "Call", "Providers", "RemoteScript", "fails", "provider_server", "says"]
