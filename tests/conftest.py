"""What tests share: the official data, the embedded default model and its vocabulary (uncased BERT)."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest
from hypothesis import settings

ROOT = Path(__file__).resolve().parents[1]

settings.register_profile("assay", deadline=None)  # no test asserts how long anything takes
settings.load_profile("assay")
signal.signal(signal.SIGINT, signal.default_int_handler)  # a suite started in the background of a script would ignore it


@pytest.fixture(scope="session")
def official_data() -> Path:
    """Folder with squad/ and glue/: ASSAY_DATA, else ../shared/data beside the checkout."""
    folder = Path(os.environ.get("ASSAY_DATA") or ROOT.parent / "shared" / "data")
    if not (folder / "squad" / "dev-v1.1.json").is_file():
        pytest.skip(f"no official data in {folder}")
    return folder


@pytest.fixture(scope="session")
def default_model() -> Path:
    """Folder of the embedded SQuAD model, fetched into Assay's cache on first use (about 90 MB, as `prepare` does)."""
    from harness.errors import MissingError
    from harness.models import default_cache, resolve

    try:
        return resolve("minilm-squad", "question-answering", cache=default_cache()).folder
    except MissingError as error:
        pytest.skip(f"the embedded default model cannot be had: {error}")


@pytest.fixture(scope="session")
def bert_tokenizer(default_model: Path) -> Path:
    """Folder with the tokenizer.json of the uncased BERT vocabulary."""
    return default_model
