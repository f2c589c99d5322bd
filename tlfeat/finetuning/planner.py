"""What a training will take, and the epochs that a budget allows it.

Some steps are trained, measured and taken back: how long they take depends on the machine, the
network and what is trained of it.
"""

import time
from dataclasses import asdict, replace
from typing import Any, Final, Protocol

import numpy as np

from tlfeat.backbones.table import Backbone
from tlfeat.finetuning.assemble import Network
from tlfeat.finetuning.augment import read_augmentations
from tlfeat.finetuning.budget import FEW, FORWARD, LONG, MEASURED_STEPS, Costs, spoken
from tlfeat.finetuning.callbacks import timer_class
from tlfeat.finetuning.checkpoint import State, assign, values_of
from tlfeat.finetuning.compiled import CompiledPhase, steps_an_epoch
from tlfeat.finetuning.inputs import Inputs, RefitRows, TrainingData, TrainingSettings
from tlfeat.finetuning.modes import count_parameters, set_trainable
from tlfeat.finetuning.norms import MOST_BATCHES
from tlfeat.finetuning.pictures import Ints, epoch_order
from tlfeat.finetuning.plan import DEFAULT_CUT, GENTLE_CHANGES, Phase
from tlfeat.watch import Watch

# Share of a budget's epochs that a refit must leave. On 300 dishes a fifth of the pictures was
# worth more than two of ten epochs.
_ENOUGH: Final = 2 / 3


class Measurable(Protocol):
    """A training that some steps of may be measured of; see `Training`."""

    network: Network
    backbone: Backbone | None
    data: TrainingData
    settings: TrainingSettings
    watch: Watch
    began: float
    state: State
    inputs: Inputs

    def compile(self, phase: Phase) -> CompiledPhase:
        """Make a phase ready to train."""

    def fit(self, compiled: CompiledPhase, order: Ints, watcher: Any) -> float:
        """Train on some rows."""

    def save(self, compiled: CompiledPhase, step: int) -> None:
        """Save where the run is."""


