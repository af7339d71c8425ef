def by_the_mean_slope(f, u, here, there):
    """passes"""
    first = f(u, here)
    return u + (there - here) * 0.5 * (first + f(u + (there - here) * first, there))


def by_correction(f, u, here, there):
    """passes"""
    h = there - here
    first = f(u, here)
    guess = u + h * first
    return guess + h / 2 * (f(guess, there) - first)


def by_eulers_points(f, u, here, there):
    """passes"""
    h = there - here
    guess = u + h * f(u, here)
    return (u + guess + h * f(guess, there)) / 2


def euler(f, u, here, there):
    """the step is Euler's: the second slope is not used"""
    return u + (there - here) * f(u, here)


def euler_twice(f, u, here, there):
    """the step is Euler's: the second slope is not used"""
    slope = f(u, here)
    f(u + (there - here) * slope, there)
    return u + (there - here) * slope


def at_u(f, u, here, there):
    """the second slope is taken at u, not at Euler's point"""
    return u + (there - here) / 2 * (f(u, here) + f(u, there))


def no_half(f, u, here, there):
    """the factor 1/2 is missing"""
    h = there - here
    first = f(u, here)
    return u + h * (first + f(u + h * first, there))


def wrong_way(f, u, here, there):
    """the step goes from there to here: its size is there - here"""
    h = here - there
    first = f(u, here)
    return u + h / 2 * (first + f(u + h * first, there))


def second_only(f, u, here, there):
    """only the second slope is used: take the mean of both"""
    h = there - here
    return u + h * f(u + h * f(u, here), there)


def at_here(f, u, here, there):
    """the second slope is taken at the level here, not there"""
    h = there - here
    first = f(u, here)
    return u + h / 2 * (first + f(u + h * first, here))


def midpoint(f, u, here, there):
    """this is the midpoint method: Heun's takes the mean of two slopes"""
    h = there - here
    return u + h * f(u + h / 2 * f(u, here), (here + there) / 2)


def half_euler(f, u, here, there):
    """the second slope is taken half a step away"""
    h = there - here
    first = f(u, here)
    return u + h / 2 * (first + f(u + h / 2 * first, there))


def full_derivative(f, u, here, there):
    """the size of the step is missing"""
    first = f(u, here)
    return u + (first + f(u + (there - here) * first, there)) / 2


def subtracted(f, u, here, there):
    """the slopes are subtracted: take their mean"""
    h = there - here
    first = f(u, here)
    return u + h / 2 * (first - f(u + h * first, there))


def increment(f, u, here, there):
    """this is the change of u, not the next u"""
    h = there - here
    first = f(u, here)
    return h / 2 * (first + f(u + h * first, there))


def from_the_guess(f, u, here, there):
    """the mean slope is added to Euler's point: add it to u"""
    h = there - here
    first = f(u, here)
    guess = u + h * first
    return guess + h / 2 * (first + f(guess, there))


def three_calls(f, u, here, there):
    """f was called at the levels"""
    h = there - here
    return u + h / 2 * (f(u, here) + f(u + h * f(u, here), there))


def third(f, u, here, there):
    """unnamed"""
    h = there - here
    first = f(u, here)
    return u + h / 3 * (first + f(u + h * first, there))


def nothing(f, u, here, there):
    """is a return missing?"""
    by_correction(f, u, here, there)


def number(f, u, here, there):
    """must be a float tensor of shape (1, 1), got float"""
    return by_correction(f, u, here, there).item()
