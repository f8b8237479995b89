"""Work rates: nominal seconds of a slow core for each unit of work that methods count (see `Run.spend`).

They turn counts into shares of a limit, so that two runs decide alike whatever the clock says; being off by
a factor of two moves a share and breaks nothing.
"""

from __future__ import annotations

__all__ = [
    "BOX_S",
    "DOWNSET_STATE_S",
    "DOWNSET_STEP_S",
    "FILL_S",
    "LABEL_STEP_S",
    "MERGE_ENTRY_S",
    "MIP_ENTRIES",
    "MIP_ITERATION_S",
    "MOVE_S",
    "NETWORK_ENTRY_S",
    "NODE_CHECK_S",
    "ORDER_ENTRY_S",
    "PRESOLVE_S",
    "PRICING_CELL_S",
    "ROOT_CHECK_S",
    "SCHEDULE_ENTRY_S",
    "SET_LABEL_S",
    "SIMPLEX_ITERATION_S",
    "START_ENTRY_S",
    "TRANSFER_CELL_S",
    "TRANSITION_S",
    "VISIT_S",
]

SIMPLEX_ITERATION_S = 5e-9
"""A simplex iteration of a linear program, for each column, row and entry."""
MIP_ITERATION_S = 8e-9
"""A simplex iteration within the search of an integer program with all that goes with it, likewise, ..."""
MIP_ENTRIES = 10_000
"""... and for as many more: the smallest programs take that long as well."""
PRESOLVE_S = 8e-6
"""Presolve of an integer program, likewise."""
ROOT_CHECK_S = 2e-6
"""A check of limits while the root of an integer program is solved and cut, likewise."""
NODE_CHECK_S = 4e-7
"""A check of limits in its tree, likewise."""
NETWORK_ENTRY_S = 3e-9
"""An entry (arc and node) of a network of downsets that is made."""
DOWNSET_STEP_S = 6e-9
"""A step of the search over downsets while all items fit into the caches of the processor."""
DOWNSET_STATE_S = 7e-6
"""A state that it keeps, likewise."""
LABEL_STEP_S = 3e-8
"""A step that a kernel of the label setting counts."""
MERGE_ENTRY_S = 6e-6
"""An item, edge or member of a net of a graph whose items are merged, and turned round."""
ORDER_ENTRY_S = 1e-6
"""Likewise, where its items are put in order."""
TRANSFER_CELL_S = 2e-9
"""A transition and a bucket of the bound that sees transfers."""
TRANSITION_S = 6e-6
"""A transition of that bound that is made."""
PRICING_CELL_S = 7e-10
"""A state and a unit of load of a pricing problem."""
SET_LABEL_S = 7e-9
"""A label of a set that is looked at, or compared with another one."""
BOX_S = 2e-9
"""A state and a box of forward and backward load."""
MOVE_S = 7e-7
"""A move of an annealing."""
SCHEDULE_ENTRY_S = 2e-9
"""A node, edge or piece, counted twice, of a schedule that an annealing computes."""
VISIT_S = 5e-8
"""A net or device that a descent evaluates."""
START_ENTRY_S = 6e-6
"""An item, edge or member of a net of a graph for which a descent gets a start."""
FILL_S = 1.5e-6
"""Filling in and evaluating an item."""
