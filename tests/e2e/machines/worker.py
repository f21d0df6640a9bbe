"""A plain process that publishes what its standard input tells it to."""

import sys

import django


def main() -> None:
    django.setup()
    from tests.e2e.machines.urls import publish

    for line in sys.stdin:
        channel, text = line.strip().split(maxsplit=1)
        sys.stdout.write(f"{publish(channel, text)}\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
