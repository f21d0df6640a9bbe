"""The applications that are measured beside each other."""
