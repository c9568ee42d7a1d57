"""Lesson 06, decide the scope: what must survive, fine-tune or retrieve, and what to mix in."""
