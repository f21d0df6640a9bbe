"""Install the Debian packages that are missing, without starting their services."""

import contextlib
import os
import shutil
from collections.abc import Iterable, Iterator
from pathlib import Path
from threading import Lock

from scripts.stages import Failure, run_quietly

# A package is there when its program or file is: it may have come another way.
PROVES = {
    "chromium": "chromium",
    "chromium-driver": "chromedriver",
    "curl": "curl",
    "gcc": "cc",
    "libc6-dev": "/usr/include/stdio.h",
    "libnginx-mod-nchan": "/usr/lib/nginx/modules/ngx_nchan_module.so",
    "nginx-light": "nginx",
    "npm": "npm",
    "redis-server": "redis-server",
    "systemd": "systemd-analyze",
}
END_TO_END = [
    "chromium",
    "chromium-driver",
    "curl",
    "gcc",
    "libc6-dev",
    "libnginx-mod-nchan",
    "nginx-light",
    "redis-server",
    "systemd",
]
PROGRAMS = f"{os.environ.get('PATH', os.defpath)}:/usr/sbin:/sbin"
POLICY = Path("/usr/sbin/policy-rc.d")
_one_at_a_time = Lock()  # apt-get refuses to wait for another one


def is_there(package: str) -> bool:
    proof = PROVES[package]
    return shutil.which(proof, path=PROGRAMS) is not None or Path(proof).is_file()


def require(packages: Iterable[str]) -> None:
    """Make sure that the packages of our table are there."""
    install([package for package in packages if not is_there(package)])


def install(packages: list[str]) -> None:
    """Install Debian packages by name; nothing to do for an empty list."""
    if not packages:
        return
    names = " ".join(packages)
    if not shutil.which("apt-get"):
        raise Failure(f"these Debian packages (or what they hold) are missing: {names}")
    if os.geteuid() != 0:
        raise Failure(f"missing; as root: apt-get update && apt-get install {names}")
    print(f"installing {names}", flush=True)
    env = {"DEBIAN_FRONTEND": "noninteractive"}
    with _one_at_a_time, services_stay_down():
        run_quietly("apt-get", "update", log="apt-update", env=env)
        run_quietly(
            *("apt-get", "install", "--yes", "--no-install-recommends", *packages),
            log="apt-install",
            env=env,
        )


@contextlib.contextmanager
def services_stay_down() -> Iterator[None]:
    """Tell the packages' scripts not to start nginx and Redis on their usual ports.

    The tests start servers of their own on free ports. A policy that the machine
    already has is its owner's and stays.
    """
    if POLICY.exists():
        yield
        return
    POLICY.write_text("#!/bin/sh\nexit 101\n")
    POLICY.chmod(0o755)
    try:
        yield
    finally:
        POLICY.unlink()
