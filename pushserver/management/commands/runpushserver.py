"""``manage.py runpushserver``: the push server, alone or with all of Django."""

import argparse
import atexit
import errno
import logging
import os
import socket
import sys
from collections.abc import Awaitable, Callable
from datetime import datetime
from functools import partial
from typing import Any, Never, cast

from django.apps import apps
from django.conf import settings
from django.contrib.staticfiles.handlers import ASGIStaticFilesHandler
from django.core.asgi import get_asgi_application
from django.core.exceptions import ImproperlyConfigured
from django.core.management.base import CommandError, CommandParser, SystemCheckError
from django.core.management.commands.runserver import Command as RunserverCommand
from django.db import connections
from django.utils import autoreload
from django.utils.module_loading import import_string

from pushserver import reach
from pushserver.asgi import push_application, stop
from pushserver.conf import Config, get_config
from pushserver.conf.locations import Location
from pushserver.consumers.endpoints import below
from pushserver.engine import subscriptions
from pushserver.forcehost import ForceHost
from pushserver.server.daphne import serve

ASGIApplication = Callable[..., Awaitable[None]]

# What runserver writes to, so that a project's LOGGING treats both alike.
logger = logging.getLogger("django.server")

BIND_ERRORS = {
    errno.EACCES: "you have no permission to use this port",
    errno.EADDRINUSE: "the port is already in use",
    errno.EADDRNOTAVAIL: "this machine does not have that address",
}


class CannotListen(CommandError):
    """The port is taken, the address is not ours, ..."""


class Command(RunserverCommand):
    # Set by runserver's handle().
    addr: str
    port: str
    use_ipv6: bool

    help = "Starts the push server; with --allrequests it serves the project, too."

    def create_parser(
        self, prog_name: str, subcommand: str, **kwargs: Any
    ) -> CommandParser:
        # A wrong option is one line: argparse would put eight of usage above it.
        kwargs["usage"] = argparse.SUPPRESS
        return super().create_parser(prog_name, subcommand, **kwargs)

    def add_arguments(self, parser: CommandParser) -> None:
        # Not runserver's own, which has --nothreading.
        parser.add_argument(
            "addrport",
            nargs="?",
            metavar="[address:]port",
            help="Where to listen, 127.0.0.1:8001 by default (with --allrequests "
            "port 8000). Wins over 'address' and 'port' in PUSH_SERVER.",
        )
        parser.add_argument(
            *("--ipv6", "-6"),
            action="store_true",
            dest="use_ipv6",
            help="Use an IPv6 address, ::1 by default.",
        )
        parser.add_argument(
            "--allrequests",
            action="store_true",
            help="Serve the Django project, too; "
            "without, everything that is no location is 404.",
        )
        parser.add_argument(
            "--forcehost",
            metavar="HOST",
            help="Redirect requests for any other host to this one "
            "(needs --allrequests).",
        )
        parser.add_argument(
            "--noreload",
            action="store_false",
            dest="use_reloader",
            help="Do not restart when code changes, which is done while DEBUG is on.",
        )
        parser.add_argument(
            "--nostatic",
            action="store_false",
            dest="use_static_handler",
            help="Do not serve static files, which --allrequests does in DEBUG.",
        )

    def handle(self, *args: Any, **options: Any) -> None:
        if options["forcehost"] and not options["allrequests"]:
            raise CommandError("--forcehost needs --allrequests.")
        try:
            config = get_config()
        except ImproperlyConfigured as error:
            raise CommandError(str(error)) from None
        port = 8000 if options["allrequests"] else 8001
        self.default_port = str(config.port or port)
        if config.address is not None and ":" in config.address:
            self.default_addr_ipv6 = config.address
            if ":" not in (options["addrport"] or ""):
                options["use_ipv6"] = True
        elif config.address is not None:
            self.default_addr = config.address
        super().handle(*args, **options)

    def run(self, **options: Any) -> None:
        if int(self.port) > 65535:
            raise CommandError(f"{self.port} is not a valid port number.")
        if options["use_reloader"] and settings.DEBUG:
            autoreload.run_with_reloader(self._run_in_thread, **options)
        elif not self._run_in_main_thread(**options):
            # Whoever was cut off may have a thread, and Python would wait for it.
            self._exit(0)

    def _run_in_main_thread(self, **options: Any) -> bool:
        try:
            return self.serve(options)
        except CannotListen as error:
            # Django puts the name of the class in front of the text.
            raise CommandError(str(error)) from None
        except KeyboardInterrupt:
            # While it started; from then on Ctrl-C makes the server drain.
            return True

    def _run_in_thread(self, **options: Any) -> None:
        # Nobody catches a thread's exceptions. What an edit can mend is shown, and
        # the reloader goes on watching.
        try:
            self.serve(options)
        except SystemCheckError as error:
            self.stderr.write(str(error), lambda text: text)
        except CommandError as error:
            self.stderr.write(f"CommandError: {error}")
            if isinstance(error, CannotListen):
                self._exit(1)

    def _exit(self, code: int) -> Never:
        # sys.exit() does not work in a thread, and waits for other threads.
        sys.stdout.flush()
        sys.stderr.flush()
        atexit._run_exitfuncs()
        os._exit(code)  # pragma: no cover (an exit function ends the measuring)

    def serve(self, options: dict[str, Any]) -> bool:
        """Check the project and serve it; True if all requests ended in time."""
        autoreload.raise_last_exception()
        if not options["skip_checks"]:
            self.stdout.write("Performing system checks...\n\n")
            self.check(display_num_errors=True)
        self.check_migrations()
        for connection in connections.all(initialized_only=True):
            connection.close()
        config = get_config()
        try:
            return serve(
                self.get_application(options),
                address=self.addr,
                port=int(self.port),
                ipv6=self.use_ipv6,
                root_path=settings.FORCE_SCRIPT_NAME or "",
                drain_timeout=config.drain_timeout,
                max_body=partial(max_body, everything=options["allrequests"]),
                on_drain=subscriptions.drain,
                on_stop=stop,
                on_listening=partial(self.on_listening, options),
                access_log=log_access,
                signal_handlers=not (options["use_reloader"] and settings.DEBUG),
                server_name=config.servername or "pushserver",
            )
        except OSError as error:
            raise CannotListen(self._bind_error(error)) from None

    def _bind_error(self, error: OSError) -> str:
        reason = BIND_ERRORS.get(error.errno or 0, error.strerror)
        if isinstance(error, socket.gaierror):
            reason = "there is no such address"
        return f"Cannot listen at {_netloc(self.addr, self.port)}: {reason}."

    def get_application(self, options: dict[str, Any]) -> ASGIApplication:
        if not options["allrequests"]:
            return push_application()
        application: ASGIApplication = push_application(_project())
        if (
            options["use_static_handler"]
            and settings.DEBUG
            and apps.is_installed("django.contrib.staticfiles")
        ):
            application = cast(
                ASGIApplication, ASGIStaticFilesHandler(cast(Any, application))
            )
        if options["forcehost"]:
            application = ForceHost(application, options["forcehost"])
        return application

    def on_listening(self, options: dict[str, Any], host: str, port: int) -> None:
        reach.serve_here(addresses=[(host, port)])
        config = get_config()
        url = f"http://{_netloc(host, port)}"
        lines = [
            f"{datetime.now():%B %d, %Y - %X}",
            f"Django version {self.get_version()}, "
            f"using settings {settings.SETTINGS_MODULE!r}",
            f"Push server listening at {url}/",
        ]
        lines += [f"  {each.type:<12}{url}{_path(each)}" for each in config.locations]
        rest = "the Django project" if options["allrequests"] else "404"
        lines.append(f"  {'all else':<12}{rest}")
        if not options["allrequests"] and (missing := _missing_for_pages(config)):
            lines.append(
                f"Pages of a server on another port cannot subscribe yet: set "
                f"{' and '.join(missing)} in PUSH_SERVER (or use --allrequests)."
            )
        quit_command = "CTRL-BREAK" if sys.platform == "win32" else "CONTROL-C"
        lines.append(f"Quit the server with {quit_command}.")
        self.stdout.write("\n".join(lines))
        self.stdout.flush()


