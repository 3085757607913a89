"""Sentence encoders of sentence_transformers: texts only."""

import os

from .base import Encoder, input_embedding
from .files import cannot_load, fingerprint, short_name
from .huggingface import no_progress_bars


class SentenceEncoder(Encoder):
    """A sentence encoder by name or folder."""

    def __init__(self, spec):
        super().__init__(spec)
        from sentence_transformers import SentenceTransformer

        try:
            with no_progress_bars():
                self.model = SentenceTransformer(
                    spec.name,
                    device=str(self.device),
                    revision=spec.revision,
                    trust_remote_code=False,
                    local_files_only=os.path.isdir(spec.name),
                )
        except Exception as error:  # of safetensors, pickle, zip files and JSON
            raise cannot_load(spec.name, error) from error
        self.d = self.text_vectors(["a"]).shape[1]

    def prepare(self, image):
        raise ValueError(f"model {self.spec.name!r} encodes sentences, not images")

    vectors = output = prepare

    def text_vectors(self, texts):
        return self.model.encode(texts, convert_to_tensor=True, show_progress_bar=False)

    def tokens(self, texts):
        # since 5.4 what was `tokenize` is `preprocess`
        read = getattr(self.model, "preprocess", None) or self.model.tokenize
        before = self.model.prompts.get(self.model.default_prompt_name) or ""
        found = read([before + text for text in texts])
        return {
            name: value.to(self.device) if hasattr(value, "to") else value for name, value in found.items()
        }

    def token_vectors(self, tokens):
        return self.model(dict(tokens))["sentence_embedding"]

    def token_embedding(self):
        return input_embedding(self.model[0], self.spec.name)

    def tokenizer(self):
        return self.model.tokenizer

    def identity(self):
        revision = fingerprint(self.spec.name) if os.path.isdir(self.spec.name) else self.spec.revision
        return {
            "library": "sentence_transformers",
            "name": short_name(self.spec.name),
            "revision": revision,
            "architecture": type(self.model).__name__,
            "precision": str(self.dtype).removeprefix("torch."),
        }

    def default_batch(self):
        return 1
