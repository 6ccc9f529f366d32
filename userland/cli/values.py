"""Figures as people read them: seconds, counts, bytes."""


def clock_time(seconds: float) -> str:
    """`0:07`, `12:05`, `3:00:12`, `2d 3:00:12`."""
    whole = int(seconds)
    minutes, secs = divmod(whole, 60)
    hours, minutes = divmod(minutes, 60)
    days, hours = divmod(hours, 24)
    if not hours and not days:
        return f"{minutes}:{secs:02}"
    return (f"{days}d " if days else "") + f"{hours}:{minutes:02}:{secs:02}"


def of_total(part: int, whole: int | None) -> str:
    """`812/4096`, `812` where there is no whole, `-` for nothing."""
    if whole:
        return f"{part}/{whole}"
    return str(part) if part else "-"


def count(number: int) -> str:
    """`840`, `841k`, `1.2M`, `7.0B`."""
    for size, unit in ((10**9, "B"), (10**6, "M"), (10**4, "k")):
        if number >= size:
            scaled = number / (1000 if unit == "k" else size)
            return f"{scaled:.0f}{unit}" if scaled >= 100 or unit == "k" else f"{scaled:.1f}{unit}"
    return str(number)


def money(micros: int) -> str:
    """`-`, `0.000012`, `0.0123`, `1.25`: what was spent, in the currency of the price table."""
    if not micros:
        return "-"
    whole = micros / 1e6
    return f"{whole:.2f}" if whole >= 1 else f"{whole:.4f}" if whole >= 0.001 else f"{whole:.6f}"


def bytes_count(number: int) -> str:
    """`512 B`, `1.5 MiB`."""
    size = float(number)
    for unit in ("B", "KiB", "MiB", "GiB"):
        if size < 1024:
            return f"{size:.0f} {unit}" if unit == "B" else f"{size:.1f} {unit}"
        size /= 1024
    return f"{size:.1f} TiB"
