"""The built-in model's training: procedural video, a greedy teacher, and the recipe that makes one from the other."""
