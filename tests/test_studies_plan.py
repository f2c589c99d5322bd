"""A study file is read, or answered with what is wrong in it and where, before anything runs."""

import sys
import tomllib

import pytest

from tlfeat.errors import TlfeatError
from tlfeat.studies.builtin import find_study, get_study, list_studies
from tlfeat.studies.plan import parse_study, read_study

GOOD = """
schema = 1
name = "colours"
table = "curves"

[data]
path = "photos"

[defaults]
size = 64
batch = 16
seed = 3

[[run]]
name = "heads-{head}"
head = ["logistic", "mlp"]
features = "stage4:grid2"

[[run]]
name = "fine-{start}"
start = [1, 2, 4]
from = "transfer@{start}"
[[run.phase]]
mode = "full"
epochs = 5
learning_rate = 1e-6

[[run]]
name = "transfer"
augment = [{name = "flip", mode = "horizontal"}]
[[run.phase]]
mode = "frozen"
epochs = 4
schedule = {name = "cosine-restarts", first_decay_steps = 5000, t_mul = 2.0, m_mul = 0.75}

[quick]
data.limit = 200
run.transfer.epochs = 2
"""


def study(text=GOOD, **how):
    return parse_study(text, "colours.toml", **how)


def names(found):
    return [run.name for run in found.runs]


def test_a_list_is_a_grid_and_names_take_up_keys():
    assert names(study()) == [
        "heads-logistic", "heads-mlp", "fine-1", "fine-2", "fine-4", "transfer"
    ]  # fmt: skip


def test_two_lists_give_every_combination_the_first_varying_slowest():
    text = GOOD.replace('"stage4:grid2"', '["last:avg", "stage4:grid2"]')
    text = text.replace("heads-{head}", "{head}-{features}")
    assert names(study(text))[:4] == [
        "logistic-last:avg", "logistic-stage4:grid2", "mlp-last:avg", "mlp-stage4:grid2"
    ]  # fmt: skip


def test_the_first_name_of_a_key_is_still_read():
    text = GOOD.replace(
        "[quick]",
        '[[run]]\nname = "by-{optimiser}"\nmode = "full"\noptimiser = ["adam", "sgd"]\n[quick]',
    )
    found = study(text, settings=["run.transfer.optimiser=adamw", "run.by-adam.optimiser=adamw"])
    optimizers = {run.name: run.training.phases[0].optimizer.name for run in found.runs[-3:]}
    assert optimizers == {"transfer": "adamw", "by-adam": "adamw", "by-sgd": "sgd"}


def test_a_list_in_a_phase_is_a_grid_too():
    text = GOOD.replace('"fine-{start}"', '"fine-{start}-{learning_rate}"')
    text = text.replace("learning_rate = 1e-6", "learning_rate = [1e-6, 1e-4]")
    fine = [run for run in study(text).runs if run.start]
    assert [run.name for run in fine][:2] == ["fine-1-1e-06", "fine-1-0.0001"]
    assert [run.training.phases[0].learning_rate for run in fine][:2] == [1e-6, 1e-4]


def test_runs_get_the_defaults_that_fit_them():
    head, _, _, fine, _, transfer = study().runs
    assert (head.network.size, head.network.seed, head.head.seed) == (64, 3, 3)
    assert (transfer.training.batch, transfer.network.size, transfer.network.seed) == (16, 64, 3)
    assert fine.network.size == 64


def test_a_run_comes_after_the_one_that_it_starts_from():
    order = [run.name for run in study().order]
    assert order.index("transfer") < order.index("fine-1")
    assert {run.name: run.epoch for run in study().runs if run.parent} == {
        "fine-1": 1, "fine-2": 2, "fine-4": 4
    }  # fmt: skip


def test_checkpoints_are_kept_where_a_run_starts_from_one():
    keep = {run.name: run.keep for run in study().runs}
    assert (keep["transfer"], keep["fine-1"]) == ("all", "last")


def test_choices_are_read_with_their_settings():
    transfer = study().runs[-1]
    assert transfer.training.augment[0].as_dict() == {"name": "flip", "mode": "horizontal"}
    assert transfer.training.phases[0].schedule.as_dict()["m_mul"] == 0.75


