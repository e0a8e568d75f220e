"""Public keys with names: algorithms, signers, names, certificates and what revokes them."""
