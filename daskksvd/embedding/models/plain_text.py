"""Language models of transformers: texts only, as the mean of their tokens."""

import os

from .base import Encoder, input_embedding
from .files import cannot_load, fingerprint, short_name
from .huggingface import no_progress_bars

LONGEST_TEXT = 512
"""Tokens of a text at most, where the model does not say."""


class TextModelEncoder(Encoder):
    """A model such as BERT or T5, of which the vectors of tokens in the last layer are averaged."""

    def __init__(self, spec):
        super().__init__(spec)
        import torch
        from transformers import AutoModel, AutoTokenizer

        where = {"revision": spec.revision, "trust_remote_code": False}
        where |= {"local_files_only": True} if os.path.isdir(spec.name) else {}
        try:
            with no_progress_bars():
                model = AutoModel.from_pretrained(spec.name, dtype=torch.float32, **where)
            self._tokenizer = AutoTokenizer.from_pretrained(spec.name, **where)
        except Exception as error:  # of safetensors, pickle, zip files and JSON
            raise cannot_load(spec.name, error) from error
        if hasattr(model.config, "vision_config") or hasattr(model.config, "patch_size"):
            raise ValueError(
                f"model={spec.name!r} sees images; its texts are read without 'transformers_text:'"
            )
        self.model = model.get_encoder() if model.config.is_encoder_decoder else model
        self.model.eval().to(self.device)
        if self._tokenizer.pad_token is None:
            self._tokenizer.pad_token = self._tokenizer.eos_token
        longest = getattr(model.config, "max_position_embeddings", None) or LONGEST_TEXT
        self._longest = min(longest, self._tokenizer.model_max_length)
        self._revision = getattr(model.config, "_commit_hash", None) or spec.revision
        self.d = self.encode_texts(["a"]).shape[1]

    def prepare(self, image):
        raise ValueError(f"model {self.spec.name!r} reads texts, not images")

    vectors = output = prepare

    def text_vectors(self, texts):
        return self.token_vectors(self.tokens(texts))

    def tokens(self, texts):
        inputs = self.tokenizer()(
            texts, padding=True, truncation=True, max_length=self._longest, return_tensors="pt"
        ).to(self.device)
        return {name: inputs[name] for name in ("input_ids", "attention_mask")}

    def token_vectors(self, tokens):
        found = self.model(**tokens).last_hidden_state
        mask = tokens["attention_mask"][..., None].to(found.dtype)
        return (found * mask).sum(1) / mask.sum(1).clamp(min=1)

    def token_embedding(self):
        return input_embedding(self.model, self.spec.name)

    def tokenizer(self):
        return self._tokenizer

    def identity(self):
        folder = os.path.isdir(self.spec.name)
        return {
            "library": "transformers_text",
            "name": short_name(self.spec.name),
            "revision": fingerprint(self.spec.name) if folder else self._revision,
            "architecture": type(self.model).__name__,
            "precision": str(self.dtype).removeprefix("torch."),
        }

    def default_batch(self):
        return 1