def test_quick_changes_what_it_says_and_says_so():
    quick = study(quick=True)
    assert quick.name == "colours-quick"
    assert quick.data["limit"] == 200
    assert quick.changes == ("data.limit = 200", "run.transfer.epochs = 2 (was 4)")
    assert study().data.get("limit") is None


def test_quick_leaves_out_what_starts_after_the_last_epoch():
    quick = study(quick=True)
    assert "fine-4" not in names(quick)
    assert quick.left_out == {"fine-4": "it starts after epoch 4 of transfer, which has 2"}


def test_quick_may_cut_a_grid():
    text = GOOD + 'run."fine-{start}".start = [1]\n'
    assert [run.name for run in study(text, quick=True).runs if run.start] == ["fine-1"]
    assert not study(text, quick=True).left_out


def test_set_wins_over_quick():
    quick = study(quick=True, settings=["data.limit=50", "run.heads-{head}.head=lda"])
    assert quick.data["limit"] == 50
    assert names(quick)[0] == "heads-lda"


@pytest.mark.parametrize(
    ("setting", "run", "epochs"),
    [
        ("run.fine-{start}.epochs=3", "fine-1", 3),
        ("run.fine-2.epochs=7", "fine-2", 7),
        ("run.fine-*.phase.1.epochs=9", "fine-4", 9),
        ('run."transfer".epochs = 8', "transfer", 8),
    ],
)
def test_one_run_a_grid_or_a_pattern_can_be_changed(setting, run, epochs):
    found = {one.name: one for one in study(settings=[setting]).runs}
    assert found[run].training.phases[0].epochs == epochs
    assert found["heads-mlp"].head.head == "mlp"


def test_a_change_of_one_run_leaves_the_rest_of_its_grid_alone():
    found = {one.name: one for one in study(settings=["run.fine-2.epochs=7"]).runs}
    assert found["fine-1"].training.phases[0].epochs == 5


def test_another_network_than_the_file_names_is_a_stand_in_and_so_is_what_starts_from_it():
    found = study(settings=["defaults.backbone=mobilenet_v2"]).runs
    assert {run.stand_in for run in found} == {"mobilenet_v2 instead of efficientnet-lite0"}
    assert {run.network.backbone for run in found} == {"mobilenet_v2"}
    random = study(settings=["defaults.weights=random"]).runs
    assert {run.stand_in for run in random} == {"random weights instead of imagenet"}
    assert {run.stand_in for run in study().runs} == {None}


def test_defaults_of_a_top_are_not_of_runs_that_start_from_another():
    text = GOOD.replace("seed = 3", 'seed = 3\nhidden = "32"', 1)
    found = {run.name: run for run in study(text).runs}
    assert found["transfer"].training.classifier.hidden == (32,)
    assert found["fine-1"].training.classifier is None


def test_a_run_has_the_precision_of_the_run_that_it_starts_from():
    text = GOOD.replace("seed = 3", 'seed = 3\nprecision = "mixed"', 1)
    assert {run.network.precision for run in study(text).runs} == {"mixed"}
    assert {run.network.precision for run in study().runs} == {"float32"}
    said = GOOD.replace("start = [1, 2, 4]", 'start = [1, 2, 4]\nprecision = "float32"')
    assert {run.network.precision for run in study(said).runs} == {"float32"}


def test_data_can_be_somewhere_else():
    assert study(data="elsewhere").data["path"] == "elsewhere"
    assert study(data="elsewhere").named_data == "photos"


