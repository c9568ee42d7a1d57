"""The server as a program: `python -m helpers.rollout.serve --store shop.db --base pocket`.

    --service shop      the name users ask for; whatever is live answers, and the candidate some
    --host, --port      127.0.0.1:8000. Any other host needs a key in the variable ROLLOUT_API_KEY
    --key-file FILE     the secret that assigns users to arms; made beside the store at first

Stopped with Ctrl-C or SIGTERM, it answers what it has accepted. Killed, it has lost no row that was
acknowledged, and goes on with the version that is live in the store.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import secrets
import signal
import socket
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from datetime import timedelta
from pathlib import Path

import uvicorn
from fastapi import FastAPI

from ..audit.capability_map import BadMap, CapabilityMap
from ..fingerprint import folder_digest
from ..models import ModelNotFound, load_model
from ..paths import DATA
from ..suites import load_suites
from .app import create_app
from .category import Categories
from .engine import Engine
from .errors import BadSetting, RolloutError
from .files import digests_of
from .fleet import Fleet
from .registry import Registry
from .router import Router
from .service import LOCAL, Limits, Service
from .store import hold
from .telemetry import Telemetry
from .worker import Worker

#: The environment variable with the API key. On the command line every user of the machine would
#: see it.
API_KEY = "ROLLOUT_API_KEY"
#: How the course's model begins when it will not help.
REFUSAL = "Sorry, I cannot"


def read_key(path: str | Path) -> bytes:
    """The secret key that assigns users, made at first: 32 bytes that only the owner may read.

    It must outlive the server: with another key every user would be assigned anew, and counted as
    another one. It is not kept in the store, whose hashes it protects.

    Raises:
        BadSetting: it can be neither read nor made.
    """
    path = Path(path)
    try:
        if not path.exists():
            with contextlib.suppress(FileExistsError):
                _make_key(path)
        return path.read_bytes()
    except OSError as error:
        raise BadSetting(f"The key {path} can be neither read nor made: {error}.") from error


def _make_key(path: Path) -> None:
    # Written aside and then put in place: nobody ever reads half a key.
    aside = path.with_name(f"{path.name}.{os.getpid()}")
    try:
        with open(os.open(aside, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600), "wb") as file:
            file.write(secrets.token_bytes(32))
            file.flush()
            os.fsync(file.fileno())
        os.link(aside, path)  # fails where there is a key
    finally:
        aside.unlink(missing_ok=True)


def build(
    store: str | Path,
    base: str | Path = "pocket",
    *,
    key: bytes | None = None,
    service: str = "shop",
    api_key: str | None = None,
    holdout: float = 0.0,
    keep_texts: timedelta | None = None,
    categories: Categories | None = None,
    refusal: str = REFUSAL,
    seats: int = 16,
    waiting: int = 64,
    limits: Limits | None = None,
) -> Service:
    """A service over a store and a base model.

    Args:
        key: of the router and the telemetry; `read_key(f"{store}.key")` when left out.
        holdout: the share of users who never get a candidate.
        keep_texts: how long prompts and answers are kept, redacted; None for not at all.
        categories: guesses what a request is about; all are "other" without it.
        refusal: how answers begin that are refusals.
        seats: how many answers are written side by side.
        waiting: how many requests may wait.

    Raises:
        Damaged: the base's folder is not there, or has no safetensors.
        ModelNotFound: it holds no model that can be loaded.
        BadStore, Busy, NotStored, BadSetting: the store or the key cannot be used.
    """
    folder = DATA / "pocket-gpt2" if base == "pocket" else Path(base)
    digest = folder_digest(digests_of(folder))
    key = read_key(f"{store}.key") if key is None else key
    engine, router = Engine(load_model(folder)), Router(key, holdout)
    fleet = Fleet(engine, Registry(store), router, digest, service)
    fleet.refresh()
    worker = Worker(engine, fleet, seats, waiting)
    telemetry = Telemetry(store, key, keep_texts)
    made = Service(worker, fleet, telemetry, api_key, limits or Limits())
    made.refuses = lambda answer: answer.lstrip().startswith(refusal)
    if categories is not None:
        made.categorize = lambda prompt: categories.guess(prompt)[0]
    return made


def categories_of(path: str | Path) -> Categories:
    """The categories of a capability map, told apart by the items of the course's suites.

    Raises:
        BadSetting: a row of the map has no suite.
        BadMap: the file is no map.
    """
    prompts = {suite.name: [item.prompt for item in suite.items] for suite in load_suites()}
    return Categories.from_map(CapabilityMap.load(path), prompts)


def listen(host: str, port: int, api_key: str | None) -> socket.socket:
    """A socket on an address; port 0 takes a free one.

    Raises:
        BadSetting: others than this machine could ask, and no key protects the server.
    """
    if host not in LOCAL and host != "::1" and not api_key:
        raise BadSetting(
            f"On {host} others could ask this server. Set the variable {API_KEY} to a key that "
            "they must bring, or stay on 127.0.0.1."
        )
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    found = socket.socket(family)
    found.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        found.bind((host, port))
        found.listen(128)
    except OSError as error:
        found.close()
        raise BadSetting(f"{host}:{port} cannot be used: {error.strerror}.") from error
    return found


def server(app: FastAPI, seconds: float) -> uvicorn.Server:
    """uvicorn, which waits `seconds` for answers when it is stopped."""
    return uvicorn.Server(
        uvicorn.Config(
            app,
            log_level="warning",
            access_log=False,
            server_header=False,
            timeout_graceful_shutdown=int(seconds) + 5,
        )
    )


@contextlib.contextmanager
def serving(service: Service, port: int = 0) -> Iterator[str]:
    """Serve on 127.0.0.1 from a thread, for the length of a `with` block; gives the address.

    For notebooks and tests: `OpenAI(base_url=address, api_key="none")`. A service is served once.

    Raises:
        Busy: another server answers from this store.
        BadSetting: the port is taken.
    """
    path = service.telemetry.store.path
    with hold(path), listen("127.0.0.1", port, service.api_key) as found:
        running = server(create_app(service), service.limits.seconds)
        thread = threading.Thread(target=running.run, kwargs={"sockets": [found]}, daemon=True)
        thread.start()
        while not running.started and thread.is_alive():
            time.sleep(0.01)
        if not running.started:
            raise RolloutError("The server could not begin. Its log says why.")
        try:
            yield f"http://127.0.0.1:{found.getsockname()[1]}/v1"
        finally:
            running.should_exit = True
            thread.join()


def main(arguments: Sequence[str] | None = None) -> int:
    """Serve until stopped; returns 0, or 2 where it could not begin."""
    parser = argparse.ArgumentParser(
        prog="python -m helpers.rollout.serve",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--store", required=True, help="the SQLite file of the rollout")
    parser.add_argument("--base", default="pocket", help='a folder, or "pocket"')
    parser.add_argument("--service", default="shop")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=8000)
    parser.add_argument("--key-file")
    parser.add_argument("--holdout", type=float, default=0.0, help="share of users, 0 to 1")
    parser.add_argument("--keep-texts", type=float, metavar="DAYS", help="redacted; else none")
    parser.add_argument("--map", help="a capability map, by whose rows requests are counted")
    parser.add_argument("--seats", type=int, default=16, help="answers written side by side")
    parser.add_argument("--waiting", type=int, default=64, help="requests that may wait")
    parser.add_argument("--seconds", type=float, default=30.0, help="for one answer, at most")
    given = parser.parse_args(arguments)
    try:
        api_key = os.environ.get(API_KEY) or None
        with hold(given.store), listen(given.host, given.port, api_key) as found:
            service = build(
                given.store,
                given.base,
                key=read_key(given.key_file or f"{given.store}.key"),
                service=given.service,
                api_key=api_key,
                holdout=given.holdout,
                keep_texts=None if given.keep_texts is None else timedelta(days=given.keep_texts),
                categories=categories_of(given.map) if given.map else None,
                seats=given.seats,
                waiting=given.waiting,
                limits=Limits(seconds=given.seconds),
            )
            host, port, *_ = found.getsockname()
            print(f"{given.service} answers on http://{host}:{port}/v1", flush=True)
            for number in (signal.SIGINT, signal.SIGTERM):
                # uvicorn sends itself again what it was stopped with, when it has stopped.
                signal.signal(number, signal.SIG_IGN)
            server(create_app(service), given.seconds).run(sockets=[found])
    except (RolloutError, ModelNotFound, BadMap) as error:
        print(error, file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    os.umask(0o077)  # what users have asked is for the owner of the store alone
    sys.exit(main())
