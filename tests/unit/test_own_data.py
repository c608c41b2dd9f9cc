"""A user's own file: formats, columns, settings, labels and answers."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.errors import DataError, MissingError, UsageError
from harness.own import data as own_data
from harness.own import labels as own_labels
from harness.own import questions as own_questions
from harness.own import scores as own_scores
from harness.own.columns import recognise
from harness.own.settings import read_settings
from harness.own.table import read_table

PAIRS = 'first,second,same\n"a good film","a fine film",yes\n"it is bad, he said","the Rhine",no\n'


def put(folder: Path, name: str, text: str | bytes) -> Path:
    path = folder / name
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    return path


def own(path: Path, **flags: Any) -> own_data.Own:
    return own_data.read(read_settings(path, flags))


# ------------------------------------------------------------------------------------------------------------------------- tables


@pytest.mark.parametrize(
    ("name", "text", "rows"),
    [
        ("a.csv", 'text,label\n"one, two",x\n"say ""hi""",y\n', [("one, two", "x"), ('say "hi"', "y")]),
        ("a.csv", "text;label\none, two;x\n", [("one, two", "x")]),
        ("a.csv", '"text, all";label\n', []),
        ("a.CSV", "\ufefftext,label\r\none,x\r\n\r\ntwo,y\r\n", [("one", "x"), ("two", "y")]),
        ("a.csv", 'text,label\n"two\nlines",x\n', [("two\nlines", "x")]),
        ("a.tsv", 'text\tlabel\nsay "hi\tx\r\n"\ty\n\n', [('say "hi', "x"), ('"', "y")]),
        ("a.tsv", "text\tlabel\none\u2028two\tx\n", [("one\u2028two", "x")]),
        ("a.jsonl", '{"text": "one", "label": 1}\n\n{"label": true, "text": "two"}\n', [("one", "1"), ("two", "true")]),
    ],
)
def test_three_formats_are_read(tmp_path: Path, name: str, text: str, rows: list[tuple[str, str]]) -> None:
    """CSV with quoting and , or ; by its header, TSV without quoting, JSON lines; byte-order mark, CRLF and blank lines change nothing."""
    path = put(tmp_path, name, text)
    if not rows:
        with pytest.raises(DataError, match="has a header but no rows"):
            read_table(path)
        return
    table = read_table(path)
    assert table.columns == ("text", "label")
    assert [tuple(table.text(row, column) for column in table.columns) for row in range(len(table.rows))] == rows


def test_rows_know_their_lines(tmp_path: Path) -> None:
    """A row is called by the line on which it begins, also behind a value of several lines and a blank line."""
    table = read_table(put(tmp_path, "a.csv", 'text,label\n"one\ntwo\nthree",x\n\nfour,y\n'))
    assert table.lines == (2, 6)
    with pytest.raises(DataError, match=r"a\.csv:6: 'text' is empty"):
        read_table(put(tmp_path, "a.csv", 'text,label\n"one\ntwo\nthree",x\n\n ,y\n')).text(1, "text")


def test_a_long_value_is_read(tmp_path: Path) -> None:
    """A context may be longer than the 131,072 characters that the csv module allows, and the module's limit is left as it was."""
    before = csv.field_size_limit()
    table = read_table(put(tmp_path, "a.csv", f"text,label\n{'a' * 200_000},x\n"))
    assert len(table.text(0, "text")) == 200_000
    assert csv.field_size_limit() == before


CELLS = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)


@given(st.lists(st.tuples(CELLS, CELLS).filter(lambda row: "".join(row).strip()), min_size=1, max_size=5), st.sampled_from(",;"))
def test_what_a_csv_writer_writes_is_read_back(
    tmp_path_factory: pytest.TempPathFactory, rows: list[tuple[str, str]], delimiter: str
) -> None:
    """Quotes, delimiters and line breaks inside values survive, and each row knows its line."""
    path = tmp_path_factory.getbasetemp() / "written.csv"
    with path.open("w", encoding="utf-8", newline="") as stream:
        csv.writer(stream, delimiter=delimiter).writerows([("text", "label"), *rows])
    table = read_table(path)
    assert [tuple(row.values()) for row in table.rows] == rows
    assert table.lines[0] == 2


