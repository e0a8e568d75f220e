"""The FIDO2 application: a CTAP authenticator, and U2F."""

from __future__ import annotations

from token_fw.apps.fido2.application import application
from token_fw.apps.fido2.attester import Attester
from token_fw.apps.fido2.authenticator import Authenticator
from token_fw.apps.fido2.channel import Channel, Keepalive, Transport
from token_fw.apps.fido2.core import Core
from token_fw.apps.fido2.credentials import Credentials
from token_fw.apps.fido2.secrets import Secrets
from token_fw.apps.fido2.session import FidoSession
from token_fw.env import Env
from token_fw.fingerprint import Matcher
from token_fw.pin import Pins
from token_fw.state import Token
from token_fw.transaction import Transaction

__all__ = [
    "Authenticator",
    "Channel",
    "Core",
    "FidoSession",
    "Keepalive",
    "Transport",
    "application",
    "core",
]


def core(transaction: Transaction, token: Token, pins: Pins, matcher: Matcher, env: Env) -> Core:
    """What all channels share of one token."""
    secrets = Secrets(transaction, env.rng)
    return Core(
        transaction=transaction,
        token=token,
        pins=pins,
        matcher=matcher,
        secrets=secrets,
        credentials=Credentials(transaction, secrets, env.rng),
        attester=Attester(transaction, env.rng),
        rng=env.rng,
        clock=env.clock,
        presence=env.presence,
    )
