"""Views: changed copies of the training pictures, of which activations are kept at a cut."""

import re

import keras
import numpy as np
import pytest

from tlfeat.backbones.table import get_backbone
from tlfeat.backbones.weights import resolve_weights
from tlfeat.data.dataset import open_dataset
from tlfeat.data.resize import Resize
from tlfeat.errors import TlfeatError
from tlfeat.features.store import FeatureStore
from tlfeat.finetuning.assemble import assemble
from tlfeat.finetuning.augment import build_augmentation, read_augmentations
from tlfeat.finetuning.inputs import Inputs
from tlfeat.finetuning.modes import find_cut
from tlfeat.finetuning.pictures import Pictures
from tlfeat.finetuning.plan import Phase
from tlfeat.finetuning.settings import Classifier
from tlfeat.finetuning.views import DrawnViews, ViewedRows, ViewRule, first_views, viewed
from tlfeat.studies.finetune import finetune
from tlfeat.watch import SILENT, Watch

LITE = get_backbone("efficientnet-lite0")
CHANGES = read_augmentations(["flip", "crop", "contrast"])


@pytest.fixture
def some(pictures):
    """Give a dataset, its pictures, and a function that gives their views under a seed."""
    dataset = open_dataset(pictures)
    squares = Pictures(dataset, 32, Resize(), watch=SILENT)
    augment = build_augmentation(CHANGES, 32)

    def views(rows, n=2, *, seed=0, changes=CHANGES):
        source = DrawnViews(squares, augment, ViewRule(changes, 32, Resize(), seed))
        return viewed(dataset, source, np.array(rows), n)

    return squares, views


def drawn(views):
    return {sample.id: views.read(sample) for sample in views.samples}


def test_a_view_is_the_same_whatever_it_is_drawn_beside(some):
    squares, views = some
    all_of_them, one = drawn(views(range(6))), drawn(views([4], 1))
    ((name, pixels),) = one.items()
    np.testing.assert_array_equal(all_of_them[name], pixels)
    assert pixels.shape == (32, 32, 3)
    assert pixels.dtype == np.uint8
    assert len({picture.tobytes() for picture in all_of_them.values()}) == 12
    assert name == f"{squares.samples[4].id}, view 1"


def test_what_changes_a_view_changes_its_key(some):
    _, views = some
    keys = [
        {sample.digest for sample in one.samples}
        for one in (views([0, 1]), views([0, 1], seed=1), views([0, 1], changes=CHANGES[:2]))
    ]
    assert all(len(one) == 4 for one in keys)
    assert len(set.union(*keys)) == 12
    assert keys[0] == {sample.digest for sample in views([1, 0]).samples}


class Numbered:
    """Rows of a view that are (row, number of the view)."""

    shape, dtype = (2,), np.dtype(np.float32)

    def __init__(self, number):
        self.number = number

    def take(self, batches):
        for batch in batches:
            yield np.column_stack([batch, np.full(len(batch), self.number)]).astype(np.float32)


def test_each_epoch_takes_another_view_of_each_picture():
    n, rows = 3, np.array([5, 0, 7, 2])
    taken = ViewedRows(Numbered(-1), [Numbered(i) for i in range(n)], first_views(8, n, 0))
    epochs = [next(taken.of_epoch(epoch).take([rows])) for epoch in range(1, n + 1)]
    for one in epochs:
        np.testing.assert_array_equal(one[:, 0], rows)
    views = np.stack([one[:, 1] for one in epochs])
    assert all(sorted(column) == [0, 1, 2] for column in views.T)
    assert len(set(views[0])) > 1  # not the same one of all pictures
    np.testing.assert_array_equal(next(taken.take([rows]))[:, 1], -1)
    again = next(taken.of_epoch(1 + n).take([rows]))
    np.testing.assert_array_equal(again, epochs[0])


@pytest.fixture
def train(pictures, cache, tmp_path):
    def go(*phases, **settings):
        usual = {"size": 32, "batch": 8, "cache": cache, "reports": tmp_path / "reports"}
        usual |= {"augment": ["flip", "contrast"], "cut_views": 2}
        return finetune(pictures, "efficientnet-lite0", phases, **{**usual, **settings})

    return go


def entries(cache):
    store = FeatureStore(cache)
    return {path.name: store.open(path.name).rows for path in (cache / "features").iterdir()}


def test_views_are_embedded_once(train, cache, tmp_path, monkeypatch):
    phase = Phase("partial", 2)
    run = train(phase, cut_dtype="float32")
    n_train = run.n_train
    (rows,) = [n for name, n in entries(cache).items() if "stage4" in name]
    assert rows == 2 * n_train + run.metrics["validation"]["n"]
    assert run.record["later_settings"] == {"cut_views": 2}
    assert "views2" in run.name

    monkeypatch.setattr(
        "tlfeat.features.extract.embed_pictures", lambda *_, **__: pytest.fail("again")
    )
    again = train(phase, cut_dtype="float32", reports=tmp_path / "again")
    losses = [[row["loss"] for row in one.record["history"]] for one in (run, again)]
    assert losses[0] == losses[1]


