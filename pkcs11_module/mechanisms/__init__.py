"""Mechanisms: what C_GetMechanismInfo tells of them, and what an operation with one comes down to.

Signatures and ciphers are plans: a scheme of `token_fw.crypto`, which the middleware runs for keys
of the session, and the MSE data objects that make a card do the same with a key of its own.
"""
