"""What is trained and what is not, the cached cut, and the logistic start, on lite0."""

import subprocess
import sys
import textwrap

import keras
import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import Pipeline

from tlfeat.backbones.networks import build_base
from tlfeat.backbones.table import get_backbone
from tlfeat.backbones.weights import Weights, resolve_weights
from tlfeat.data.dataset import Dataset
from tlfeat.errors import NetworkError, TlfeatError
from tlfeat.finetuning import modes
from tlfeat.finetuning.assemble import Network, assemble
from tlfeat.finetuning.cut import Activations, cut_network
from tlfeat.finetuning.modes import block_outputs, find_cut, set_trainable
from tlfeat.finetuning.plan import Phase, read_phase
from tlfeat.finetuning.settings import Classifier
from tlfeat.finetuning.start import fold_logistic
from tlfeat.heads.matrix import Matrix
from tlfeat.heads.rows import Rows
from tlfeat.runs.record import find_runs
from tlfeat.studies.finetune import finetune
from tlfeat.studies.train import train as train_head

LITE = get_backbone("efficientnet-lite0")


@pytest.fixture(scope="module")
def network():
    return assemble(LITE, 32, resolve_weights(LITE), 3, Classifier())


def random_base(name, size=32):
    row = get_backbone(name)
    return row, build_base(row, size, Weights("random", None, "x"))


def trained_layers(network):
    return {layer.name for layer in network.backbone_layers if layer.trainable and layer.weights}


def test_a_frozen_backbone_trains_the_top_only(network):
    set_trainable(network, Phase("frozen"), LITE)
    assert trained_layers(network) == set()
    assert sum(np.prod(w.shape) for w in network.model.trainable_weights) == 1280 * 3 + 3


def test_a_frozen_backbone_with_a_trainable_weight_is_an_error(network, monkeypatch):
    def forgetful(network):
        network.base.get_layer("head_conv").trainable = True

    set_trainable(network, Phase("full"), LITE)
    monkeypatch.setattr(modes, "freeze_backbone", forgetful)
    with pytest.raises(NetworkError, match="meant to be frozen"):
        set_trainable(network, Phase("frozen"), LITE)


def test_a_cut_trains_what_lies_above_it_and_no_statistics(network):
    set_trainable(network, Phase("partial", cut="stage4"), LITE)
    trained = trained_layers(network)
    blocks = {name.split("_")[0] for name in trained}
    assert blocks == {"b11", "b12", "b13", "b14", "b15", "head"}
    assert not any(name.endswith("_bn") for name in trained)
    set_trainable(network, Phase("partial", cut="stage4", train_batchnorm=True), LITE)
    assert {"head_bn", "b11_expand_bn"} < trained_layers(network)
    assert "b10_project_bn" not in trained_layers(network)


def test_the_last_blocks_are_counted_from_the_end(network):
    assert find_cut(LITE, network.base, "2")[0] == "b13"
    set_trainable(network, Phase("partial", cut="2"), LITE)
    assert {name.split("_")[0] for name in trained_layers(network)} == {"b14", "b15", "head"}
    with pytest.raises(TlfeatError, match="has 16 blocks"):
        find_cut(LITE, network.base, "16")


def test_scratch_trains_normalisations_and_full_does_not(network):
    set_trainable(network, Phase("scratch"), LITE)
    assert "stem_bn" in trained_layers(network)
    set_trainable(network, Phase("full"), LITE)
    assert "stem_conv" in trained_layers(network)
    assert "stem_bn" not in trained_layers(network)


@pytest.mark.parametrize(
    ("name", "blocks", "last"),
    [
        ("mobilenet", 13, "conv_pw_13_relu"),
        ("mobilenet_v2", 17, "block_16_project_BN"),
        ("mobilenet_v3_small", 11, "expanded_conv_10_add"),
        ("efficientnet_b0", 16, "block7a_project_bn"),
        ("resnet50", 16, "conv5_block3_out"),
        ("convnext_tiny", 18, "add_17"),
    ],
)
def test_blocks_are_known_by_their_names(name, blocks, last):
    row, base = random_base(name)
    ends = block_outputs(row, base)
    assert (len(ends), ends[-1]) == (blocks, last)


def test_a_network_whose_cells_look_back_two_has_no_cut():
    row = get_backbone("nasnet_mobile")
    network = assemble(row, 32, Weights("random", None, "x"), 3, Classifier())
    phase = Phase("partial", cut="stage4")
    set_trainable(network, phase, row)
    assert cut_network(network, row, phase) is None


