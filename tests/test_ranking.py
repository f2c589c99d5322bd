"""Who is best: on the rows that all have, seeds together, and no luckier than the others."""

import json

import numpy as np
import pytest
from made_study import made_rows, make_run, seeded

from tlfeat.errors import DamagedFile
from tlfeat.runs.paired import MCNEMAR, SIGN_FLIP, compare_pairs, pairs_on_test
from tlfeat.runs.predictions import clusters_of, read_predictions
from tlfeat.runs.ranking import rank
from tlfeat.runs.record import PREDICTIONS, RECORD, load_run
from tlfeat.runs.results import best_rows, caption, leaderboard, majority, remarks, write_results
from tlfeat.runs.statistics import run_intervals
from tlfeat.runs.writing import write_predictions, write_record

CLASSES = ["a", "b", "c"]
ROWS = made_rows(CLASSES, {"train": 300, "test": 300})  # validated out of fold


def cells(ranked, title, **options):
    return next(one.cells for one in leaderboard(ranked, **options) if one.title == title)


def of_one_fold(run, fold, folds=5):
    """Leave a run the validation rows of one fold, as fine-tunes have them."""
    parts = []
    metrics = dict(run.metrics)
    for split in ("train", "validation", "test"):
        one = read_predictions(run, split)
        kept = np.arange(len(one)) % folds == fold if split == "validation" else one.true >= 0
        parts.append(
            {
                "id": one.ids[kept].tolist(),
                "digest": one.digests[kept].tolist(),
                "split": [split] * int(kept.sum()),
                "fold": [None] * int(kept.sum()),
                "group": [None] * int(kept.sum()),
                "true": one.true[kept],
                "scores": one.scores[kept],
            }
        )
        right = float(one.correct[kept].mean())
        metrics[split] = {**metrics[split], "n": int(kept.sum()), "accuracy": right}
    write_predictions(run.path / PREDICTIONS, parts)
    return write_record(run.path, {**run.record, "metrics": metrics})


def test_runs_are_ranked_by_the_rows_that_all_have(tmp_path):
    heads = [make_run(tmp_path, f"head{i}", CLASSES, ROWS, skill=1.5, seed=i) for i in range(3)]
    # a fine-tune that is no better than the heads, judged on a fold that is easy for all
    tuned = [
        of_one_fold(
            make_run(tmp_path, f"tune{i}", CLASSES, ROWS, skill=1.5, seed=9, kind="finetune"), i
        )
        for i in range(5)
    ]
    easiest = max(tuned, key=lambda run: run.metrics["validation"]["accuracy"])
    ranked = rank([*heads, easiest])
    fold = tuned.index(easiest)
    for line in ranked:
        predictions = read_predictions(line, "validation")
        mine = predictions.correct if line.name == easiest.name else predictions.correct[fold::5]
        assert line.standing.accuracy == pytest.approx(mine.mean())
        assert line.standing.n == 60
    accuracies = [line.standing.accuracy for line in ranked]
    assert accuracies == sorted(accuracies, reverse=True)
    assert "ranked by 60 train pictures, out of fold (the only ones" in caption(ranked)
    assert cells(ranked, "val %") == [f"{100 * share:.1f}" for share in accuracies]


def test_runs_without_a_row_in_common_say_so(tmp_path):
    ranked = rank(
        [
            of_one_fold(make_run(tmp_path, f"t{i}", CLASSES, ROWS, seed=i, kind="finetune"), i)
            for i in range(2)
        ]
    )
    assert not ranked[0].standing.same_rows
    assert "not the same for all runs" in caption(ranked)


def test_lines_within_a_standard_error_are_tied(tmp_path):
    runs = [
        make_run(tmp_path, name, CLASSES, ROWS, skill=2.0, seed=i) for i, name in enumerate("xyz")
    ]
    runs.append(make_run(tmp_path, "poor", CLASSES, ROWS, skill=0.1, seed=7))
    ranked = rank(runs)
    best = ranked[0].standing
    for line in ranked[1:]:
        within = line.standing.accuracy >= best.accuracy - best.error
        assert (line.standing.place == 1) == within
    assert best.error == pytest.approx(
        np.sqrt(best.accuracy * (1 - best.accuracy) / (best.n - 1)), rel=1e-6
    )
    assert ranked[-1].name == "poor"
    assert not ranked[-1].standing.tied
    assert cells(ranked, "#")[-1] == "4"
    assert best_rows(ranked) == {i for i, line in enumerate(ranked) if line.standing.place == 1}