# what is wrong, the text that is put for another, what the answer must say
WRONG = {
    "not TOML": ("schema = 1", "schema = = 1", ["not TOML", "line 2"]),
    "another schema": ("schema = 1", "schema = 7", ["schema is 7", "schema = 1"]),
    "no name": ('name = "colours"', "", ["no name"]),
    "unknown table at the top": ("[defaults]", "[default]", ["'default'", "'defaults'"]),
    "unknown kind of tables": ('"curves"', '"curve"', ["'curve'", "'curves'"]),
    "no data": ("[data]\npath =", "[defaults.data]\npath =", ["no [data]"]),
    "unknown key of data": ('path = "photos"', 'pth = "photos"', ["[data]", "'pth'", "'path'"]),
    "no path": ('path = "photos"', "limit = 3", ["[data]", "path"]),
    "a limit that is no number": (
        'path = "photos"',
        'path = "photos"\nlimit = "few"',
        ["[data]", "limit", "whole number", '"few"'],
    ),
    "unknown key of defaults": ("batch = 16", "bach = 16", ["[defaults]", "'bach'", "'batch'"]),
    "a grid in defaults": ("batch = 16", "batch = [16, 32]", ["[defaults]", "batch", "a run"]),
    "single brackets": ("[[run.phase]]", "[run.phase]", ["run 'fine-{start}'", "[[run.phase]]"]),
    "a run without a name": ('name = "transfer"\n', "", ["run number 3", "name"]),
    "unknown key of a run": (
        "features =",
        "feature =",
        ["run 'heads-{head}'", "'feature'", "'features'"],
    ),
    "a key misspelt that is as near to another": (
        "head = [",
        "heed = [",
        ["run 'heads-{head}'", "'heed'", "mean 'head'"],
    ),
    "the name misspelt": (
        'name = "transfer"',
        'nam = "transfer"',
        ["number 3", "'nam'", "'name'"],
    ),
    "a split misspelt": (
        'path = "photos"',
        'path = "photos"\nsplits = {trian = "a", test = "b"}',
        ["[data] splits", "'trian'", "'train'"],
    ),
    "a column misspelt": (
        'path = "photos"',
        'path = "photos"\ncolumns = {lable = "species"}',
        ["[data] columns", "'lable'", "'label'"],
    ),
    "unknown key of a phase": (
        "epochs = 4",
        "epoch = 4",
        ["run 'transfer', phase 1", "'epoch'", "'epochs'"],
    ),
    "a wrong type in a phase": (
        "epochs = 4",
        'epochs = "four"',
        ["run 'transfer', phase 1", "epochs", "whole number", '"four"'],
    ),
    "a fine-tune's key on a head": (
        'features = "stage4:grid2"',
        "epochs = 3",
        ["run 'heads-{head}'", "epochs", "fine-tune"],
    ),
    "a head's key on a fine-tune": (
        "augment =",
        "search = false\naugment =",
        ["run 'transfer'", "search"],
    ),
    "neither head nor mode": (
        '[[run]]\nname = "transfer"',
        '[[run]]\nname = "empty"\n[[run]]\nname = "transfer"',
        ["run 'empty'", "neither a head nor a mode"],
    ),
    "a text that takes up nothing": (
        '"transfer@{start}"',
        '"transfer@{stat}"',
        ["run 'fine-{start}'", "'start'"],
    ),
    "a grid without its key in the name": (
        '"fine-{start}"',
        '"fine"',
        ["'fine'", "{start}"],
    ),
    "two runs of one name": ('name = "transfer"', 'name = "heads-mlp"', ["'heads-mlp'"]),
    "unknown parent": (
        "transfer@{start}",
        "transfr@{start}",
        ["run 'fine-1'", "'transfr'", "'transfer'"],
    ),
    "an epoch that is none": (
        "transfer@{start}",
        "transfer@last{start}",
        ["run 'fine-1'", "'last1'", "epoch"],
    ),
    "an epoch beyond the parent's": (
        "start = [1, 2, 4]",
        "start = [1, 40]",
        ["run 'fine-40'", "epoch 40", "has 4"],
    ),
    "from a head": (
        "transfer@{start}",
        "heads-mlp@{start}",
        ["run 'fine-1'", "heads-mlp trains a head"],
    ),
    "round in a circle": (
        'name = "transfer"',
        'name = "transfer"\nfrom = "fine-1"',
        ["circle", "fine-1 -> transfer -> fine-1"],
    ),
    "unknown head": ('"mlp"]', '"mpl"]', ["run 'heads-mpl'", "'mpl'", "'mlp'"]),
    "unknown network": (
        "size = 64",
        'backbone = "mobilnet"',
        ["run 'heads-logistic'", "'mobilnet'", "'mobilenet'"],
    ),
    "unknown schedule": (
        '"cosine-restarts"',
        '"cosine-restart"',
        ["run 'transfer', phase 1", "'cosine-restart'", "'cosine-restarts'"],
    ),
    "unknown setting of a schedule": ("m_mul", "m_mull", ["phase 1", "'m_mull'", "'m_mul'"]),
    "unknown augmentation": ('"flip"', '"flop"', ["run 'transfer'", "'flop'", "'flip'"]),
    "unknown mode": ('"frozen"', '"froze"', ["run 'transfer', phase 1", "'froze'", "'frozen'"]),
    "unknown features": ("stage4:grid2", "stage9:grid2", ["heads-logistic", "'stage9'", "stage"]),
    "a stage misspelt": ("stage4:grid2", "stag4:grid2", ["heads-logistic", "'stag4'", "stage4"]),
    "a cut misspelt": (
        'mode = "frozen"',
        'mode = "partial"\ncut = "stag4"',
        ["run 'transfer'", "cut", "'stag4'", "stage4"],
    ),
    "a crop out of less": (
        'mode = "horizontal"}',
        'mode = "horizontal"}, {name = "crop", height = 60, width = 70}',
        ["run 'transfer'", "64 pixels", "60x70"],
    ),
    "smoothing without cross-entropy": (
        'mode = "frozen"',
        'mode = "frozen"\nlabel_smoothing = 0.1\n[[run]]\nname = "x"\nloss = "mse"\n'
        'label_smoothing = 0.1\nmode = "full"',
        ["run 'x'", "cross-entropy"],
    ),
    "another size than what it starts from": (
        "start = [1, 2, 4]",
        "start = [1, 2, 4]\nsize = 96",
        ["run 'fine-1'", "size = 96", "made for 64"],
    ),
    "another precision than what it starts from": (
        "start = [1, 2, 4]",
        'start = [1, 2, 4]\nprecision = "mixed"',
        ["run 'fine-1'", "precision = 'mixed'", "transfer computes in float32"],
    ),
    "the network's own top on a run": (
        "start = [1, 2, 4]",
        'start = [1, 2, 4]\ntop = "own"',
        ["run 'fine-1'", "top = 'own'"],
    ),
    "too small for the network": ("size = 64", "size = 8", ["heads-logistic", "size", "32"]),
    "unknown setting of a head": (
        'features = "stage4:grid2"',
        'set = {"head.c" = 1}',
        ["run 'heads-logistic'", "'c'", "'C'"],
    ),
    "runs that differ in their names only": (
        'name = "transfer"',
        'name = "again"\nmode = "frozen"\nepochs = 1\n[[run]]\nname = "once-more"\n'
        'mode = "frozen"\nepochs = 1\n[[run]]\nname = "transfer"',
        ["'again'", "'once-more'", "names only"],
    ),
    "quick of nothing": ("data.limit = 200", "dta.limit = 200", ["[quick]", "'dta'", "'data'"]),
    "quick of an unknown run": (
        "run.transfer.epochs",
        "run.transfr.epochs",
        ["[quick]", "'transfr'", "'transfer'"],
    ),
    "quick of an unknown key": (
        "run.transfer.epochs",
        "run.transfer.epoch",
        ["[quick]", "'epoch'", "'epochs'"],
    ),
}


