"""A proof begins with its name in italics, which sphinx-proof writes as a part of the first sentence."""

from docutils import nodes


def name_proofs(app, doctree):
    for box in doctree.findall(nodes.admonition):
        if box["classes"][:2] != ["proof", "proof"]:
            continue
        first = next(iter(box.findall(nodes.Text)))
        name, dot, rest = first.partition(". ")
        if name == "Proof" and dot:
            text = nodes.emphasis("", "Proof.", classes=["proof-name"])
            first.parent.replace(first, [text, nodes.Text(f" {rest}")])


def setup(app):
    app.connect("doctree-read", name_proofs)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
