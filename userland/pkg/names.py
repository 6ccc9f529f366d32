"""Names that are taken for one another."""

_ALIKE = str.maketrans({"0": "o", "1": "l", "i": "l", "5": "s", "-": None})


def near(one: str, other: str) -> bool:
    """Whether two different names are one letter apart (changed, missing, doubled or swapped with its neighbour), or
    look the same."""
    if one == other:
        return False
    if one.translate(_ALIKE) == other.translate(_ALIKE):
        return True
    short, long = sorted((one, other), key=len)
    if len(long) - len(short) > 1:
        return False
    at = next((i for i, (a, b) in enumerate(zip(short, long, strict=False)) if a != b), len(short))
    if len(short) < len(long):
        return short[at:] == long[at + 1 :]
    swapped = short[at : at + 2] == long[at : at + 2][::-1] and short[at + 2 :] == long[at + 2 :]
    return swapped or short[at + 1 :] == long[at + 1 :]
