"""The closest figures that never fall: what a quantity that can only grow with the rate looks like under noise. Pure."""

from __future__ import annotations

from collections.abc import Sequence


def fit(values: Sequence[float], weights: Sequence[float]) -> list[float]:
    """Weighted least squares under the condition that no figure is below the one before: pool adjacent violators (Ayer, Brunk, Ewing, Reid
    and Silverman, Annals of Mathematical Statistics 26, 1955). Weights are above 0; as many as there are values.

    Neighbours that fall are replaced by their weighted mean until none does. It also maximises the likelihood of shares out of counts, the
    counts being the weights (the case of that paper).
    """
    blocks: list[tuple[float, float, int]] = []  # mean, weight, values in it
    for value, weight in zip(values, weights, strict=True):
        mean, total, count = float(value), float(weight), 1
        while blocks and blocks[-1][0] > mean:
            before, its_weight, its_count = blocks.pop()
            mean = (before * its_weight + mean * total) / (its_weight + total)
            total, count = total + its_weight, count + its_count
        blocks.append((mean, total, count))
    return [mean for mean, _, count in blocks for _ in range(count)]