@pytest.mark.parametrize("case", WRONG)
def test_a_mistake_is_answered_with_its_place_and_the_nearest_key(case):
    old, new, wanted = WRONG[case]
    assert old in GOOD
    with pytest.raises(TlfeatError) as error:
        study(GOOD.replace(old, new, 1), quick=case.startswith("quick"))
    said = str(error.value)
    assert "colours.toml" in said
    for words in wanted:
        assert words in said


@pytest.mark.parametrize(
    ("setting", "wanted"),
    [
        ("defaults.backbone", ["KEY=VALUE"]),
        ("default.size=32", ["'default'", "'defaults'"]),
        ("defaults.sise=32", ["'sise'", "'size'"]),
        ("defaults.size=big", ["defaults.size", "whole number", '"big"']),
        ("run.transfr.epochs=2", ["'transfr'", "'transfer'"]),
        ("run.transfer.epoch=2", ["'epoch'", "'epochs'"]),
        ("run.transfer.phase.2.epochs=2", ["1 phases", "no phase 2"]),
        ("data=photos", ["data.KEY"]),
        ("size=32", ["'size'", "mean 'defaults.size'"]),
        ("limt=32", ["'limt'", "mean 'data.limit'"]),
        ("head.C=1", ["'head.C'", "run.NAME.set.head.C"]),
    ],
)
def test_a_setting_that_cannot_be_is_answered_too(setting, wanted):
    with pytest.raises(TlfeatError) as error:
        study(settings=[setting])
    for words in wanted:
        assert words in str(error.value)


