"""Where a collection lies: a folder of this machine, or a place in object storage (s3://, gs://, az:// and what else pyarrow opens).

There a collection is read, and a local one can be published; it is not written in place, since that takes a lock. Publishing
uploads the table's files, which never change once written, and then replaces ``collection.json`` by one PUT, which these stores do
whole or not at all: readers see the old collection or the new one. Of two who publish to one place at once, the last one counts.

S3 is told of credentials, region and endpoint by the usual variables (AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, AWS_REGION,
AWS_ENDPOINT_URL); the others by those of their own tools.
"""

from __future__ import annotations

import fnmatch
import functools
import os
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dipole.core.errors import DataError, UsageError
from dipole.core.extras import need


@dataclass(frozen=True)
class Remote:
    """A file or folder in object storage, with as much of what a ``Path`` can do as collections need."""

    url: str

    def __str__(self) -> str:
        return self.url

    def __truediv__(self, name: str) -> Remote:
        return Remote(f"{self.url.rstrip('/')}/{name}")

    @property
    def name(self) -> str:
        """The last part."""
        return self.url.rstrip("/").rpartition("/")[2]

    def is_file(self) -> bool:
        """Whether there is such a file. Raises DataError where the store does not answer."""
        system, path = _opened(self.url)
        return bool(self._asked(lambda: system.get_file_info([path])[0]).is_file)

    def read_text(self, encoding: str = "utf-8") -> str:
        """The file's text."""
        return self.read_bytes().decode(encoding)

    def read_bytes(self) -> bytes:
        """The file's content."""
        system, path = _opened(self.url)
        with self._asked(lambda: system.open_input_stream(path)) as stream:
            return bytes(self._asked(stream.read))

    def write(self, content: Iterable[bytes]) -> None:
        """Write the file, a part after another."""
        system, path = _opened(self.url)
        with self._asked(lambda: system.open_output_stream(path)) as stream:
            for part in content:
                self._asked(functools.partial(stream.write, part))

    def glob(self, pattern: str) -> list[Remote]:
        """The files of this folder with such names."""
        return [self / name for name in sorted(self.sizes()) if "/" not in name and fnmatch.fnmatch(name, pattern)]

    def sizes(self) -> dict[str, int]:
        """All files below: their path from here, and their size in bytes."""
        system, path = _opened(self.url)
        selector = need("pyarrow.fs", "search", "object storage").FileSelector(path, recursive=True, allow_not_found=True)
        found = self._asked(lambda: system.get_file_info(selector))
        return {info.path[len(path.rstrip("/")) + 1 :]: info.size for info in found if info.is_file}

    def _asked(self, question: Callable[[], Any]) -> Any:
        try:
            return question()
        except OSError as error:
            remedy = "look at the address, the network and the credentials"
            raise DataError("the store does not answer as it should", path=self.url, value=str(error), remedy=remedy) from error


Place = Path | Remote


def place_of(text: str | Path | Remote) -> Place:
    """What an address stands for. ``file://`` is a folder of this machine. Raises UsageError where no bucket is named.

    >>> str(place_of("s3://bucket/papers") / "collection.json")
    's3://bucket/papers/collection.json'
    """
    if isinstance(text, str) and text.startswith("file://"):
        return Path(text.removeprefix("file://"))
    if isinstance(text, str) and "://" in text:
        scheme, _, path = text.partition("://")
        if not path or path.startswith("/"):
            raise UsageError(f"{text}: write {scheme}://BUCKET/NAME")
        return Remote(text.rstrip("/"))
    return text if isinstance(text, Remote) else Path(text)


def local(place: Place, doing: str) -> Path:
    """The place as a folder of this machine. Raises UsageError where it is none."""
    if isinstance(place, Remote):
        raise UsageError(f"{place} is read, not written; {doing} in a folder of this machine, then publish it: dipole collection --to")
    return place


def storage_options(place: Place) -> dict[str, str]:
    """What Lance has to be told beyond what it finds in the environment."""
    endpoint = _endpoint() if str(place).startswith("s3://") else ""
    return {"aws_endpoint": endpoint, "allow_http": str(endpoint.startswith("http://")).lower()} if endpoint else {}


def _endpoint() -> str:
    return next((os.environ[name] for name in ("AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL", "AWS_ENDPOINT") if os.environ.get(name)), "")


def _opened(url: str) -> tuple[Any, str]:
    scheme, _, path = url.partition("://")
    return (_s3(_endpoint()), path) if scheme == "s3" else _system(url)


@functools.lru_cache(maxsize=8)
def _s3(endpoint: str) -> Any:
    scheme, _, host = endpoint.rpartition("://")
    settings = {"endpoint_override": host, "scheme": scheme or "https"} if endpoint else {}
    region = os.environ.get("AWS_REGION") or os.environ.get("AWS_DEFAULT_REGION")
    return need("pyarrow.fs", "search", "object storage").S3FileSystem(region=region, **settings)


def _system(url: str) -> tuple[Any, str]:
    fs = need("pyarrow.fs", "search", "object storage")
    try:
        system, path = fs.FileSystem.from_uri(url)
    except (ValueError, OSError) as error:
        raise UsageError(f"{url}: no such kind of store ({error}); known: s3, gs, az") from None
    return system, path
