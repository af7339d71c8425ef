import torch

import dgm_helpers as dgm


def _parts(score, x, v, graph=True):
    x = x.detach().requires_grad_()
    s = score(x)
    row = torch.autograd.grad((s * v).sum(), x, create_graph=graph, retain_graph=True)[0]
    return s, row


def by_a_vector_product(score, x, v):
    """passes"""
    s, row = torch.autograd.functional.vjp(score, x, v, create_graph=True)
    return torch.einsum("bi,bi->b", row, v) + 0.5 * torch.einsum("bi,bi->b", s, v) ** 2


def by_forward_mode(score, x, v):
    """passes"""
    s, along = torch.func.jvp(score, (x,), (v,))
    return (v * along).sum(1) + (v * s).sum(1) ** 2 / 2


def by_ones(score, x, v):
    """passes"""
    x = x.clone().requires_grad_(True)
    along = torch.sum(v * score(x), dim=-1)
    row = torch.autograd.grad(along, x, torch.ones_like(along), create_graph=True)[0]
    return torch.sum(row * v, dim=-1) + along.pow(2).mul(0.5)


def by_the_package(score, x, v):
    """this is the one you are to write"""
    return dgm.sliced_score_matching(score, x, generator=dgm.seeded(12))


def no_half(score, x, v):
    """the factor 1/2 is missing"""
    s, row = _parts(score, x, v)
    return (row * v).sum(1) + (v * s).sum(1).square()


def half_of_all(score, x, v):
    """the curvature is halved: the factor 1/2 belongs to the square only"""
    s, row = _parts(score, x, v)
    return ((row * v).sum(1) + (v * s).sum(1).square()) / 2


def reduced(score, x, v):
    """you return the reduced form"""
    s, row = _parts(score, x, v)
    return (row * v).sum(1) + s.square().sum(1) / 2


def wrong_sign(score, x, v):
    """the sign of the curvature is wrong"""
    s, row = _parts(score, x, v)
    return (v * s).sum(1).square() / 2 - (row * v).sum(1)


def minus_square(score, x, v):
    """the sign of the square is wrong"""
    s, row = _parts(score, x, v)
    return (row * v).sum(1) - (v * s).sum(1).square() / 2


def summed(score, x, v):
    """multiply by v a second time"""
    s, row = _parts(score, x, v)
    return row.sum(1) + (v * s).sum(1).square() / 2


def not_squared(score, x, v):
    """vᵀs is not squared"""
    s, row = _parts(score, x, v)
    return (row * v).sum(1) + (v * s).sum(1) / 2


def squares_summed(score, x, v):
    """the products v_i s_i are squared one by one: square their sum"""
    s, row = _parts(score, x, v)
    return (row * v).sum(1) + (v * s).square().sum(1) / 2


def no_square(score, x, v):
    """the square of vᵀs is missing"""
    return (_parts(score, x, v)[1] * v).sum(1)


def no_curvature(score, x, v):
    """the curvature vᵀ∇s v is missing"""
    return (score(x) * v).sum(1).square() / 2


def exact(score, x, v):
    """this is the exact loss: v is not used"""
    x = x.detach().requires_grad_()
    s = score(x)
    loss = s.square().sum(1) / 2
    for i in range(x.shape[1]):
        row = torch.autograd.grad(s[:, i].sum(), x, create_graph=True)[0]
        loss = loss + row[:, i]
    return loss


def s_for_v(score, x, v):
    """the row is multiplied by s, not by v"""
    s, row = _parts(score, x, v)
    return (row * s).sum(1) + (v * s).sum(1).square() / 2


def x_for_v(score, x, v):
    """the row is multiplied by x, not by v"""
    s, row = _parts(score, x, v)
    return (row * x).sum(1) + (v * s).sum(1).square() / 2


def squared_row(score, x, v):
    """the row vᵀ∇s is squared: multiply it by v"""
    s, row = _parts(score, x, v)
    return row.square().sum(1) + (v * s).sum(1).square() / 2


def averaged(score, x, v):
    """the mean over the coordinates: sum them"""
    s, row = _parts(score, x, v)
    return (row * v).mean(1) + (v * s).mean(1).square() / 2


def own_direction(score, x, v):
    """unnamed"""
    v = torch.randn(x.shape, generator=dgm.seeded(5), dtype=x.dtype)
    return by_forward_mode(score, x, v)


def normed(score, x, v):
    """v is scaled to length 1: use it as it is given"""
    return by_forward_mode(score, x, v / v.norm(dim=1, keepdim=True))


def only_signs(score, x, v):
    """v is used as it is for signs only"""
    return by_forward_mode(score, x, v.sign())


def batch_mean(score, x, v):
    """one loss for each item"""
    return by_forward_mode(score, x, v).mean()


def no_graph(score, x, v):
    """does the trace keep its graph"""
    s, row = _parts(score, x, v, graph=False)
    return (row * v).sum(1) + (v * s).sum(1).square() / 2


def under_no_grad(score, x, v):
    """does the trace keep its graph"""
    with torch.no_grad():
        return by_forward_mode(score, x, v)


def whole_jacobian(score, x, v):
    """the whole Jacobian is computed"""
    jacobian = torch.func.vmap(torch.func.jacrev(lambda y: score(y[None])[0]))(x)
    return torch.einsum("bi,bij,bj->b", v, jacobian, v) + (v * score(x)).sum(1) ** 2 / 2


def row_by_row(score, x, v):
    """the whole Jacobian is computed"""
    x = x.detach().requires_grad_()
    s = score(x)
    rows = [torch.autograd.grad(s[:, i].sum(), x, create_graph=True)[0] for i in range(x.shape[1])]
    curl = torch.einsum("bi,bij,bj->b", v, torch.stack(rows, 1), v)
    return curl + (v * s).sum(1) ** 2 / 2
