"""What the figure of a model says is trained."""

from types import SimpleNamespace

import pytest

from tlfeat.studies.models import model_parts


def phase(mode, **said):
    return {"mode": mode, "epochs": 1, "cut": None, "trainable": 7, **said}


@pytest.mark.parametrize(
    ("phases", "trained", "as_it_was"),
    [
        ([phase("full")], ["net"], []),
        ([phase("partial", cut="stage4")], ["net after stage4"], ["net to stage4"]),
        ([phase("partial", cut="stage2", train="stage3")], ["stage3 of it"], ["net"]),
        ([phase("frozen"), phase("partial", train="norm")], ["norm of it"], ["net"]),
        ([phase("partial", cut="stage2", train="stage3"), phase("full")], ["net"], []),
    ],
)
def test_what_was_trained_alone_is_what_is_said_to_be_trained(phases, trained, as_it_was):
    run = SimpleNamespace(
        name="run",
        is_finetune=True,
        backbone="net",
        phases=phases,
        parent=None,
        top={"kind": "new", "hidden": [], "dropout": 0.0},
        pictures=SimpleNamespace(size=32),
        parameters=SimpleNamespace(total=10, trainable=7),
        dataset=SimpleNamespace(classes=["a", "b"]),
        keeps_top=False,
    )
    parts = model_parts(run)
    of_network = parts[parts["part"].str.startswith("net") | parts["part"].str.endswith("of it")]
    assert list(of_network.loc[of_network["trained"], "part"]) == trained
    assert list(of_network.loc[~of_network["trained"], "part"]) == as_it_was