def _project() -> ASGIApplication:
    path = getattr(settings, "ASGI_APPLICATION", None)
    if path is None:
        return get_asgi_application()
    try:
        application: ASGIApplication = import_string(path)
    except ImportError as error:
        message = f"ASGI_APPLICATION, {path!r}, cannot be imported: {error}"
        raise CommandError(message) from error
    return application


def max_body(path: str, *, everything: bool) -> int | None:
    """Return the most bytes that a body for this path may have, None for any."""
    config = get_config()
    found = config.match(below(settings.FORCE_SCRIPT_NAME, path))
    if found is not None:
        location = found[0]
        many = location.type == "multiplex"
        return location.max_request if many else location.max_body
    # Uploads to views are Django's business.
    return None if everything else config.max_body


def log_access(request_line: str, status: int | None, size: int) -> None:
    """Log as runserver does, and "-" for a client that did not wait."""
    level = logging.INFO
    if status is not None and status >= 400:
        level = logging.ERROR if status >= 500 else logging.WARNING
    if not logger.isEnabledFor(level):
        return
    # For Django's formatter: the colour, and a time without its milliseconds.
    extra = {
        "status_code": status,
        "server_time": f"{datetime.now():%d/%b/%Y %H:%M:%S}",
    }
    logger.log(level, '"%s" %s %s', request_line, status or "-", size, extra=extra)


def _missing_for_pages(config: Config) -> list[str]:
    readers = [each for each in config.locations if each.type == "subscriber"]
    missing = []
    if config.subscriber_host is None:
        missing.append("'subscriber_host'")
    if not any(each.allow_origin for each in readers):
        missing.append("'allow_origin' of the subscriber location")
    return missing


def _netloc(host: str, port: int | str) -> str:
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def _path(location: Location) -> str:
    try:
        path = location.reverse("channel").replace("channel", "<channel>")
    except ValueError:
        path = location.pattern.pattern
    return (settings.FORCE_SCRIPT_NAME or "") + path
