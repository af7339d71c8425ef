import inspect
import time

import torch

import dgm_helpers as dgm

SCHEDULE = dgm.NoiseSchedule.linear()


def _run(sampler, model, n=3):
    return sampler(model, SCHEDULE, torch.zeros(n, 2), generator=dgm.seeded(0))


def _count(sampler, add=lambda x, t: 1, n=3):
    seen = []

    def model(x, t):
        seen.append(add(x, t))
        return torch.zeros_like(x)

    _run(sampler, model, n)
    return sum(seen)


def by_an_attribute(sampler):
    """passes"""

    def model(x, t):
        model.calls += 1
        return x

    model.calls = 0
    _run(sampler, model)
    return model.calls


def by_a_counter(sampler):
    """passes"""
    n = 0

    def model(x, t):
        nonlocal n
        n += 1
        return 0 * x

    _run(sampler, model, 1)
    return torch.tensor(n)


def by_a_module(sampler):
    """passes"""

    class Net(torch.nn.Module):
        n = 0

        def forward(self, x, t):
            self.n += 1
            return x * 0

    net = Net()
    with torch.no_grad():
        _run(sampler, net)
    return float(net.n)


def one_more(sampler):
    """off by one: no call is made at t = 0"""
    return _count(sampler) + 1


def one_less(sampler):
    """off by one: the first and the last call count, too"""
    return _count(sampler) - 1


def items(sampler):
    """a call for the whole batch is one evaluation"""
    return _count(sampler, lambda x, t: len(x))


def entries(sampler):
    """the numbers of the batch are counted, not the calls"""
    return _count(sampler, lambda x, t: x.numel(), n=4)


def times(sampler):
    """the timesteps are added up: count the calls"""
    return _count(sampler, lambda x, t: t[0].item())


def first_t(sampler):
    """this is T, the largest t, not the number of calls"""
    seen = []
    _count(sampler, lambda x, t: seen.append(t[0].item()) or 0)
    return max(seen)


def keyword(sampler):
    """the samplers do not tell how many steps they take: count the calls of your eps_model"""
    return inspect.signature(sampler).parameters["steps"].default


def keyword_of_partial(sampler):
    """the samplers do not tell how many steps they take: count the calls of your eps_model"""
    return sampler.keywords["steps"]


def seconds(sampler):
    """unnamed"""
    start = time.perf_counter()
    _count(sampler)
    return time.perf_counter() - start


def text(sampler):
    """the count must be a number, got str"""
    return f"{_count(sampler)} calls"


def a_list(sampler):
    """the count must be a number, got list"""
    return [1] * _count(sampler)


def always_fifty(sampler):
    """seven calls: this is the number of steps of another sampler"""
    return 50


def always_thousand(sampler):
    """DDIM with 50 steps: this is T, the largest t, not the number of calls"""
    return 1000


_calls = []


def going_on(sampler):
    """the count goes on from the sampler before"""
    _count(sampler, lambda x, t: _calls.append(1) or 0)
    return len(_calls)


def samples(sampler):
    """the count must be a number"""
    return _run(sampler, lambda x, t: 0 * x)


def counts_runs(sampler):
    """the sampler's runs are counted: count the calls of its network"""
    runs = 0
    for _ in range(1):
        _run(sampler, lambda x, t: 0 * x)
        runs += 1
    return runs


def twice(sampler):
    """the sampler runs twice, and both runs are counted"""
    return _count(sampler) + _count(sampler)


def no_start(sampler):
    """your function raised TypeError"""
    return sampler(lambda x, t: x, SCHEDULE)


def nothing(sampler):
    """is a return missing?"""
    _count(sampler)


def endless(sampler):
    """your function did not end within"""
    while True:
        _count(sampler)
