"""Area under the ROC curve: how often values of one group lie above those of another."""

from typing import Any

import numpy as np
from numpy.typing import NDArray


def auc(lower: NDArray[Any], higher: NDArray[Any]) -> float:
    """Return P(a < b) + P(a = b) / 2 over all pairs of an a of (m,) and a b of (n,) values.

    1 where every `higher` value is above every `lower` one, 0.5 by chance. It is the area under
    the ROC curve of telling the groups apart by a threshold (Mann & Whitney 1947).
    """
    ordered = np.sort(higher)
    above = len(ordered) - np.searchsorted(ordered, lower, side="right")
    not_below = len(ordered) - np.searchsorted(ordered, lower, side="left")
    return float((above + not_below).mean() / (2 * len(ordered)))
