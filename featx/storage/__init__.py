"""Bytes on disk, whole or not there: files, locks, rows, blocks of rows, sealed HDF5."""
