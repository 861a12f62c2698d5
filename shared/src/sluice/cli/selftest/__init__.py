"""`sluice selftest leaks`: sentences that are planted, and then asked for by everyone who must not see them."""