def test_a_tie_is_named_and_marked(tmp_path):
    runs = [make_run(tmp_path, name, CLASSES, ROWS, skill=2.0, seed=3) for name in ("one", "two")]
    ranked = rank(runs)
    assert cells(ranked, "#") == ["1=", "1="]
    assert "within a standard error of it: two." in caption(ranked)


def test_the_luckiest_seed_does_not_win(tmp_path):
    steady = [seeded(tmp_path, "steady", i, skill=2.2, draw=1) for i in range(3)]
    lucky = [seeded(tmp_path, "lucky", i, skill=s, draw=5) for i, s in enumerate((1.0, 1.0, 4.0))]
    best = max(lucky, key=lambda run: run.metrics["validation"]["accuracy"])
    assert best.metrics["validation"]["accuracy"] > steady[0].metrics["validation"]["accuracy"]
    ranked = rank([*lucky, *steady])
    assert [line.name for line in ranked] == ["steady", "lucky"]
    mean = np.mean([run.metrics["test"]["accuracy"] for run in lucky])
    assert ranked[1].metrics["test"]["accuracy"] == pytest.approx(mean)
    assert len(ranked[1].seeds) == 3
    assert cells(ranked, "seeds")[1].endswith("(3)")


def test_seeds_of_a_fine_tune_are_one_line_whatever_held_rows_chose(tmp_path):
    runs = []
    for seed, chosen in enumerate((0.4, 1.0, 0.0)):
        run = make_run(tmp_path, f"auto-seed{seed}", CLASSES, ROWS, seed=seed, kind="finetune")
        found = {"share": chosen, "temperature": 1 + chosen, "trainable": 7 + seed}
        found |= {"trained_epochs": 8 + seed, "planned": {"epochs": 8 + seed, "cut": None}}
        found |= {"retried": {"epochs": 8}} if not chosen else {}
        phases = [{"mode": "auto", "epochs": 10, **found}]
        runs.append(write_record(run.path, {**run.record, "seed": seed, "phases": phases}))
    (line,) = rank(runs)
    assert len(line.seeds) == 3
    asked = [{**runs[0].phases[0], "epochs": 3}]  # of another run it is not one
    other = write_record(runs[0].path, {**runs[0].record, "phases": asked})
    assert len(rank([other, *runs[1:]])) == 2


def test_copies_by_seed_of_a_head_that_ignores_it_cost_no_power(tmp_path):
    once = [seeded(tmp_path / "one", name, 0, skill=s) for name, s in (("x", 3.0), ("y", 2.0))]
    often = [
        seeded(tmp_path / "many", name, seed, skill=s, draw=0)
        for name, s in (("x", 3.0), ("y", 2.0))
        for seed in range(5)
    ]
    (alone,), (together,) = pairs_on_test(rank(once)), pairs_on_test(rank(often))
    assert together.test == alone.test == MCNEMAR
    assert together.p_adjusted == alone.p_adjusted
    ends = [run_intervals(rank(runs)[0])["test"]["f1_macro"] for runs in (often, once)]
    assert ends[0] == pytest.approx(ends[1])


def test_seeds_that_differ_are_compared_by_their_shares(tmp_path):
    runs = [seeded(tmp_path, "x", seed, skill=3.0) for seed in range(4)]
    runs += [seeded(tmp_path, "y", seed, skill=0.5) for seed in range(4)]
    (pair,) = pairs_on_test(rank(runs))
    means = [np.mean([r.metrics["test"]["accuracy"] for r in runs[i : i + 4]]) for i in (0, 4)]
    assert pair.difference == pytest.approx(means[0] - means[1])
    assert pair.low < pair.difference < pair.high
    assert pair.shown