@pytest.mark.parametrize(
    ("name", "text", "says"),
    [
        ("a.csv", "text,label\none,x,y\n", r"a\.csv:2: 3 columns, the header has 2"),
        ("a.csv", 'text,label\nfine,x\n"one,x\ntwo,y\n', r"a\.csv:3: a quote is opened and never closed"),
        ("a.csv", 'text,label\n"one" two,x\n', r"a\.csv:2: .*expected after"),
        ("a.csv", "text,label;id\none,x\n", r"a\.csv:1: the header holds both , and ;"),
        ("a.csv", "text,text\none,x\n", r"a\.csv:1: two columns are called 'text'"),
        ("a.csv", b"text,label\nf\xfcr,x\n", r"a\.csv:2: byte 0xfc is not UTF-8"),
        ("a.csv", "\n", r"a\.csv: the file is empty"),
        ("a.tsv", "text\tlabel\none\n", r"a\.tsv:2: 1 column, the header has 2"),
        ("a.jsonl", '{"text": "one"}\n{"text": \n', r"a\.jsonl:2:10: the line is not JSON"),
        ("a.jsonl", '{"label": ' + "1" * 5000 + "}", r"a\.jsonl:1: the line cannot be read"),
        ("a.jsonl", '[{"text": "one"}]\n', r"a\.jsonl:1: the line is not a JSON object"),
        ("a.parquet", "PAR1", r"a\.parquet: the format is not known"),
    ],
)
def test_a_wrong_file_is_named_with_its_line(tmp_path: Path, name: str, text: str | bytes, says: str) -> None:
    """What cannot be read is an error with file, line and cure."""
    with pytest.raises(DataError, match=says) as caught:
        read_table(put(tmp_path, name, text))
    assert caught.value.cure


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ('{"label": "x"}', "'text' is missing"),
        ('{"text": null}', "'text' is missing"),
        ('{"text": ["a"]}', "'text' is a list"),
        ('{"text": {"a": 1}}', "'text' is an object"),
        ('{"text": "\\ud800"}', "'text' holds half a surrogate pair"),
    ],
)
def test_a_cell_that_is_no_text_is_refused(tmp_path: Path, line: str, says: str) -> None:
    """A JSON line must hold a text where one is asked for."""
    table = read_table(put(tmp_path, "a.jsonl", line))
    with pytest.raises(DataError, match=says):
        table.text(0, "text")


# ------------------------------------------------------------------------------------------------------------------------ columns


@pytest.mark.parametrize(
    ("columns", "named", "roles"),
    [
        ("sentence label", {}, "text=sentence label=label"),
        ("Text Label id", {}, "text=Text label=Label id=id"),
        ("title text label", {}, "text=text label=label"),
        ("index sentence1 sentence2 score", {}, "text=sentence1 pair=sentence2 label=score"),
        ("hypothesis premise gold_label", {}, "text=premise pair=hypothesis label=gold_label"),
        ("text text_pair label", {}, "text=text pair=text_pair label=label"),
        ("question sentence label", {}, "text=question pair=sentence label=label"),
        ("question context label", {}, "text=question pair=context label=label"),
        ("question context answers", {}, "question=question context=context answer=answers"),
        ("id title context question answers answer_start", {}, "question=question context=context answer=answers start=answer_start id=id"),
        ("review stars", {"text": "review", "label": "stars"}, "text=review label=stars"),
        ("review text stars", {"label": "stars"}, "text=text label=stars"),
        ("a b label", {"text": "a", "pair": "b"}, "text=a pair=b label=label"),
        ("text body label", {"text": "body"}, "text=body label=label"),
        ("q context answers label", {"question": "q"}, "question=q context=context answer=answers"),
        ("question context answers label", {"label": "label"}, "text=question pair=context label=label"),
    ],
)
def test_columns_are_recognised(columns: str, named: dict[Any, str], roles: str) -> None:
    """Named columns are taken as they are, the others by well-known names in any case."""
    _, found = recognise(columns.split(), named, None, {}, "a.csv")
    assert " ".join(f"{role}={column}" for role, column in found.items()) == roles


