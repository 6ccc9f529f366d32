"""Files below a folder and nowhere else: what the file host does, one operation after another, without a loop."""
