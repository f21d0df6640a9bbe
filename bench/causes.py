"""Why a goal is missed, as far as that is known, and the profile that shows it."""

import re

__all__ = ["CAUSES", "UNKNOWN", "cause"]

PROFILES = "../../bench/results/profiles"
UNKNOWN = "not looked at yet."
# By how a goal begins, as it may be missed in one run and met in another.
CAUSES = (
    (
        r"long poll on granian",
        "nearly all that ours takes more is running Python, of which the server itself "
        "and the bare application have little there",
        "granian-poll-1000",
    ),
    (
        r"event stream on daphne / django-eventstream",
        "nearly all is Daphne's and Twisted's, so the bare application is no faster",
        "daphne-stream-1000",
    ),
    (
        r"flood, poll: our best server / Nchan",
        "ours takes half as much again as the bare application, for rules, cursors and "
        "a tenth of a publish, and that has a third of Nchan's rate itself",
        "uvicorn-poll-flood",
    ),
    (
        r"flood, stream: our best server / Nchan",
        "a publish is for ten readers only, and its rules, its answer and its counts "
        "are most of what ours takes more than the bare application",
        "uvicorn-stream-flood",
    ),
    (
        r"flood, multiplexed long poll on granian",
        "an answer carries what came in 20 ms, and opens its 50 channels again in 250 "
        "us, beside one-message polls that are cheapest there",
        "granian-many-flood",
    ),
    (
        r"memory per held poll on daphne",
        "four empty queues of asyncio, 3 kB, are a quarter of it, which Daphne makes "
        "for each request; with Twisted's objects the bare application is there, too",
        "daphne-poll-memory",
    ),
    (
        r"idle CPU with 10,000 held polls on daphne",
        "each second Daphne makes a list of all its connections to see which "
        "application has ended, each two to see which took too long",
        "daphne-poll-idle-10000",
    ),
    (
        r"CPU per delivery on daphne",
        "the collector, and Daphne's look at all its connections, grow with them",
        "daphne-poll-10000",
    ),
    (
        r"latency at 1,000 deliveries/s",
        "a publish is in front of ten readers, who are served one after the other, and "
        "at that pace nothing of it is in the processor's caches",
        "uvicorn-poll-paced",
    ),
)


def cause(what: str) -> str:
    """Return what is known of why that goal is missed, in Markdown."""
    for start, words, profile in CAUSES:
        if re.match(start, what):
            return f"{words} ([profile]({PROFILES}/{profile}.md))."
    return UNKNOWN
