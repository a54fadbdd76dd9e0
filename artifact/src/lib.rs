//! Mender artifact format v3: read, verify, write and sign.
