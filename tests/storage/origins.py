"""A slow origin that counts, and a program whose forked children use one cache at once.

Run as `python -m tests.storage.origins together FOLDER 8`, it has used no store, so that it can fork.
"""

from __future__ import annotations

import hashlib
import json
import os
import random
import signal
import sys
import threading
import time
import traceback
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import cast

from tradewind.records import StoredFile
from tradewind.storage import Store
from tradewind.storage.cache import Cache
from tradewind.storage.origin import StoreOrigin

PIECE = 8192
PLENTY = 10**9
HANGS_S = 20


@dataclass(frozen=True)
class SlowStore:
    """Objects of a folder, given piece by piece. Each time one is asked for is written down."""

    folder: Path
    pause_s: float = 0.0
    url: str = "slow://harbour"

    def local_path(self, key: str) -> Path | None:
        return None

    def stream(self, key: str) -> Iterator[bytes]:
        with (self.folder / "asked").open("a") as asked:
            asked.write(f"{key}\n")
        with (self.folder / key).open("rb") as stream:
            while piece := stream.read(PIECE):
                time.sleep(self.pause_s)
                yield piece

    @property
    def asked(self) -> Counter[str]:
        path = self.folder / "asked"
        return Counter(path.read_text().split()) if path.exists() else Counter()


def origin_of(store: object) -> StoreOrigin:
    return StoreOrigin(cast(Store, store))


def make_files(folder: Path, count: int, *, num_bytes: int = 3 * PIECE) -> list[StoredFile]:
    folder.mkdir(parents=True, exist_ok=True)
    found = []
    for number in range(count):
        data = random.Random(number).randbytes(num_bytes)
        (folder / str(number)).write_bytes(data)
        found.append(StoredFile(key=str(number), sha256=hashlib.sha256(data).hexdigest(), num_bytes=num_bytes))
    return found


def use(cache: Cache, origin: StoreOrigin, file: StoredFile) -> None:
    with cache.open(origin, file, what="dataset") as found:
        assert hashlib.sha256(found.map()).hexdigest() == file.sha256


def wrong_names(folder: Path) -> list[Path]:
    """Files that do not hold what their name says."""
    final = [path for path in folder.glob("??/*") if path.suffix != ".part"]
    wrong = []
    for path in final:
        try:
            digest = hashlib.sha256(path.read_bytes()).hexdigest()
        except FileNotFoundError:
            continue
        wrong += [path] if digest != path.name else []
    return wrong


def forked(work: Callable[[], object]) -> int:
    pid = os.fork()
    if pid:
        return pid
    try:
        signal.alarm(HANGS_S)
        work()
    except BaseException:  # noqa: BLE001
        traceback.print_exc()
        os._exit(1)
    os._exit(0)


def wait(pids: list[int]) -> list[int]:
    """How each has ended: 0, an exit code, or minus the signal that has killed it."""
    return [os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) for pid in pids]


def together(folder: Path, processes: int, *, max_bytes: int = PLENTY, rounds: int = 1) -> dict[str, object]:
    """All processes read all files, each in an order of its own."""
    files, origin = make_files(folder, 12), origin_of(SlowStore(folder, pause_s=0.001))

    def read(number: int) -> None:
        cache = Cache(folder / "cache", max_bytes)
        for turn in range(rounds):
            for file in random.Random(f"{number}/{turn}").sample(files, len(files)):
                use(cache, origin, file)

    return {"ended": wait([forked(partial(read, number)) for number in range(processes)])}


def killed(folder: Path, rounds: int, *, limit_s: float = 45) -> dict[str, object]:
    """Processes that use a cache for ever are killed, round after round, and a fresh one then gets everything."""
    files, origin = make_files(folder, 12), origin_of(SlowStore(folder, pause_s=0.0005))
    dice, done, endings, wrong = random.Random(rounds), 0, Counter[int](), []
    end, slowest_s = time.monotonic() + limit_s, 0.0

    def read_for_ever(seed: str, max_bytes: int) -> None:
        mine, cache, held = random.Random(seed), Cache(folder / "cache", max_bytes), []
        while True:
            held.append(cache.open(origin, mine.choice(files), what="dataset"))
            assert hashlib.sha256(held[-1].map()).hexdigest() == held[-1].path.name
            if len(held) > mine.randrange(4):
                held.pop(0).close()

    def read_all() -> None:
        for file in files:
            use(Cache(folder / "cache", PLENTY), origin, file)

    while done < rounds and time.monotonic() < end:
        max_bytes = dice.choice([PLENTY, files[0].num_bytes * 5, files[0].num_bytes])
        pids = [forked(partial(read_for_ever, f"{done}/{number}", max_bytes)) for number in range(8)]
        time.sleep(dice.uniform(0, 0.12))
        for pid in dice.sample(pids, len(pids)):
            time.sleep(dice.uniform(0, 0.003))
            os.kill(pid, signal.SIGKILL)
        endings.update(wait(pids))
        wrong += [str(path) for path in wrong_names(folder / "cache")]
        began = time.monotonic()
        endings.update(wait([forked(read_all)]))
        slowest_s = max(slowest_s, time.monotonic() - began)
        if dice.random() < 0.5:
            for path in dice.sample(list((folder / "cache").glob("??/*")), 4):
                path.unlink()
        done += 1
    left = [path.name for path in (folder / "cache").glob("??/*.part")]
    return {"rounds": done, "ended": dict(endings), "wrong": wrong, "slowest_s": slowest_s, "left": left}


def forking(folder: Path, children: int) -> dict[str, object]:
    """A process forks while a thread of it downloads; the children live on and hold whatever they were given."""
    files, cache = make_files(folder, 1, num_bytes=20 * PIECE), Cache(folder / "cache", PLENTY)
    origin = origin_of(SlowStore(folder, pause_s=0.01))
    thread = threading.Thread(target=lambda: use(cache, origin, files[0]))
    thread.start()
    pids = []
    for _ in range(children):
        time.sleep(0.05)
        pids.append(forked(signal.pause))
    try:
        thread.join(HANGS_S / 2)
        lived = not thread.is_alive()
        with cache.open(origin, files[0], what="dataset"):
            pids.append(forked(signal.pause))
        evicting = wait([forked(lambda: Cache(folder / "cache", 0)._make_room(1))])
        return {"lived": lived, "evicted": evicting == [0] and not list((folder / "cache").glob("??/*"))}
    finally:
        for pid in pids:
            os.kill(pid, signal.SIGKILL)
        wait(pids)


if __name__ == "__main__":
    programs: dict[str, Callable[..., dict[str, object]]] = {"together": together, "killed": killed, "forking": forking}
    options = {name: int(value) for name, value in (option.split("=") for option in sys.argv[4:])}
    print(json.dumps(programs[sys.argv[1]](Path(sys.argv[2]), int(sys.argv[3]), **options)))
