"""Small tokenizers of three families, made in milliseconds: BERT's WordPiece, RoBERTa's byte-level BPE, XLM-R's Unigram."""

from __future__ import annotations

from pathlib import Path

from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers

TEXT = [
    "The Rhine flows north through Cologne, past old bridges and barges.",
    "Which river flows north? What passes the old bridges of Cologne?",
    "It rises in the Swiss Alps (near Andermatt) and ends in the North Sea.",
]
SPECIAL = ["<s>", "<pad>", "</s>", "<unk>"]


def wordpiece(folder: Path) -> Tokenizer:
    """Letters, a few words and their ends, uncased; [CLS] a [SEP] b [SEP]."""
    words = ["the", "rhine", "flow", "##s", "north", "old", "bridge", "what", "river", "good", "bad", "film", "it", "is", "cafe"]
    letters = [chr(code) for code in range(33, 127) if not chr(code).isupper()]
    tokens = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", *words, *letters, *(f"##{letter}" for letter in letters if letter != "s")]
    tokenizer = Tokenizer(models.WordPiece({token: number for number, token in enumerate(tokens)}, unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer()
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", pair="[CLS] $A [SEP] $B:1 [SEP]:1", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    tokenizer.save(str(folder / "tokenizer.json"))
    return tokenizer


def byte_bpe(folder: Path) -> Tokenizer:
    """Cased byte-level BPE; <s> a </s></s> b </s>, one segment."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    tokenizer.train_from_iterator(
        TEXT, trainers.BpeTrainer(vocab_size=320, special_tokens=SPECIAL, initial_alphabet=alphabet, show_progress=False)
    )
    tokenizer.post_processor = processors.RobertaProcessing(("</s>", 2), ("<s>", 0), trim_offsets=True, add_prefix_space=False)
    tokenizer.save(str(folder / "tokenizer.json"))
    return tokenizer


def unigram(folder: Path) -> Tokenizer:
    """Cased Unigram with a word mark; <s> a </s> </s> b </s>."""
    tokenizer = Tokenizer(models.Unigram())
    tokenizer.normalizer = normalizers.NFKC()
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    trainer = trainers.UnigramTrainer(vocab_size=120, special_tokens=SPECIAL, unk_token="<unk>", show_progress=False)
    tokenizer.train_from_iterator(TEXT, trainer)
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<s> $A </s>", pair="<s> $A </s> </s> $B </s>", special_tokens=[("<s>", 0), ("</s>", 2)]
    )
    tokenizer.save(str(folder / "tokenizer.json"))
    return tokenizer


FAMILIES = {"wordpiece": wordpiece, "byte_bpe": byte_bpe, "unigram": unigram}


CHINESE = "北京是中华人民共和国的首都，位于华北平原北部。长江流经武汉和上海！这部电影很好看不差"


def chinese(folder: Path) -> Tokenizer:
    """WordPiece of Chinese characters, as in bert-base-chinese: each Han character is a token; with digits and a few Latin pieces."""
    pieces = dict.fromkeys([*CHINESE, *"0123456789", *(f"##{digit}" for digit in "0123456789"), "km", "a", "##b"])
    tokens = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", *pieces]
    tokenizer = Tokenizer(models.WordPiece({token: number for number, token in enumerate(tokens)}, unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer()
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", pair="[CLS] $A [SEP] $B:1 [SEP]:1", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    tokenizer.save(str(folder / "tokenizer.json"))
    return tokenizer
