"""Reading a prompt once for its whole group changes nothing but the time it takes."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from transformers import AutoTokenizer, Qwen2_5_VLForConditionalGeneration
from transformers.modeling_outputs import BaseModelOutputWithPooling

from training.architecture import GRID
from training.stages.film_collator import SeenFilms
from training.stages.shared_prefix import completion_log_probs, read_prompts, sample_completions

FILMS = ("films/0.png", "films/1.png", "films/2.png")
SHOWN = (FILMS[:1], FILMS[1:])  # the second prompt compares two films


class Asked:
    """Two prompts of different length, of one film and of two, and two completions of each."""

    def __init__(self, tiny: Path, *, train_vision: bool) -> None:
        self.model = Qwen2_5_VLForConditionalGeneration.from_pretrained(tiny / "model")
        self.model.model.visual.requires_grad_(train_vision)
        self.tokenizer = AutoTokenizer.from_pretrained(tiny / "model")
        self.films = SeenFilms(self.model.model.visual, tiny / "films", GRID)
        _, shapes = self.films.look(FILMS)
        self.shapes = dict(zip(FILMS, shapes, strict=True))
        ids = [
            self._prompt(films, text)
            for films, text in zip(SHOWN, ("Findings?", "Is the heart enlarged?"), strict=True)
        ]
        longest = max(map(len, ids))
        self.mask = torch.tensor([[0] * (longest - len(i)) + [1] * len(i) for i in ids])
        self.prompts = torch.tensor([[0] * (longest - len(i)) + i for i in ids])
        self.which = torch.tensor([0, 1, 1, 0])
        self.said = torch.randint(20, 300, (4, 7), generator=torch.Generator().manual_seed(1))
        self.said_mask = torch.ones_like(self.said)
        self.said_mask[1, 4:] = 0

    def _ids(self, text: str) -> list[int]:
        return self.tokenizer.encode(text, add_special_tokens=False)

    def _prompt(self, films: tuple[str, ...], text: str) -> list[int]:
        image, ids = self.model.config.image_token_id, []
        for film in films:
            _, rows, columns = self.shapes[film]
            ids += [*self._ids("a"), *[image] * (rows * columns // 4)]
        return ids + self._ids(text)

    def read(self):
        return read_prompts(self.model, self.films, self.prompts, self.mask, SHOWN)

    def log_probs_after_reading_once(self) -> torch.Tensor:
        read = self.read().pick(self.which)
        said, mask = self.said, self.said_mask
        return completion_log_probs(self.model, read, said, mask, temperature=1.0)[0]

    def log_probs_at_length(self) -> torch.Tensor:
        """The same by one pass over every prompt with its completion."""
        ids = torch.cat([self.prompts[self.which], self.said], 1)
        seen, shapes = self.films.look([film for i in self.which for film in SHOWN[i]])
        outputs = self.model.model(
            input_ids=ids,
            attention_mask=torch.cat([self.mask[self.which], self.said_mask], 1),
            mm_token_type_ids=(ids == self.model.config.image_token_id).int(),
            image_grid_thw=torch.tensor(shapes),
            mm_encoder_outputs={"image": BaseModelOutputWithPooling(pooler_output=seen)},
        )
        begin = self.prompts.shape[1]
        logits = self.model.lm_head(outputs.last_hidden_state[:, begin - 1 : -1])
        chosen = torch.log_softmax(logits, -1).gather(2, self.said[..., None])[..., 0]
        return chosen * self.said_mask


@pytest.fixture(scope="module")
def asked(tiny: Path) -> Asked:
    return Asked(tiny, train_vision=False)


@pytest.mark.parametrize("train_vision", [False, True], ids=["frozen tower", "tower learns"])
def test_log_probabilities_and_gradients_are_those_of_the_whole_text(
    tiny: Path, train_vision: bool
) -> None:
    asked = Asked(tiny, train_vision=train_vision)
    part = (
        asked.model.model.visual.blocks if train_vision else asked.model.model.language_model.layers
    )
    weight = part[0].mlp.up_proj.weight
    gradients = []
    values = []
    for compute in (
        lambda: completion_log_probs(
            asked.model,
            asked.read().pick(asked.which),
            asked.said,
            asked.said_mask,
            temperature=1.0,
        )[0],
        asked.log_probs_at_length,
    ):
        asked.model.zero_grad()
        value = compute()
        value.sum().backward()
        values.append(value.detach())
        gradients.append(weight.grad.clone())
    torch.testing.assert_close(*values, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(*gradients, atol=1e-5, rtol=1e-4)


def test_sampled_log_probabilities_are_the_learners(asked: Asked) -> None:
    torch.manual_seed(3)
    barred = list(range(100, 600))
    said, likely = sample_completions(
        asked.model,
        asked.read().pick(asked.which),
        max_tokens=12,
        temperature=0.7,
        top_p=1.0,
        top_k=0,
        ends=list(range(600, 900)),
        forbidden=barred,
    )
    lengths = [len(one) for one in said]
    assert len(set(lengths)) > 1  # some ended before others
    assert not {token for one in said for token in one} & set(barred)
    longest = max(lengths)
    padded = torch.tensor([one + [0] * (longest - len(one)) for one in said])
    mask = torch.tensor([[1] * n + [0] * (longest - n) for n in lengths])
    learnt, entropy = completion_log_probs(
        asked.model, asked.read().pick(asked.which), padded, mask, temperature=0.7
    )
    for row, chances in enumerate(likely):
        torch.testing.assert_close(learnt[row, : len(chances)].detach(), torch.tensor(chances))
    assert bool((entropy[mask.bool()] > 0).all())


@pytest.mark.parametrize(("top_p", "top_k"), [(1e-6, 0), (1.0, 1)])
def test_the_narrowest_sampling_takes_the_likeliest_token(
    asked: Asked, top_p: float, top_k: int
) -> None:
    def sample() -> list[list[int]]:
        return sample_completions(
            asked.model,
            asked.read(),
            max_tokens=4,
            temperature=1.0,
            top_p=top_p,
            top_k=top_k,
            ends=[],
            forbidden=[],
        )[0]

    first = asked.model.lm_head(asked.read().last).argmax(-1).tolist()
    assert [one[0] for one in sample()] == first
    assert sample() == sample()


def test_a_tower_that_learns_is_looked_through_anew(tiny: Path) -> None:
    asked = Asked(tiny, train_vision=True)
    before = asked.read().last
    with torch.no_grad():
        asked.model.model.visual.merger.mlp[-1].bias += 1
    assert not torch.allclose(before, asked.read().last)
