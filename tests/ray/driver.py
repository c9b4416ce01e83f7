"""What the tests of Ray do on the cluster, in a process of its own: prints one JSON object."""

import json
import sys
from functools import partial
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
from kill_a_worker import Letters

from dipole.core.errors import DipoleError
from dipole.modality import on_ray as modality
from dipole.modality.vectors import read_vectors, write_vectors
from dipole.rows.open import open_rows
from dipole.search import on_ray as search
from dipole.search.collection import Collection
from dipole.search.documents import documents_of


def main(address: str, folder: Path) -> dict[str, object]:
    said: dict[str, object] = {}
    read = partial(open_rows, folder / "rows.jsonl")
    deadly = read()[3000]["anchor"]

    # a collection, one worker killed on the way
    whole = Collection.rebuild(folder / "one", documents_of(read()), Letters())
    heard: list[int] = []
    load = partial(Letters, deadly, str(folder / "killed-1"))
    many = search.rebuild(folder / "many", read, load, address=address, piece_rows=1024, told=heard.append)
    said["killed"] = (folder / "killed-1").exists()
    said["rows"], said["heard"] = len(many), sum(heard)
    columns = ["id", "text", "title", "votes", "tags", "metadata", "facets", "hash", "vector"]
    said["equal"] = whole.table.to_arrow().select(columns).equals(many.table.to_arrow().select(columns))
    said["words"] = [hit.id for hit in many.search_words("w77", 3)]
    said["files"] = len(list((folder / "many").glob("*.lance/data/*.lance"))), len(list((folder / "many").glob("*.lance")))

    # what cannot be written leaves what was there
    for name, file in (("twice", "twice.jsonl"), ("no text", "empty.jsonl")):
        try:
            search.rebuild(
                folder / "many", partial(open_rows, folder / file), Letters, path=file, address=address, piece_rows=1024, workers=1
            )
        except DipoleError as error:
            said[name] = str(error)
    left = sorted(path.name for path in (folder / "many").iterdir())
    said["left"] = len(Collection.open(folder / "many")), left

    # vectors; first the driver fails when some pieces are done, the last not among them, then a run goes on and a worker is killed in it
    write_vectors(Letters(), read(), "anchor", folder / "v-one", shard_rows=1000)

    def stop(done: int, of: int) -> None:
        if done >= 2000:
            raise RuntimeError("the driver is gone")

    try:
        load = partial(Letters, endless=read()[4900]["anchor"])
        modality.write_vectors(load, read, "anchor", folder / "v-many", address=address, shard_rows=1000, workers=1, told=stop)
    except RuntimeError as error:
        said["stopped"] = str(error)
    load = partial(Letters, read()[4900]["anchor"], str(folder / "killed-2"))
    written = modality.write_vectors(load, read, "anchor", folder / "v-many", address=address, shard_rows=1000)
    again = modality.write_vectors(Letters, read, "anchor", folder / "v-many", address=address, shard_rows=1000)
    (vectors, ids), (others, names) = (read_vectors(folder / name) for name in ("v-one", "v-many"))
    said["vectors"] = bool((vectors == others).all()) and ids == names
    said["went on"] = written.rows, written.shards, written.kept, again.kept, (folder / "killed-2").exists()
    said["vector files"] = sorted(path.name for path in (folder / "v-many").iterdir())
    return said


if __name__ == "__main__":
    print(json.dumps(main(sys.argv[1], Path(sys.argv[2]))))