def test_the_tail_shares_its_layers_with_the_whole(network):
    phase = Phase("partial", cut="stage4")
    set_trainable(network, phase, LITE)
    cut = cut_network(network, LITE, phase)
    assert (cut.layer, cut.pool, cut.dtype) == ("stage4", "none", "float16")
    tensor = find_cut(LITE, network.base, "stage4")[1]
    pixels = np.random.default_rng(0).uniform(0, 255, (4, 32, 32, 3)).astype(np.float32)
    below = keras.Model(network.base.input, tensor)
    activations = below(network.model.get_layer("pixel_scaling")(pixels))
    np.testing.assert_allclose(cut.tail(activations), network.model(pixels), atol=1e-5)
    logits = network.classifier[0]
    before = logits.get_weights()
    logits.set_weights([weight + 1 for weight in before])
    np.testing.assert_allclose(cut.tail(activations), network.model(pixels), atol=1e-5)
    logits.set_weights(before)


def standardised_logistic(X, y):
    scaler = Rows(Matrix(X, y, y.max() + 1)).scaler()
    logistic = LogisticRegression(max_iter=1000).fit(scaler.transform(X), y)
    return Pipeline([("standardise", scaler), ("logistic", logistic)])


@pytest.mark.parametrize("k", [2, 3])
def test_standardisation_and_logistic_fold_into_one_layer(k):
    random = np.random.default_rng(0)
    X = random.normal(3, 2, (60, 20)).astype(np.float32)
    X[:, 7] = 5 + 1e-4 * random.normal(size=60)  # nearly constant
    y = random.integers(0, k, 60)
    X[:, 0] += y
    pipeline = standardised_logistic(X, y)
    kernel, bias = fold_logistic(pipeline, k)
    np.testing.assert_allclose(
        keras.ops.softmax(X @ kernel + bias), pipeline.predict_proba(X), atol=1e-5
    )
    assert np.abs(kernel[7]).max() < 10 * np.abs(kernel).max(axis=1).mean()


def test_a_class_that_train_lacked_has_no_chance():
    X = np.random.default_rng(0).normal(size=(40, 5)).astype(np.float32)
    y = np.arange(40) % 2 * 2  # 0 and 2 of three classes
    pipeline = standardised_logistic(X, y)
    kernel, bias = fold_logistic(pipeline, 3)
    scores = np.asarray(keras.ops.softmax(X @ kernel + bias))
    assert scores[:, 1].max() < 1e-6
    np.testing.assert_allclose(scores[:, [0, 2]], pipeline.predict_proba(X), atol=1e-5)


@pytest.fixture
def train(cache, tmp_path):
    def go(pictures, *phases, **settings):
        return finetune(
            pictures,
            "efficientnet-lite0",
            phases,
            **{
                "size": 32,
                "batch": 8,
                "cache": cache,
                "reports": tmp_path / "reports",
                **settings,
            },
        )

    return go


def scores(run):
    return run.predictions()[[f"score_{i}" for i in range(3)]].to_numpy()


@pytest.mark.slow
def test_a_cut_in_float32_trains_as_the_whole_network_does(train, pictures):
    phase = Phase("partial", 1, schedule="constant", learning_rate=1e-4)
    cut = train(pictures, phase, cut_dtype="float32")
    whole = train(pictures, phase, cut_dtype=None)
    first, second = (run.record["history"][0] for run in (cut, whole))
    assert first["loss"] == pytest.approx(second["loss"], abs=1e-3)
    np.testing.assert_allclose(scores(cut), scores(whole), atol=5e-3)
    assert cut.id != whole.id


def test_the_cached_cut_is_computed_once_and_leaves_a_whole_model(
    train, pictures, cache, tmp_path, monkeypatch
):
    run = train(pictures, Phase("frozen", 1), Phase("partial", 1))
    entries = {path.name.rsplit("-", 1)[0] for path in (cache / "features").iterdir()}
    assert entries == {"efficientnet-lite0-32-last-avg", "efficientnet-lite0-32-stage4-none"}
    model = keras.saving.load_model(run.path / "model.keras")
    assert model.input_shape == (None, 32, 32, 3)
    table = run.predictions()
    held = table[table["split"] == "validation"]
    last = run.record["history"][-1]
    assert run.metrics["validation"]["log_loss"] == pytest.approx(last["val_loss"], abs=1e-2)
    assert len(held) == run.metrics["validation"]["n"]

    monkeypatch.setattr(
        "tlfeat.features.extract.embed_pictures", lambda *_, **__: pytest.fail("again")
    )
    again = train(pictures, Phase("frozen", 1), Phase("partial", 1), reports=tmp_path / "again")
    np.testing.assert_array_equal(scores(again), scores(run))


