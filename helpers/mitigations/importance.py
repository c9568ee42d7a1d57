"""One number per weight: how much the old skills depend on it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from ..fingerprint import OtherModel
from ..mechanics.loss import place_of


@dataclass(frozen=True)
class Fisher:
    """The diagonal of a Fisher information, or a running sum of several.

    Attributes:
        values: by parameter name, in the parameter's shape; nats² per squared unit of weight.
        model: digest of the weights it was taken at; it holds for no others.
        kind: how it was estimated.
        samples: how many rows it was estimated from, over all tasks.
        tasks: how many Fishers were summed up in it.
    """

    values: dict[str, torch.Tensor]
    model: str
    kind: str
    samples: int
    tasks: int = 1

    def __repr__(self) -> str:
        of = f"{len(self.values)} weights, {self.samples} samples"
        return f"Fisher({self.kind}, {of}, tasks: {self.tasks})"

    def storage(self) -> int:
        """Bytes of its values: as much as the model's weights, however many tasks it sums up."""
        return sum(value.nbytes for value in self.values.values())

    def normalized(self) -> Fisher:
        """Scaled to a mean of 1 over the weight matrices of the layers, those LoRA adapts.

        Then a strength means what it means for L2-SP, whose Fisher would be all ones, and only the
        *pattern* of the Fisher makes a difference.

        Raises:
            ValueError: the Fisher is zero everywhere.
        """
        inside = [value for name, value in self.values.items() if place_of(name)]
        chosen = inside or list(self.values.values())
        mean = sum(v.double().sum() for v in chosen) / sum(v.numel() for v in chosen)
        if not mean > 0:
            raise ValueError("This Fisher is zero everywhere: it protects no weight.")
        values = {name: (value / mean).to(value.dtype) for name, value in self.values.items()}
        return Fisher(values, self.model, self.kind, self.samples, self.tasks)

    def shuffled(self, seed: int = 0) -> Fisher:
        """A control: the same numbers, each tensor's dealt out anew among its own weights."""
        deal = torch.Generator().manual_seed(seed)
        values = {
            name: value.flatten()[torch.randperm(value.numel(), generator=deal)].view_as(value)
            for name, value in self.values.items()
        }
        return Fisher(values, self.model, f"{self.kind}, shuffled", self.samples, self.tasks)

    def per_tensor(self) -> Fisher:
        """A control: each tensor's mean in place of its numbers, one constant a matrix."""
        values = {name: torch.full_like(v, float(v.mean())) for name, v in self.values.items()}
        return Fisher(values, self.model, f"{self.kind}, per tensor", self.samples, self.tasks)

    def followed_by(self, new: Fisher, decay: float = 1.0) -> Fisher:
        """The running sum after one more task: `decay` times this one plus the new one.

        It stands at the model that `new` was taken at, as in online EWC (Schwarz et al. 2018, arXiv
        1805.06370), so that only one Fisher is ever kept.

        Raises:
            OtherModel: the two belong to models of different parameters.
            ValueError: the decay is not in [0, 1].
        """
        if not 0 <= decay <= 1:
            raise ValueError(f"decay must be between 0 and 1, not {decay}.")
        check_shapes(self, {name: value.shape for name, value in new.values.items()})
        values = {name: decay * self.values[name] + value for name, value in new.values.items()}
        samples, tasks = self.samples + new.samples, self.tasks + new.tasks
        return Fisher(values, new.model, new.kind, samples, tasks)

    def save(self, path: str | Path) -> Path:
        """Write it to a safetensors file."""
        path = Path(path)
        notes = {"model": self.model, "kind": self.kind}
        counts = {"samples": str(self.samples), "tasks": str(self.tasks)}
        tensors = {name: value.contiguous() for name, value in self.values.items()}
        save_file(tensors, path, metadata=notes | counts)
        return path

    @classmethod
    def load(cls, path: str | Path) -> Fisher:
        """Read what `save` wrote.

        Raises:
            ValueError: the file is no Fisher.
            FileNotFoundError: there is no such file.
        """
        try:
            with safe_open(path, framework="pt") as file:
                notes = file.metadata() or {}
                values = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
            counts = int(notes["samples"]), int(notes["tasks"])
            return cls(values, notes["model"], notes["kind"], *counts)
        except (SafetensorError, KeyError) as error:
            raise ValueError(
                f"{path} is no file that Fisher.save wrote ({type(error).__name__}: {error})."
            ) from error


def check_shapes(fisher: Fisher, wanted: dict[str, torch.Size]) -> None:
    """Refuse a Fisher that lacks a weight or has another shape for it.

    Raises:
        OtherModel: naming the first such weight.
    """
    for name, shape in wanted.items():
        if name not in fisher.values:
            raise OtherModel(f"This Fisher was taken at another model: it has no weight {name}.")
        if fisher.values[name].shape != shape:
            raise OtherModel(
                f"This Fisher was taken at another model: its {name} has the shape "
                f"{tuple(fisher.values[name].shape)}, not {tuple(shape)}."
            )
