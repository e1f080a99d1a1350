"""The REST API of Dyte (v2) and of RealtimeKit: what was missed is found there, and links are renewed."""

from service.provider.answers import Webhook
from service.provider.client import ProviderApi, api_session
from service.provider.pace import Pace

__all__ = ["Pace", "ProviderApi", "Webhook", "api_session"]
