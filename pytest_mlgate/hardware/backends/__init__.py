"""One file for each kind of target; each describes itself and runs as a process of its own.

The files use the standard library, numpy and their vendor's package, and import nothing else of this
project: they also run in another interpreter, and on a board that the folder was copied to.
"""
