from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
import textwrap
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from worker.store.embedded import EmbeddedPostgresError, start_postgres


@pytest.fixture
def folder() -> Iterator[Path]:
    """A folder that another user may enter, as the server of root must: pytest's own is closed to others."""
    with tempfile.TemporaryDirectory(prefix="roigcn-tests-") as name:
        yield Path(name)


def _live(pgdata: Path) -> bool:
    return (pgdata / "postmaster.pid").exists()


def test_data_outlive_stop_kill_and_stale_files(folder: Path) -> None:
    program = textwrap.dedent(
        """
        import sys, time, pathlib, psycopg
        from worker.store.embedded import start_postgres
        server = start_postgres(pathlib.Path(sys.argv[1]))
        with psycopg.connect(server.url) as connection:
            connection.execute("CREATE TABLE t AS SELECT 7 AS seven")
        print(server.url, flush=True)
        time.sleep(600)
        """
    )
    owner = subprocess.Popen([sys.executable, "-c", program, str(folder)], stdout=subprocess.PIPE, text=True)
    assert owner.stdout is not None
    url = owner.stdout.readline().strip()
    owner.send_signal(signal.SIGKILL)
    owner.wait()

    server = start_postgres(folder)  # joins the server that the killed process left behind
    assert server.url == url
    with psycopg.connect(server.url) as connection:
        assert connection.execute("SELECT seven FROM t").fetchone() == (7,)
    assert json.loads((server.pgdata / ".handle_pids.json").read_text()) == [os.getpid()]
    server.stop()
    server.stop()
    assert not _live(server.pgdata)

    # After a reboot the pid in a left-over file may be any other program's: here, this one's.
    lines = [str(os.getpid()), str(server.pgdata), "1", "5432", str(server.pgdata), "", "1 1", "ready"]
    (server.pgdata / "postmaster.pid").write_text("\n".join(lines) + "\n")
    again = start_postgres(folder)
    with psycopg.connect(again.url) as connection:
        assert connection.execute("SELECT seven FROM t").fetchone() == (7,)
    again.stop()
    assert not _live(again.pgdata)


def test_a_folder_of_another_version_is_explained(folder: Path) -> None:
    (folder / "postgres").mkdir()
    (folder / "postgres" / "PG_VERSION").write_text("12\n")
    with pytest.raises(EmbeddedPostgresError, match="12"):
        start_postgres(folder)
