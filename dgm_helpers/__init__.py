"""Diffusion and score-based generative models: the code of the course book."""
