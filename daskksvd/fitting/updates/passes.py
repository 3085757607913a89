"""What all kinds of passes share; each kind is a strategy of its own."""

import dataclasses

import numpy as np

from ...machine.blas import single_threaded_blas
from ...tracking import PassStarted
from ..replacement import WORST_ROWS, find_redundant, most_replaced
from ..resuming import has_settled
from ..schedule import statistics
from ..statistics import Wanted, add_all, residual_deviation

NOISE_PASSES = 3
"""First passes that do not end the fit with ``threshold="noise"``: the first has none, the next one of the
error before."""


class Passes:
    """How passes of one kind code rows and update the dictionary.

    Attributes
    ----------
    kind : str
    problem : Problem
    n_worst : int
        Worst-represented rows that come back where atoms may be replaced.
    """

    kind: str

    def __init__(self, problem):
        self.problem = problem
        self.n_worst = max(WORST_ROWS, most_replaced(problem.settings.n_components))

    def run(self, engine):
        """Run the rest of a pass, and update the dictionary; whether there was time for all of it."""
        index, schedule = engine.state.pass_index, self.problem.schedule
        rounds = schedule.rounds(index, self.kind, self.problem.seed)
        engine.notify(PassStarted(index, self.kind, len(rounds), engine.state.round_index))
        for number in range(engine.state.round_index, len(rounds)):
            # more BLAS threads than one keep cores busy for a while after a product here
            with single_threaded_blas():
                self.run_round(engine, number, rounds)
            if number + 1 < len(rounds):
                if engine.out_of_time():
                    return False
                engine.save_after(number)
        self.after_pass(engine)
        return True

    def run_round(self, engine, number, rounds):
        """Code the rows of a round and learn from them."""
        state, jobs = engine.state, rounds[number]
        may_replace = self.may_replace(state, number / len(rounds), jobs)
        wanted = self.wanted(state, may_replace)
        moments = engine.moments(jobs, wanted, self.coder(state))
        deviation = residual_deviation(moments, state.dictionary.shape[1])
        state, moments, replaced = self.after_round(state, moments, may_replace)
        totals = moments if state.totals is None else add_all([state.totals, moments])
        marks = self.marks(state.marks if number else (), number, totals)
        engine.advance(
            dataclasses.replace(
                state, totals=totals, round_index=number + 1, marks=marks, deviation=deviation
            )
        )
        engine.announce_round(number, self.kind, moments, replaced)

    def wanted(self, state, may_replace):
        """What tasks of a round should bring back."""
        return Wanted(self.statistics(state), self.n_worst if may_replace else 0)

    def statistics(self, state):
        """Statistics that a round gathers."""
        return statistics(self.kind, len(state.dictionary))

    def coder(self, state):
        """What rows are coded with."""
        return self.problem.coder_of(state)

    def may_replace(self, state, progress=0.0, jobs=()):
        """Whether atoms may be replaced: once they have settled a little, and not towards the end."""
        limit = self.problem.schedule.phases.limit
        return self.problem.settings.replace_atoms and (
            0 < state.pass_index < min(max(2, limit // 2), limit - 1)
        )

    def after_round(self, state, moments, may_replace):
        """State, what to keep of moments, and atoms replaced, after a round."""
        return state, moments, []

    def marks(self, marks, number, totals):
        """What the state notes of a pass on its way."""
        return marks

    def after_pass(self, engine):
        """Update the dictionary after all rows were coded with it."""

    def has_settled(self, state, error):
        """Whether passes of this kind gain too little to go on; the last had the relative ``error``."""
        if self.finds_threshold(state):
            return False
        return has_settled(error, state.last_error, state.promised, self.problem.settings.tol)

    def finds_threshold(self, state):
        """Whether what noise is left is not known yet, so that errors of passes do not compare."""
        return self.problem.settings.threshold == "noise" and state.pass_index < NOISE_PASSES


def surplus(dictionary, uses, power, positive):
    """Atoms to replace after a pass at fixed atoms: unused or redundant ones."""
    atoms = np.flatnonzero(uses == 0).tolist()
    atoms += [atom for atom in find_redundant(dictionary, power, False, positive) if uses[atom]]
    return atoms[: most_replaced(len(dictionary))]
