"""The pytest plugin: how people test their programs (fixtures follow with the kernel)."""
