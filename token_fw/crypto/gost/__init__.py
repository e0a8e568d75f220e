"""GOST R 34.10-2012 signatures, GOST R 34.11-2012 (Streebog) and what TC26 builds on them.

Own code from the standards (RFC 6986, 7091, 7836, 9215, 4357). The arithmetic is that of Python's
integers: what it takes in time depends on the numbers, so it is not constant-time. Whoever can
measure operations on a private key closely may learn of the key.
"""