class Planner:
    """Says what a training will take, and plans one that has a budget.

    Parameters
    ----------
    training : Measurable
    """

    def __init__(self, training: Measurable) -> None:
        self.training = training
        self.network, self.backbone = training.network, training.backbone
        self.data, self.settings, self.watch = training.data, training.settings, training.watch

    def plan(self, phase: Phase, budget: float) -> Phase:
        """Give a phase the epochs that the budget allows, and a cut where more fit above one."""
        whole = self._measured(phase)
        plans = [(phase, whole)]
        few = self._fits(phase, whole, budget) < min(FEW, phase.epochs)
        if few and phase.mode == "auto" and phase.cut is phase.train is None:
            parted = replace(phase, cut=self._first_cut())
            if self._can_part(parted, budget):
                plans.append((parted, self._measured(parted, end=whole.end)))
        phase, costs = max(plans, key=lambda plan: self._fits(plan[0], plan[1], budget))
        epochs = self._fits(phase, costs, budget)
        if self.settings.refit is not None:
            costs = self._with_refit(phase, costs, epochs, budget)
            epochs = self._fits(phase, costs, budget)
        set_trainable(self.network, phase, self.backbone)
        self.training.state.costs = asdict(costs)
        self.training.state.plan = {"epochs": epochs, "cut": phase.cut}
        self.training.state.trainable[-1] = count_parameters(self.network)["trainable"]
        self.watch.note(costs.said(epochs, phase, time.perf_counter() - self.training.began))
        if self.settings.cut_views and not phase.is_parted:
            self.watch.note("No views are kept: changed pictures go through the whole network.")
        return replace(phase, epochs=epochs)

    def early_retry(self, number: int, phase: Phase) -> dict[str, Any]:
        """Give how a phase is trained once more that is given up; empty if it goes on.

        It is where none of its first epochs, a third and three at least, was better on held
        rows than what it began as.
        """
        state, done = self.training.state, self.training.state.phase_epoch
        start = state.start.get("validation", {}).get("loss")
        if done != max(FEW, phase.epochs // 3) or done >= phase.epochs or start is None:
            return {}
        if min(row["val_loss"] for row in state.history[-done:]) < start:
            return {}
        return self.retry(number, phase)

    def retry(self, number: int, phase: Phase) -> dict[str, Any]:
        """Give how a phase that went all the way back is trained once more; empty if it is not.

        With a budget it is where some epochs still fit, with as many on the held rows too if
        there is to be a refit: what it would stay, a head, learns from them in any case.
        """
        state, settings = self.training.state, self.settings
        if not self._may_retry(number, phase):
            return {}
        gentle = replace(phase.gentler(), epochs=settings.phases[number].epochs)
        said = ""
        if settings.budget is not None:
            gentle, said = self._fitted_again(gentle, settings.budget)
            if not gentle.epochs:
                return {}
        changes = settings.augment or read_augmentations(GENTLE_CHANGES)
        ways = ", ".join([f"rate {gentle.rate:g}", *(one.name for one in changes)])
        self.watch.note(
            f"Held rows prefer what it began as: it is tried once more, gently ({ways})."
        )
        if said:
            self.watch.note(said)
        return {
            "epochs": gentle.epochs,
            "learning_rate": gentle.rate,
            "augment": [one.as_dict() for one in changes],
            "after": state.phase_epoch,
        }

    def _may_retry(self, number: int, phase: Phase) -> bool:
        """Say whether a phase may be trained once more: the first time, and not in a refit.

        Where what it begins as has all held rows right, none could prefer another.
        """
        state = self.training.state
        is_first = self.settings.settled is None and str(number) not in state.retried
        all_right = state.start.get("validation", {}).get("accuracy") == 1
        return phase.tries_again and is_first and not all_right

    def _fitted_again(self, phase: Phase, budget: float) -> tuple[Phase, str]:
        """Give a second try the epochs that still fit, none where they are few, and say so."""
        state, wanted = self.training.state, phase.epochs
        costs = Costs(**state.costs)
        took = float(np.median([row["seconds"] for row in state.history]))
        costs = replace(costs, step=costs.step * took / costs.epoch)
        if self.settings.refit is not None:
            costs = replace(costs, again=self._steps_again(self.settings.refit))
        epochs = self._fits(phase, costs, budget)
        if epochs < min(FEW, wanted):
            return replace(phase, epochs=0), ""
        state.may_refit = True
        spent = time.perf_counter() - self.training.began
        return replace(phase, epochs=epochs), costs.said(epochs, phase, spent)

    def _with_refit(self, phase: Phase, costs: Costs, epochs: int, budget: float) -> Costs:
        """Give the costs with those of a refit, where there is to be one.

        That is where it was asked for; else where it leaves enough of the epochs.
        """
        refit = self.settings.refit
        assert refit is not None
        both = replace(costs, again=self._steps_again(refit))
        fits = self._fits(phase, both, budget) >= _ENOUGH * epochs
        self.training.state.may_refit = refit.is_asked or (fits and not self.settings.cut_views)
        if not self.training.state.may_refit:
            self.watch.note(
                "It is not trained again on the held rows: that would cost too many epochs. Only "
                "where it ends as the head does that learn from them too."
            )
        return both if self.training.state.may_refit else costs

    def _steps_again(self, refit: RefitRows) -> int:
        """Give the steps of an epoch of the training on all rows."""
        return steps_an_epoch(refit.n, self.settings.batch, self.settings.devices)

    def _fits(self, phase: Phase, costs: Costs, budget: float) -> int:
        """Give how many epochs of a phase fit into what is left of the budget now."""
        left = budget - (time.perf_counter() - self.training.began)
        return costs.epochs(left, phase.epochs, goes_back=phase.goes_back)

    def _first_cut(self) -> str:
        """Name the first stage that the top reads, or where a cut lies by itself."""
        return min(
            [DEFAULT_CUT, *(one for one, _ in self.training.state.outputs if one != "last")]
        )

    def _can_part(self, phase: Phase, budget: float) -> bool:
        """Say whether a phase can be parted at its cut, in half of the time that is left."""
        left = budget - (time.perf_counter() - self.training.began)
        set_trainable(self.network, phase, self.backbone)
        passes = self._pass_seconds() * (1 + self.settings.cut_views)
        return 2 * passes < left and self.training.inputs.cut(phase) is not None

    def _pass_seconds(self) -> float:
        """Give what the head's pass over train and validation took; 0 where nobody knows."""
        features = self.training.state.start.get("logistic", {}).get("features")
        return self.training.state.extract.get(features) or 0.0

    def _measured(self, phase: Phase, *, end: float | None = None) -> Costs:
        """Measure some steps of a phase and a checkpoint; all is as before after it."""
        set_trainable(self.network, phase, self.backbone)
        compiled = self.training.compile(replace(phase, epochs=1))
        train, batch = self.data.train, self.settings.batch
        variables = [*self.network.model.variables, *compiled.model.optimizer.variables]
        before, timer = values_of(variables), timer_class()()
        some = epoch_order(len(train), self.settings.seed, 1)[: batch * (1 + MEASURED_STEPS)]
        self.training.fit(compiled, train[some], timer)
        assign(variables, before)
        step, build = timer.seconds
        began = time.perf_counter()
        self.training.save(compiled, 0)
        return self._costs(compiled, step, build, time.perf_counter() - began, end)

    def _costs(
        self,
        compiled: CompiledPhase,
        step: float,
        build: float,
        saved: float,
        end: float | None = None,
    ) -> Costs:
        """Give what a phase takes, from what its first steps took."""
        n_train, n_held = len(self.data.train), len(self.data.held)
        held_steps = -(-n_held // self.settings.batch)
        judged = held_steps + (min(compiled.steps, MOST_BATCHES) if compiled.norms else 0)
        if end is None:
            n_all = len(self.data.pictures.samples)
            forward = self._pass_seconds() or FORWARD * step * (compiled.steps + held_steps)
            end = 2 * build + forward * n_all / (n_train + n_held)
        return Costs(step, build, compiled.steps, judged, saved, end)

    def foretell(self, compiled: CompiledPhase, step: float, build: float, left: int) -> None:
        """Say what is still to come, where that is long and was not said by a plan."""
        ends = self.training.state.phase == len(self.settings.phases) - 1
        costs = self._costs(compiled, step, build, saved=0.0)
        seconds = costs.left(left, goes_back=compiled.phase.goes_back, ends=ends)
        if ends and self.settings.refit is not None:
            costs = replace(costs, again=self._steps_again(self.settings.refit))
            seconds += costs.refit(sum(phase.epochs for phase in self.settings.phases))
        if seconds > LONG and not self.training.state.plan:
            longer = ""
            if self._may_retry(self.training.state.phase, compiled.phase):
                longer = f", or up to {spoken(2 * seconds)} where it goes back to what it began as"
            self.watch.note(
                f"{'All' if ends else 'This phase'} will be done in about {spoken(seconds)}"
                f"{longer} ({step:.2f} s a step, {left} steps)."
            )
