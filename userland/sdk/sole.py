"""The one exception in a group of one: what structured concurrency wraps, and people do not want to see wrapped."""


def sole(failed: BaseException) -> BaseException:
    """`failed`, or what is in it, however deep, as long as that is one."""
    while isinstance(failed, BaseExceptionGroup) and len(failed.exceptions) == 1:
        failed = failed.exceptions[0]
    return failed
