"""The built-in questions: many, exact, and never taken for the official ones."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import tiny_tokenizers

from harness.core import TaskOptions
from harness.datafiles import read_squad
from tasks import squad


def test_built_in_set() -> None:
    """At least 240 questions with unique ids on at least 40 paragraphs, each right answer where it says, no paragraph or question twice."""
    data = read_squad(squad.BUILT_IN)  # refuses an id that is used twice
    assert len(data.questions) >= 240
    assert len(set(data.contexts)) == len(data.contexts) >= 40
    assert data.misplaced == 0
    assert len({(question.context, question.text) for question in data.questions}) == len(data.questions)
    assert {question.context for question in data.questions} == set(range(len(data.contexts)))
    assert all(answer.strip() == answer != "" for question in data.questions for answer in question.answers)


def test_built_in_task(tmp_path: Path) -> None:
    """Without data the built-in set is asked, and its name says so."""
    tiny_tokenizers.wordpiece(tmp_path)
    task = squad.create(TaskOptions(None, tmp_path, None))
    assert (task.data_name, task.comparable, task.metric) == ("built-in sample set", False, "f1")


@pytest.mark.model
def test_lengths_are_like_the_official_ones(bert_tokenizer: Path) -> None:
    """Real tokens per window spread as in the official set: 10th percentile about 110, median about 164, 90th about 272."""
    task = squad.create(TaskOptions(None, bert_tokenizer, None))
    low, middle, high = np.percentile(task.samples.lengths, [10, 50, 90])
    assert 90 <= low <= 130
    assert 140 <= middle <= 190
    assert 240 <= high <= 340
