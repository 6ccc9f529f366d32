"""Coverage-guided fuzzing of what strangers send: frames, arguments, whole sessions at the gate."""
