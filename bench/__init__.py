"""Commands that print every number we claim, each beside its baseline."""
