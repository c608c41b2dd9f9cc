"""Tokenizers of model folders: found, padded and laid out as they say themselves."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import tiny_tokenizers
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import Tokenizer, processors

from harness.errors import DataError, MissingError
from harness.tokenization import PairTemplate, encode, load_vocabulary, pair_template


def test_no_tokenizer(tmp_path: Path) -> None:
    """A folder without a tokenizer is named, with the call that would save one."""
    with pytest.raises(MissingError, match=r"holds no tokenizer\.json") as caught:
        load_vocabulary(tmp_path)
    assert str(tmp_path) in str(caught.value)
    assert "save_pretrained" in caught.value.cure


@pytest.mark.parametrize("content", ["{", "{}", '{"model": {"type": "Nonsense"}}'])
def test_broken_tokenizer(tmp_path: Path, content: str) -> None:
    """A tokenizer.json that is none, or is empty, is named."""
    (tmp_path / "tokenizer.json").write_text("")
    with pytest.raises(DataError, match=r"tokenizer\.json: the file is empty"):
        load_vocabulary(tmp_path)
    (tmp_path / "tokenizer.json").write_text(content)
    with pytest.raises(DataError, match=r"tokenizer\.json: not a tokenizer"):
        load_vocabulary(tmp_path)


def test_padding_and_truncation_of_the_file_are_switched_off(tmp_path: Path) -> None:
    """A file saved with padding and truncation gives whole texts without padding, and its padding token."""
    tokenizer = tiny_tokenizers.wordpiece(tmp_path)
    tokenizer.enable_padding(length=64, pad_id=7)
    tokenizer.enable_truncation(4)
    tokenizer.save(str(tmp_path / "tokenizer.json"))
    vocabulary = load_vocabulary(tmp_path)
    assert vocabulary.pad_id == 7
    assert vocabulary.tokenizer.encode("the old bridge is bad").tokens == ["[CLS]", "the", "old", "bridge", "is", "bad", "[SEP]"]


def test_conversion_from_vocab_txt(tmp_path: Path) -> None:
    """A folder with vocab.txt alone gives the same tokens as one with tokenizer.json."""
    tokenizer = tiny_tokenizers.wordpiece(tmp_path)
    (tmp_path / "tokenizer.json").unlink()
    vocabulary = sorted(tokenizer.get_vocab().items(), key=lambda entry: entry[1])
    tokens = [*(token for token, _ in vocabulary), "[MASK]"]
    (tmp_path / "vocab.txt").write_text("\n".join(tokens) + "\n")
    (tmp_path / "tokenizer_config.json").write_text(json.dumps({"tokenizer_class": "BertTokenizer", "do_lower_case": True}))
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "bert"}))
    converted = load_vocabulary(tmp_path)
    assert converted.wordpiece
    text = "The Rhine flows (north), Café!"
    assert converted.tokenizer.encode(text, "old").tokens == tokenizer.encode(text, "old").tokens


@pytest.mark.parametrize(
    ("name", "content", "pad"),
    [
        ("special_tokens_map.json", {"pad_token": "good"}, "good"),
        ("tokenizer_config.json", {"pad_token": {"content": "bad", "lstrip": False}}, "bad"),
        ("config.json", {"pad_token_id": 5}, "rhine"),
        ("config.json", {"pad_token_id": None}, "[PAD]"),
    ],
)
def test_padding_token(tmp_path: Path, name: str, content: object, pad: str) -> None:
    """The padding token is the one the files beside the tokenizer name, else the usual one."""
    tokenizer = tiny_tokenizers.wordpiece(tmp_path)
    (tmp_path / name).write_text(json.dumps(content))
    assert load_vocabulary(tmp_path).pad_id == tokenizer.token_to_id(pad)


def test_broken_config_is_named(tmp_path: Path) -> None:
    """A config.json that is no JSON is an error with its name, not a missing padding token."""
    tiny_tokenizers.wordpiece(tmp_path)
    (tmp_path / "config.json").write_text("{")
    with pytest.raises(DataError, match=r"config\.json: is not JSON"):
        load_vocabulary(tmp_path)


def test_templates(tmp_path: Path) -> None:
    """Special tokens and segments around a pair are found for BERT, RoBERTa and XLM-R."""
    found = {name: pair_template(make(tmp_path), "north?", "The Rhine") for name, make in tiny_tokenizers.FAMILIES.items()}
    assert found["wordpiece"] == PairTemplate((2,), (3,), (3,), ((0,), 0, (0,), 1, (1,)))
    assert found["byte_bpe"] == found["unigram"] == PairTemplate((0,), (2, 2), (2,), ((0,), 0, (0, 0), 0, (0,)))
    assert found["unigram"].special_tokens == 4


def test_template_in_another_order_is_refused(tmp_path: Path) -> None:
    """A tokenizer that puts the second text first, or loses one, is an error and not a wrong input."""
    tokenizer = tiny_tokenizers.wordpiece(tmp_path)
    tokenizer.post_processor = processors.TemplateProcessing(single="$A", pair="$B [SEP] $A", special_tokens=[("[SEP]", 3)])
    with pytest.raises(DataError, match="as a pair, first before second"):
        pair_template(tokenizer, "north", "rhine")
    with pytest.raises(DataError, match="as a pair"):
        pair_template(tiny_tokenizers.wordpiece(tmp_path), "", "rhine")


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Tokenizer:
    return tiny_tokenizers.wordpiece(tmp_path_factory.mktemp("tiny"))


@given(st.lists(st.text(st.characters(codec="utf-8", exclude_characters=" \t\r\n"), min_size=1, max_size=8), max_size=8))
def test_words_are_encoded_one_by_one(tiny: Tokenizer, words: list[str]) -> None:
    """A sequence of words gives the tokens of each word alone, end to end, with their owners."""
    (encoding,) = encode(tiny, [words])
    alone = [tiny.encode(word, add_special_tokens=False).ids for word in words]
    assert encoding.ids == [token for ids in alone for token in ids]
    assert encoding.word_ids == [number for number, ids in enumerate(alone) for _ in ids]


def test_basic_words(tmp_path: Path) -> None:
    """The step before pieces is lower case without accents, with punctuation apart."""
    tiny_tokenizers.wordpiece(tmp_path)
    assert load_vocabulary(tmp_path).basic("Café-Bar (1990)!") == ["cafe", "-", "bar", "(", "1990", ")", "!"]