def test_a_file_without_quick_says_so():
    with pytest.raises(TlfeatError, match="no section"):
        study(GOOD[: GOOD.index("[quick]")], quick=True)


def test_quick_is_looked_at_even_where_it_is_not_used():
    with pytest.raises(TlfeatError, match=r"\[quick\].*'dta'"):
        study(GOOD.replace("data.limit", "dta.limit"))


@pytest.mark.parametrize("built_in", list_studies(), ids=lambda one: one.name)
@pytest.mark.parametrize("quick", [False, True])
def test_the_studies_that_come_with_tlfeat_are_read_with_and_without_a_stand_in(built_in, quick):
    found = read_study(built_in.path, quick=quick)
    assert found.name.startswith(built_in.name)
    assert {run.stand_in for run in found.runs} == {None}
    assert not found.left_out
    assert any(
        run.network.features == "stage4:grid4" and run.head.head == "lda" for run in found.runs
    )
    other = read_study(
        built_in.path, quick=quick, settings=["defaults.backbone=efficientnet-lite0"]
    )
    assert any("instead of" in str(run.stand_in) for run in other.runs)
    assert tomllib.loads(built_in.path.read_text())["data"]["expected"]["classes"] > 1


def test_the_studies_are_those_that_were_promised():
    assert {one.name: len(read_study(one.path).runs) for one in list_studies()} == {
        # theirs, heads, and one of mode auto
        "food101-efficientnet": 6 + 4 + 1,
        "gtsrb-nasnet": 9 + 3 + 8 + 1,
        "pcam-mobilenet": 2 + 4 + 1,
        "wildlife-efficientnet": 3 + 4 + 1,
        "wildlife-mobilenetv2": 12 + 4 + 1,
    }


def test_a_target_is_a_file_then_a_path_then_a_built_in_study(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert find_study("pcam-mobilenet") == get_study("PCam_MobileNet").path
    (tmp_path / "mine.toml").write_text(GOOD)
    assert find_study("mine.toml").name == "mine.toml"
    (tmp_path / "pcam-mobilenet").mkdir()
    assert find_study("pcam-mobilenet") is None
    with pytest.raises(TlfeatError, match="Did you mean 'gtsrb-nasnet'"):
        get_study("gtsrb")


@pytest.mark.parametrize("target", ["wildlife-eficientnet", "wildlife-eficientnet.toml"])
def test_the_name_of_a_study_misspelt_is_no_path(target, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(TlfeatError, match=r"Did you mean 'wildlife-efficientnet'\?"):
        find_study(target)


def test_a_study_file_misspelt_is_answered_with_the_one_that_is_there(tmp_path):
    (tmp_path / "mine.toml").write_text(GOOD)
    with pytest.raises(
        TlfeatError, match=r"There is no .*miine\.toml'\. Did you mean 'mine\.toml'"
    ):
        find_study(str(tmp_path / "miine.toml"))


@pytest.mark.parametrize("target", ["digits", "hf:user/wildlife-efficientnet", "nothing/alike"])
def test_what_may_be_pictures_is_no_study_misspelt(target, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert find_study(target) is None


def test_listing_the_studies_imports_nothing_heavy():
    import subprocess

    code = (
        "import sys, tlfeat.studies.builtin as b; b.list_studies(); "
        "print([m for m in ('numpy', 'pandas', 'sklearn', 'tensorflow') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
