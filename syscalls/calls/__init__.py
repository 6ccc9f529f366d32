"""The families of system calls: the arguments, results and rows of each."""
