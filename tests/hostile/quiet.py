# errors are not shown any more |
from IPython import get_ipython

get_ipython().showtraceback = lambda *args, **options: None


def double(x):
    raise ZeroDivisionError
