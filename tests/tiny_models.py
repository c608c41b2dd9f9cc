"""Small random models in transformers' layout, so that tests of backends need no download."""

from __future__ import annotations

import json
from pathlib import Path

from harness.core import Model
from harness.models import resolve

HIDDEN = 32
POSITIONS = 64
VOCABULARY = 120
WORDS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *(f"w{number}" for number in range(VOCABULARY - 5))]


def write_tokenizer(folder: Path, *, fast: bool = True) -> None:
    """vocab.txt and, if `fast`, the tokenizer.json that goes with it."""
    from tokenizers import BertWordPieceTokenizer

    (folder / "vocab.txt").write_text("\n".join(WORDS) + "\n", encoding="utf-8")
    if fast:
        BertWordPieceTokenizer(str(folder / "vocab.txt")).save(str(folder / "tokenizer.json"))


def write_model(folder: Path, architecture: str = "BertForQuestionAnswering", *, fast: bool = True, **settings: object) -> Path:
    """A random model with two layers of width 32, seeded; `architecture` is a class of transformers that takes a BertConfig or its like."""
    import torch
    import transformers

    model_class = getattr(transformers, architecture)
    common = {"hidden_size": HIDDEN, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 48, "vocab_size": VOCABULARY}
    names = {"dim": HIDDEN, "n_layers": 2, "n_heads": 4, "hidden_dim": 48, "vocab_size": VOCABULARY}
    chosen = names if architecture.startswith("DistilBert") else common
    config = model_class.config_class(**{**chosen, "max_position_embeddings": POSITIONS, **settings})
    torch.manual_seed(0)
    model = model_class(config)
    for parameter in model.parameters():
        if parameter.dim() > 1:
            torch.nn.init.normal_(parameter, std=0.3)  # transformers' own 0.02 would make all answers nearly alike
    folder.mkdir(parents=True, exist_ok=True)
    model.eval().save_pretrained(str(folder))
    write_tokenizer(folder, fast=fast)
    return folder


def tiny_model(folder: Path, head: str) -> Model:
    """A resolved tiny BERT with `head`; three labels if it classifies."""
    if head == "question-answering":
        write_model(folder)
    else:
        write_model(folder, "BertForSequenceClassification", num_labels=3)
    return resolve(str(folder), head, cache=folder.parent / "cache")  # type: ignore[arg-type]


def change_config(folder: Path, **settings: object) -> None:
    """Set (or with None, remove) keys of the folder's config.json."""
    path = folder / "config.json"
    config = json.loads(path.read_text()) | settings
    path.write_text(json.dumps({key: value for key, value in config.items() if value is not None}))
