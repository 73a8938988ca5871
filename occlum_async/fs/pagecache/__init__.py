"""The page cache: the pages of files that live on a disk, shared by read(2), write(2) and mmap(2)."""
