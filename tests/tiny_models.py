"""Small random models in transformers' layout, so that tests of backends need no download."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness.core import Model
from harness.models import resolve

if TYPE_CHECKING:
    from tokenizers import Tokenizer

HIDDEN = 32
POSITIONS = 64
VOCABULARY = 120
WORDS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *(f"w{number}" for number in range(VOCABULARY - 5))]


_COMMON = {"hidden_size": HIDDEN, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 48, "vocab_size": VOCABULARY}
_DISTILLED = {"dim": HIDDEN, "n_layers": 2, "n_heads": 4, "hidden_dim": 48, "vocab_size": VOCABULARY}


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
    chosen = _DISTILLED if architecture.startswith("DistilBert") else _COMMON
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


# ---------------------------------------------------------------------------------------------------------------- architectures


@dataclass(frozen=True)
class Architecture:
    """A kind of encoder: the prefix of its classes in transformers, its tokenizer, and what its configuration adds.

    types   whether the model tells two texts apart by token types
    lost    positions of its table that are never used
    """

    prefix: str
    tokenizer: Callable[[Mapping[str, Any]], Tokenizer]
    settings: Mapping[str, Any] = field(default_factory=dict)
    types: bool = True
    lost: int = 0


def _wordpiece(settings: Mapping[str, Any]) -> Tokenizer:
    """Pieces of BERT, [CLS] a [SEP] b [SEP] with two segments; [PAD] stands where the configuration says."""
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors

    pieces = ["[UNK]", "[CLS]", "[SEP]", "[MASK]", *_PIECES]
    pieces.insert(settings.get("pad_token_id", 0), "[PAD]")
    tokenizer = Tokenizer(models.WordPiece({piece: number for number, piece in enumerate(pieces)}, unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer()
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    special = [(piece, pieces.index(piece)) for piece in ("[CLS]", "[SEP]")]
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", pair="[CLS] $A [SEP] $B:1 [SEP]:1", special_tokens=special
    )
    return tokenizer


def _mpnet(settings: Mapping[str, Any]) -> Tokenizer:
    """Pieces of BERT with the special tokens of RoBERTa: <s> a </s></s> b </s>, one segment."""
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors

    pieces = ["<s>", "<pad>", "</s>", "[UNK]", "<mask>", *_PIECES]
    tokenizer = Tokenizer(models.WordPiece({piece: number for number, piece in enumerate(pieces)}, unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer()
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<s> $A </s>", pair="<s> $A </s> </s> $B </s>", special_tokens=[("<s>", 0), ("</s>", 2)]
    )
    return tokenizer


def _bytes(settings: Mapping[str, Any]) -> Tokenizer:
    """Byte-level BPE of RoBERTa: <s> a </s></s> b </s>, one segment; <pad> stands where the configuration says."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors

    pieces = ["<s>", "</s>", "<unk>", "<mask>"]
    pieces.insert(settings["pad_token_id"], "<pad>")
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    merges = [("Ġ", "t"), ("h", "e"), ("Ġt", "he"), ("e", "r")]
    vocabulary = dict.fromkeys([*pieces, *alphabet, *(first + second for first, second in merges)])
    tokenizer = Tokenizer(models.BPE({piece: number for number, piece in enumerate(vocabulary)}, merges))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    ends = [(piece, pieces.index(piece)) for piece in ("</s>", "<s>")]
    tokenizer.post_processor = processors.RobertaProcessing(*ends, trim_offsets=True, add_prefix_space=False)
    return tokenizer


def _albert(settings: Mapping[str, Any]) -> Tokenizer:
    """Unigram pieces with a word mark, [CLS] a [SEP] b [SEP] with two segments, and <pad> first."""
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors

    pieces = [("<pad>", 0.0), ("<unk>", 0.0), ("[CLS]", 0.0), ("[SEP]", 0.0), ("[MASK]", 0.0), ("▁the", -2.0), ("▁", -3.0)]
    tokenizer = Tokenizer(models.Unigram([*pieces, *((letter, -4.0) for letter in _LETTERS)], 1, False))
    tokenizer.normalizer = normalizers.Sequence(
        [
            normalizers.Replace("``", '"'),
            normalizers.Replace("''", '"'),
            normalizers.NFKD(),
            normalizers.StripAccents(),
            normalizers.Lowercase(),
        ]
    )
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([pre_tokenizers.WhitespaceSplit(), pre_tokenizers.Metaspace()])
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", pair="[CLS] $A [SEP] $B:1 [SEP]:1", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    return tokenizer


_LETTERS = "abcdefghijklmnopqrstuvwxyz0123456789.,?()'\"-"
_PIECES = ["the", "river", "bridge", *_LETTERS, *(f"##{letter}" for letter in _LETTERS[:36])]

_OFFSET = {"max_position_embeddings": POSITIONS + 2, "bos_token_id": 0, "eos_token_id": 2, "pad_token_id": 1}
ARCHITECTURES: Mapping[str, Architecture] = {
    "bert": Architecture("Bert", _wordpiece),
    "bert-padding-4": Architecture("Bert", _wordpiece, {"pad_token_id": 4}),
    "roberta": Architecture("Roberta", _bytes, {**_OFFSET, "type_vocab_size": 1}, types=False, lost=2),
    "roberta-padding-0": Architecture(
        "Roberta",
        _bytes,
        {"max_position_embeddings": POSITIONS + 1, "type_vocab_size": 1, "pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2},
        types=False,
        lost=1,
    ),
    "electra": Architecture("Electra", _wordpiece, {"embedding_size": 16}),
    "distilbert": Architecture("DistilBert", _wordpiece, types=False),
    "albert": Architecture("Albert", _albert, {"embedding_size": 16, "bos_token_id": 2, "eos_token_id": 3}),
    "mpnet": Architecture("MPNet", _mpnet, _OFFSET, types=False, lost=2),
}
"""The encoders that Assay is held to; two of them twice, with another padding id."""


def write_architecture(folder: Path, name: str, head: str, outputs: int = 2) -> Path:
    """A random model of two layers with its own kind of tokenizer; `outputs` of a classifier, one makes it a model of values."""
    chosen = ARCHITECTURES[name]
    tokenizer = chosen.tokenizer(chosen.settings)
    ending = "ForQuestionAnswering" if head == "question-answering" else "ForSequenceClassification"
    write_model(folder, chosen.prefix + ending, **{**chosen.settings, "vocab_size": tokenizer.get_vocab_size(), "num_labels": outputs})
    (folder / "vocab.txt").unlink()
    tokenizer.save(str(folder / "tokenizer.json"))
    kind = "Bert" if chosen.prefix == "Electra" else chosen.prefix
    special = {name: piece for name, piece in _special_tokens(tokenizer).items() if piece}
    (folder / "tokenizer_config.json").write_text(json.dumps({"tokenizer_class": f"{kind}Tokenizer", **special}))
    return folder


def _special_tokens(tokenizer: Tokenizer) -> dict[str, str]:
    names = {
        "pad_token": ("[PAD]", "<pad>"),
        "unk_token": ("[UNK]", "<unk>"),
        "cls_token": ("[CLS]", "<s>"),
        "sep_token": ("[SEP]", "</s>"),
    }
    return {name: next(piece for piece in pieces if tokenizer.token_to_id(piece) is not None) for name, pieces in names.items()}
