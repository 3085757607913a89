"""Prompts with slots: encodings of a text some of whose tokens are vectors of our own."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from .errors import model_named
from .models import Encoder, ModelSpec, cached_encoder, check_spec

if TYPE_CHECKING:
    import torch

SLOT_BATCH = 256
"""Prompts of one forward pass where no gradient is asked for."""

SLOT_TOLERANCE = 1e-3
"""Most that an encoding by slots may differ from that of the text, of unit norm; single precision
leaves 1e-6."""


class PromptSlots:
    """Encodings of prompts whose slots hold vectors, differentiable in them.

    The tokens of a prompt are those of its text with some word in every slot. What the model's input
    embedding gives for the slots' tokens is replaced on the way (a forward hook), so that all that follows,
    positions and masks included, is the model's own. With the vector of a word's token in each slot the
    encoding is that of the plain text; this is tried once, and a model where it does not hold is refused.

    A slot is one token long. Words of several tokens are stood in for by the mean of their tokens' vectors:
    near, not exact (`one_token` tells them apart), and texts are to be encoded for what is reported.

    Parameters
    ----------
    encoder : models.Encoder
        A loaded model that reads texts.
    prompt : callable
        List of words -> text; must keep the words in their order.
    n_slots : int
        Most words of a prompt.
    words : sequence of str
        What may stand in a slot; at least two of them must be single tokens there.

    Attributes
    ----------
    words : list of str
    one_token : (W,) bool array
        Whether a word is one token in its slot.
    table : (W, width) torch.Tensor
        Vector of every word, on the model's device.
    n_slots : int

    Raises
    ------
    ValueError
        If a prompt is longer than what the model reads, fewer than two words are single tokens, or the
        model's encodings do not follow from its input embedding.
    """

    def __init__(
        self, encoder: Encoder, prompt: Callable[[Sequence[str]], str], n_slots: int, words: Sequence[str]
    ):
        self.encoder, self.prompt, self.n_slots, self.words = encoder, prompt, n_slots, list(words)
        self._embedding = encoder.token_embedding()
        rows = self._rows([self.prompt([word] * n_slots) for word in self.words])
        ids, self.one_token = self._single(rows)
        probes = self._probes(ids)
        self._frames = [self._frame(probes, length) for length in range(1, n_slots + 1)]
        self.table = self._make_table(rows, ids)
        self._check_exact(probes)

    def encode(self, vectors: torch.Tensor) -> torch.Tensor:
        """Unit encodings of prompts with these vectors in their slots.

        Parameters
        ----------
        vectors : (b, s, width) torch.Tensor
            1 <= s <= n_slots.

        Returns
        -------
        (b, e) torch.Tensor
            With the gradient of ``vectors``. The weights of the model get none.
        """
        import torch

        tokens, places = self._frames[vectors.shape[1] - 1]
        b = len(vectors)
        many = {
            name: value.expand(b, *value.shape[1:]) if hasattr(value, "expand") else value
            for name, value in tokens.items()
        }

        def replace(module, inputs, output):
            return output.index_copy(1, places, vectors.to(output.dtype))

        hook = self._embedding.register_forward_hook(replace)
        try:
            with self._frozen(), self.encoder.autocast():
                found = self.encoder.token_vectors(many).float()
        finally:
            hook.remove()
        return torch.nn.functional.normalize(found, dim=1)

    def encode_words(self, numbers: np.ndarray) -> np.ndarray:
        """Unit encodings of the texts of prompts, each text encoded once.

        Parameters
        ----------
        numbers : (b, n_slots) int array
            Numbers of words in their order, -1 after the last.

        Returns
        -------
        (b, e) float32 array
            Zeros where a prompt has no word.
        """
        kinds, which = np.unique(numbers, axis=0, return_inverse=True)
        there = kinds[:, 0] >= 0
        texts = [self.prompt([self.words[word] for word in row if word >= 0]) for row in kinds[there]]
        found = self.encoder.encode_texts(texts, SLOT_BATCH) if texts else np.empty((0, 1), np.float32)
        made = np.zeros((len(kinds), found.shape[1]), np.float32)
        made[there] = found / np.linalg.norm(found, axis=1, keepdims=True)
        return made[which.ravel()]

    def _rows(self, texts):
        """Token ids of each text without what fills it up."""
        found = []
        for start in range(0, len(texts), SLOT_BATCH):
            tokens = self.encoder.tokens(texts[start : start + SLOT_BATCH])
            ids = tokens["input_ids"].cpu().numpy()
            mask = tokens.get("attention_mask")
            lengths = _filled(ids) if mask is None else mask.sum(1).cpu().numpy()
            found += [row[:length] for row, length in zip(ids, lengths, strict=True)]
        return found

    def _single(self, rows):
        """Id of the token of every word, -1 where it is several, and where it is one.

        Single tokens make the shortest prompts, which differ in their slots only.
        """
        ids = np.full(len(rows), -1)
        lengths = np.array(list(map(len, rows)))
        for length in np.unique(lengths):
            short = np.flatnonzero(lengths == length)
            table = np.array([rows[number] for number in short])
            columns = np.flatnonzero((table != table[0]).any(0))
            if len(columns) == self.n_slots:
                alike = (table[:, columns] == table[:, columns[:1]]).all(1)
                ids[short[alike]] = table[alike, columns[0]]
                self._columns, self._length = columns, int(length)
                break
        return ids, ids >= 0

    def _probes(self, ids):
        """Two words that are single tokens, and different ones."""
        kinds, first = np.unique(ids, return_index=True)
        first = first[kinds >= 0]
        if len(first) < 2:
            raise ValueError(
                f"of {len(ids)} words {len(first)} are single tokens of model {self.encoder.spec.name!r} in "
                f"a prompt of {self.n_slots}; two must be, and the prompt not longer than the model reads"
            )
        return [self.words[number] for number in first[:2]]

    def _frame(self, probes, length):
        """Tokens of the prompt of so many slots, and the places of these, where those of words differ."""
        import torch

        one, other = (self.encoder.tokens([self.prompt([word] * length)]) for word in probes)
        differs = one["input_ids"][0] != other["input_ids"][0]
        places = torch.nonzero(differs)[:, 0]
        if len(places) != length:
            raise ValueError(
                f"a prompt of {length} words has {len(places)} slots among the {len(differs)} tokens that "
                f"model {self.encoder.spec.name!r} reads; each word must have one"
            )
        return one, places

    def _make_table(self, rows, ids):
        """Vectors of words: of their token, or the mean of their tokens."""
        import torch

        weight, start = self._embedding.weight.detach(), int(self._columns[0])
        found = []
        for row, one in zip(rows, ids, strict=True):
            several = (
                1 + max(0, len(row) - self._length) // self.n_slots
            )  # the first slot has as many as any other
            tokens = [one] if one >= 0 else row[start : start + several]
            found.append(weight[torch.as_tensor(np.array(tokens), device=weight.device)].mean(0))
        return torch.stack(found).float()

    def _check_exact(self, probes):
        import torch

        numbers = [self.words.index(word) for word in probes]
        pairs = np.array([numbers, numbers[::-1]])[:, np.arange(self.n_slots) % 2]
        expected = self.encode_words(pairs)
        with torch.no_grad():
            found = self.encode(self.table[torch.as_tensor(pairs, device=self.table.device)]).cpu().numpy()
        off = float(np.abs(found - expected).max())
        if not off <= SLOT_TOLERANCE:
            raise ValueError(
                f"model {self.encoder.spec.name!r} gives other vectors for tokens than for their texts "
                f"(they differ by {off:.2g}); it cannot be used here"
            )

    @contextlib.contextmanager
    def _frozen(self):
        """Let no weight of the model take part in gradients."""
        weights = [weight for weight in self.encoder.model.parameters() if weight.requires_grad]
        for weight in weights:
            weight.requires_grad_(False)
        try:
            yield
        finally:
            for weight in weights:
                weight.requires_grad_(True)


def _filled(ids):
    """Tokens before the run of equal ones that ends each row, and the first of these."""
    other = ids != ids[:, -1:]
    return ids.shape[1] - np.argmax(other[:, ::-1], axis=1) + 1


def token_words(encoder: Encoder, prompt: Callable[[Sequence[str]], str], n_slots: int) -> list[str]:
    """Tokens of a model that can be written as words: in a slot each is itself, one token.

    Pieces of words, such as "##ing", cannot; nor does what has other signs than letters and digits count.

    Parameters
    ----------
    encoder : models.Encoder
    prompt : callable
        List of words -> text.
    n_slots : int

    Returns
    -------
    list of str
        Sorted.
    """
    tokenizer = encoder.tokenizer()
    texts = (tokenizer.decode([number]).strip() for number in range(encoder.token_embedding().num_embeddings))
    words = sorted({text for text in texts if text.isalnum()})
    single = PromptSlots(encoder, prompt, n_slots, words).one_token
    return [word for word, one in zip(words, single, strict=True) if one]


def text_model(encoder: Any) -> Encoder:
    """The loaded model behind an encoder of texts.

    Parameters
    ----------
    encoder : str, path, models.Encoder, or a text encoder of a named model
        What has a ``spec``, a `models.ModelSpec`, is loaded by it, once in a process.

    Raises
    ------
    TypeError
        If there is no model, as behind a function of one's own: gradients need its layers.
    """
    if isinstance(encoder, (str, os.PathLike)):
        with model_named("encoder"):
            return cached_encoder(check_spec(encoder))
    if isinstance(encoder, Encoder):
        return encoder
    spec = getattr(encoder, "spec", None)
    if isinstance(spec, ModelSpec):
        with model_named("encoder"):
            return cached_encoder(spec)
    raise TypeError(
        f"encoder is a {type(encoder).__name__}; gradients go through a model, so it must be the name or "
        "folder of one"
    )
