"""Vectors that users bring along: stored as they are, checked, found again; a model of which only the name is known."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from dipole.cli.main import main
from dipole.core.errors import DataError, ModelMismatchError
from dipole.search import given
from dipole.search.collection import Collection
from dipole.search.documents import Document
from dipole.search.given import blocks_of_rows
from dipole.search.table import Block

pytest.importorskip("lancedb")


def block(start: int, stop: int, dimension: int = 6) -> Block:
    generator = torch.Generator().manual_seed(start)
    return Block([Document(str(i), f"text {i}") for i in range(start, stop)], torch.randn(stop - start, dimension, generator=generator))


class Named:
    """An embedder of which only name and identity are asked."""

    model = "theirs"

    def __init__(self, identity: str) -> None:
        self.identity = identity

    def encode(self, items: list[str], batch_size: int = 32, progress: bool = False, side: str = "") -> torch.Tensor:
        return torch.ones(len(items), 6)


def test_vectors_given_are_those_found_and_come_in_pieces(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(given, "READ_ROWS", 7)
    blocks = [block(0, 20), block(20, 25)]
    held = Collection.store(tmp_path / "c", iter(blocks), "theirs")
    vectors = torch.cat([b.body for b in blocks])
    query = torch.randn(3, 6)
    for hits, row in zip(Collection.open(tmp_path / "c").search_vectors(query, 4), query @ vectors.T, strict=True):
        expected = row.argsort(descending=True)[:4].tolist()
        assert [h.id for h in hits] == list(map(str, expected))
        torch.testing.assert_close(torch.tensor([h.score for h in hits]), row[expected])
    assert (len(held), held.model, held.manifest.vectors) == (25, "theirs", ("body",))


def test_a_name_alone_takes_no_text_and_an_identity_does(tmp_path: Path) -> None:
    named = Collection.store(tmp_path / "a", [block(0, 3)], "theirs")
    with pytest.raises(ModelMismatchError, match="'theirs'"):
        named.search(["x"], Named("f" * 64))
    assert Collection.store(tmp_path / "b", [block(0, 3)], "theirs").manifest.identity == named.manifest.identity
    assert Collection.store(tmp_path / "b", [block(0, 3)], "ours").manifest.identity != named.manifest.identity
    known = Collection.store(tmp_path / "c", [block(0, 3)], "theirs", identity="f" * 64)
    assert len(known.search(["x"], Named("f" * 64))[0]) == 3


def test_more_can_be_added_also_to_an_empty_one_and_with_titles(tmp_path: Path) -> None:
    empty = Collection.store(tmp_path / "c", [], "theirs")
    assert empty.search_vectors(torch.ones(1, 6)) == [[]]
    held = empty.append_vectors([block(0, 3)]).append_vectors([block(3, 5)])
    assert {h.id for h in held.search_vectors(torch.ones(1, 6))[0]} == {"0", "1", "2", "3", "4"}
    titled = Block([Document("t", "text", title="title")], torch.ones(1, 6), torch.ones(1, 6))
    assert Collection.store(tmp_path / "d", [titled], "theirs").manifest.vectors == ("body", "title")
    with pytest.raises(DataError, match="must have vectors of body"):
        held.append_vectors([titled])


@pytest.mark.parametrize(
    ("blocks", "error", "said"),
    [
        ([block(0, 3), block(2, 4)], DataError, r"line 4.*already taken.*'2'"),
        ([block(0, 3), block(3, 4, 5)], ModelMismatchError, "6 dimensions, those given 5"),
        ([Block(block(0, 3).documents, torch.zeros(3, 6))], DataError, "row 0 is the zero vector"),
        ([block(0, 3), Block(block(3, 5).documents, torch.full((2, 6), torch.nan))], DataError, "row 3 holds NaN"),
        ([Block(block(0, 3).documents, torch.ones(2, 6))], DataError, "3 documents need as many vectors"),
        ([Block(block(0, 3).documents, torch.ones(3))], DataError, r"must be \(N, d\)"),
    ],
)
def test_what_cannot_be_stored_is_refused_whole(tmp_path: Path, blocks: list[Block], error: type[Exception], said: str) -> None:
    with pytest.raises(error, match=said):
        Collection.store(tmp_path / "c", blocks, "theirs")
    assert not (tmp_path / "c").exists()
    held = Collection.store(tmp_path / "c", [block(10, 12)], "theirs")
    with pytest.raises(error, match=said):
        held.append_vectors(blocks)
    assert len(Collection.open(tmp_path / "c").search_vectors(torch.ones(1, 6))[0]) == 2


def test_rows_with_a_column_of_vectors() -> None:
    rows = [{"anchor": "a", "id": "x", "emb": [1.0, 2.0]}, {"anchor": "b", "venue": "ACL", "emb": [3, 4]}]
    found = list(blocks_of_rows(rows, "emb"))
    assert found[0].documents == [Document("x", "a"), Document("1", "b", {"venue": "ACL"})]
    assert found[0].body.tolist() == [[1.0, 2.0], [3.0, 4.0]]
    for wrong in ({"anchor": "c"}, {"anchor": "c", "emb": [1.0]}, {"anchor": "c", "emb": "[1, 2]"}):
        with pytest.raises(DataError, match=r"t\.jsonl:3, column .emb.: no vector"):
            list(blocks_of_rows([*rows, wrong], "emb", "t.jsonl"))


def test_the_command_stores_a_column_of_vectors(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data, folder = tmp_path / "t.jsonl", str(tmp_path / "c")
    rows = [{"id": f"p{i}", "text": f"text {i}", "emb": [float(i == j) for j in range(3)]} for i in range(3)]
    data.write_text("".join(json.dumps(row) + "\n" for row in rows))
    assert main(["index", folder, "--data", str(data), "--vector", "emb", "--model", "theirs"]) == 0
    assert "3 texts with vectors of theirs" in capsys.readouterr().out
    assert Collection.open(folder).search_vectors(torch.eye(3)[1:2], 1)[0][0].id == "p1"
    assert main(["index", folder, "--data", str(data), "--vector", "emb", "--append", "--model", "others"]) == 2
    assert "'theirs'" in capsys.readouterr().err
    assert main(["index", folder, "--data", str(data), "--vector", "emb", "--append"]) == 1
    assert "already taken" in capsys.readouterr().err
    assert main(["index", folder, "--data", str(data), "--vector", "text", "--rebuild"]) == 1
    assert "column 'text': no vector" in capsys.readouterr().err
    assert len(Collection.open(folder)) == 3
