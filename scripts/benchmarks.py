"""Build what the benchmarks need, and run them. Run by `make bench`."""

import sys

from scripts import debian, interpreters
from scripts.environments import bench_python
from scripts.stages import run

PACKAGES = ["gcc", "libc6-dev", "libnginx-mod-nchan", "nginx-light", "redis-server"]


def main() -> None:
    debian.require(PACKAGES)
    python = bench_python(interpreters.find()[-1])
    run(python, "-m", "bench", *sys.argv[1:])


if __name__ == "__main__":
    main()
