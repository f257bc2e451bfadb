"""Plan, decode and paint AutoGaze gaze, in plain Python: runs on CPython and in Pyodide."""