@pytest.mark.parametrize(
    ("columns", "named", "form", "says"),
    [
        ("a b c", {}, None, "its columns are not recognised"),
        ("text stars", {}, None, "its columns are not recognised"),
        ("text stars", {"text": "text"}, None, "no label column is recognised"),
        ("words label", {"label": "label"}, None, "no text column is recognised"),
        ("text sentence label", {}, None, "the text could be 'sentence' or 'text'|the text could be 'text' or 'sentence'"),
        ("sentence1 sentence2 text label", {}, None, "the text could be 'sentence1' with 'sentence2' or 'text'"),
        ("text label score", {}, None, "the label column could be 'label' or 'score'"),
        ("question context answers label", {}, None, "is a span asked for, or a label"),
        ("question context passage answers", {}, None, "the context column could be 'context' or 'passage'"),
        ("text label", {"text": "txet"}, None, "a.csv has no column 'txet'"),
        ("text label", {"text": "text", "question": "label"}, None, "question and text columns are named together"),
        ("text label", {"text": "text", "label": "text"}, None, "'text' is named both as text and as label"),
        ("text label", {"pair": "text"}, None, "a pair column is named, but no text column"),
        (
            "question context answers",
            {"answer": "answers"},
            "sentences",
            "column 'answers' is named as answer, and kind or metric ask for something else",
        ),
        ("text label", {}, "spans", "no question column is recognised"),
    ],
)
def test_what_is_not_certain_is_an_error(columns: str, named: dict[Any, str], form: Any, says: str) -> None:
    """Nothing is guessed: the error lists all columns."""
    with pytest.raises(UsageError, match=says) as caught:
        recognise(columns.split(), named, form, {"text": "--text-column"}, "a.csv")
    assert all(repr(column) in caught.value.cure for column in columns.split())


# ----------------------------------------------------------------------------------------------------------------------- settings


def test_a_yaml_file_names_everything(tmp_path: Path) -> None:
    """Values are taken as written (no is a text), the data is relative to the YAML file, and flags win."""
    put(tmp_path, "pairs.csv", PAIRS)
    path = put(
        tmp_path,
        "my.yaml",
        "data: pairs.csv\nname: my pairs\nkind: classification\nmetric: f1\npositive: yes\nmax_length: 64\nlatency_bound: 50ms\n"
        "columns: {text: first, pair: second, label: same}\nlabels:\n  no: not_equivalent\n  yes: equivalent\n",
    )
    settings = read_settings(path, {"metric": "matthews", "label_column": None})
    assert (settings.data, settings.name, settings.kind) == (tmp_path / "pairs.csv", "my-pairs", "classification")
    assert (settings.metric, settings.positive, settings.max_length, settings.latency_bound_ns) == ("matthews", "yes", 64, 50_000_000)
    assert settings.columns == {"text": "first", "pair": "second", "label": "same"}
    assert settings.labels == {"no": "not_equivalent", "yes": "equivalent"}
    assert settings.origins["label"] == f"{path}:8: columns.label"


def test_flags_alone(tmp_path: Path) -> None:
    """A data file is described by flags; its name is that of the file."""
    path = put(tmp_path, "my pairs.csv", PAIRS)
    settings = read_settings(path, {"text_column": "first", "pair_column": "second", "label_column": "same", "labels": "no=0, yes=1"})
    assert (settings.data, settings.name, settings.labels) == (path, "my-pairs", {"no": "0", "yes": "1"})
    assert settings.columns == {"text": "first", "pair": "second", "label": "same"}


