"""A Django project that runs as many processes over one Redis, and who uses it."""
