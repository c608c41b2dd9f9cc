"""The way of MLPerf's reference implementation: transformers as it comes, FP32, one sample a call, padded to 384 tokens.

A backend given by path, so that it is measured by the same workers and ledger as everything it is compared with. What language/bert's
pytorch_SUT.py does for each sample is done here: three int64 tensors of one row made anew, a call under no_grad, the logits to numpy. The
padding is the batching policy's (`fixed`, one row). Attention is transformers' default, which is faster than the eager one of its time.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
import transformers
from numpy.typing import NDArray

from harness.core import Backend, BackendOptions, Batch, Model
from harness.errors import BackendError

REQUIRES: tuple[str, ...] = ("torch", "transformers")
PRECISIONS: tuple[str, ...] = ("fp32",)

_NAMES = ("start_logits", "end_logits")


def create(options: BackendOptions) -> Backend:
    return ReferenceWay(options)


class ReferenceWay:
    """AutoModelForQuestionAnswering, called."""

    needs_inputs = True
    answers = True

    def __init__(self, options: BackendOptions) -> None:
        self.options = options

    def load(self, model: Model | None) -> None:
        if model is None or model.head != "question-answering":
            raise BackendError("the reference way answers questions", "Give it a model for SQuAD.")
        torch.set_num_threads(self.options.threads)
        self.model = transformers.AutoModelForQuestionAnswering.from_pretrained(str(model.folder), local_files_only=True)
        self.model.float().eval()

    def predict(self, batch: Batch | None) -> Mapping[str, NDArray[Any]]:
        """float32 start_logits and end_logits, (1, length)."""
        if batch is None or len(batch.input_ids) != 1:
            raise BackendError("the reference way takes one sample at a time", "Use batches of one.")
        with torch.no_grad():
            found = self.model(
                input_ids=torch.LongTensor(batch.input_ids[0]).unsqueeze(0),
                attention_mask=torch.LongTensor(batch.attention_mask[0]).unsqueeze(0),
                token_type_ids=torch.LongTensor(batch.token_type_ids[0]).unsqueeze(0),
            )
        return {name: found[name].numpy() for name in _NAMES}

    def close(self) -> None:
        self.__dict__.pop("model", None)

    def describe(self) -> dict[str, Any]:
        return {
            "runtime": "pytorch",
            "version": torch.__version__,
            "precision": "fp32",
            "device": "cpu",
            "threads": torch.get_num_threads(),
            "method": "transformers called as it comes, one sample padded to the task's maximum",
            "matmul_dtype": "float32",
            "attention": str(self.model.config._attn_implementation),
            "packed": False,
        }
