"""``stepgraph demo``: run the demo's upstream services and the gateway in front of them, on this machine."""

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from typing import Annotated

import orjson
import typer

from gateway.cli.operate.serve import announce, bind_or_exit, built_or_exit
from gateway.cli.terminal import DEFAULT_DIR, ConfigDir, failure, out
from gateway.operate.serving import ServeOptions
from gateway.process.server import serve as run_server


def demo(
    config_dir: ConfigDir = DEFAULT_DIR,
    port: Annotated[int, typer.Option(help="The port of the gateway.")] = 8000,
    upstream_port: Annotated[int, typer.Option(help="The port of the demo upstream services.")] = 9101,
) -> None:
    """Seed the demo's data, start the demo upstream services and the gateway in development mode."""
    if find_spec("playground") is None:
        raise failure("the demo is part of the repository; run 'make demo' there")
    os.environ["UPSTREAM_URL"] = f"http://127.0.0.1:{upstream_port}"
    built = built_or_exit(config_dir)
    assert built.blueprint is not None
    from playground.demo import lake, warehouse  # noqa: PLC0415 - the package is there in a checkout only

    warehouse.seed(warehouse.DEFAULT_PATH)
    lake.seed(lake.DEFAULT_FOLDER)
    bound = bind_or_exit("127.0.0.1", port, "choose another port with --port, or 'make demo PORT=…'")
    # Checks that the port is free: another program on it, such as another demo, would be mistaken for these services.
    bind_or_exit("127.0.0.1", upstream_port, "choose another port with --upstream-port, or 'make demo UPSTREAM_PORT=…'").close()
    with _upstream(upstream_port):
        announce(built.blueprint, f"http://127.0.0.1:{port}", is_development=True)
        _print_example(port)
        status = run_server(config_dir, bound, 1, ServeOptions(is_development=True, built=built, host="127.0.0.1"))
    raise typer.Exit(status)


_EXAMPLE = "{ customer360(customer_id: 42) { accountService { name tier } riskProfile { segment } } }"


def _print_example(port: int) -> None:
    out.print("Try it (a second terminal, or the playground):\n")
    body = orjson.dumps({"query": _EXAMPLE}).decode()
    out.print(
        f"  curl -s http://127.0.0.1:{port}/graphql -H 'content-type: application/json' -d '{body}'\n",
        soft_wrap=True,
        markup=False,
    )
    out.print("Ctrl-C stops everything.")


@contextmanager
def _upstream(port: int) -> Iterator[None]:
    """Run the demo upstream services in a child process while the context is open."""
    command = [sys.executable, "-m", "playground.demo.upstream", "--port", str(port)]
    # A session of its own keeps Ctrl-C from it: the gateway gets the signal alone, and the services are stopped after it.
    process = subprocess.Popen(command, start_new_session=True)  # noqa: S603 - our own module
    try:
        _wait_until_up(process, port)
        yield
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(2)
        except subprocess.TimeoutExpired:
            process.kill()


def _wait_until_up(process: "subprocess.Popen[bytes]", port: int) -> None:
    for _ in range(100):
        if process.poll() is not None:
            raise failure(f"the demo upstream services could not start on port {port}; see their output above")
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
        except OSError:
            time.sleep(0.1)
        else:
            return
    raise failure(f"the demo upstream services do not answer on port {port}")
