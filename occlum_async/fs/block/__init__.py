"""Block devices: what a disk's file system stands on, and what a secure disk stands on in its turn."""
