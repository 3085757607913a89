"""Turned atoms in a layer of a model, while it runs."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, TypeAlias, get_args

import numpy as np

from ..arguments import choice
from .rows import make_turner

if TYPE_CHECKING:
    import numpy.typing as npt
    import torch

    from ..coding import SparseCoder
    from .turn import Turn

Tokens: TypeAlias = Literal["all", "cls", "patches", "cls+patches", "mean", "cls+mean"]

CLASS_TOKENS = ("cls_token", "class_token", "class_embedding")
OTHER_TOKENS = ("distillation_token", "dist_token", "register_tokens", "reg_token")
"""Names of parameters, in transformers, open_clip and timm, that are tokens before the patches."""

OUTPUT_NAMES = "a tensor of (images, features) or (images, tokens, features)"


class Layer(NamedTuple):
    """Where in a model.

    Attributes
    ----------
    module : torch.nn.Module
    before : bool
        Whether what enters it is meant, not what leaves it.
    batch_first : bool
        Whether tensors are (images, tokens, features), not (tokens, images, features).
    name : str
        For messages.
    """

    module: Any
    before: bool
    batch_first: bool
    name: str


class Intervention:
    """Turned atoms in a layer of a model, from entering to leaving a ``with`` block.

    Attributes
    ----------
    calls : int
        How often the layer has run since.
    rows : int
        Rows that it was done to: tokens, or images.
    changed : int
        Rows of those that changed.

    Notes
    -----
    A row is coded, and the change that the turn makes of it is added. Gradients pass as if the
    change were a constant.
    """

    def __init__(
        self,
        coder: SparseCoder,
        model: Any,
        layer: int | str | Any,
        turn: Turn,
        tokens: Tokens,
        patches: npt.ArrayLike | None = None,
    ) -> None:
        choice("tokens", tokens, get_args(Tokens))
        self._places = None if patches is None else check_places(patches, tokens)
        self._tower = vision_tower(model)
        self._layer = find_layer(self._tower, layer)
        self._tokens = tokens
        self._prefix, has_cls = count_prefix(self._tower)
        if tokens.startswith("cls") and not has_cls:
            raise ValueError(f"tokens={tokens!r}, but the model has no class token; use 'patches' or 'mean'")
        self._turner = make_turner(coder, turn)
        self._d = self._turner.directions.shape[1]
        self._handle: Any = None
        self.calls = self.rows = self.changed = 0

    def __repr__(self) -> str:
        return (
            f"<daskksvd Intervention in {self._layer.name}: {len(self._turner.turn.atoms)} atoms, "
            f"{self.calls} calls, {self.changed:,} of {self.rows:,} rows changed>"
        )

    def __enter__(self) -> Intervention:
        if self._handle is not None:
            raise RuntimeError("this intervention is going on already; make another")
        module = self._layer.module
        if self._layer.before:
            self._handle = module.register_forward_pre_hook(self._entering)
        else:
            self._handle = module.register_forward_hook(self._leaving)
        return self

    def __exit__(self, *error: object) -> None:
        self._handle.remove()
        self._handle = None
        if not self.calls and error[:1] == (None,):
            warnings.warn(
                f"{self._layer.name} did not run in the with block: nothing was changed", stacklevel=2
            )

    def _entering(self, module: Any, inputs: Any) -> Any:
        return (self._changed(inputs[0]), *inputs[1:])

    def _leaving(self, module: Any, inputs: Any, output: Any) -> Any:
        if isinstance(output, tuple):
            return (self._changed(output[0]), *output[1:])
        return self._changed(output)

    def _changed(self, states: Any) -> torch.Tensor:
        """The output of the layer, with atoms turned."""
        import torch

        if not isinstance(states, torch.Tensor) or states.ndim not in (2, 3):
            what = tuple(states.shape) if isinstance(states, torch.Tensor) else type(states).__name__
            raise ValueError(f"layer {self._layer.name} gives {what}; it must be {OUTPUT_NAMES}")
        self.calls += 1
        swapped = states.ndim == 3 and not self._layer.batch_first
        found = states.detach().transpose(0, 1) if swapped else states.detach()
        change = torch.zeros_like(found)
        if found.ndim == 2:
            change += self._change(found).to(change)
        else:
            self._fill(change, found)
        return states + (change.transpose(0, 1) if swapped else change)

    def _fill(self, change, found):
        """Put the changes of tokens (images, tokens, features) in their places."""
        if self._tokens == "all":
            change += self._change(found).to(change)
            return
        patches = found[:, self._prefix :]
        if self._tokens in ("cls", "cls+patches"):
            change[:, 0] = self._change(found[:, 0]).to(change)
        if self._tokens in ("patches", "cls+patches"):
            self._fill_patches(change[:, self._prefix :], patches)
        elif self._tokens in ("mean", "cls+mean"):  # a mean moves by what all its parts move by
            parts = [patches.float().mean(1)]
            if self._tokens == "cls+mean":
                parts.insert(0, found[:, 0].float())
            moved = self._change(*parts)
            half = moved.shape[1] // len(parts)
            change[:, self._prefix :] = moved[:, None, -half:].to(change)
            if self._tokens == "cls+mean":
                change[:, 0] = moved[:, :half].to(change)

    def _fill_patches(self, change, patches):
        """Put the changes of patches, of all or of some, in their places."""
        if self._places is None:
            change[:] = self._change(patches).to(change)
            return
        if self._places[-1] >= patches.shape[1]:
            raise ValueError(
                f"patches has {self._places[-1]}, but layer {self._layer.name} gives {patches.shape[1]} "
                "patches; they are numbered from 0"
            )
        places = torch_numbers(self._places, change)
        change[:, places] = self._change(patches[:, places]).to(change)

    def _change(self, *parts):
        """What is added to rows, whose features are side by side in ``parts``."""
        import torch

        shape = parts[0].shape[:-1]
        rows = np.concatenate(
            [part.reshape(-1, part.shape[-1]).float().cpu().numpy() for part in parts], axis=1
        )
        if rows.shape[1] != self._d:
            raise ValueError(
                f"layer {self._layer.name} with tokens={self._tokens!r} gives rows of {rows.shape[1]} "
                f"features; the dictionary was learned on {self._d}"
            )
        moved = self._turner.change(rows)
        self.rows += len(rows)
        self.changed += int(moved.any(axis=1).sum())
        return torch.from_numpy(moved).reshape(*shape, -1)


def check_places(patches: npt.ArrayLike, tokens: Tokens) -> np.ndarray:
    """Numbers of patches in rising order, each once.

    Raises
    ------
    ValueError
        If they are none, or ``tokens`` are no patches.
    """
    if tokens not in ("patches", "cls+patches"):
        raise ValueError(f"patches goes with tokens='patches' or 'cls+patches', not with tokens={tokens!r}")
    found = np.asarray(patches)
    if found.ndim != 1 or not found.size or found.dtype.kind not in "iu" or found.min() < 0:
        raise ValueError(
            f"patches is {patches!r}; it must be numbers of patches in the grid, row by row from 0"
        )
    return np.unique(found).astype(np.int64)


def torch_numbers(numbers, like):
    """Numbers as a tensor on the device of another."""
    import torch

    return torch.from_numpy(numbers).to(like.device)


def vision_tower(model: Any) -> Any:
    """The part of a model that reads images: that of CLIP's kin, or the model itself.

    Raises
    ------
    TypeError
        If it is no module of PyTorch, nor an encoder that has one as its ``model``.
    """
    import torch

    if not isinstance(model, torch.nn.Module):
        model = getattr(model, "model", model)
    if not isinstance(model, torch.nn.Module):
        raise TypeError(f"model is a {type(model).__name__}; it must be a torch.nn.Module")
    return model


def find_layer(model: Any, layer: Any) -> Layer:
    """Where a layer is: by number as `daskksvd.embed` counts, by name, or the module itself."""
    import torch

    tower = getattr(model, "vision_model", getattr(model, "visual", model))
    if isinstance(layer, torch.nn.Module):
        return Layer(layer, False, True, type(layer).__name__)
    if isinstance(layer, str):
        try:
            return Layer(model.get_submodule(layer), False, _batch_first(model, layer), repr(layer))
        except AttributeError:
            names = ", ".join(name for name, _ in model.named_children())
            raise ValueError(f"layer={layer!r}; the model has no such module (it has {names})") from None
    if isinstance(layer, bool) or not isinstance(layer, (int, np.integer)):
        raise TypeError(f"layer is {layer!r}; it must be a number, the name of a module, or a module")
    name, blocks = find_blocks(tower)
    if not -len(blocks) - 1 <= layer <= len(blocks):
        raise ValueError(f"layer={layer}, but the model has {len(blocks)} blocks; it must be at most that")
    number = int(layer) if layer >= 0 else len(blocks) + 1 + int(layer)
    module = blocks[max(0, number - 1)]
    return Layer(module, number == 0, _batch_first(tower, name), f"{name}[{max(0, number - 1)}]")


def find_output(model: Any, run: Callable[[], Any], states: np.ndarray) -> str | None:
    """The name of the module of a tower that gives some states, the last to do so; None where none does.

    Parameters
    ----------
    model : torch.nn.Module
    run : callable
        Runs the model on one image.
    states : (tokens, width) array
        The last tokens of the image, such as its patches.
    """
    import torch

    found: list[str] = []
    n, width = states.shape
    wanted = torch.from_numpy(np.ascontiguousarray(states, np.float32))

    def look(name):
        def hook(module, inputs, output):
            output = output[0] if isinstance(output, tuple) else output
            if not isinstance(output, torch.Tensor) or output.ndim != 3 or output.shape[-1] != width:
                return
            tokens = output.detach().reshape(-1, width)[-n:].float().cpu()
            if tokens.shape == wanted.shape and torch.allclose(tokens, wanted, rtol=1e-3, atol=1e-3):
                found.append(name)

        return hook

    tower = vision_tower(model)
    handles = [part.register_forward_hook(look(name)) for name, part in tower.named_modules() if name]
    try:
        run()
    finally:
        for handle in handles:
            handle.remove()
    return found[-1] if found else None


def find_blocks(tower: Any) -> tuple[str, Any]:
    """The blocks of a Vision Transformer and their name: the longest list of modules of one class."""
    import torch

    found = [
        (name, module)
        for name, module in tower.named_modules()
        if isinstance(module, (torch.nn.ModuleList, torch.nn.Sequential))
        and len({type(part) for part in module}) == 1
        and any("att" in part for part, _ in module[0].named_children())
    ]
    if not found:
        raise ValueError(
            f"model is a {type(tower).__name__}, in which no list of transformer blocks is found; "
            "give the layer by its name or as a module"
        )
    return max(found, key=lambda one: len(one[1]))


def count_prefix(model: Any) -> tuple[int, bool]:
    """Tokens of the tower before the patches, and whether the first is a class token."""
    tower = getattr(model, "vision_model", getattr(model, "visual", model))
    number, has_cls = 0, False
    for name, parameter in tower.named_parameters():
        last = name.rpartition(".")[2]
        if last in CLASS_TOKENS:
            number, has_cls = number + 1, True
        elif last in OTHER_TOKENS:
            number += parameter.shape[-2]
    return number, has_cls


def _batch_first(module: Any, name: str) -> bool:
    """Whether images come first in the tensors of a part: open_clip's transformers say so."""
    while name:
        name = name.rpartition(".")[0]
        said = getattr(module.get_submodule(name), "batch_first", None)
        if said is not None:
            return bool(said)
    return True