@pytest.mark.slow
def test_lp_ft_starts_from_the_logistic_of_the_fold_that_heads_use(
    train, pictures, cache, tmp_path
):
    run = train(pictures, Phase("lp-ft", 1))
    start = run.record["start"]
    assert start["validation"]["accuracy"] == start["logistic"]["validation_accuracy"]
    assert run.record["parameters"]["trainable"] > 3_000_000
    head = train_head(
        pictures, head="logistic", size=32, cache=cache, reports=tmp_path / "reports"
    )
    folds = head.predictions().query("split == 'validation' and fold == 0")
    held = run.predictions().query("split == 'validation'")
    assert set(folds["id"]) == set(held["id"])
    assert {row.record["kind"] for row in find_runs(run.path.parents[1])} == {"head", "finetune"}


def test_the_thousand_outputs_are_evaluated_without_training(train, pictures):
    run = train(pictures, Phase("frozen", 0), top=Classifier("imagenet"))
    assert len(run.predictions().filter(like="score_").columns) == 1000
    assert list(run.metrics["test"]["per_class"]) == ["blue", "green", "red"]
    assert run.record["parameters"]["total"] == 4_694_024


@pytest.mark.slow
def test_several_devices_share_the_batches(pictures, tmp_path):
    code = f"""
        import tensorflow as tf
        cpu = tf.config.list_physical_devices("CPU")[0]
        tf.config.set_logical_device_configuration(
            cpu, [tf.config.LogicalDeviceConfiguration()] * 2
        )
        from tlfeat.finetuning.plan import Phase
        from tlfeat.studies.finetune import finetune
        runs = [
            finetune({str(pictures)!r}, "plain-cnn", Phase("scratch", 2, schedule="constant"),
                     size=16, batch=8, devices=devices, cache={str(tmp_path / "store")!r},
                     reports={str(tmp_path)!r} + f"/{{devices}}")
            for devices in (1, 2)
        ]
        for one, two in zip(*(run.record["history"] for run in runs), strict=True):
            assert abs(one["loss"] - two["loss"]) < 0.1, (one, two)
            assert one["accuracy"] == two["accuracy"], (one, two)
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr


@pytest.mark.slow
def test_a_few_steps_from_scratch_are_not_judged_by_unsettled_normalisations(train, pictures):
    run = train(pictures, Phase("scratch", 8, schedule="constant", warmup=0))
    assert run.history[-1]["accuracy"] > 0.8  # in its training steps
    assert run.metrics["train"]["accuracy"] > 0.7


def test_more_devices_than_there_are_is_an_error(train, pictures):
    with pytest.raises(TlfeatError, match="no more than there are"):
        train(pictures, Phase("frozen", 1), devices=7)


def test_mixed_precision_keeps_weights_and_probabilities_in_float32(pictures, tmp_path):
    run = finetune(
        pictures,
        "plain-cnn",
        Phase("scratch", 1),
        size=16,
        precision="mixed",
        cache=tmp_path / "store",
        reports=tmp_path / "reports",
    )
    assert run.engine == "tensorflow"
    model = keras.saving.load_model(run.path / "model.keras")
    assert model.get_layer("backbone").get_layer("conv1a").compute_dtype == "float16"
    assert model.output.dtype == "float32"
    assert keras.config.dtype_policy().name == "float32"
    assert np.isfinite(run.record["history"][0]["loss"])


def test_an_engine_that_cannot_measure_is_refused_before_anything_is_trained(train, pictures):
    with pytest.raises(TlfeatError, match="use --engine auto or tensorflow"):
        train(pictures, Phase("frozen", 1), precision="mixed", engine="openvino")


def test_nothing_is_read_of_a_finished_run(train, pictures, monkeypatch):
    first = train(pictures, Phase("frozen", 1))
    monkeypatch.setattr(Dataset, "read", lambda *_: pytest.fail("a picture was opened"))
    assert train(pictures, Phase("frozen", 1)).id == first.id


@pytest.mark.slow
def test_pictures_and_activations_share_one_budget(pictures, tmp_path, monkeypatch):
    kept = []
    begin = Activations.__init__

    def watched(self, *arguments):
        begin(self, *arguments)
        kept.append(self._kept is not None)

    monkeypatch.setattr(Activations, "__init__", watched)
    where = {"cache": tmp_path / "store", "batch": 8, "size": 32}
    squares = 36 * 32 * 32 * 3
    runs = [
        finetune(
            pictures, phases=Phase("partial", 1, cut="stage4"), memory=memory,
            reports=tmp_path / str(memory), **where,
        )
        for memory in (2**30, squares + 1000)
    ]  # fmt: skip
    assert kept == [True, False]
    assert runs[0].metrics == runs[1].metrics


def trained_blocks(network):
    return {name.split("_")[0] for name in trained_layers(network)}


@pytest.mark.parametrize(
    ("train", "trained"),
    [
        ("stage5", {f"b{n}" for n in range(11, 16)}),
        ("stage2..stage3", {"b1", "b2", "b3", "b4"}),
        ("stage1..stage2", {"stem", "b0", "b1", "b2"}),
    ],
)
def test_stages_are_trained_alone(network, train, trained):
    set_trainable(network, Phase("partial", train=train).checked(), LITE)
    assert trained_blocks(network) == trained
    assert not any(name.endswith("_bn") for name in trained_layers(network))
    assert network.classifier[-2].trainable
    set_trainable(network, Phase("full"), LITE)  # nothing of it stays
    assert trained_blocks(network) >= {"stem", "b0", "b8", "b15", "head"}


def test_batch_normalisations_are_trained_alone(network):
    phase = Phase("partial", train="norm").checked()
    set_trainable(network, phase, LITE)
    assert {name.rsplit("_", 1)[1] for name in trained_layers(network)} == {"bn"}
    assert len(trained_layers(network)) == 49
    assert phase.trains_norms
    assert phase.cut_name is None


def test_parts_that_a_network_has_not_are_named():
    row, base = random_base("convnext_tiny")
    network = Network(base, base, [], [])
    with pytest.raises(TlfeatError, match="needs stage1, and convnext_tiny has stage2, stage3"):
        set_trainable(network, Phase("partial", train="stage2").checked(), row)
    with pytest.raises(TlfeatError, match="convnext_tiny has no batch normalisation"):
        set_trainable(network, Phase("partial", train="norm").checked(), row)
    set_trainable(network, Phase("partial", train="stage1..stage3").checked(), row)
    with pytest.raises(TlfeatError, match="this file has no stages of a name"):
        set_trainable(network, Phase("partial", train="stage2").checked(), None)


def test_what_a_phase_says_wins_over_what_all_of_them_share():
    usual = Phase("partial", cut="stage3")
    assert read_phase({"train": "stage5"}, usual).cut_name == "stage4"
    assert read_phase({"cut": "stage2"}, Phase("partial", train="norm")).train is None
    assert read_phase({"train": "stage3..stage3"}, usual) == read_phase({"train": "stage3"}, usual)


def test_stages_that_are_trained_alone_are_trained_above_a_cut(train, pictures, cache):
    run = train(pictures, Phase("partial", 1, train="stage4..stage4"))
    assert any("stage3-none" in path.name for path in (cache / "features").iterdir())
    assert "partial-stage4-1" in run.name
    (phase,) = run.phases
    assert (phase["train"], phase["cut"]) == ("stage4", "stage3")
    again = read_phase({name: phase[name] for name in ("mode", "epochs", "train", "cut")})
    assert again == Phase("partial", 1, train="stage4", cut="stage3").checked()
    model = keras.saving.load_model(run.path / "model.keras")
    fresh = assemble(LITE, 32, resolve_weights(LITE), 3, Classifier()).base
    changed = {
        layer.name.split("_")[0]
        for layer in fresh.layers
        if not layer.name.endswith("_bn")
        for old, new in zip(
            layer.get_weights(),
            model.get_layer("backbone").get_layer(layer.name).get_weights(),
            strict=True,
        )
        if not np.array_equal(old, new)
    }
    assert changed == {f"b{n}" for n in range(5, 11)}


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"train": "stage6"}, "stage1 to stage5"),
        ({"train": "stage4..stage2"}, "stage1 to stage5"),
        ({"train": "bias"}, "or norm. Got 'bias'"),
        ({"mode": "full", "train": "stage4"}, "belongs to modes auto and partial"),
        ({"train": "stage4", "cut": "stage4"}, "leave one of the two out"),
        ({"mode": "auto", "train": "norm"}, "batch normalisations are frozen"),
    ],
)
def test_what_cannot_be_trained_alone_is_refused(settings, words):
    with pytest.raises(TlfeatError, match=r"train|Weights") as error:
        read_phase({"mode": "partial", **settings})
    assert words in str(error.value)
