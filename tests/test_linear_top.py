"""The top of a whole network, where it is linear on averages, is read from its exported graph."""

import numpy as np
import pytest

from tlfeat.backbones.linear_top import opened_places
from tlfeat.backbones.model_files import ModelRequest
from tlfeat.backbones.table import Output, get_backbone
from tlfeat.backbones.weights import resolve_weights
from tlfeat.errors import NetworkError
from tlfeat.files import file_digest
from tlfeat.finetuning.assemble import assemble
from tlfeat.finetuning.settings import Classifier
from tlfeat.watch import SILENT

SIDE = 64


@pytest.fixture
def request_of(tmp_path):
    """Give a function that saves a network with a random top, and asks for it."""

    def ask(outputs, classifier=Classifier(), **options):
        backbone = get_backbone("efficientnet-lite0")
        network = assemble(
            backbone, SIDE, resolve_weights(backbone), 4, classifier, outputs=outputs, **options
        )
        random = np.random.default_rng(0)
        for layer in network.classifier:
            for variable in layer.trainable_variables:
                variable.assign(random.normal(0, 0.05, variable.shape))
        path = tmp_path / "model.keras"
        network.model.save(path)
        return ModelRequest("made", path, file_digest(path), SIDE), network.model

    return ask


@pytest.mark.parametrize(
    ("outputs", "standardises"),
    [
        ((Output("last", "avg"),), False),
        ((Output("last", "avg"),), True),
        ((Output("stage3", "avg"), Output("last", "avg")), True),
        ((Output("stage4", "grid2"), Output("last", "avg")), False),
        ((Output("stage3", "grid4"),), True),
    ],
)
def test_the_means_of_places_make_the_answers(request_of, cache, outputs, standardises):
    request, model = request_of(outputs, standardises=standardises)
    pictures = np.random.default_rng(1).integers(0, 256, (2, SIDE, SIDE, 3), dtype=np.uint8)
    with opened_places(request, cache, None, SILENT) as (engine, top):
        ((_, parts),) = engine.run([(0, pictures)])
    assert len(parts) == len(top.weights) == len(outputs)
    logits = np.tile(top.bias, (2, 1))
    for part, weights in zip(parts, top.weights, strict=True):
        cells = weights.shape[1]
        read = part if cells > 1 else part.mean(axis=(1, 2), keepdims=True)
        logits += np.einsum("krsc,nrsc->nk", weights, read.reshape(2, *weights.shape[1:]))
    shares = np.exp(logits - logits.max(axis=1, keepdims=True))
    shares /= shares.sum(axis=1, keepdims=True)
    assert np.ptp(shares) > 0.01
    np.testing.assert_allclose(
        shares, model(pictures.astype("float32"), training=False), atol=1e-5
    )


@pytest.mark.parametrize(
    ("outputs", "classifier", "words"),
    [
        ((Output("last", "avg"),), Classifier(hidden=(8,)), "its top has hidden layers"),
        ((Output("last", "max"),), Classifier(), "places one by one"),
    ],
)
def test_what_is_not_linear_on_averages_is_refused(request_of, cache, outputs, classifier, words):
    request, _ = request_of(outputs, classifier)
    with pytest.raises(NetworkError, match=words), opened_places(request, cache, None, SILENT):
        pass
