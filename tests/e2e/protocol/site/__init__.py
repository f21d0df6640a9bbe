"""A Django project with one location for each row that needs its own options."""
