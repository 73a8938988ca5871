"""Linux's ABI as data: numbers, errors, flags, structs, and the shared-memory ABI of the channel.

Nothing in here decides anything, keeps state or knows of another room of the house.
"""
