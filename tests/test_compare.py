"""`compare` from Python: what was asked for, what was there before, and what was damaged."""

import json
import shutil

import pytest
from conftest import SIZE

from tlfeat.deploy.predict import predict
from tlfeat.errors import DamagedFile, HeadError, TlfeatError
from tlfeat.runs.record import HEAD, RECORD, load_run
from tlfeat.studies.compare import compare
from tlfeat.watch import Watch


class Warned(Watch):
    def __init__(self):
        self.said = []

    def warn(self, text):
        self.said.append(text)


@pytest.fixture
def compared(pictures, cache, tmp_path):
    def run(*heads, **options):
        return compare(
            pictures, heads=heads, size=SIZE, cache=cache, reports=tmp_path / "reports", **options
        )

    return run


def test_the_best_is_one_of_those_that_were_asked_for(compared):
    first = compared("lda")
    assert first.best.record["head"]["name"] == "lda"
    second = compared("knn")
    assert second.best.record["head"]["name"] == "knn"
    assert {run.record["head"]["name"] for run in second.runs} == {"lda", "knn"}
    assert second.beside == {first.best.name}


def test_seeds_are_one_line_with_each_of_them_in_it(compared):
    done = compared("lda", seeds=3)
    (line,) = done.runs
    assert [run.record["seed"] for run in line.seeds] == [0, 1, 2]
    assert done.fresh == 3
    assert set(done.table()["seed"]) == {0, 1, 2}


def test_a_run_that_was_changed_is_trained_again_and_the_old_record_kept(compared):
    first = compared("lda").best
    record = json.loads((first.path / RECORD).read_text())
    record["metrics"]["validation"]["accuracy"] = 0.5
    (first.path / RECORD).write_text(json.dumps(record))
    watch = Warned()
    again = compared("lda", watch=watch)
    assert again.fresh == 1
    assert again.best.metrics == first.metrics
    assert len(watch.said) == 1
    assert "not as it was written" in watch.said[0]
    assert json.loads((first.path / f"{RECORD}.damaged").read_text()) == record


def test_the_head_of_another_run_never_predicts(compared, pictures):
    one, other = (compared(head).best for head in ("lda", "ridge"))
    shutil.copy(other.path / HEAD, one.path / HEAD)
    with pytest.raises(DamagedFile, match=HEAD):
        list(predict(load_run(one.path), pictures))
    old = {k: v for k, v in one.record.items() if k not in ("files", "sha256")} | {"schema": 1}
    (one.path / RECORD).write_text(json.dumps(old))
    with pytest.raises(HeadError, match="another run"):
        list(predict(load_run(one.path), pictures))


def test_a_comparison_is_heard_before_its_page_is_drawn(pictures, cache, tmp_path, monkeypatch):
    from tlfeat.studies import execute

    def fail(*_args, **_options):
        raise TlfeatError("no page today")

    monkeypatch.setattr(execute, "write_page", fail)
    heard = []
    with pytest.raises(TlfeatError, match="no page today"):
        compare(
            pictures, heads=["lda"], features=["last:avg"], size=SIZE, cache=cache,
            reports=tmp_path / "reports", on_ranked=heard.append,
        )  # fmt: skip
    (comparison,) = heard
    assert comparison.best.name.endswith("lda")


def test_pictures_are_looked_over_once_and_beside_the_page(pictures, tmp_path, monkeypatch):
    from tlfeat.studies import execute

    told = []

    def telling(name, word):
        real = getattr(execute, name)

        def told_first(*given, **how):
            told.append(word)
            return real(*given, **how)

        monkeypatch.setattr(execute, name, told_first)

    telling("import_drawing", "imported")  # while pictures are embedded
    telling("look_over", "looked over")
    telling("write_page", "drawn")
    where = {"cache": tmp_path / "cache", "reports": tmp_path / "reports"}
    compare(pictures, heads=["lda"], size=SIZE, **where)
    assert told[0] == "imported"
    assert sorted(told[1:]) == ["drawn", "looked over"]
