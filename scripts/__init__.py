"""What `make` runs: standard library only, because nothing else is there yet."""
