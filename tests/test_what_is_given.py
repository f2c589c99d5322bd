"""What public functions take: a text for a sequence of one, a path for pictures, a name for a run.

What they refuse they refuse at once, with a sentence.
"""

import inspect

import pytest
from conftest import SIZE

import tlfeat


@pytest.fixture
def where(cache, tmp_path, monkeypatch):
    monkeypatch.setenv("TLFEAT_CACHE", str(cache))
    monkeypatch.setenv("TLFEAT_REPORTS", str(tmp_path / "reports"))
    return {"cache": cache, "reports": tmp_path / "reports"}


def test_a_text_is_one_head_one_network_one_size(pictures, where):
    given = {"size": SIZE, **where}
    network = "efficientnet-lite0"
    one = tlfeat.compare(pictures, network, "lda", features="last:avg", shots=5, **given)
    listed = tlfeat.compare(
        pictures, [network], ["lda"], features=["last:avg"], shots=["5"], **given
    )
    assert [run.name for run in one.runs] == [run.name for run in listed.runs]
    assert listed.fresh == 0
    assert len(one.shots) == len(listed.shots) == 1


def test_a_network_with_settings_needs_no_list(pictures, where):
    settings = tlfeat.FeatureSettings(size=SIZE, features="last:avg")
    assert tlfeat.compare(pictures, settings, "lda", features="last:avg", **where).fresh == 1


def test_a_signature_names_what_is_taken_and_nothing_else(pictures):
    named = inspect.signature(tlfeat.compare).parameters
    assert "backbone" not in named
    assert {"backbones", "size", "cache"} <= set(named)
    with pytest.raises(TypeError, match="backbone"):
        tlfeat.compare(pictures, backbone="efficientnet-lite0")


def test_pictures_are_looked_through_where_they_lie(pictures, where, tmp_path):
    (bad := next(pictures.rglob("*.png"))).write_bytes(b"no picture")
    (broken,) = tlfeat.find_broken(pictures)
    assert broken.id.endswith(bad.name)
    assert [one.id for one in tlfeat.find_broken(tlfeat.open_dataset(pictures))] == [broken.id]


def test_pictures_are_drawn_from_where_they_lie(pictures, where, tmp_path):
    first, second = (
        tlfeat.draw_augmented(given, augment, SIZE, tmp_path / f"{number}.png").read_bytes()
        for number, (given, augment) in enumerate(
            [(pictures, "flip"), (tlfeat.open_dataset(pictures), ["flip"])]
        )
    )
    assert first == second


def test_a_run_is_found_by_its_name(pictures, where, tmp_path):
    run = tlfeat.train(pictures, head="lda", size=SIZE, **where)
    picture = next(pictures.rglob("*.png"))
    wanted = list(tlfeat.predict(run, picture))
    assert list(tlfeat.predict(run.study.name, picture)) == wanted
    assert list(tlfeat.predict(run.path, picture)) == wanted
    shown = next(tlfeat.explain(run.study.name, picture))
    assert shown.logit == next(tlfeat.explain(run, picture)).logit
    done = tlfeat.export(run.study.name, "onnx", out=tmp_path / "model")
    (one,) = tlfeat.predict(str(done.folder), picture)
    assert one.label == wanted[0].label
    with pytest.raises(tlfeat.TlfeatError, match="No run or study is called 'nothing'"):
        next(tlfeat.predict("nothing", picture))


@pytest.mark.parametrize(
    "wrong", [{"jobs": 0}, {"jobs": True}, {"engine": "cuda"}], ids=lambda wrong: str(wrong)
)
def test_threads_and_engines_that_cannot_be_are_refused_at_once(wrong, tmp_path):
    (name,) = wrong
    with pytest.raises(tlfeat.TlfeatError, match=f"{name} must be"):
        tlfeat.Where(**wrong)
    with pytest.raises(tlfeat.TlfeatError, match=f"{name} must be"):
        tlfeat.compare(tmp_path / "nowhere", **wrong)  # before any picture is looked for


def test_one_setting_of_a_study_is_a_text():
    path = tlfeat.list_studies()[0].path
    one, listed = (
        tlfeat.read_study(path, quick=True, settings=given)
        for given in ("data.limit=50", ["data.limit=50"])
    )
    assert one == listed
    assert one.data["limit"] == 50
