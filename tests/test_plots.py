"""The figures that several chapters share: what they draw, counted."""

from io import BytesIO

import matplotlib
import torch
from PIL import Image

matplotlib.use("Agg")

from dgm_helpers.mixtures import GaussianMixture  # noqa: E402
from dgm_helpers.plots import animate_plot, plot_score_field, plot_trajectories  # noqa: E402

mixture = GaussianMixture([0.2, 0.8], [[3.0, 0.0], [-3.0, 0.0]], [1.0, 1.0])


def test_arrows_have_the_direction_of_the_score():
    figure = plot_score_field(mixture.score, limit=5, log_prob=mixture.log_prob, arrows=11)
    field = next(c for c in figure.axes[0].collections if hasattr(c, "U"))
    at = torch.tensor(field.get_offsets(), dtype=torch.float64)
    drawn = torch.tensor([field.U.tolist(), field.V.tolist()], dtype=torch.float64).T
    score = mixture.score(at)
    assert len(at) == 121
    assert torch.allclose(drawn * score.norm(dim=1, keepdim=True), score)
    assert torch.allclose(torch.as_tensor(field.get_array(), dtype=torch.float64), score.norm(dim=1))


def test_each_chain_is_a_line_with_its_start_and_end():
    walk = torch.randn(7, 3, 2, generator=torch.Generator().manual_seed(0))
    ax = matplotlib.figure.Figure().subplots()
    plot_trajectories(walk, ax=ax)
    lines = [torch.tensor(line.get_xydata(), dtype=torch.float32) for line in ax.lines]
    assert len(lines) == 9
    for i in range(3):
        path, start, end = lines[3 * i : 3 * i + 3]
        assert torch.equal(path, walk[:, i])
        assert torch.equal(start[0], walk[0, i]) and torch.equal(end[0], walk[-1, i])


def test_an_animation_has_its_frames():
    gif = Image.open(BytesIO(animate_plot(lambda ax, i: ax.plot([0, i], [0, 1]), 4, figsize=(2, 1))))
    assert (gif.n_frames, gif.size) == (4, (160, 80))