def test_other_data_in_place_of_the_named(tmp_path: Path) -> None:
    """--data replaces the file that a YAML file names, is enough where it names none, and is refused beside a data file."""
    other, named = put(tmp_path, "other.csv", PAIRS), put(tmp_path, "my.yaml", "metric: accuracy\n")
    assert read_settings(named, {}, other).data == other
    with pytest.raises(UsageError, match=r"my\.yaml: names no data"):
        read_settings(named, {})
    with pytest.raises(UsageError, match=r"--data: .* is the data already"):
        read_settings(other, {}, other)
    with pytest.raises(UsageError, match=r"--data: .* is not a file"):
        read_settings(named, {}, tmp_path)


@pytest.mark.parametrize(
    ("text", "says", "cure"),
    [
        ("data: a.csv\nmetrik: f1\n", r"my\.yaml:2: there is no setting metrik", "did you mean metric"),
        ("data: a.csv\ndata: b.csv\n", r"my\.yaml:2: data is given twice \(first in line 1\)", "Keep one"),
        ("data: a.csv\nkind: sorting\n", r"my\.yaml:2: kind: 'sorting' is not one of the choices", "classification"),
        ("data: a.csv\nmetric: bleu\n", r"my\.yaml:2: metric: 'bleu' is not one of the choices", "accuracy"),
        ("data: a.csv\nkind: regression\nmetric: f1\n", r"my\.yaml:3: metric: regression has no metric f1", "pearson, spearman"),
        ("data: a.csv\nmetric: pearson\nlabels: {a: b}\n", r"my\.yaml:3: labels: only classification has labels", "Leave labels out"),
        ("data: a.csv\ncolumns: {txt: a}\n", r"my\.yaml:2: there is no column for txt", "text"),
        ("data: a.csv\ncolumns: text\n", r"my\.yaml:2: columns is no mapping", "name: value"),
        ("data: a.csv\nmetric:\n", r"my\.yaml:2: metric is empty", "key: value"),
        ("data: [a.csv]\n", r"my\.yaml:1: data is not a single value", "key: value"),
        ("data: a.csv\nmax_length: many\n", r"my\.yaml:2: max_length: 'many' is no number of tokens", "whole number"),
        ("data: a.csv\nlatency_bound: -1\n", r"my\.yaml:2: latency_bound: '-1' is not above 0", "100ms"),
        ("data: a.json\n", r"my\.yaml:1: data: a\.json is none of \*\.csv", "Save the data"),
        ("- a\n", r"my\.yaml:1: not a mapping of settings", "name: value"),
        ("data: {\n", r"my\.yaml:2: not YAML", "key: value"),
        ("# nothing\n", r"my\.yaml: says nothing", "data:"),
    ],
)
def test_a_wrong_yaml_file_is_named_with_its_line(tmp_path: Path, text: str, says: str, cure: str) -> None:
    """Unknown keys and wrong values are errors that say what there is."""
    put(tmp_path, "a.csv", PAIRS)
    with pytest.raises(UsageError, match=says) as caught:
        read_settings(put(tmp_path, "my.yaml", text), {})
    assert cure in caught.value.cure


def test_data_that_is_not_there(tmp_path: Path) -> None:
    """A path that leads nowhere is something missing, not a wrong setting."""
    with pytest.raises(MissingError, match=r"my\.yaml:1: data: .*gone\.csv is not there"):
        read_settings(put(tmp_path, "my.yaml", "data: gone.csv\n"), {})


@pytest.mark.parametrize("labels", ["a", "a=", "=b", "a=b,c", "a=b,a=c"])
def test_a_mapping_of_labels_that_is_none(tmp_path: Path, labels: str) -> None:
    """--labels wants label=label, separated by commas, each label once."""
    with pytest.raises(UsageError, match=r"--labels: .*(is not a mapping of labels|maps a label twice)"):
        read_settings(put(tmp_path, "a.csv", PAIRS), {"labels": labels})


