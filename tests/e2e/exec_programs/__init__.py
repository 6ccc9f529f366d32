"""Programs that know nothing of kernos, run by `kernos exec` in tests."""
