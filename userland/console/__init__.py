"""The console: a prompt on the kernel with the commands of the command line."""