# ------------------------------------------------------------------------------------------------------------------------- labels


COLUMNS = {"text_column": "first", "pair_column": "second", "label_column": "same"}


@pytest.mark.parametrize(
    ("labels", "model", "expected", "classes"),
    [
        (None, ("yes", "no"), (0.0, 1.0), ("yes", "no")),
        (None, ("NO", "Yes", "perhaps"), (1.0, 0.0), ("NO", "Yes", "perhaps")),
        ("yes=equivalent,no=not_equivalent", ("not_equivalent", "equivalent"), (1.0, 0.0), ("not_equivalent", "equivalent")),
        ("yes=1,no=0", ("not_equivalent", "equivalent"), (1.0, 0.0), ("not_equivalent", "equivalent")),
        ("yes=LABEL_1,no=LABEL_0", (), (1.0, 0.0), ("0", "1")),
        ("yes=0,no=2", (), (0.0, 2.0), ("0", "1", "2")),
    ],
)
def test_labels_become_the_classes_of_the_model(
    tmp_path: Path, labels: str | None, model: tuple[str, ...], expected: tuple[float, ...], classes: tuple[str, ...]
) -> None:
    """By name, capitals aside, or by the mapping; numbers count where a mapping gives them or the model has no names."""
    examples, found = own_labels.examples(own(put(tmp_path, "a.csv", PAIRS), **COLUMNS, labels=labels), model)
    assert (examples.labels, found) == (expected, classes)
    assert examples.first == ("a good film", "it is bad, he said")
    assert examples.second == ("a fine film", "the Rhine")
    assert examples.ids == ("0", "1")


@pytest.mark.parametrize(
    ("text", "labels", "model", "says"),
    [
        (PAIRS, None, ("equivalent", "different"), r"a\.csv:2: label 'yes' is none of the model's labels: 'equivalent', 'different'"),
        (PAIRS, "yes=equivalnt", ("equivalent", "no"), r"a\.csv:2: label 'yes' \(mapped to 'equivalnt'\) is none"),
        (PAIRS, None, (), r"a\.csv:2: the model's labels have no names, and label 'yes' is no number"),
        (
            PAIRS.replace("yes", "1").replace("no", "0"),
            None,
            ("negative", "positive"),
            r"a\.csv:2: label '1' is none of the model's labels",
        ),
        (PAIRS.replace("yes", "123456789"), None, (), r"a\.csv:2: the model's labels have no names, and label '123456789' is no number"),
        (PAIRS, None, ("similarity",), "has a single class for this model"),
        (PAIRS.replace("yes", " "), None, ("yes", "no"), r"a\.csv:2: 'same' is empty"),
    ],
)
def test_labels_that_are_not_the_models(tmp_path: Path, text: str, labels: str | None, model: tuple[str, ...], says: str) -> None:
    """A number is not taken for a class with a name: that would be a guess."""
    with pytest.raises((UsageError, DataError), match=says) as caught:
        own_labels.examples(own(put(tmp_path, "a.csv", text), **COLUMNS, labels=labels), model)
    if "none of" in says:
        assert "--labels" in caught.value.cure


@pytest.mark.parametrize(
    ("values", "kind"),
    [
        (("1.5", "2"), "regression"),
        (("0.0", "5.000", "2.25"), "regression"),
        (("1", "2"), "classification"),
        (("1.0", "0.0"), "classification"),
        (("1.5", "x"), "classification"),
        (("nan", "1.5"), "classification"),
    ],
)
def test_the_kind_is_read_from_the_labels(tmp_path: Path, values: tuple[str, ...], kind: str) -> None:
    """Numbers of which one is not whole are values to predict; anything else are classes; kind and metric overrule that."""
    path = put(tmp_path, "a.csv", "text,label\n" + "".join(f"word,{value}\n" for value in values))
    assert own(path).kind == kind
    assert own(path, metric="pearson").kind == "regression"
    assert own(path, metric="accuracy").kind == "classification"


