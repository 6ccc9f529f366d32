"""The microkernel: one trio process that implements the table; it names drivers and programs as strings only."""
