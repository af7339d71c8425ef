"""A build in less time, with the same pages: fewer searches for garbage, and a page that references by number name is
loaded once, not each time.
"""

import gc
from functools import cache

from sphinx.domains.std import StandardDomain


class Trees:
    """The environment, which loads the tree of each page once."""

    def __init__(self, env):
        self.env, self.get_doctree = env, cache(env.get_doctree)

    def __getattr__(self, name):
        return getattr(self.env, name)


class Numbers(StandardDomain):
    trees = None

    def _resolve_numref_xref(self, env, *reference):
        self.trees = self.trees or Trees(env)
        return super()._resolve_numref_xref(self.trees, *reference)


def setup(app):
    gc.set_threshold(200_000, 20, 100)  # the trees of the pages are many objects that stay
    app.add_domain(Numbers, override=True)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
