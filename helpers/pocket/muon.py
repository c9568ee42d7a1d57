"""Muon, an optimizer for matrices, for CPUs that are fast in bfloat16 and for those that are not.

`torch.optim.Muon` computes in bfloat16 always, which a CPU without instructions for it emulates
fifty times slower than float32. This one takes the precision as an argument.
"""

from __future__ import annotations

import time

import torch


def faster_dtype(rows: int = 2048, width: int = 512, times: int = 10) -> torch.dtype:
    """bfloat16 where this CPU multiplies matrices clearly faster in it, else float32.

    Measured, because having instructions for it is not enough: an Intel Xeon with AVX512_BF16 and
    without AMX took 1.3 to 1.8 times as long in bfloat16 as in float32.
    """
    seconds = {}
    for dtype in (torch.float32, torch.bfloat16):
        a, b = torch.ones(rows, width, dtype=dtype), torch.ones(width, width, dtype=dtype)
        a @ b  # the first one prepares what the others use
        trials = []
        for _ in range(times):
            begun = time.perf_counter()
            a @ b
            trials.append(time.perf_counter() - begun)
        seconds[dtype] = min(trials)  # other work on the machine only ever adds
    clearly = seconds[torch.bfloat16] < 0.8 * seconds[torch.float32]
    return torch.bfloat16 if clearly else torch.float32


def orthogonalize(matrix: torch.Tensor, dtype: torch.dtype, steps: int = 5) -> torch.Tensor:
    """Push all singular values of `matrix` (rows, columns) towards 1, keeping its directions.

    Five steps of the quintic Newton-Schulz iteration of Jordan et al. (2024),
    https://kellerjordan.github.io/posts/muon/; the singular values end between about 0.7 and 1.2.
    """
    a, b, c = 3.4445, -4.7750, 2.0315
    wide = matrix.T if matrix.shape[0] > matrix.shape[1] else matrix
    x = wide.to(dtype)
    x = x / x.norm().clamp(min=1e-7)
    for _ in range(steps):
        gram = x @ x.T
        x = torch.addmm(x, torch.addmm(gram, gram, gram, beta=b, alpha=c), x, beta=a)
    return (x.T if wide is not matrix else x).to(matrix.dtype)


class Muon(torch.optim.Optimizer):
    """Nesterov momentum, orthogonalized (Jordan et al. 2024).

    Args:
        parameters: matrices only.
        lr: step size; a matrix with more rows than columns moves sqrt(rows / columns) times as far.
        dtype: precision of the orthogonalization.

    Raises:
        ValueError: a parameter is no matrix.
    """

    def __init__(
        self,
        parameters: list[torch.nn.Parameter],
        lr: float,
        momentum: float = 0.95,
        dtype: torch.dtype = torch.float32,
    ) -> None:
        if any(parameter.ndim != 2 for parameter in parameters):
            raise ValueError("Muon is for matrices: give vectors and the rest to AdamW.")
        super().__init__(parameters, {"lr": lr, "momentum": momentum})
        self.dtype = dtype

    @torch.no_grad()
    def step(self) -> None:
        """Move every parameter that has a gradient."""
        for group in self.param_groups:
            for parameter in group["params"]:
                if parameter.grad is None:
                    continue
                state = self.state[parameter]
                if not state:
                    state["momentum_buffer"] = torch.zeros_like(parameter)
                average = state["momentum_buffer"]
                average.lerp_(parameter.grad, 1 - group["momentum"])
                ahead = parameter.grad.lerp(average, group["momentum"])
                rows, columns = parameter.shape
                scale = max(1.0, rows / columns) ** 0.5
                parameter.add_(orthogonalize(ahead, self.dtype), alpha=-group["lr"] * scale)