def test_results_csv_has_every_seed(tmp_path):
    runs = [seeded(tmp_path, "x", seed) for seed in range(3)]
    write_results(tmp_path, runs)
    text = (tmp_path / "results.csv").read_text()
    assert all(f",x-seed{seed}," in text for seed in range(3))


def test_the_same_settings_and_seed_twice_are_two_lines(tmp_path):
    runs = [make_run(tmp_path / str(i), "x", CLASSES, ROWS) for i in range(2)]
    other = write_record(runs[1].path, {**runs[1].record, "id": "f" * 64})
    names = [line.name for line in rank([runs[0], other])]
    assert len(set(names)) == 2
    assert all(name.startswith("x (") for name in names)


def test_copies_of_a_picture_are_one_unit_in_tests_and_intervals():
    digests = np.array(["p", "q", "p", "r", "s"], dtype=object)
    groups = np.array([None, None, "g", "g", None], dtype=object)
    assert clusters_of(digests, groups).tolist() == [0, 1, 0, 0, 2]
    assert clusters_of(digests[1:2], groups[1:2]) is None


def test_three_copies_of_each_picture_make_no_difference_surer(tmp_path):
    pictures = made_rows(CLASSES, {"train": 20, "validation": 20, "test": 60})
    p = {}
    for kind, times in (("once", 1), ("thrice", 3)):
        predictions = []
        for skill, seed in ((2.6, 0), (1.6, 1)):
            run = make_run(tmp_path / kind, f"r{seed}", CLASSES, pictures, skill=skill, seed=seed)
            one = read_predictions(run, "test")
            predictions.append(
                type(one)(
                    np.repeat(one.ids, times) + np.tile(np.arange(times).astype(str), len(one)),
                    np.repeat(one.digests, times),
                    np.repeat(one.groups, times),
                    np.repeat(one.true, times),
                    np.repeat(one.predicted, times),
                )
            )
        (pair,) = compare_pairs(["a", "b"], predictions)
        p[kind] = pair
    assert p["thrice"].test == SIGN_FLIP
    assert p["thrice"].p == pytest.approx(p["once"].p, abs=0.03)
    assert p["thrice"].high - p["thrice"].low > 0.8 * (p["once"].high - p["once"].low)


def test_a_run_without_validation_is_no_run(tmp_path):
    run = make_run(tmp_path, "x", CLASSES, ROWS)
    metrics = {"train": run.metrics["train"]}
    with pytest.raises(DamagedFile, match=r"metrics\.validation is not there"):
        write_record(run.path, {**run.record, "metrics": metrics})
    with pytest.raises(DamagedFile):
        load_run(run.path)


def test_runs_that_were_there_are_marked(tmp_path):
    ranked = rank([make_run(tmp_path, name, CLASSES, ROWS, seed=i) for i, name in enumerate("xy")])
    marked = leaderboard(ranked, beside={ranked[0].name})
    assert [cell.endswith(" *") for cell in marked[1].cells] == [True, False]
    assert "* was in the study's folder" in remarks(ranked, {ranked[0].name})[0]
    assert not any(line.startswith("*") for line in remarks(ranked))


def test_sizes_stand_in_the_table_and_the_sentence_where_they_differ(tmp_path):
    one = make_run(tmp_path, "one", CLASSES, ROWS)
    other = make_run(tmp_path, "two", CLASSES, ROWS, seed=1)
    assert not any(column.title == "px" for column in leaderboard(rank([one, other])))
    small = {**other.record["pictures"], "size": 96}
    ranked = rank([one, write_record(other.path, {**other.record, "pictures": small})])
    assert sorted(cells(ranked, "px")) == ["224", "96"]
    assert "of 96 or 224 pixels a side" in caption(ranked)


