"""The bounds of `birdnn.bounds.crown` for one box after another, compiled by Numba.

The same mathematics as the torch code, which stays the reference: the tests hold both against each other. What is
different is the shape of the work. A box is taken from its inputs to its last bound before the next one is looked at,
so that everything but the weights stays in the processor's first cache; rows skip neurons that are inactive; several
rows are pushed through a layer together; and an item is left alone as soon as it is proved.

Only `birdnn.bounds.compiled.bound` is for others; it loads Numba where there is work for it, and not before.
"""
