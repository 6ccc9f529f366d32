"""The tests: unit (no IO), conformance (one suite, every driver of a kind), e2e (real processes), mutants."""
