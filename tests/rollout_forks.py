"""Kill the server again and again while it streams: `python rollout_forks.py STORE KILLS SEED`.

A process of its own, which forks a server for every kill: torch is imported once, and nothing else
runs while it forks. Prints, as JSON, the ids of the answers that clients had in full, and which
version answered after each start, and how many streams were cut off.
"""

from __future__ import annotations

import http.client
import json
import os
import random
import re
import signal
import sys
import threading
import time

from helpers.rollout.serve import main

#: The base goes on from here for 60 tokens; half of the requests ask the service instead.
STORY = {"model": "(base)", "prompt": "What", "max_tokens": 60}


class CutOff(ConnectionError):
    """A stream had begun, and did not end."""


def start(store: str) -> tuple[int, str, int]:
    """Fork a server; its process, host and port."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        os.dup2(writing, 1)
        os._exit(main(["--store", store, "--port", "0"]))
    os.close(writing)
    with open(reading) as told:
        host, port = re.search(r"http://([\d.]+):(\d+)", told.readline()).groups()
    return child, host, int(port)


def ask(host: str, port: int, stream: bool, user: str) -> tuple[str, str]:
    """The id and the version of an answer that arrived in full.

    Raises:
        CutOff: it was a stream that had begun.
        OSError, HTTPException, ValueError: it had not.
    """
    connection = http.client.HTTPConnection(host, port, timeout=60)
    try:
        model = STORY["model"] if stream else "shop"
        body = json.dumps({**STORY, "model": model, "stream": stream, "user": user})
        connection.request("POST", "/v1/completions", body, {"Content-Type": "application/json"})
        text = connection.getresponse().read().decode()
    except http.client.IncompleteRead as error:
        if b"data: " in error.partial:
            raise CutOff from error
        raise
    finally:
        connection.close()
    if not stream:
        answer = json.loads(text)
        return answer["id"], answer["model"]
    events = [line[6:] for line in text.split("\n") if line.startswith("data: ")]
    if events[-1:] != ["[DONE]"]:
        raise CutOff
    first = json.loads(events[0])
    return first["id"], first["model"]


def keep_asking(host: str, port: int, number: int, had: list[str], cut: list[int]) -> None:
    """Ask until the server is gone."""
    count = 0
    while True:
        count += 1
        try:
            had.append(ask(host, port, count % 2 == 1, f"user-{number}-{count}")[0])
        except CutOff:
            cut.append(number)
            return
        except (OSError, http.client.HTTPException, ValueError):
            return


def run(store: str, kills: int, seed: int) -> None:
    """Start, ask under load, kill; as often as that."""
    rng, had, live, cut = random.Random(seed), [], [], []
    for _ in range(kills):
        child, host, port = start(store)
        id, version = ask(host, port, False, "first")
        had.append(id)
        live.append(version)
        clients = [
            threading.Thread(target=keep_asking, args=(host, port, number, had, cut))
            for number in range(4)
        ]
        for client in clients:
            client.start()
        time.sleep(rng.uniform(0, 0.4))
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        for client in clients:
            client.join()
    print(json.dumps({"had": had, "live": live, "cut": len(cut)}))


if __name__ == "__main__":
    run(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]))
