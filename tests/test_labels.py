"""Labels of runs: short, told apart, and to be turned into names again."""

from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tlfeat.runs.labels import full_names, relabelled, run_labels

LITE = "efficientnet-lite0"


def named(name, head=None, backbone=LITE, auto=None):
    return SimpleNamespace(
        name=name,
        backbone=backbone,
        auto=auto,
        is_finetune=head is None,
        head_settings=SimpleNamespace(name=head),
    )


@pytest.mark.parametrize(
    ("runs", "labels", "said"),
    [
        (
            [named(f"{LITE}-auto-{head}", head) for head in ("svm-rbf", "svm-linear")],
            ["svm-rbf", "svm-linear"],  # no head loses half its name
            f"Full names: {LITE}-auto-NAME.",
        ),
        ([named(f"{LITE}-auto-lda", "lda", auto={})], ["lda"], f"Full names: {LITE}-auto-NAME."),
        ([named("mine", "lda")], ["mine"], ""),
        (
            [named(f"{LITE}-auto-lda", "lda"), named(f"{LITE}-full")],
            ["auto-lda", "full"],
            f"Full names: {LITE}-NAME.",
        ),
        (
            [named("a-lr1e-05-seed1"), named("a-lr1e-04-seed1")],
            ["lr1e-05", "lr1e-04"],
            "Full names: a-NAME-seed1.",
        ),
        ([named("a"), named("a-b")], ["a", "a-b"], ""),
        ([named("x-lda", "lda"), named("y-lda", "lda")], ["x-lda", "y-lda"], ""),
    ],
)
def test_what_all_names_share_is_said_once(runs, labels, said):
    assert [*run_labels(runs).values()] == labels
    assert full_names(runs) == said


@given(
    st.lists(
        st.lists(st.sampled_from(["a", "b", "lda", "1e", "05", ""]), min_size=1, max_size=5),
        min_size=1,
        max_size=5,
        unique_by="-".join,
    ),
    st.sampled_from([None, "lda"]),
)
def test_a_label_and_what_was_said_give_the_name(parts, head):
    runs = [named("-".join(one), head, backbone="a-b") for one in parts]
    labels = run_labels(runs)
    template = full_names(runs).removeprefix("Full names: ").removesuffix(".") or "NAME"
    assert [template.replace("NAME", label) for label in labels.values()] == [*labels]
    assert len(set(labels.values())) == len(runs)


def test_names_in_a_sentence_become_labels_but_paths_stay():
    labels = {"a-b": "b", "a-b-c": "b-c"}
    said = relabelled("a-b is better than a-b-c; see runs/a-b-c-0f.", labels)
    assert said == "b is better than b-c; see runs/a-b-c-0f."
