"""Settings of every suite: hypothesis asserts properties, never times."""

from hypothesis import settings

settings.register_profile("kernos", deadline=None, print_blob=True)
settings.load_profile("kernos")
