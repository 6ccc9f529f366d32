"""The parts of the torch driver: a folder checked and loaded, turns laid out, an engine that decodes many at once."""
