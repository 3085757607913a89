"""What a computer has and how it is used: cores, BLAS threads, memory, and files that are whole."""
