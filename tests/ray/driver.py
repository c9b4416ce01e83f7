"""What the tests of Ray do on the cluster, in a process of its own: prints one JSON object."""

import json
import signal
import subprocess
import sys
from functools import partial
from pathlib import Path
from typing import Any

import ray

sys.path.insert(0, str(Path(__file__).parent))
from kill_a_worker import Letters, NoModel

from dipole.core.errors import DipoleError
from dipole.modality import on_ray as modality
from dipole.modality.vectors import read_vectors, write_vectors
from dipole.rows import on_ray as spreading
from dipole.rows.open import open_rows
from dipole.search import on_ray as search
from dipole.search.collection import Collection
from dipole.search.documents import Document, documents_of

COLUMNS = ["id", "text", "title", "votes", "tags", "metadata", "facets", "hash", "vector"]


def main(address: str, folder: Path) -> dict[str, object]:
    said: dict[str, object] = {}
    ray.init(address, log_to_driver=False, logging_level="error")
    read = partial(open_rows, folder / "rows.jsonl")
    deadly = read()[3000]["anchor"]

    # a collection, one worker killed on the way
    whole = Collection.rebuild(folder / "one", documents_of(read()), Letters())
    heard: list[int] = []
    load = partial(Letters, deadly, str(folder / "killed-1"))
    many = search.rebuild(folder / "many", read, load, address=address, piece_rows=1024, told=heard.append)
    said["killed"] = (folder / "killed-1").exists()
    said["rows"], said["heard"] = len(many), sum(heard)
    said["equal"] = whole.table.to_arrow().select(COLUMNS).equals(many.table.to_arrow().select(COLUMNS))
    said["words"] = [hit.id for hit in many.search_words("w77", 3)]
    said["files"] = len(list((folder / "many").glob("*.lance/data/*.lance"))), len(list((folder / "many").glob("*.lance")))

    # who commits is killed with some pieces done
    said["killed driver"] = killed(address, folder, "index")

    # what cannot be written leaves what was there
    spreading._TRIES = 1
    deadly_always = partial(Letters, read()[10]["anchor"])
    for name, file, made in (
        ("twice", "twice.jsonl", Letters),
        ("no text", "empty.jsonl", Letters),
        ("no model", "rows.jsonl", NoModel),
        ("deadly", "rows.jsonl", deadly_always),
    ):
        try:
            search.rebuild(folder / "many", partial(open_rows, folder / file), made, path=file, address=address, piece_rows=1024, workers=1)
        except DipoleError as error:
            said[name] = [type(error).__name__, str(error)]
    spreading._TRIES = 5
    left = sorted(path.name for path in (folder / "many").iterdir())
    said["left"] = len(Collection.open(folder / "many")), left
    said["in use"] = used(Collection.open(folder / "many")).equals(used(whole))

    # vectors; first the driver is killed with some pieces done, then a run goes on and a worker is killed in it
    write_vectors(Letters(), read(), "anchor", folder / "v-one", shard_rows=1000)
    said["stopped"] = killed(address, folder, "encode")
    load = partial(Letters, read()[4900]["anchor"], str(folder / "killed-2"))
    written = modality.write_vectors(load, read, "anchor", folder / "v-many", address=address, shard_rows=1000)
    (folder / "v-many" / "pieces").mkdir()  # as a run leaves it that is killed after all was done
    again = modality.write_vectors(Letters, read, "anchor", folder / "v-many", address=address, shard_rows=1000)
    (vectors, ids), (others, names) = (read_vectors(folder / name) for name in ("v-one", "v-many"))
    said["vectors"] = bool((vectors == others).all()) and ids == names
    said["went on"] = written.rows, written.shards, written.kept, again.kept, (folder / "killed-2").exists()
    said["vector files"] = sorted(path.name for path in (folder / "v-many").iterdir())
    return said


def used(made: Collection) -> Any:
    """What lies in a collection after every kind of write."""
    model, ids = Letters(), [f"p{i}" for i in range(0, 4000, 3)]
    made = made.append([Document(f"new{i}", f"new {i}") for i in range(1500)], model)
    made = made.upsert([Document("p1", "changed"), Document("p2", "words w2 and 2"), Document("newer", "newer")], model)[0].delete(ids)
    made = made.compact().delete(["newer"])
    return made.rollback(made.manifest.number - 1).table.to_arrow().select(COLUMNS).sort_by("id")


def killed(address: str, folder: Path, what: str) -> int:
    """The exit code of a process of its own that does ``what``, killed by SIGKILL when two pieces are done and one cannot end."""
    command = [sys.executable, __file__, address, str(folder), what]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as driver:
        assert driver.stdout is not None
        for line in driver.stdout:
            if line == "2 done\n":
                driver.send_signal(signal.SIGKILL)
        return driver.wait()


def to_be_killed(address: str, folder: Path, what: str) -> None:
    read, done = partial(open_rows, folder / "rows.jsonl"), [0]
    load = partial(Letters, endless=read()[4900]["anchor"])

    def told(now: int, of: int = 0) -> None:
        if now:
            done[0] += 1
            print(f"{done[0]} done", flush=True)

    if what == "index":
        search.rebuild(folder / "many", read, load, address=address, workers=1, piece_rows=1024, told=told)
    else:
        modality.write_vectors(load, read, "anchor", folder / "v-many", address=address, shard_rows=1000, workers=1, told=told)


if __name__ == "__main__":
    if len(sys.argv) > 3:
        to_be_killed(sys.argv[1], Path(sys.argv[2]), sys.argv[3])
    else:
        print(json.dumps(main(sys.argv[1], Path(sys.argv[2]))))
