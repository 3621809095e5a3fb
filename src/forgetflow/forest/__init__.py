"""Random forests from which records can be deleted exactly.

DaRE forests (Brophy and Lowd, ICML 2021) promise that a forest after deletion is distributed
like one trained without the record. Here every random choice is a hash of where it is made and
no threshold comes from the records, so that there is one forest for a set of records, and
deletion arrives at it: equal bytes, in any order of deletions and additions.
"""

from forgetflow.forest.forest import Change, Forest
from forgetflow.forest.grid import Grid
from forgetflow.forest.settings import ForestSettings

__all__ = ["Change", "Forest", "ForestSettings", "Grid"]
