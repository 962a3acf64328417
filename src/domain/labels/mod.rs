//! What a container asks for, read from its labels.
