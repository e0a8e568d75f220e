"""The FIDO2 application: a CTAP authenticator, and U2F."""

from __future__ import annotations

from token_fw.apps.fido2.application import APPLICATION
from token_fw.apps.fido2.authenticator import Authenticator
from token_fw.apps.fido2.channel import Channel, Keepalive, Transport
from token_fw.apps.fido2.session import FidoSession

__all__ = ["APPLICATION", "Authenticator", "Channel", "FidoSession", "Keepalive", "Transport"]
