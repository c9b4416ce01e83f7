"""What the tests of digests share."""

from pathlib import Path

import pytest

from dipole.digest import settings
from dipole.digest.links import KEY, KEY_FILE
from dipole.search.collection import Collection
from tests.browser import browser as browser
from tests.digest.servers import OLD, Topics, load
from tests.digest.servers import certificate as certificate
from tests.digest.servers import mail_server as mail_server


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A collection, the command's model, and no settings."""
    for variable in (*settings._ENVIRONMENT.values(), KEY, KEY_FILE):
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setattr("dipole.modality.text.load.load_encoder", load)
    Collection.create(tmp_path / "papers", OLD, Topics())
    return tmp_path / "papers"
