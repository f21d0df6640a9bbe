"""A site of pages that listen, for a real browser."""
