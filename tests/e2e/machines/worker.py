"""A plain process that publishes what its standard input tells it to."""

import sys

import django


def main() -> None:
    django.setup()
    from tests.e2e.machines.urls import publish

    say("ready")
    for line in sys.stdin:
        channel, text = line.strip().split(maxsplit=1)
        say(publish(channel, text))


def say(word: str) -> None:
    sys.stdout.write(f"{word}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
