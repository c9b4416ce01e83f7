"""How many unrelated new documents a digest lets pass, and how many related ones: SciFact's claims as subscriptions.

    python -m bench.digest                      all 5,183 abstracts; writes bench/results/digest.json
    python -m bench.digest --documents 1000     nothing is written

Half of the abstracts, drawn at random, are there before; the other half is new. Relevant is what SciFact's judgements say.
"""

from __future__ import annotations

import argparse
import os
import tempfile
from pathlib import Path

import numpy as np

from bench.record import circumstances, write
from dipole.digest.near import near_new
from dipole.evaluate.task import read_task
from dipole.modality.text.load import load_encoder
from dipole.search.collection import Collection
from dipole.search.documents import Document

SHARES = (0.002, 0.005, 0.01, 0.02, 0.05)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=os.environ.get("DIPOLE_DATA", "../shared/data"))
    parser.add_argument("--documents", type=int, default=0, help="judged abstracts and others up to this many; 0 for all")
    asked = parser.parse_args()
    task, model = read_task(str(Path(asked.data) / "retrieval" / "scifact" / "beir")), load_encoder("minilm")
    chance = np.random.default_rng(0)
    judged = {id for grades in task.relevant.values() for id, grade in grades.items() if grade > 0}
    order = sorted(chance.permutation(len(task.document_ids)), key=lambda i: task.document_ids[i] not in judged)
    chosen = order[: asked.documents or None]
    ids = [task.document_ids[i] for i in chosen]
    new = {ids[i] for i in chance.permutation(len(ids))[: len(ids) // 2]}
    print(f"{len(ids)} abstracts, {len(task.queries)} claims", flush=True)
    with tempfile.TemporaryDirectory() as folder:
        made = Collection.create(Path(folder) / "c", (Document(id, task.documents[i]) for id, i in zip(ids, chosen, strict=True)), model)
        vectors = model.encode(list(task.queries), side="queries")
        rows = []
        for share in SHARES:
            found = near_new(made, vectors, [new] * len(vectors), share)
            passed, alarms, related, caught = 0, 0, 0, 0
            for id, one in zip(task.query_ids, found, strict=True):
                right = {d for d, grade in task.relevant.get(id, {}).items() if grade > 0} & new
                got = {near.id for near in one.near}
                passed, related = passed + len(got), related + len(right)
                alarms, caught = alarms + len(got - right), caught + len(got & right)
            unrelated = len(new) * len(found) - related
            rows.append({"share": share, "promised": found[0].share, "false alarms": alarms / unrelated, "related": related})
            rows[-1] |= {"recall": caught / related, "passed a claim": passed / len(found)}
            print(rows[-1], flush=True)
    result = {**circumstances("lancedb", "sentence-transformers"), "model": "minilm", "before": len(ids) - len(new), "new": len(new)}
    if not asked.documents:
        print(write("digest.json", {**result, "claims": len(vectors), "shares": rows}))


if __name__ == "__main__":
    main()