def test_uneven_classes_have_a_baseline_and_a_warning(tmp_path):
    rows = [row for row in ROWS if row.label != 2 or row.id.endswith(("02.png", "05.png"))]
    run = make_run(tmp_path, "x", CLASSES, rows)
    baseline = majority(rank([run])[0])
    assert baseline.largest == "a"
    titles = [column.title for column in leaderboard(rank([run]))]
    assert titles.index("balanced %") < titles.index("test %")
    n = sum(row.split == "test" for row in rows)
    share = sum(row.split == "test" and row.label == 0 for row in rows) / n
    assert cells(rank([run]), "test %")[-1] == f"{100 * share:.1f}"
    assert cells(rank([run]), "balanced %")[-1] == "33.3"
    assert any("Classes are uneven" in line for line in remarks(rank([run])))
    assert majority(rank([make_run(tmp_path / "even", "x", CLASSES, ROWS)])[0]) is None


def test_test_pictures_that_are_in_train_are_counted_and_left_out(tmp_path):
    train = {row.id: row for row in ROWS if row.split == "train"}
    copied = iter(train.values())
    rows = [
        row._replace(digest=next(copied).digest) if row.split == "test" and i % 10 == 0 else row
        for i, row in enumerate(ROWS)
    ]
    run = make_run(tmp_path, "x", CLASSES, rows)
    said = next(line for line in remarks(rank([run])) if "in train too" in line)
    known = {row.digest for row in train.values()}
    test = read_predictions(run, "test")
    clean = np.array([digest not in known for digest in test.digests])
    assert said.startswith(f"{np.count_nonzero(~clean)} of 300 test pictures")
    assert f"without them x has {100 * test.correct[clean].mean():.1f}% right" in said


def of_older_version(run, **fields):
    kept = {k: v for k, v in run.record.items() if k not in ("files", "sha256")}
    (run.path / RECORD).write_text(json.dumps(kept | {"schema": 1} | fields))
    return load_run(run.path)


def test_runs_of_an_older_version_are_marked_unchecked(tmp_path):
    old = of_older_version(make_run(tmp_path, "x", CLASSES, ROWS))
    assert any(line.startswith("Unchecked") for line in remarks(rank([old])))


def test_the_log_loss_of_an_older_run_is_that_of_its_predictions(tmp_path):
    run = make_run(tmp_path, "x", CLASSES, ROWS)
    metrics = {name: {**one, "log_loss": 9.0} for name, one in run.metrics.items()}
    (line,) = rank([of_older_version(run, metrics=metrics)])
    assert line.metrics["test"]["log_loss"] == pytest.approx(run.metrics["test"]["log_loss"])


def test_of_several_seeds_the_mean_is_said_without_leaked_pictures(tmp_path):
    runs = []
    for seed, skill in enumerate((0.2, 4.0)):
        run = seeded(tmp_path, "x", seed, skill=skill)
        parts = []
        for split in ("train", "validation", "test"):
            one = read_predictions(run, split)
            digests = one.digests.tolist()
            if split == "train":
                digests[0] = read_predictions(run, "test").digests[0]
            parts.append(
                {
                    "id": one.ids.tolist(),
                    "digest": digests,
                    "split": [split] * len(one),
                    "fold": [None] * len(one),
                    "group": [None] * len(one),
                    "true": one.true,
                    "scores": one.scores,
                }
            )
        write_predictions(run.path / PREDICTIONS, parts)
        runs.append(write_record(run.path, run.record))
    said = next(line for line in remarks(rank(runs)) if "in train too" in line)
    share = np.mean([read_predictions(run, "test").correct[1:].mean() for run in runs])
    assert f"without them x has {100 * share:.1f}% right" in said


def test_seeds_that_were_not_asked_for_stay_apart(tmp_path):
    runs = [seeded(tmp_path, "x", seed) for seed in range(3)]
    lines = rank(runs, asked={runs[1].id})
    assert sorted([run.id for run in line.seeds] for line in lines) == sorted(
        [[runs[1].id], [runs[0].id, runs[2].id]]
    )


def test_what_was_not_measured_is_no_cost(tmp_path):
    seconds = {"extract": None, "search": 1.0, "fit": 2.0, "predict": 0.1}
    run = make_run(tmp_path, "x", CLASSES, ROWS, seconds=seconds, ms_per_image=None)
    ranked = rank([run])
    assert cells(ranked, "train s") == cells(ranked, "ms/image") == ["-"]
    assert any("not measured on this machine" in line for line in remarks(ranked))
