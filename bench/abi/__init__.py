"""The ABI's speed: what a system call, a stream and a process cost, each against something honest to compare with."""