def test_values(tmp_path: Path) -> None:
    """Values are numbers; one that is none is named with its line."""
    examples, classes = own_labels.examples(own(put(tmp_path, "a.csv", "text,score\na,1.5\nb,4\n")), ("similarity",))
    assert (examples.labels, classes) == ((1.5, 4.0), ())
    with pytest.raises(DataError, match=r"a\.csv:3: 'score' is 'high', which is no number"):
        own_labels.examples(own(put(tmp_path, "a.csv", "text,score\na,1.5\nb,high\n"), metric="pearson"), ())


def test_ids(tmp_path: Path) -> None:
    """Ids are those of the column id, and each may be used once."""
    examples, _ = own_labels.examples(own(put(tmp_path, "a.csv", "id,text,label\nx,a,0\ny,b,1\n")), ())
    assert examples.ids == ("x", "y")
    with pytest.raises(DataError, match=r"a\.csv:3: id 'x' is used twice \(first in line 2\)"):
        own_labels.examples(own(put(tmp_path, "a.csv", "id,text,label\nx,a,0\nx,b,1\n")), ())


def test_the_key_covers_file_columns_labels_and_metric(tmp_path: Path) -> None:
    """Two equal keys ask the same questions and judge them alike."""
    path = put(tmp_path, "a.csv", PAIRS)
    asked = [
        own(path, **COLUMNS).sha256(),
        own(path, **COLUMNS, metric="f1").sha256(),
        own(path, **COLUMNS, labels="yes=1,no=0").sha256(),
        own(path, text_column="first", label_column="same").sha256(),
        own(path, **COLUMNS, positive="no").sha256(),
    ]
    put(tmp_path, "a.csv", PAIRS + "x,y,no\n")
    asked.append(own(path, **COLUMNS).sha256())
    assert len(set(asked)) == 6


# ---------------------------------------------------------------------------------------------------------------------- questions


CONTEXT = "The Rhine flows north through Cologne."


@pytest.mark.parametrize(
    ("answer", "texts", "misplaced"),
    [
        ("Cologne", ("Cologne",), 0),
        (["Cologne", "the Rhine"], ("Cologne", "the Rhine"), 1),
        ({"text": ["The Rhine"], "answer_start": [0]}, ("The Rhine",), 0),
        ({"text": ["The Rhine"], "answer_start": [1]}, ("The Rhine",), 1),
        ([{"text": "north", "answer_start": 16}, {"text": "Cologne"}], ("north", "Cologne"), 0),
    ],
)
def test_answers_are_read_in_each_layout(tmp_path: Path, answer: Any, texts: tuple[str, ...], misplaced: int) -> None:
    """A text, a list, SQuAD's own object: the same in a JSON line and as JSON in a CSV cell."""
    row = {"question": "Where?", "context": CONTEXT, "answers": answer}
    cell = answer if isinstance(answer, str) else json.dumps(answer)
    tsv = "question\tcontext\tanswers\n" + f"Where?\t{CONTEXT}\t{cell}\n"
    for path in (put(tmp_path, "a.jsonl", json.dumps(row)), put(tmp_path, "a.tsv", tsv)):
        data = own_questions.questions(own(path))
        assert data.questions[0].answers == texts
        assert data.misplaced == misplaced


def test_rows_with_one_context_share_it(tmp_path: Path) -> None:
    """Contexts are kept once, in order of appearance; offsets of a column of their own are checked."""
    text = f"question,context,answer,answer_start\nWhere?,{CONTEXT},Cologne,30\nWhat?,Other.,Other,0\nWhither?,{CONTEXT},north,17\n"
    asked = own(put(tmp_path, "a.csv", text))
    data = own_questions.questions(asked)
    assert data.contexts == (CONTEXT, "Other.")
    assert [question.context for question in data.questions] == [0, 1, 0]
    assert data.misplaced == 1
    expected = "a.csv (question-answering: question + context -> answer; 1 answer not in the context)"
    assert own_questions.described(asked, data) == expected


