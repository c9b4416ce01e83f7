"""Retrieval tasks: queries, documents and who is relevant; from a BEIR folder or from pairs."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from dipole.core.errors import DataError, UsageError
from dipole.core.protocols import Row
from dipole.rows.read import lines, records

FILES = (
    "FOLDER in BEIR layout (corpus.jsonl, queries.jsonl, qrels/test.tsv), FOLDER@SPLIT for another split; or a FILE of pairs "
    "(anchor and positive, or query and answer ...), in which each anchor looks for its positives among those of all rows"
)


@dataclass(frozen=True, eq=False)
class RetrievalTask:
    """``relevant`` maps a query id to document id -> grade, a whole number; above 0 is relevant.

    Ids are texts; queries and documents have separate lists. Raises DataError where ids repeat, lists are empty or no
    query has a relevant document.
    """

    name: str
    query_ids: Sequence[str]
    queries: Sequence[Any]
    document_ids: Sequence[str]
    documents: Sequence[Any]
    relevant: Mapping[str, Mapping[str, int]]
    counts: Mapping[str, int] = field(default_factory=dict)  # what reading left out

    def __post_init__(self) -> None:
        for what, ids, texts in (("queries", self.query_ids, self.queries), ("documents", self.document_ids, self.documents)):
            if not len(texts) or len(ids) != len(texts):
                raise DataError(f"task {self.name}: {what} must be at least one, with one id each", value=(len(ids), len(texts)))
            if len(set(ids)) != len(ids):
                raise DataError(f"task {self.name}: the ids of {what} must differ", value=_first_twice(ids))

    @staticmethod
    def from_pairs(pairs: Iterable[Row | tuple[str, str]], name: str = "pairs") -> RetrievalTask:
        """Each anchor looks for its positive(s) among the positives of all pairs. Equal texts are one query or one
        document, so a document that answers several anchors is relevant to each.
        """
        queries: dict[str, str] = {}
        documents: dict[str, str] = {}
        relevant: dict[str, dict[str, int]] = {}
        for place, pair in enumerate(pairs):
            anchor, positive = pair if isinstance(pair, tuple) else (pair.get("anchor"), pair.get("positive"))
            answers = [positive] if isinstance(positive, str) else list(positive or ())
            if not isinstance(anchor, str) or not answers:
                raise DataError(f"task {name}: pair {place} must have an anchor and a positive", value=pair)
            query = queries.setdefault(anchor, f"q{len(queries)}")
            for answer in answers:
                relevant.setdefault(query, {})[documents.setdefault(answer, f"d{len(documents)}")] = 1
        return RetrievalTask(name, list(queries.values()), list(queries), list(documents.values()), list(documents), relevant)


def read_task(place: str | Path, name: str = "") -> RetrievalTask:
    """A BEIR folder (``FOLDER`` or ``FOLDER@SPLIT``), or a file of pairs that :class:`dipole.rows.file.File` reads."""
    text, split = str(place), ""
    if not Path(text).exists() and "@" in text:
        text, _, split = text.rpartition("@")
    path = Path(text).expanduser()
    if path.is_dir() and (path / "corpus.jsonl").exists():
        return read_beir(path, split, name or str(place))
    if path.is_file():
        from dipole.rows.open import open_rows

        return RetrievalTask.from_pairs(open_rows(path), name or str(place))
    if path.is_dir():
        raise UsageError(f"{path}: no BEIR folder: corpus.jsonl is missing; it holds corpus.jsonl, queries.jsonl and qrels/test.tsv")
    raise UsageError(f"{path}: no such folder or file; give a BEIR folder or a file of pairs")


def read_beir(folder: Path, split: str = "", name: str = "") -> RetrievalTask:
    """``corpus.jsonl`` (_id, title, text), ``queries.jsonl`` (_id, text), ``qrels/SPLIT.tsv`` (query-id, corpus-id, score).

    A document's text is title, a space, text. Without a split: test, else dev, else the only one. Queries without any
    judgement in the split are left out and counted.
    """
    for needed in ("corpus.jsonl", "queries.jsonl", "qrels"):
        if not (folder / needed).exists():
            raise UsageError(f"{folder / needed}: missing from the BEIR folder")
    document_ids, documents = _texts(folder / "corpus.jsonl", titled=True)
    all_ids, all_texts = _texts(folder / "queries.jsonl", titled=False)
    path = _split(folder / "qrels", split)
    judged = read_qrels(path)
    known, held = set(all_ids), set(document_ids)
    chosen = [i for i, query in enumerate(all_ids) if query in judged]
    if not chosen:
        raise DataError("no judged query is in queries.jsonl", path=path, remedy="check the ids of both files")
    outside = sum(document not in held for query in judged if query in known for document in judged[query])
    counts = {
        "queries_without_judgements": len(all_ids) - len(chosen),
        "judged_queries_missing": sum(query not in known for query in judged),
        "judgements_outside_corpus": outside,
    }
    ids, texts = [all_ids[i] for i in chosen], [all_texts[i] for i in chosen]
    return RetrievalTask(name or str(folder), ids, texts, document_ids, documents, judged, counts)


def read_qrels(path: Path) -> dict[str, dict[str, int]]:
    """BEIR's three columns with a header, or TREC's four (query, iteration, document, grade)."""
    judged: dict[str, dict[str, int]] = {}
    for line, text in lines(path):
        fields = text.split("\t") if "\t" in text else text.split()
        if not text.strip() or (line == 1 and fields[0] in ("query-id", "query_id", "qid")):
            continue
        if len(fields) not in (3, 4):
            raise DataError("a judgement must have 3 fields (query, document, grade) or TREC's 4", path=path, line=line, value=text)
        query, document, grade = fields[0], fields[-2], _grade(fields[-1], path, line)
        if judged.setdefault(query, {}).setdefault(document, grade) != grade:
            rule = f"query {query!r} has judged document {document!r} before, with another grade"
            raise DataError(rule, path=path, line=line, value=grade, remedy="keep one of the two lines")
    if not judged:
        raise DataError("the file holds no judgements", path=path)
    return judged


def _grade(text: str, path: Path, line: int) -> int:
    try:
        return int(text)
    except ValueError:
        raise DataError("a grade must be a whole number", path=path, line=line, value=text) from None


def _texts(path: Path, titled: bool) -> tuple[list[str], list[str]]:
    ids, texts = [], []
    for line, value in records(path):
        if "_id" not in value or not isinstance(value.get("text"), str):
            missing = "_id" if "_id" not in value else "text"
            raise DataError("the record must have an _id and a text", path=path, line=line, column=missing, value=value.get(missing))
        title = value.get("title") or ""
        ids.append(str(value["_id"]))
        texts.append(f"{title} {value['text']}".strip() if titled and title else value["text"])
    if not ids:
        raise DataError("the file holds no records", path=path)
    if len(set(ids)) != len(ids):
        raise DataError("the _ids must differ", path=path, value=_first_twice(ids))
    return ids, texts


def _split(folder: Path, split: str) -> Path:
    there = {path.stem: path for path in sorted(folder.glob("*.tsv"))}
    if not there:
        raise UsageError(f"{folder}: no .tsv file with judgements")
    wanted = split or next((name for name in ("test", "dev") if name in there), next(iter(there)) if len(there) == 1 else "")
    if wanted not in there:
        asked = f"no split {wanted!r}" if wanted else "which split?"
        raise UsageError(f"{folder}: {asked}; there are {', '.join(there)}: write FOLDER@SPLIT")
    return there[wanted]


def _first_twice(ids: Iterable[Any]) -> Any:
    seen: set[Any] = set()
    return next(_repeats(ids, seen), None)


def _repeats(ids: Iterable[Any], seen: set[Any]) -> Iterator[Any]:
    for one in ids:
        if one in seen:
            yield one
        seen.add(one)
