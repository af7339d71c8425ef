import torch

import dgm_helpers as dgm


def _parts(score, x, graph=True):
    x = x.detach().requires_grad_()
    s = score(x)
    rows = [
        torch.autograd.grad(s[:, i].sum(), x, create_graph=graph, retain_graph=True)[0]
        for i in range(x.shape[1])
    ]
    return s, torch.stack(rows, 1)


def by_forward_mode(score, x):
    """passes"""
    jacobian = torch.func.vmap(torch.func.jacfwd(lambda y: score(y[None])[0]))(x)
    return score(x).square().sum(1) / 2 + torch.einsum("bii->b", jacobian)


def by_the_whole_batch(score, x):
    """passes"""
    jacobian = torch.autograd.functional.jacobian(score, x, create_graph=True)
    trace = torch.einsum("bibi->b", jacobian)
    return 0.5 * (score(x) ** 2).sum(-1) + trace


def one_by_one(score, x):
    """passes"""
    losses = []
    for point in x:
        s, rows = _parts(score, point[None])
        losses.append(s[0] @ s[0] / 2 + torch.trace(rows[0]))
    return torch.stack(losses)


def by_the_package(score, x):
    """this is the one you are to write"""
    return dgm.exact_score_matching(score, x)


def all_entries(score, x):
    """you summed the whole Jacobian"""
    s, rows = _parts(score, x)
    return s.square().sum(1) / 2 + rows.sum((1, 2))


def no_half(score, x):
    """the factor 1/2 is missing"""
    s, rows = _parts(score, x)
    return s.square().sum(1) + rows.diagonal(dim1=1, dim2=2).sum(1)


def half_of_all(score, x):
    """the trace is halved: the factor 1/2 belongs to the square only"""
    s, rows = _parts(score, x)
    return (s.square().sum(1) + rows.diagonal(dim1=1, dim2=2).sum(1)) / 2


def twice_the_trace(score, x):
    """the trace counts twice"""
    s, rows = _parts(score, x)
    return s.square().sum(1) / 2 + 2 * rows.diagonal(dim1=1, dim2=2).sum(1)


def wrong_sign(score, x):
    """the sign of the trace is wrong"""
    s, rows = _parts(score, x)
    return s.square().sum(1) / 2 - rows.diagonal(dim1=1, dim2=2).sum(1)


def no_trace(score, x):
    """the trace is missing"""
    return score(x).square().sum(1) / 2


def only_the_trace(score, x):
    """the square of the score is missing"""
    return _parts(score, x)[1].diagonal(dim1=1, dim2=2).sum(1)


def hutchinson(score, x):
    """the trace is estimated with a random direction: the exact one is asked for"""
    s, rows = _parts(score, x)
    v = torch.randn(x.shape, generator=dgm.seeded(0), dtype=x.dtype)
    return s.square().sum(1) / 2 + torch.einsum("bi,bij,bj->b", v, rows, v)


def hutchinson_signs(score, x):
    """unnamed"""
    s, rows = _parts(score, x)
    v = torch.randn(x.shape, generator=dgm.seeded(1), dtype=x.dtype).sign()
    return s.square().sum(1) / 2 + torch.einsum("bi,bij,bj->b", v, rows, v)


def squares(score, x):
    """the squares of the Jacobian's entries are summed: its trace is asked for"""
    s, rows = _parts(score, x)
    return s.square().sum(1) / 2 + rows.square().sum((1, 2))


def squared_diagonal(score, x):
    """the diagonal of the Jacobian is squared"""
    s, rows = _parts(score, x)
    return s.square().sum(1) / 2 + rows.diagonal(dim1=1, dim2=2).square().sum(1)


def determinant(score, x):
    """this is the determinant of the Jacobian: its trace is asked for"""
    s, rows = _parts(score, x)
    return s.square().sum(1) / 2 + torch.linalg.det(rows)


def log_determinant(score, x):
    """this is the logarithm of the determinant: the trace is asked for"""
    s, rows = _parts(score, x)
    return s.square().sum(1) / 2 + torch.linalg.slogdet(rows)[1]


def first_entry(score, x):
    """the trace holds the first coordinate only"""
    s, rows = _parts(score, x)
    return s.square().sum(1) / 2 + rows[:, 0, 0]


def averaged(score, x):
    """the mean over the coordinates: sum them"""
    s, rows = _parts(score, x)
    return s.square().mean(1) / 2 + rows.diagonal(dim1=1, dim2=2).mean(1)


def averaged_square(score, x):
    """the square is averaged over the coordinates: sum them"""
    s, rows = _parts(score, x)
    return s.square().mean(1) / 2 + rows.diagonal(dim1=1, dim2=2).sum(1)


def norm(score, x):
    """the norm of the score is not squared"""
    s, rows = _parts(score, x)
    return s.norm(dim=1) / 2 + rows.diagonal(dim1=1, dim2=2).sum(1)


def sum_squared(score, x):
    """the sum of the score is squared: sum the squares"""
    s, rows = _parts(score, x)
    return s.sum(1).square() / 2 + rows.diagonal(dim1=1, dim2=2).sum(1)


def of_x(score, x):
    """x is squared, not the score"""
    _, rows = _parts(score, x)
    return x.square().sum(1) / 2 + rows.diagonal(dim1=1, dim2=2).sum(1)


def batch_mean(score, x):
    """one loss for each item"""
    return by_forward_mode(score, x).mean()


def no_graph(score, x):
    """does the trace keep its graph"""
    s, rows = _parts(score, x, graph=False)
    return s.square().sum(1) / 2 + rows.diagonal(dim1=1, dim2=2).sum(1)


def detached_square(score, x):
    """the gradient in the weights is"""
    s, rows = _parts(score, x)
    return s.detach().square().sum(1) / 2 + rows.diagonal(dim1=1, dim2=2).sum(1)


def detached(score, x):
    """the gradient in the weights is None"""
    return by_forward_mode(score, x).detach()
