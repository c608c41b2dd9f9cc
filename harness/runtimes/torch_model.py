"""Opening a model folder of transformers as a PyTorch module, checked: nothing is made up and nothing is left half."""

from __future__ import annotations

import inspect
from collections.abc import Mapping

import torch

from harness.core import Model
from harness.errors import DataError, first_line

OUTPUTS: Mapping[str, tuple[str, ...]] = {"question-answering": ("start_logits", "end_logits"), "sequence-classification": ("logits",)}
"""What a model returns, by its head, in the order in which it is told: (batch, length) each for spans, (batch, labels) for classes."""


def open_model(model: Model) -> torch.nn.Module:
    """The model in FP32 and evaluation mode. Raises DataError where a weight the head or the body needs is not in the files, or has another
    shape than the configuration says: transformers would make it up."""
    from transformers import AutoModelForQuestionAnswering, AutoModelForSequenceClassification
    from transformers.utils import logging

    logging.set_verbosity_error()  # type: ignore[no-untyped-call]
    logging.disable_progress_bar()  # type: ignore[no-untyped-call]
    auto = AutoModelForQuestionAnswering if model.head == "question-answering" else AutoModelForSequenceClassification
    cure = "Give a model folder that save_pretrained wrote for this head."
    try:
        opened, report = auto.from_pretrained(
            str(model.folder),
            local_files_only=True,
            use_safetensors=None if model.allow_pickle else True,
            ignore_mismatched_sizes=True,  # its own error names no tensor; the report does
            output_loading_info=True,
        )
    except (OSError, ValueError, RuntimeError, KeyError, ImportError) as error:
        raise DataError(f"{model.folder}: transformers cannot open it for {model.head}: {first_line(error)}", cure) from error
    if mismatched := sorted(report["mismatched_keys"]):
        wrong = "; ".join(
            f"{name} is {tuple(found)} in the file and {tuple(wanted)} by config.json" for name, found, wanted in mismatched[:5]
        )
        raise DataError(f"{model.folder}: weights do not fit: {wrong} ({len(mismatched)} in all)", cure)
    missing = sorted(report["missing_keys"])
    if missing:
        raise DataError(f"{model.folder}: weights are missing: {', '.join(missing[:5])} ({len(missing)} in all)", cure)
    found: torch.nn.Module = opened.float().eval()
    return found


def takes_token_types(opened: torch.nn.Module) -> bool:
    """RoBERTa's and DeBERTa's configurations say type_vocab_size 1 or 0: there is nothing to tell apart. DistilBERT has no such input."""
    takes = "token_type_ids" in inspect.signature(opened.forward).parameters
    return takes and int(getattr(opened.config, "type_vocab_size", 2) or 0) > 1
