"""What tests share: the official data, and the uncased BERT vocabulary."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="session")
def official_data() -> Path:
    """Folder with squad/ and glue/: ASSAY_DATA, else ../shared/data beside the checkout."""
    folder = Path(os.environ.get("ASSAY_DATA") or ROOT.parent / "shared" / "data")
    if not (folder / "squad" / "dev-v1.1.json").is_file():
        pytest.skip(f"no official data in {folder}")
    return folder


@pytest.fixture(scope="session")
def bert_tokenizer() -> Path:
    """Folder with the tokenizer.json of the uncased BERT vocabulary: ASSAY_BASE_MODEL, else models/base/all-MiniLM-L6-v2."""
    folder = Path(os.environ.get("ASSAY_BASE_MODEL") or ROOT / "models" / "base" / "all-MiniLM-L6-v2")
    if not (folder / "tokenizer.json").is_file():
        pytest.skip(f"no tokenizer.json in {folder}")
    return folder
