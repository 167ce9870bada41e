import torch

from agents.vla import tokens
from agents.vla.config import preset
from agents.vla.model import TextEmbedding


def test_bytes_and_padding():
    codes = tokens.encode(["ab", "abcdef"], 64, 4)
    assert codes.tolist() == [[97, 98, *[tokens.PAD] * 6], [97, 98, 99, 100, 101, 102, tokens.PAD, tokens.PAD]]


def test_any_text_has_tokens():
    assert tokens.encode([""], 64, 4).shape == (1, 4)
    assert tokens.encode(["Serviette ✂ ziehen" * 20], 64, 4).shape == (1, 64)
    assert (tokens.encode(["é"], 64, 1) == torch.tensor([[0xC3, 0xA9]])).all()


def test_surrounding_space_does_not_matter():
    assert torch.equal(tokens.encode(["  pull "], 64, 4), tokens.encode(["pull"], 64, 4))


def test_embedding_marks_padding_and_does_not_depend_on_neighbours():
    torch.manual_seed(0)
    embedding = TextEmbedding(preset("debug"))
    together, valid = embedding(["Pull out a napkin", "Grab that yellow plushie"])
    alone, alone_valid = embedding(["Pull out a napkin"])
    assert valid.sum(1).tolist() == [5, 6]
    assert alone_valid.all()
    assert torch.allclose(together[0, :5], alone[0], atol=1e-6)
