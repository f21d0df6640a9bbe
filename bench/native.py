"""load.c as Python calls it: compiled where it has changed, by the machine's own cc."""

import ctypes
import hashlib
import shutil
import subprocess
from functools import cache
from pathlib import Path

__all__ = ["Counts", "library"]

SOURCE = Path(__file__).with_name("load.c")
BUILT = SOURCE.parents[1] / ".work" / "bench"
OPTIONS = ("-O2", "-Wall", "-Wextra", "-Werror", "-std=gnu11", "-shared", "-fPIC")


class Counts(ctypes.Structure):
    """The first part of `struct load`."""

    _fields_ = [
        ("delivered", ctypes.c_long),
        ("doubled", ctypes.c_long),
        ("errors", ctypes.c_long),
        ("reconnects", ctypes.c_long),
        ("before", ctypes.c_long),
        ("last_at", ctypes.c_double),
        ("latencies", ctypes.POINTER(ctypes.c_double)),
    ]


@cache
def library() -> ctypes.CDLL:
    """Return the compiled client. Raises RuntimeError where there is no compiler."""
    digest = hashlib.sha256(SOURCE.read_bytes()).hexdigest()[:16]
    path = BUILT / f"load-{digest}.so"
    if not path.exists():
        compile_to(path)
    found = ctypes.CDLL(str(path))
    load, connection = ctypes.POINTER(Counts), ctypes.c_void_p
    number, text = ctypes.c_int, ctypes.c_char_p
    for name, result, arguments in (
        ("new", load, (number, number, text, text, text)),
        ("reader", connection, (load, number, number, number)),
        ("publisher", connection, (load, number)),
        ("leave", None, (load, connection)),
        ("publish", None, (load, connection, number, ctypes.c_long)),
        ("flood", None, (load, connection, number, number, number, ctypes.c_long)),
        ("run", ctypes.c_bool, (load, ctypes.c_double, ctypes.c_long, connection)),
        ("free", None, (load,)),
    ):
        function = getattr(found, f"load_{name}")  # kept; an item is not
        function.restype, function.argtypes = result, arguments
    return found


def compile_to(path: Path) -> None:
    if not shutil.which("cc"):
        raise RuntimeError("no C compiler: Debian has it in gcc and libc6-dev")
    BUILT.mkdir(parents=True, exist_ok=True)
    made = path.with_suffix(".new")
    subprocess.run(["cc", *OPTIONS, "-o", made, SOURCE], check=True)
    made.replace(path)  # whole, for whoever loads it at the same time