@pytest.mark.slow
@pytest.mark.parametrize("resize", ["squash", "crop"])
def test_what_is_trained_on_is_what_the_views_themselves_give(
    train, pictures, monkeypatch, resize
):
    of, seen = Inputs.of, []

    def hear(self, phase):
        seen.append((self, *of(self, phase)))
        return seen[-1][1:]

    monkeypatch.setattr(Inputs, "of", hear)
    train(Phase("partial", 1), cut_dtype="float32", resize=resize)
    inputs, cut, rows = seen[0]
    squares = Pictures(open_dataset(pictures), 32, Resize(rule=resize), watch=SILENT)
    changes = read_augmentations(["flip", "contrast"])
    source = DrawnViews(
        squares, build_augmentation(changes, 32), ViewRule(changes, 32, Resize(rule=resize), 0)
    )
    train_rows = inputs._data.parts["train"].rows
    some = train_rows[[5, 0, len(train_rows) - 1, 9]]
    turns = (first_views(len(squares.samples), 2, 0)[some] + 1) % 2
    drawn = [source.read((row, turn)) for row, turn in zip(some, turns, strict=True)]
    base = assemble(LITE, 32, resolve_weights(LITE), 3, Classifier()).base
    below = keras.Model(base.input, find_cut(LITE, base, "stage4")[1])
    scaled = (np.stack(drawn).astype(np.float32) - 127) / 128
    (given,) = rows.of_epoch(1).take([some])
    np.testing.assert_allclose(given, below.predict(scaled, verbose=0), atol=1e-3)
    assert cut.layer == "stage4"


def test_a_frozen_phase_takes_views_of_the_features(train, cache):
    run = train(Phase("frozen", 3))
    rows = {name: n for name, n in entries(cache).items() if "last-avg" in name}
    assert list(rows.values()) == [2 * run.n_train + run.metrics["validation"]["n"]]
    assert len(run.record["history"]) == 3  # in steps: the solver knows nothing of views


@pytest.mark.slow
def test_a_run_that_is_broken_off_goes_on_with_its_views(train, tmp_path, monkeypatch):
    phases = [Phase("partial", 3), Phase("full", 1)]
    of, seen = Inputs.of, []
    monkeypatch.setattr(Inputs, "of", lambda self, phase: seen.append(of(self, phase)) or seen[-1])
    whole = train(*phases)
    assert [type(rows) for _, rows in seen] == [ViewedRows, Pictures]  # changed in both
    take, epochs = ViewedRows.of_epoch, []

    def stop_at_the_second(self, epoch):
        epochs.append(epoch)
        if len(epochs) == 2:
            raise KeyboardInterrupt
        return take(self, epoch)

    monkeypatch.setattr(ViewedRows, "of_epoch", stop_at_the_second)
    with pytest.raises(KeyboardInterrupt):
        train(*phases, reports=tmp_path / "broken")
    monkeypatch.setattr(ViewedRows, "of_epoch", take)
    (file,) = (tmp_path / "broken").rglob("resume.npz")
    with np.load(file) as kept:  # of the weights only those that may have changed
        n_kept = sum(kept[name].size for name in kept.files if name.startswith("weights."))
    assert whole.phases[0]["trainable"] < n_kept < 0.95 * whole.parameters.total
    resumed = train(*phases, reports=tmp_path / "broken", resume=True)
    for one, two in zip(whole.record["history"], resumed.record["history"], strict=True):
        assert one["loss"] == two["loss"]
        assert one["val_loss"] == two["val_loss"]


def test_it_is_said_once_how_much_is_kept(train):
    notes = []

    class Notes(Watch):
        def note(self, text):
            notes.append(text)

    train(Phase("partial", 1), budget="10m", watch=Notes())
    said = [text for text in notes if "views of" in text]
    assert len(said) == 1
    assert re.fullmatch(r"2 views of \d+ pictures are kept .*: \d+ MB in the cache.*", said[0])


def test_views_that_would_fill_the_budget_are_refused_before_they_are_made(train, cache):
    with pytest.raises(TlfeatError, match=r"1000 views .* take about .* left of the budget"):
        train(Phase("partial", 1), budget="20s", cut_views=1000)
    assert all(rows < 100 for rows in entries(cache).values())


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"augment": []}, "say how by augment"),
        ({"augment": ["flip", "mixup"]}, "mixup mixes the pictures of a batch"),
        ({"cut_dtype": None}, "keeps nothing of a cut"),
        ({"phases": ["full"]}, "no phase trains above a cut"),
        ({"phases": ["auto"]}, "no phase trains above a cut"),
        ({"phases": ["full", "partial"]}, "no phase trains above a cut"),
        (
            {"precision": "mixed"},
            "nothing is kept below a cut of efficientnet-lite0 in precision",
        ),
    ],
)
def test_views_are_refused_where_nothing_would_be_kept_of_them(train, settings, words):
    phases = [Phase(mode) for mode in settings.pop("phases", ["partial"])]
    with pytest.raises(TlfeatError, match="cut_views is 2, but") as error:
        train(*phases, **settings)
    assert words in str(error.value)
