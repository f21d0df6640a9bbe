"""Readers and publishes, and how the one hears of the other."""