@pytest.mark.parametrize(
    ("row", "says"),
    [
        ({"answers": []}, "'answers' holds no answer"),
        ({"answers": ""}, "'answers' is empty or is no text"),
        ({"answers": None}, "'answers' is empty or is no text"),
        ({"answers": ["north", 5]}, "'answers' is empty or is no text"),
        ({"answers": "\ud800"}, "half a surrogate pair"),
        ({"answers": "north", "answer_start": "soon"}, "'answer_start' is not a whole number"),
        ({"answers": ["north", "Rhine"], "answer_start": [16]}, "'answer_start' is not a list of 2 whole numbers"),
        ({"answers": "north", "context": ""}, "'context' is empty"),
    ],
)
def test_answers_that_cannot_be_read(tmp_path: Path, row: dict[str, Any], says: str) -> None:
    """What is no answer is an error with file and line."""
    line = json.dumps({"question": "Where?", "context": CONTEXT} | row)
    with pytest.raises(DataError, match=rf"a\.jsonl:1: .*{says}"):
        own_questions.questions(own(put(tmp_path, "a.jsonl", line)))


def test_labels_belong_to_sentences(tmp_path: Path) -> None:
    """A mapping of labels beside a question, a context and answers is an error, not passed over."""
    line = json.dumps({"question": "Where?", "context": CONTEXT, "answers": "north"})
    with pytest.raises(UsageError, match="no label column is recognised"):
        own(put(tmp_path, "a.jsonl", line), labels="a=b")


def test_a_bracket_in_an_answer_is_a_bracket(tmp_path: Path) -> None:
    """A CSV cell that begins like JSON and is none of its layouts is the answer itself."""
    data = own_questions.questions(own(put(tmp_path, "a.tsv", "question\tcontext\tanswer\nWhich?\tas in [Smith 1999]\t[Smith 1999]\n")))
    assert data.questions[0].answers == ("[Smith 1999]",)


# ------------------------------------------------------------------------------------------------------------------------- scores


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("The Rhine, in 1999!", ["The", "Rhine,", "in", "1999!"]),
        ("北京", ["北", "京"]),
        ("《长江》（1999年）", ["长", "江", "1999", "年"]),
        ("“北京”ABC、def", ["北", "京", "ABCdef"]),
        ("ひらがなと漢字", ["ひ", "ら", "が", "な", "と", "漢", "字"]),
    ],
)
def test_characters_of_scripts_without_spaces_are_words(text: str, words: list[str]) -> None:
    """Han and Kana stand alone, their punctuation goes, and other texts are left as they are."""
    assert own_scores.separated(text).split() == words


@given(st.text(alphabet=st.characters(max_codepoint=0x2E7F)))
def test_texts_of_other_scripts_are_scored_as_squad_scores_them(text: str) -> None:
    """Without East Asian characters nothing changes."""
    assert own_scores.separated(text) == text


def test_scores_of_classes() -> None:
    """F1 is that of the positive class, or the mean over the classes; worked by hand."""
    labels, decisions = [0, 0, 1, 1], [0, 1, 1, 1]
    second = own_scores.of_classes(labels, decisions, 1)
    assert second == {"accuracy": 75.0, "f1": pytest.approx(80.0), "matthews": pytest.approx(57.735, abs=0.001)}
    assert own_scores.of_classes(labels, decisions, 0)["f1"] == pytest.approx(200 / 3)
    assert own_scores.of_classes(labels, decisions, None)["f1"] == pytest.approx((80 + 200 / 3) / 2)


def test_scores_of_values() -> None:
    """Ranks that agree are 100 for Spearman, whatever the distances."""
    scores = own_scores.of_values([1.0, 2.0, 3.0], [0.0, 1.0, 10.0])
    assert scores["spearman"] == pytest.approx(100.0)
    assert scores["pearson"] == pytest.approx(90.784, abs=0.001)
