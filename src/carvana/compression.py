"""Errors that readers of compressed files raise for a file that is damaged, or is not what its name says."""

import lzma
import tarfile
import zipfile
import zlib

DAMAGE_ERRORS = (
    OSError,  # also of bz2 and gzip
    EOFError,
    zlib.error,
    lzma.LZMAError,
    zipfile.BadZipFile,
    tarfile.TarError,
    RuntimeError,  # of zipfile, for an encrypted file and for an unknown method
    ImportError,  # of pandas, for a compression whose library is not installed
)
"""Errors to catch around the reading of a compressed file. Readers of text raise ValueError, too."""
