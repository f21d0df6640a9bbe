"""Numbers that the processes and the tests share."""

RESYNC = 2.0

# The wake-ups of these channels never arrive: what their readers get was found by
# verification.
MUTED = ("busy-9", "popular-9")
