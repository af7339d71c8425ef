/* Made by python -m tools.drawings.movable_data. */
globalThis.movableData = {
  "schedule": {"T": 1000, "beta1": 0.0001, "betaT": 0.02},
  "forward": {"sprite": "////////Gxco////////////GxcoGxco////////////////////////////////////GxcoF1BcGxco////Gxco/99w/99wGxcoGxcoGxcoGxco////////////////GxcoKo+WKo+WF1BcGxcoKo+WKo+W6IMu2KAs2KAs6IMu/7hNGxco////////////GxcoKo+Wc9DEKo+WF1Bcc9DE6IMu6IMu6IMu6IMu6IMu/7hN/7hNGxco////////GxcoKo+Wc9DEKo+WKo+Wc9DEqEgf6IMu6IMu6IMu////Gxco/7hN/7hNGxco////GxcoKo+WKo+Wc9DEc9DEKo+WqEgf6IMu6IMu6IMu6IMu6IMu6IMu6IMuGxco////GxcoF1BcKo+Wc9DEKo+WF1BcqEgf6IMu6IMu6IMuGxcoqEgfGxcoqEgfGxco////////GxcoKo+Wc9DEKo+WF1BcqEgf6IMu6IMuGxco6IMu6IMu6IMuGxco////////////////GxcoF1BcKo+WF1BcGxco6IMu/7hN0LiIGxcoGxcoGxco////////////////////////GxcoF1BcGxco6IMu6IMu/7hN8OTA0LiIGxco////////////////////////////////Gxco6IMu6IMu6IMu/7hN8OTA0LiIGxcoGxco////////////////////GxcoGxco6IMu6IMu6IMu6IMu8OTA0LiIGxco6IMu/7hNGxco////////////GxcoqEgf6IMu6IMuGxco6IMu6IMu8OTA0LiIGxco6IMu6IMuGxco////////Gxco/99w6IMu6IMuGxcoGxco6IMu6IMu0LiIGxcoGxcoqEgf6IMuGxco////////////GxcoqEgf6IMu6IMuqEgf6IMu6IMu6IMuGxcoqEgf6IMu6IMu6IMuGxco////////////GxcoGxcoGxcoGxcoGxcoGxcoGxco////GxcoGxcoGxcoGxco////////", "pixel": {"weights": [0.3, 0.7], "means": [-1.0, 1.0], "variances": [0.0, 0.0]}},
  "step-back": {"weights": [0.5, 0.5], "means": [-1.0, 1.0], "variances": [0.15, 0.15]},
  "gaussian-divergence": {"shift": 1.0, "variance": 0.5},
  "one-pixel": {"weights": [0.5, 0.5], "means": [-1.0, 1.0], "variances": [0.0, 0.0]},
  "reverse": {"weights": [0.35, 0.65], "means": [-1.0, 1.0], "variances": [0.03, 0.03]},
  "one-feature": {"shift": 0.3, "spread": 0.6, "n": 12},
  "early-stop": {"truth": {"weights": [0.3, 0.7], "means": [-1.0, 0.6], "variances": [0.02, 0.05]}, "proposal": {"weights": [0.5, 0.5], "means": [-0.8, 0.5], "variances": [0.12, 0.15]}},
  "fit-gaussian": {"points": [1.0, 2.0, 6.0], "mu": 2.0, "c": 3.0},
  "score-field": {"weights": [0.842414212416858, 0.157585787583142], "means": [[-5.0, -5.0], [5.0, 5.0]], "variances": [1.6702271580001447, 1.424833033937554]},
  "langevin": {"weights": [0.842414212416858, 0.157585787583142], "means": [[-5.0, -5.0], [5.0, 5.0]], "variances": [1.6702271580001447, 1.424833033937554]},
  "flow-sde": {"weights": [0.35, 0.65], "means": [-1.0, 1.0], "variances": [0.03, 0.03]},
};
