"""Set up and start the demo site. Run by `make run`."""

import os
import sys

from scripts import interpreters
from scripts.environments import environment
from scripts.stages import ROOT, Failure, run


def main(address: str) -> None:
    try:
        python = environment(interpreters.find()[-1], ROOT / ".venv")
        manage = [str(python), str(ROOT / "manage.py")]
        run(*manage, "demo_setup")
    except Failure as failure:
        sys.exit(str(failure))
    os.chdir(ROOT)
    # The server takes the place of this process, so that Ctrl-C reaches only it.
    command = [*manage, "runpushserver", "--allrequests", address]
    os.execv(command[0], command)  # noqa: S606 (no shell is what we want)


if __name__ == "__main__":
    main(sys.argv[1])
